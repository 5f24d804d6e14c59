"""Release and jet tables to arrays: the same jets as measured, tokenized and decoded particles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from treasure.benchmark.particles import Particles
from treasure.benchmark.resampling import equal_spectra
from treasure.errors import DataError
from treasure.jets.splits import SPLITS
from treasure.jets.table import JetTable, jet_index
from treasure.release.read import Release
from treasure.tokenizer.artefact import Tokenizer

__all__ = ["BenchmarkJets", "decode_jets", "load_jets"]

KEYS = ("run", "luminosityBlock", "event", "jet_index")
KINEMATICS = ("jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop")
ROWS = 2_000
"""Jets read at once; 6.6 kB each in a jet table."""

Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class BenchmarkJets:
    """The jets of the benchmark after resampling.

    Attributes
    ----------
    labels, splits : array of int64, shape (n,)
        0 background, 1 signal; 0 train, 1 val, 2 test.
    kinematics : array of float32, shape (n, 4)
        pT [GeV], η, φ, soft-drop mass [GeV] from the release.
    tokens : Particles
        `values` int32 (n_particles,), or (n_particles, Q) of Q codebooks.
    continuous : Particles
        `values` float32 (n_particles, 4): px, py, pz, E [GeV] from the jet tables.
    released_pt, released_labels : array, shape (n_usable,)
        pT [GeV] and labels of all usable jets, before resampling.
    counts : dict
        How many jets there were: dataset → "released", "other_label", "chosen".
    """

    labels: Ints
    splits: Ints
    kinematics: npt.NDArray[np.float32]
    tokens: Particles
    continuous: Particles
    released_pt: npt.NDArray[np.float32]
    released_labels: Ints
    counts: dict[str, dict[str, int]]

    def __len__(self) -> int:
        return len(self.labels)


def load_jets(
    release: Release,
    jet_tables: Mapping[str, Sequence[Path]],
    labels: Mapping[str, int],
    *,
    bin_width: float,
    seed: int,
    max_jets: int | None = None,
    progress: Progress = None,
) -> BenchmarkJets:
    """Choose jets of the release with equal pT spectra, and read them in both representations.

    Only the chosen jets are held in memory. Tokens come from the release; particles from the
    jet tables, joined on (dataset, run, luminosityBlock, event, jet_index).

    Parameters
    ----------
    release : Release
    jet_tables : mapping of str to sequence of Path
        Jet tables of each dataset.
    labels : mapping of str to int
        Class of each dataset: 0 background, 1 signal; datasets of other classes are not used.
        Of a dataset only jets with its label are used.
    bin_width, seed, max_jets
        See `treasure.benchmark.resampling.equal_spectra`.
    progress : callable, optional
        Called with (jets done, jets in all).

    Raises
    ------
    DataError
        If a class has no dataset in the release, a jet is twice in the release or not exactly once
        in the jet tables, or a jet has another number of particles than of tokens.
    """
    datasets = _datasets(release, jet_tables, labels)
    columns: list[dict[str, npt.NDArray[Any]]] = []
    counts: dict[str, dict[str, int]] = {}
    for dataset in datasets:
        rows = _read_columns(release, dataset)
        usable = rows.pop("label") == labels[dataset]
        counts[dataset] = {
            "released": len(usable),
            "other_label": int(np.count_nonzero(~usable)),
        }
        size = int(np.count_nonzero(usable))
        rows = {name: values[usable] for name, values in rows.items()}
        rows |= {"row": np.flatnonzero(usable), "label": np.full(size, labels[dataset])}
        columns.append(rows | {"dataset": np.full(size, datasets.index(dataset))})
    table = {name: np.concatenate([rows[name] for rows in columns]) for name in columns[0]}
    chosen = equal_spectra(
        table["kinematics"][:, 0],
        table["label"],
        table["split"],
        bin_width=bin_width,
        seed=seed,
        max_jets=max_jets,
    )
    released_pt, released_labels = table["kinematics"][:, 0], table["label"]
    table = {name: values[chosen] for name, values in table.items()}
    tokens, continuous = [], []
    done = 0
    for number, dataset in enumerate(datasets):
        here = table["dataset"] == number
        counts[dataset]["chosen"] = int(np.count_nonzero(here))
        tokens.append(_read_tokens(release, dataset, table["row"][here]))
        continuous.append(
            _read_particles(jet_tables[dataset], table["key"][here], dataset, release.path)
        )
        _compare_counts(dataset, table["key"][here], tokens[-1], continuous[-1])
        done += counts[dataset]["chosen"]
        if progress is not None:
            progress(done, len(chosen))
    return BenchmarkJets(
        labels=table["label"].astype(np.int64),
        splits=table["split"].astype(np.int64),
        kinematics=table["kinematics"],
        tokens=_joined(tokens),
        continuous=_joined(continuous),
        released_pt=released_pt,
        released_labels=released_labels,
        counts=counts,
    )


def decode_jets(tokenizer: Tokenizer, jets: BenchmarkJets, progress: Progress = None) -> Particles:
    """Return the particles that the tokenizer makes of the tokens.

    Returns
    -------
    Particles
        `values` float32 (n_particles, 4): px, py, pz, E [GeV].
    """
    parts = []
    for first in range(0, len(jets), ROWS):
        rows = np.arange(first, min(first + ROWS, len(jets)))
        part = jets.tokens.select(rows)
        decoded = tokenizer.decode(ak.unflatten(part.values, part.counts), jets.kinematics[rows])
        flat = ak.flatten(decoded, axis=1)
        parts.append(
            np.stack([ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "E")], axis=1)
        )
        if progress is not None:
            progress(int(rows[-1]) + 1, len(jets))
    return Particles(np.concatenate(parts), jets.tokens.offsets)


def _datasets(
    release: Release, jet_tables: Mapping[str, Sequence[Path]], labels: Mapping[str, int]
) -> list[str]:
    """Return the datasets to use, sorted."""
    for name in release.datasets:
        if name not in labels:
            raise DataError(
                f"{release.path}: dataset {name!r} has no label; labels are known of "
                f"{', '.join(labels) or 'none'}"
            )
    used = [name for name in release.datasets if labels[name] in (0, 1)]
    for value, kind in ((0, "background"), (1, "signal")):
        if value not in (labels[name] for name in used):
            known = ", ".join(f"{name}: {labels[name]}" for name in release.datasets)
            raise DataError(
                f"{release.path}: no dataset with label {value} ({kind}); found {known}. Top "
                "tagging needs datasets of both labels"
            )
    for name in used:
        if not jet_tables.get(name):
            raise DataError(f"dataset {name!r} is in {release.path}, but no jet table of it")
    return used


def _tables(release: Release, dataset: str, columns: list[str]) -> Iterator[pa.Table]:
    for split in SPLITS:
        if split in release.manifest.datasets[dataset].rows:
            yield from release.tables(dataset, split, columns=columns, rows=10_000)


def _read_columns(release: Release, dataset: str) -> dict[str, npt.NDArray[Any]]:
    """Return key (n,), kinematics (n, 4), label and split (n,) of all rows of a dataset."""
    names = [*KEYS, "label", "split", *KINEMATICS]
    parts: dict[str, list[npt.NDArray[Any]]] = {
        "key": [],
        "kinematics": [],
        "label": [],
        "split": [],
    }
    for table in _tables(release, dataset, names):
        array = {n: table.column(n).to_numpy() for n in (*KEYS, *KINEMATICS, "label")}
        parts["key"].append(_packed(np.stack([array[name] for name in KEYS], axis=1)))
        parts["kinematics"].append(
            np.stack([array[name] for name in KINEMATICS], axis=1).astype(np.float32)
        )
        parts["label"].append(array["label"])
        names_of_split = table.column("split").cast(pa.string()).to_numpy()
        parts["split"].append(sum(i * (names_of_split == s) for i, s in enumerate(SPLITS)))
    if not parts["key"]:
        raise DataError(f"{release.path}: dataset {dataset!r} has no rows")
    return {name: np.concatenate(values) for name, values in parts.items()}


def _read_tokens(release: Release, dataset: str, rows: Ints) -> Particles:
    """Return the tokens of the given rows, ascending, counted as `_read_columns` reads them."""
    values, counts, first = [], [], 0
    for table in _tables(release, dataset, ["tokens"]):
        here = rows[(rows >= first) & (rows < first + table.num_rows)] - first
        first += table.num_rows
        lists = table.column("tokens").combine_chunks().take(pa.array(here))
        counts.append(lists.value_lengths().to_numpy(zero_copy_only=False))
        flat = lists.flatten()
        if pa.types.is_fixed_size_list(flat.type):
            ids = flat.flatten().to_numpy().reshape(-1, flat.type.list_size)
        else:
            ids = flat.to_numpy()
        values.append(ids.astype(np.int32))
    return Particles.from_counts(np.concatenate(values), np.concatenate(counts))


def _read_particles(
    paths: Sequence[Path], keys: npt.NDArray[np.void], dataset: str, release: Path
) -> Particles:
    """Return px, py, pz, E of the jets with the given keys, in their order."""
    order = np.argsort(keys)
    ordered = keys[order]
    if (repeated := np.flatnonzero(ordered[1:] == ordered[:-1])).size:
        raise DataError(
            f"{release}: dataset {dataset!r} has {_named(ordered[repeated[0]])} more than once"
        )
    found = np.zeros(len(keys), dtype=np.int64)
    values, counts, targets = [], [], []
    for path in paths:
        with JetTable(path) as table:
            info = table.column("event_info")
            own = _packed(np.column_stack([info, jet_index(info)]))
            place = np.minimum(np.searchsorted(ordered, own), max(len(ordered) - 1, 0))
            wanted = ordered[place] == own if len(ordered) else np.zeros(len(own), dtype=bool)
            np.add.at(found, order[place[wanted]], 1)
            first = 0
            for chunk in table.chunks(ROWS):
                rows = np.flatnonzero(wanted[first : first + len(chunk)])
                targets.append(order[place[first + rows]])
                momenta = chunk.candidates[rows, :, :4]
                present = momenta[:, :, 3] != 0
                values.append(momenta[present])
                counts.append(present.sum(axis=1))
                first += len(chunk)
    if (wrong := np.flatnonzero(found != 1)).size:
        raise DataError(
            f"dataset {dataset!r}: {len(wrong)} of {len(keys)} jets of {release} are not exactly "
            f"once in its jet tables (the first, {_named(keys[wrong[0]])}: {found[wrong[0]]} times"
            f" in {', '.join(Path(path).name for path in paths)}); they are not of this release"
        )
    unordered = Particles.from_counts(np.concatenate(values), np.concatenate(counts))
    return unordered.select(np.argsort(np.concatenate(targets)))


def _compare_counts(
    dataset: str, keys: npt.NDArray[np.void], tokens: Particles, particles: Particles
) -> None:
    """Raise unless each jet has as many tokens as particles."""
    if (wrong := np.flatnonzero(tokens.counts != particles.counts)).size:
        i = wrong[0]
        raise DataError(
            f"dataset {dataset!r}: {len(wrong)} of {len(keys)} jets have another number of tokens "
            f"than of particles ({_named(keys[i])}: {tokens.counts[i]} and "
            f"{particles.counts[i]}); the jet tables are not those of the release"
        )


def _packed(columns: npt.NDArray[Any]) -> npt.NDArray[np.void]:
    """Return rows of non-negative integers (n, 4) as n comparable values: big-endian bytes."""
    return np.ascontiguousarray(columns, dtype=">i8").view("V32").ravel()


def _named(key: np.void) -> str:
    values = np.frombuffer(key.tobytes(), dtype=">i8")
    return ", ".join(f"{name} {value}" for name, value in zip(KEYS, values, strict=True))


def _joined(parts: Sequence[Particles]) -> Particles:
    return Particles.from_counts(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )
