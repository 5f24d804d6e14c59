"""Arrays of an npz file, written and read in blocks: numpy only does it whole."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.store import atomic_file
from treasure.tokenizer.arrays import DAMAGED_NPZ

__all__ = ["NpzReader", "NpzWriter"]

_ROWS = 8192
_DATE = (1980, 1, 1, 0, 0, 0)  # the same arrays give the same bytes
_LARGEST_HEADER = 10_000


class NpzWriter:
    """Writes an npz file, compressed; it appears when the block ends well."""

    def __init__(self, path: Path) -> None:
        self._file = atomic_file(path)

    def __enter__(self) -> "NpzWriter":
        self._zip = zipfile.ZipFile(self._file.__enter__(), "w", zipfile.ZIP_DEFLATED)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._zip.close()
        except BaseException as failure:
            self._file.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._file.__exit__(kind, error, trace)

    @contextmanager
    def array(
        self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> Iterator[Callable[[NDArray[Any]], None]]:
        """A function that adds rows of an array of a shape that is known before."""
        info = zipfile.ZipInfo(f"{name}.npy", _DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        with self._zip.open(info, "w", force_zip64=True) as member:
            header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)

            def write(rows: NDArray[Any]) -> None:
                member.write(np.ascontiguousarray(rows, dtype).tobytes())

            yield write

    def add(self, name: str, values: NDArray[Any]) -> None:
        """A whole array."""
        with self.array(name, values.dtype, values.shape) as write:
            write(values)


class NpzReader:
    """Reads arrays of an npz file whole or in blocks; nothing is unpickled.

    Raises
    ------
    DataError
        If the file is missing or damaged, or an array is missing or is no plain array.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file; an npz file was expected")
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGED_NPZ as error:
            raise DataError(f"{path}: not a whole npz file ({error})") from error

    def __enter__(self) -> "NpzReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return f"{name}.npy" in self._zip.namelist()

    def shape(self, name: str, kinds: str) -> tuple[int, ...]:
        """Shape of an array whose dtype is of one of the kinds."""
        with self._open(name) as (_, shape, dtype):
            if dtype.kind not in kinds:
                raise DataError(f"{self.path}: {name} is {dtype}; whole numbers were expected")
            return shape

    def whole(self, name: str) -> NDArray[Any]:
        """All of an array."""
        with self._open(name) as (member, shape, dtype):
            values = self._take(member, name, shape, dtype)
            self._end(member, name)
            return values

    def blocks(self, name: str, rows: int = _ROWS) -> Iterator[tuple[int, NDArray[Any]]]:
        """Number of the first row, and rows, of one block after the other."""
        with self._open(name) as (member, shape, dtype):
            for first in range(0, shape[0], rows):
                some = min(rows, shape[0] - first)
                yield first, self._take(member, name, (some, *shape[1:]), dtype)
            self._end(member, name)

    @contextmanager
    def _open(self, name: str) -> Iterator[tuple[IO[bytes], tuple[int, ...], np.dtype[Any]]]:
        if name not in self:
            found = ", ".join(n.removesuffix(".npy") for n in self._zip.namelist()) or "nothing"
            raise DataError(f"{self.path}: no array {name} (found: {found})")
        try:
            member = self._zip.open(f"{name}.npy")
            version = np.lib.format.read_magic(member)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran, dtype = read(member, max_header_size=_LARGEST_HEADER)
        except DAMAGED_NPZ as error:
            raise DataError(f"{self.path}: {name} is damaged, or no array ({error})") from error
        with member:
            if dtype.hasobject or (fortran and len(shape) > 1):
                what = "objects" if dtype.hasobject else "its columns first"
                raise DataError(
                    f"{self.path}: {name} holds {what}; save it again as a plain array in C order"
                )
            yield member, shape, dtype

    def _read(self, member: IO[bytes], name: str, size: int) -> bytes:
        try:
            return member.read(size)
        except DAMAGED_NPZ as error:
            raise DataError(f"{self.path}: {name} is damaged ({error})") from error

    def _end(self, member: IO[bytes], name: str) -> None:
        """Nothing follows; the checksum is compared at the end."""
        if self._read(member, name, 1):
            raise DataError(f"{self.path}: more of {name} than its header says")

    def _take(
        self, member: IO[bytes], name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        data = self._read(member, name, size) if size else b""
        if len(data) != size:
            raise DataError(f"{self.path}: {name} ends before its last row; get the file again")
        return np.frombuffer(data, dtype).reshape(shape)
