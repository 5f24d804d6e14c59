"""From the rows of a skim to a jet table: padded, labelled, split, compressed."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import deflate
import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.config.splits import Splits
from treasure.errors import DataError
from treasure.jets.compress import ChunkWriter, create_compressed
from treasure.jets.rows import SkimRows
from treasure.jets.splits import SPLITS, assign_split
from treasure.jets.table import (
    CANDIDATE_COLUMNS,
    EVENT_COLUMNS,
    KINEMATICS_COLUMNS,
    TAGGING_COLUMNS,
)
from treasure.skim.memory import keep_freed_memory
from treasure.skim.merge import merge
from treasure.skim.parts import CUTFLOW, column_of
from treasure.store import atomic_file, canonical_json, read_json

__all__ = [
    "BLOCK_ROWS",
    "CANDIDATE_CHUNK_ROWS",
    "NARROW_CHUNK_ROWS",
    "NarrowKeys",
    "new_file",
    "pad_candidates",
    "write_attributes",
    "write_jet_table",
]

FORMAT = "treasure jet table"
SCHEMA_VERSION = 1

# Rows held in memory at once (6.6 kB each, some times over), a multiple of both chunk lengths.
BLOCK_ROWS = 4096
CANDIDATE_CHUNK_ROWS = 128  # 0.8 MB: fits the chunk cache of HDF5, 1 MiB by default
NARROW_CHUNK_ROWS = 4096

Progress = Callable[[int, int], None]


@contextmanager
def new_file(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to be written.

    HDF5 crashes the process, at once or at its end, when it closes a file and cannot write what it
    still holds, as on a full disk. So all is written before; and when that fails, the rest goes
    nowhere.
    """
    with h5py.File(path, "w") as file:
        try:
            yield file
            file.flush()
        except BaseException:
            if sys.platform == "linux":
                nowhere = os.memfd_create("nowhere")
                os.dup2(nowhere, file.id.get_vfd_handle())
                os.close(nowhere)
            raise


def pad_candidates(
    counts: NDArray[np.int64], columns: Sequence[NDArray[Any]], width: int
) -> NDArray[np.float32]:
    """Lists of candidates as one array: the first `width` of each row, then exact zeros.

    Parameters
    ----------
    counts
        Candidates of each row, shape (n,).
    columns
        Flat arrays, one for each of k quantities.
    width
        Slots of a row.

    Returns
    -------
    float32, shape (n, width, k); no −0 anywhere.
    """
    flat = np.empty((len(columns[0]), len(columns)), np.float32)
    for number, column in enumerate(columns):
        flat[:, number] = column
    flat += np.float32(0)  # −0 becomes 0: a mask E != 0 is the same thing bit for bit
    row_start = np.repeat(np.cumsum(counts) - counts, counts)
    slot = np.arange(len(flat)) - row_start
    place = slot + np.repeat(np.arange(len(counts)) * width, counts)
    if (counts > width).any():
        kept = slot < width
        flat, place = flat[kept], place[kept]
    padded = np.zeros((len(counts) * width, len(columns)), np.float32)
    padded[place] = flat
    return padded.reshape(len(counts), width, len(columns))


def write_jet_table(
    skims: Sequence[Path],
    path: Path,
    *,
    dataset_name: str,
    dataset: Dataset,
    selection: Selection,
    splits: Splits,
    attributes: Mapping[str, Any],
    rows: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write one jet table from consecutive branches of a skim, or from some of their rows.

    Parameters
    ----------
    skims
        Directories of the branches, in order, each with ``cutflow.json`` and its parts.
    path
        The HDF5 file; made whole or not at all. The same rows give the same bytes.
    dataset_name, dataset, selection, splits
        Label and source of the rows, slots for candidates, shares of the splits.
    attributes
        More attributes of the file, such as the fingerprint; what is not text or a number is
        stored as JSON.
    rows
        Start and stop, counted from the first row of `skims`; see `plan_shards`. Each moves back
        to the first row of the event that it falls into. None: all rows.
    progress
        Called with (rows written, rows in all).

    Returns
    -------
    jets (rows), splits (rows of each), candidates.

    Raises
    ------
    DataError
        If a part is missing or damaged, rows are lost, or the skim had another selection.
    """
    keep_freed_memory()
    described = merge([read_json(skim / CUTFLOW) for skim in skims], dataset_name, dataset)
    if described["selection"] != selection.model_dump(mode="json"):
        raise DataError(
            f"{skims[0]}: skimmed with another selection than the one given; run SkimJets again"
        )
    source = SkimRows.of(skims)
    first, last = (0, len(source)) if rows is None else rows
    if not 0 <= first <= last <= len(source):
        raise DataError(
            f"{skims[0]}: rows {first} to {last} were asked of a skim of {len(source)} rows; run"
            " MergeCutflows again"
        )
    start, stop = source.event_start(first), source.event_start(last)
    total = stop - start
    candidates = 0
    by_split = np.zeros(len(SPLITS), np.int64)
    with (
        atomic_file(path) as temporary,
        new_file(temporary) as file,
        ChunkWriter() as writer,
    ):
        kinematics = create_compressed(file, "jet_kinematics", total, (4,), NARROW_CHUNK_ROWS)
        tagging = create_compressed(file, "jet_tagging", total, (13,), NARROW_CHUNK_ROWS)
        particles = create_compressed(
            file,
            "PFCands",
            total,
            (selection.max_candidates, len(CANDIDATE_COLUMNS)),
            CANDIDATE_CHUNK_ROWS,
        )
        narrow = NarrowKeys(file, total)
        done = 0
        for table in source.tables(start, stop, BLOCK_ROWS):
            event_info = np.stack([column_of(table, name) for name in EVENT_COLUMNS], axis=1)
            split = assign_split(event_info, splits)
            label = np.full(len(table), dataset.label, np.int32)
            narrow.write(done, {"event_info": event_info, "label": label, "split": split})
            by_split += np.bincount(split, minlength=len(SPLITS))
            writer.write(kinematics, done, _scalars(table, KINEMATICS_COLUMNS))
            writer.write(tagging, done, _scalars(table, TAGGING_COLUMNS))
            counts, columns = _candidates(table)
            for first, padded in _padded_chunks(counts, columns, selection.max_candidates):
                writer.write(particles, done + first, padded)
            candidates += int(np.minimum(counts, selection.max_candidates).sum())
            done += len(table)
            if progress is not None:
                progress(done, total)
        if done != total:
            raise DataError(
                f"{skims[0]}: {done} rows read of {total} that the parts announce; run SkimJets"
                " again"
            )
        narrow.finish()
        _describe(file, dataset_name, dataset, selection, splits, described, attributes)
    return {
        "jets": total,
        "splits": {name: int(n) for name, n in zip(SPLITS, by_split, strict=True)},
        "candidates": candidates,
    }


class NarrowKeys:
    """Keys of a jet table that are stored plain, with checksums because no filter has them."""

    _DTYPES = {"event_info": np.int64, "label": np.int32, "split": np.int8}

    def __init__(self, file: h5py.File, rows: int) -> None:
        shapes = {"event_info": (rows, 3), "label": (rows,), "split": (rows,)}
        self.datasets = {
            key: file.create_dataset(key, shapes[key], dtype, track_times=False)
            for key, dtype in self._DTYPES.items()
        }
        self.checksums = dict.fromkeys(self.datasets, 1)

    def write(self, start: int, block: Mapping[str, NDArray[Any]]) -> None:
        for key, values in block.items():
            self.datasets[key][start : start + len(values)] = values
            self.checksums[key] = deflate.adler32(np.ascontiguousarray(values), self.checksums[key])

    def finish(self) -> None:
        for key, value in self.checksums.items():
            self.datasets[key].attrs["adler32"] = f"{value:08x}"


def _scalars(table: pa.Table, names: Sequence[str]) -> NDArray[np.float32]:
    values = np.stack([column_of(table, f"FatJet_{name}") for name in names], axis=1)
    return values + np.float32(0)


def _candidates(table: pa.Table) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    lists = [table[f"PFCands_{name}"].combine_chunks() for name in CANDIDATE_COLUMNS]
    counts = np.from_dlpack(lists[0].value_lengths()).astype(np.int64)
    return counts, [np.from_dlpack(column.flatten()) for column in lists]


def _padded_chunks(
    counts: NDArray[np.int64], columns: Sequence[NDArray[Any]], width: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """First row and padded rows of one chunk after the other: each fits the cache of a core."""
    offsets = np.concatenate([[0], np.cumsum(counts)])
    for first in range(0, len(counts), CANDIDATE_CHUNK_ROWS):
        some = counts[first : first + CANDIDATE_CHUNK_ROWS]
        begin, end = offsets[first], offsets[first + len(some)]
        yield first, pad_candidates(some, [column[begin:end] for column in columns], width)


def _describe(
    file: h5py.File,
    dataset_name: str,
    dataset: Dataset,
    selection: Selection,
    splits: Splits,
    skim: dict[str, Any],
    attributes: Mapping[str, Any],
) -> None:
    described: dict[str, Any] = {
        "dataset": dataset_name,
        "label": dataset.label,
        "is_mc": dataset.is_mc,
        "matching": dataset.matching,
        "selection": selection.model_dump(mode="json"),
        "splits": splits.model_dump(mode="json"),
        "layouts": skim["layouts"],
        "absent_columns": skim["absent_columns"],
        "replaced_values": skim["replaced_values"],
        "puppi": skim["puppi"],
        "notes": skim["notes"],
        # uri, size, checksum, uuid, entries of every file
        "source_files": skim["files"],
    } | dict(attributes)
    write_attributes(file, described)


def write_attributes(file: h5py.File, described: Mapping[str, Any]) -> None:
    """Attributes of a jet table: names of columns, format, and what else describes it.

    Text and numbers are stored as they are, everything else as JSON.
    """
    columns = {
        "event_info": EVENT_COLUMNS,
        "jet_kinematics": KINEMATICS_COLUMNS,
        "jet_tagging": TAGGING_COLUMNS,
        "PFCands": CANDIDATE_COLUMNS,
        "label": ("label",),
        "split": ("split",),
    }
    for key, names in columns.items():
        file[key].attrs["columns"] = list(names)
    file["split"].attrs["values"] = canonical_json(dict(enumerate(SPLITS)))
    described = {"format": FORMAT, "schema_version": SCHEMA_VERSION, **described}
    for key in sorted(described):
        value = described[key]
        # Text of any length: fixed attributes end at 64 KiB.
        file.attrs[key] = value if isinstance(value, str | int | float) else canonical_json(value)
