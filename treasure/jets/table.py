"""The jet table: HDF5 in the layout of Aspen Open Jets, read in chunks.

Layout (Amram et al., arXiv:2412.10504, and the public files): `event_info`, `jet_kinematics`,
`jet_tagging` and `PFCands`; ours add `label` and `split`. Candidates are padded with exact zeros;
a slot holds a candidate where ``E != 0``.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.jets.splits import SPLITS
from treasure.skim.record import CANDIDATE_COLUMNS, JET_COLUMNS

__all__ = [
    "CANDIDATE_COLUMNS",
    "EVENT_COLUMNS",
    "KINEMATICS_COLUMNS",
    "TAGGING_COLUMNS",
    "JetChunk",
    "JetTable",
    "jet_index",
]

EVENT_COLUMNS = ("run", "luminosityBlock", "event")
KINEMATICS_COLUMNS = JET_COLUMNS[:4]
TAGGING_COLUMNS = JET_COLUMNS[4:]

# key -> (dtype, trailing dimensions; None: any length)
_KEYS: dict[str, tuple[type, tuple[int | None, ...]]] = {
    "event_info": (np.int64, (3,)),
    "jet_kinematics": (np.float32, (4,)),
    "jet_tagging": (np.float32, (13,)),
    "PFCands": (np.float32, (None, 11)),
}
_OPTIONAL_KEYS: dict[str, tuple[type, tuple[int | None, ...]]] = {
    "label": (np.int32, ()),
    "split": (np.int8, ()),
}
UNKNOWN = -1

# What h5py raises where a file is damaged.
_DAMAGED_HDF5 = (OSError, KeyError, RuntimeError, ValueError, TypeError)


@dataclass(frozen=True, slots=True)
class JetChunk:
    """Some rows of a jet table.

    Attributes
    ----------
    event_info
        int64, (n, 3): run, luminosity block, event.
    kinematics
        float32, (n, 4): pt (GeV), eta, phi, soft-drop mass (GeV; −1: none).
    tagging
        float32, (n, 13): `TAGGING_COLUMNS`; −1 where the input has none.
    candidates
        float32, (n, M, 11), M = 150: `CANDIDATE_COLUMNS` (GeV, cm), by falling pt, zero-padded;
        a candidate is where E != 0. d0Err == −1: no track details.
    label
        int32, (n,): class of the jet; −1 in files that do not say.
    split
        int8, (n,): 0 train, 1 val, 2 test; −1 in files that do not say.
    """

    event_info: NDArray[np.int64]
    kinematics: NDArray[np.float32]
    tagging: NDArray[np.float32]
    candidates: NDArray[np.float32]
    label: NDArray[np.int32]
    split: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.event_info)

    def __getitem__(self, rows: slice | NDArray[Any]) -> "JetChunk":
        return JetChunk(*(getattr(self, field.name)[rows] for field in fields(self)))


def jet_index(event_info: NDArray[np.int64]) -> NDArray[np.int32]:
    """Number of a row among the adjacent rows of the same event: 0, 1, … (int32, shape (n,)).

    Call it on the rows of whole files: a chunk may begin inside an event.
    """
    n = len(event_info)
    if n == 0:
        return np.zeros(0, np.int32)
    first = np.ones(n, bool)
    first[1:] = (event_info[1:] != event_info[:-1]).any(axis=1)
    row = np.arange(n)
    return (row - np.maximum.accumulate(np.where(first, row, 0))).astype(np.int32)


class JetTable:
    """Reader of one jet table, ours or a public Aspen Open Jets file.

    Opening checks keys, shapes and dtypes, and the checksums of what HDF5 stores without one.

    Parameters
    ----------
    path
        The HDF5 file.

    Raises
    ------
    DataError
        If it is missing, damaged, or is not a jet table.

    Examples
    --------
    >>> with JetTable("RunG_batch0.h5") as table:
    ...     for chunk in table.chunks(10_000, split="train"):
    ...         energy = chunk.candidates[:, :, 3]
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file; a jet table (HDF5) was expected")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(
                f"{self.path}: not a readable HDF5 file ({error}); truncated or damaged, make or"
                " copy it again"
            ) from error
        try:
            self._check()
        except _DAMAGED_HDF5 as error:
            self._file.close()
            raise DataError(
                f"{self.path}: cannot be read ({error}); the file is damaged, make or copy it again"
            ) from error
        except BaseException:
            self._file.close()
            raise

    def _check(self) -> None:
        present = sorted(self._file)
        rows: int | None = None
        for key, (dtype, trailing) in (_KEYS | _OPTIONAL_KEYS).items():
            if key not in self._file:
                if key in _OPTIONAL_KEYS:
                    continue
                raise DataError(
                    f"{self.path}: no key {key!r} (found: {', '.join(present) or 'nothing'}); a jet"
                    f" table has {', '.join(_KEYS)}"
                )
            data = self._file[key]
            if not isinstance(data, h5py.Dataset):
                raise DataError(f"{self.path}: {key!r} is a group; a dataset was expected")
            fits = len(data.shape) == 1 + len(trailing) and all(
                want is None or have == want
                for have, want in zip(data.shape[1:], trailing, strict=True)
            )
            if not fits or data.dtype != dtype:
                shape = ", ".join(["N", *("M" if n is None else str(n) for n in trailing)])
                raise DataError(
                    f"{self.path}: {key!r} is {data.dtype} {data.shape}; expected"
                    f" {np.dtype(dtype)} ({shape})"
                )
            if rows is not None and len(data) != rows:
                raise DataError(
                    f"{self.path}: {key!r} has {len(data)} rows, event_info has {rows}; the file"
                    " is not whole, make it again"
                )
            rows = len(data)
        self._rows = rows or 0
        for key in self._file:
            data = self._file[key]
            # The gzip filter checks itself on reading; what is stored plain does not.
            if "adler32" in data.attrs and data.compression is None:
                self._compare(key, zlib.adler32(self._read(key, slice(None)).tobytes()))

    def _compare(self, key: str, found: int) -> None:
        expected = str(self._file[key].attrs["adler32"])
        if f"{found:08x}" != expected:
            raise DataError(
                f"{self.path}: adler32 of {key!r} is {found:08x}, written as {expected}; the file"
                " is damaged, make or copy it again"
            )

    def _read(self, key: str, rows: slice) -> NDArray[Any]:
        try:
            return np.asarray(self._file[key][rows])
        except _DAMAGED_HDF5 as error:
            raise DataError(
                f"{self.path}: {key!r} cannot be read ({error}); the file is damaged, make or copy"
                " it again"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __len__(self) -> int:
        return self._rows

    @property
    def max_candidates(self) -> int:
        """Slots for candidates in a row (150 in Aspen Open Jets)."""
        return int(self._file["PFCands"].shape[1])

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of the file: dataset, selection, sources, columns, fingerprint, …"""
        try:
            return {key: _plain(value) for key, value in sorted(self._file.attrs.items())}
        except _DAMAGED_HDF5 as error:
            raise DataError(
                f"{self.path}: its attributes cannot be read ({error}); the file is damaged, make"
                " or copy it again"
            ) from error

    def column(self, key: str) -> NDArray[Any]:
        """One whole narrow key: event_info, jet_kinematics, jet_tagging, label or split."""
        if key == "PFCands":
            raise ValueError("PFCands is read with chunks(): it may not fit the memory")
        if not self._file:  # a closed file would seem to have no key at all
            raise ValueError(f"{self.path}: the table was closed")
        if key in _OPTIONAL_KEYS and key not in self._file:
            return np.full(len(self), UNKNOWN, _OPTIONAL_KEYS[key][0])
        return self._read(key, slice(None))

    def chunks(self, rows: int = 10_000, split: str | None = None) -> Iterator[JetChunk]:
        """Read the table from the first row to the last.

        Parameters
        ----------
        rows
            Rows read at a time (6.6 kB each in memory).
        split
            "train", "val" or "test": only its rows, so that chunks are shorter. None: all rows.

        Raises
        ------
        DataError
            If a part cannot be read, or a split is asked of a file without splits.
        """
        if split is not None:
            if split not in SPLITS:
                raise ValueError(f"split is {split!r}; one of {', '.join(SPLITS)} is allowed")
            if "split" not in self._file:
                raise DataError(f"{self.path}: no key 'split', so its {split} rows are not known")
        for start in range(0, len(self), rows):
            window = slice(start, min(start + rows, len(self)))
            if split is None:
                yield self._chunk(window)
                continue
            wanted = self._read("split", window) == SPLITS.index(split)
            if wanted.any():
                yield self._chunk(window)[wanted]

    def _chunk(self, rows: slice) -> JetChunk:
        def optional(key: str) -> NDArray[Any]:
            if key in self._file:
                return self._read(key, rows)
            return np.full(rows.stop - rows.start, UNKNOWN, _OPTIONAL_KEYS[key][0])

        return JetChunk(
            event_info=self._read("event_info", rows),
            kinematics=self._read("jet_kinematics", rows),
            tagging=self._read("jet_tagging", rows),
            candidates=self._read("PFCands", rows),
            label=optional("label"),
            split=optional("split"),
        )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value
