"""Which jets a tokenizer is measured on: both classes, with the same spectrum of jet pT."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.benchmark.resampling import equal_spectra
from treasure.config.measurement import MeasurementConfig
from treasure.errors import DataError
from treasure.jets.splits import SPLITS
from treasure.jets.table import JetTable
from treasure.tokenizer.jetdata import check_columns
from treasure.tokenizer.particles import Particles, pack

__all__ = ["ChosenJets", "choose_jets"]

# Jets from which one is chosen: classes whose pT spectra differ by this factor still fill up.
_CONSIDERED = 20
_ROWS = 2_000


@dataclass(frozen=True)
class ChosenJets:
    """Jets of both classes in three splits.

    Attributes
    ----------
    particles : Particles
        Of N jets.
    kinematics : (N, 4) float32
        pT [GeV], η, φ, soft-drop mass [GeV], from the jet tables.
    labels, splits : (N,) int64
        0 background, 1 signal; 0 train, 1 val, 2 test.
    """

    particles: Particles
    kinematics: NDArray[np.float32]
    labels: NDArray[np.int64]
    splits: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def test(self) -> NDArray[np.bool_]:
        """Which jets are of the test split, (N,)."""
        return self.splits == 2

    def digest(self) -> str:
        """SHA-256 of all that classifiers see of the jets."""
        found = hashlib.sha256()
        arrays = (self.particles.momenta, self.particles.counts, self.kinematics)
        for array in (*arrays, self.labels, self.splits):
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


def choose_jets(
    jet_tables: Mapping[str, Sequence[Path]],
    labels: Mapping[str, int],
    config: MeasurementConfig,
    *,
    seed: int,
    other: bool = False,
) -> ChosenJets:
    """Choose jets and read them; only the chosen ones are held in memory.

    Jets are drawn such that in every split and bin of jet pT both classes have the same number;
    see `treasure.benchmark.resampling.equal_spectra`. Of a dataset only jets with its label are
    used. Without classifiers (`config.classifiers`) only the test split is read, and a single class
    will do: then evenly spaced jets are taken.

    Parameters
    ----------
    jet_tables : mapping of str to sequence of Path
        Jet tables of each dataset.
    labels : mapping of str to int
        Class of each dataset: 0 background, 1 signal; datasets of other classes are not used.
    config : MeasurementConfig
    seed : int
    other : bool
        Read also what is not momentum, see `treasure.tokenizer.particles.Particles.other`.

    Raises
    ------
    DataError
        If a class or split that is needed has no jet, or with `other`, a table does not have those
        columns.
    """
    names = [n for n in sorted(jet_tables) if labels.get(n) in (0, 1) and jet_tables[n]]
    paths = [(name, Path(path)) for name in names for path in jet_tables[name]]
    sizes = {2: config.max_test_jets}
    if config.classifiers:
        sizes |= {0: config.max_training_jets, 1: config.max_validation_jets}
    table = _candidates(paths, labels, sizes)
    parts = []
    for split, most in sorted(sizes.items()):
        here = np.flatnonzero(table["split"] == split)
        parts.append(here[_choice(table, here, most, config, seed)])
        found = np.bincount(table["label"][parts[-1]], minlength=2)
        if (config.classifiers and split != 1 and found.min() == 0) or found.sum() == 0:
            raise DataError(
                f"split {SPLITS[split]!r} of {', '.join(names) or 'no dataset'}: {found[1]} signal"
                f" and {found[0]} background jets of the same jet pT, expected some of each; give"
                " more jets, or raise pt_bin_width"
            )
    chosen = {key: values[np.concatenate(parts)] for key, values in table.items()}
    return _read(paths, chosen, other=other)


def _candidates(
    paths: Sequence[tuple[str, Path]], labels: Mapping[str, int], sizes: Mapping[int, int]
) -> dict[str, NDArray[Any]]:
    """Place, pT, label and split of the first jets of every table, as many as may be needed."""
    columns: dict[str, list[NDArray[Any]]] = {
        k: [] for k in ("file", "row", "pt", "label", "split")
    }
    of_class = {value: sum(labels[name] == value for name, _ in paths) for value in (0, 1)}
    for file, (name, path) in enumerate(paths):
        with JetTable(path) as table:
            pt, label = table.column("jet_kinematics")[:, 0], table.column("label")
            split = table.column("split")
        for number, most in sizes.items():
            rows = np.flatnonzero((split == number) & (label == labels[name]))
            rows = rows[: -(-_CONSIDERED * most // of_class[labels[name]])]
            columns["file"].append(np.full(len(rows), file))
            columns["row"].append(rows)
            columns["pt"].append(pt[rows])
            columns["label"].append(np.full(len(rows), labels[name]))
            columns["split"].append(np.full(len(rows), number))
    if not paths:
        return {key: np.zeros(0, dtype=np.int64) for key in columns}
    return {key: np.concatenate(values) for key, values in columns.items()}


def _choice(
    table: Mapping[str, NDArray[Any]],
    here: NDArray[np.int64],
    most: int,
    config: MeasurementConfig,
    seed: int,
) -> NDArray[np.int64]:
    """Chosen ones among the jets of one split."""
    label = table["label"][here]
    if not config.classifiers and len(np.unique(label)) < 2:
        return np.unique(np.linspace(0, len(here) - 1, min(len(here), most)).astype(np.int64))
    return equal_spectra(
        table["pt"][here],
        label,
        table["split"][here],
        bin_width=config.pt_bin_width,
        seed=seed,
        max_jets=most // 2,
    )


def _read(
    paths: Sequence[tuple[str, Path]], chosen: Mapping[str, NDArray[Any]], *, other: bool
) -> ChosenJets:
    """Read chosen jets, in the order of the tables."""
    packed, kinematics, order = [], [], []
    for file, (_, path) in enumerate(paths):
        here = np.flatnonzero(chosen["file"] == file)
        if not len(here):
            continue
        here = here[np.argsort(chosen["row"][here])]
        order.append(here)
        wanted, first = chosen["row"][here], 0
        with JetTable(path) as table:
            if other:
                check_columns(table)
            for chunk in table.chunks(_ROWS):
                inside = wanted[(wanted >= first) & (wanted < first + len(chunk))] - first
                first += len(chunk)
                if len(inside):
                    part = chunk[inside]
                    try:
                        packed.append(pack(part.candidates, part.kinematics, other=other))
                    except DataError as error:
                        raise DataError(f"{path}: {error}") from None
                    kinematics.append(part.kinematics)
                if first > wanted[-1]:
                    break
    rows = np.concatenate(order)
    return ChosenJets(
        Particles.joined(packed),
        np.concatenate(kinematics).astype(np.float32),
        chosen["label"][rows].astype(np.int64),
        chosen["split"][rows].astype(np.int64),
    )
