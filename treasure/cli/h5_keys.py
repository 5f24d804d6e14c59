"""Keys and columns of an HDF5 file with jets: ours, a public one, or one that lacks something.

`treasure.jets.table.JetTable` reads whole jet tables only; looking at files and comparing them must
also work where a key is missing, wider, or of another type.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.jets.table import (
    CANDIDATE_COLUMNS,
    EVENT_COLUMNS,
    KINEMATICS_COLUMNS,
    TAGGING_COLUMNS,
)

__all__ = ["BLOCK_ROWS", "CANDIDATES", "OPTIONAL", "H5File", "Key", "unit_of"]

BLOCK_ROWS = 8192  # 54 MB of an Aspen Open Jets file
CANDIDATES = "PFCands"
OPTIONAL = ("label", "split")  # keys that public files do not have

# The format's keys in its order. Public files have no attributes: this is how columns are known.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "event_info": EVENT_COLUMNS,
    "jet_kinematics": KINEMATICS_COLUMNS,
    "jet_tagging": TAGGING_COLUMNS,
    CANDIDATES: CANDIDATE_COLUMNS,
    "label": ("label",),
    "split": ("split",),
}
_NEEDED = ("event_info", "jet_kinematics", CANDIDATES)  # that make a file a table of jets
_UNITS = (
    dict.fromkeys(("pt", "msoftdrop", "particleNet_mass", "px", "py", "pz", "E"), "GeV")
    | dict.fromkeys(("d0", "d0Err", "dz", "dzErr"), "cm")
    | {"phi": "rad", "charge": "e"}
)


def unit_of(column: str) -> str:
    """Unit of a column of the format; empty where it has none, or is not known."""
    return _UNITS.get(column, "")


@dataclass(frozen=True, slots=True)
class Key:
    """One dataset of the file.

    Attributes
    ----------
    name, shape, dtype
        As h5py gives them.
    filter
        Compression, such as "gzip 4"; empty for none.
    columns
        Names of the last axis; a single one if the key has one axis.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    filter: str
    columns: tuple[str, ...]

    @property
    def is_numeric(self) -> bool:
        """Whether its values are integers, booleans or floating-point numbers."""
        return self.dtype.kind in "biuf"

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return math.prod(self.shape) * self.dtype.itemsize


class H5File:
    """An HDF5 file and its keys; use it in a with block.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    keys : dict of str to Key
        Those of the format first, in its order.
    is_jet_table : bool
        Whether it has events, jets and their candidates.

    Raises
    ------
    DataError
        If it is missing or cannot be read as HDF5.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise DataError(f"{path}: cannot be read as HDF5: {error}") from None
        names = [name for name in self._file if isinstance(self._file[name], h5py.Dataset)]
        known = [name for name in _COLUMNS if name in names]
        others = [name for name in names if name not in _COLUMNS]
        self.keys = {name: self._key(name) for name in known + others}
        self.is_jet_table = set(_NEEDED) <= set(self.keys)

    def _key(self, name: str) -> Key:
        data = self._file[name]
        level = "" if data.compression_opts is None else f" {data.compression_opts}"
        width = data.shape[-1] if data.ndim > 1 else 1
        said = [str(column) for column in np.ravel(data.attrs.get("columns", []))]
        known = list(_COLUMNS.get(name, (name,)))
        columns = said if len(said) == width else known
        if len(columns) != width:
            columns = [f"column {number}" for number in range(width)]
        return Key(name, data.shape, data.dtype, f"{data.compression or ''}{level}", tuple(columns))

    def check_jet_table(self) -> None:
        """Raise DataError unless it is a table of jets whose keys are equally long."""
        if not self.is_jet_table:
            raise DataError(
                f"{self.path}: not a jet table: it lacks"
                f" {', '.join(name for name in _NEEDED if name not in self.keys)}"
                f" (found: {', '.join(self.keys) or 'no keys'})"
            )
        for name, dimensions in {"event_info": 2, "jet_kinematics": 2, CANDIDATES: 3}.items():
            if len(self.keys[name].shape) != dimensions or not self.keys[name].is_numeric:
                raise DataError(
                    f"{self.path}: not a jet table: {name!r} is {self.keys[name].dtype} of shape"
                    f" {self.keys[name].shape}, {dimensions} axes of numbers were expected"
                )
        for key in self.keys.values():
            if not key.shape or key.shape[0] != len(self):
                raise DataError(
                    f"{self.path}: {key.name!r} has shape {key.shape}, event_info has {len(self)}"
                    " rows; the file is not whole"
                )

    def __len__(self) -> int:
        return int(self.keys["event_info"].shape[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def attributes(self) -> dict[str, Any]:
        """Attributes of the file, and those of its keys as ``key.name``."""
        found = {name: _plain(value) for name, value in sorted(self._file.attrs.items())}
        for key in self.keys:
            for name, value in sorted(self._file[key].attrs.items()):
                found[f"{key}.{name}"] = _plain(value)
        return found

    def read(self, key: str, start: int, stop: int) -> NDArray[Any]:
        """Rows of a key, one after the other."""
        try:
            return np.asarray(self._file[key][start:stop])
        except OSError as error:
            raise DataError(
                f"{self.path}: {key!r} cannot be read ({error}); the file is damaged, make or copy"
                " it again"
            ) from None

    def take(self, key: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Rows of a key in any order; never more than a block beyond them in memory."""
        if len(rows) == 0:
            return self.read(key, 0, 0)
        first, last = int(rows[0]), int(rows[-1])
        if last - first + 1 == len(rows) and bool((np.diff(rows) == 1).all()):
            return self.read(key, first, last + 1)
        taken = np.empty((len(rows), *self.keys[key].shape[1:]), self.keys[key].dtype)
        window = rows // BLOCK_ROWS
        for number in np.unique(window):
            here = window == number
            start = int(number) * BLOCK_ROWS
            taken[here] = self.read(key, start, start + BLOCK_ROWS)[rows[here] - start]
        return taken


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value
