"""Parquet of others, in blocks: opened, checked and written with page checksums."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.store import atomic_file

__all__ = [
    "ParquetBlocks",
    "RowGroups",
    "columns_of",
    "flat",
    "flat_lists",
    "parquet_writer",
    "whole_numbers",
]

_ROWS = 8192


class ParquetBlocks:
    """A parquet file read in blocks of rows; page checksums are verified where there are any.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    DataError
        If it is missing, or no whole parquet file; from `blocks`, naming the rows, if damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise DataError(f"{path}: no such file; parquet was expected")
        try:
            self.file = pq.ParquetFile(path, page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{path}: not a whole parquet file ({error})") from error
        self.schema: pa.Schema = self.file.schema_arrow
        twice = sorted({n for n in self.schema.names if self.schema.names.count(n) > 1})
        if twice:
            self.file.close()
            raise DataError(f"{path}: several columns are called {', '.join(twice)}")
        self.rows = int(self.file.metadata.num_rows)

    def __enter__(self) -> "ParquetBlocks":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def blocks(self, columns: Sequence[str], rows: int = _ROWS) -> Iterator[tuple[int, pa.Table]]:
        """Number of the first row, and the rows, of one block after the other."""
        first = 0
        batches = self.file.iter_batches(rows, columns=list(columns))
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError, ValueError) as error:
                raise DataError(
                    f"{self.path}, rows {first} and on: damaged ({error}); get the file again"
                ) from error
            if batch is None:
                break
            yield first, pa.Table.from_batches([batch])
            first += len(batch)
        if first != self.rows:
            raise DataError(f"{self.path}: {first} rows, but its footer says {self.rows}")


def columns_of(path: Path) -> list[str]:
    """Names of the columns of a parquet file; none if it is no such file."""
    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return []


def flat(column: pa.ChunkedArray | pa.Array, where: str, kinds: str = "iufb") -> NDArray[Any]:
    """Values of a column without nulls.

    Parameters
    ----------
    column
        Of numbers.
    where
        File and column, for messages.
    kinds
        Kinds of numpy dtypes that are allowed.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if column.null_count:
        raise DataError(f"{where}: {column.null_count} nulls; values were expected")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        values = np.asarray(column.to_numpy(zero_copy_only=False))
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{where}: {column.type} is not numbers ({error})") from error
    if values.dtype.kind not in kinds:
        raise DataError(f"{where}: is {column.type}, which are not the numbers expected")
    return values


def whole_numbers(values: NDArray[Any], where: str, bits: int = 64) -> NDArray[np.int64]:
    """Values as int64, none of them changed by it, within so many bits.

    Raises
    ------
    DataError
        For fractions, NaN, and numbers that do not fit.
    """
    if values.dtype.kind not in "iufb":
        raise DataError(f"{where}: is {values.dtype}; whole numbers were expected")
    least, greatest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    fits = np.ones(len(values), bool)
    if values.dtype.kind == "u":
        fits = values <= np.uint64(greatest)
    elif values.dtype.kind == "i":
        fits = (values >= least) & (values <= greatest)
    elif values.dtype.kind == "f":
        # beyond 2^53 not every whole number is a float: which one was meant is not known
        fits = (np.abs(values) <= min(greatest, 2**53)) & (np.trunc(values) == values)
    if not fits.all():
        row = int(np.argmin(fits))
        raise DataError(
            f"{where}: {values[row]} in row {row} of these; whole numbers of {bits} bits were"
            " expected"
        )
    return values.astype(np.int64)


def flat_lists(
    column: pa.ChunkedArray | pa.Array, where: str, kinds: str = "iufb"
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Values and lengths of a column of lists, large lists or lists of fixed size."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_list(column.type) for is_list in lists):
        raise DataError(f"{where}: is {column.type}; lists were expected")
    if column.null_count:
        raise DataError(f"{where}: {column.null_count} rows are null; lists were expected")
    lengths = np.asarray(column.value_lengths().to_numpy(zero_copy_only=False), dtype=np.int64)
    return flat(column.flatten(), where, kinds), lengths


class RowGroups:
    """Writes tables with the columns of a schema, in any order of columns, as row groups."""

    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer
        self.written = 0

    def write(self, rows: pa.Table) -> None:
        """Add a row group."""
        schema = self._writer.schema
        self._writer.write_table(rows.select(schema.names).cast(schema))
        self.written += 1


@contextmanager
def parquet_writer(
    path: Path, schema: pa.Schema, metadata: Mapping[str, str] | None = None
) -> Iterator["RowGroups"]:
    """A writer with zstd and page checksums; the file appears when the block ends well."""
    if metadata:
        schema = schema.with_metadata({**(schema.metadata or {}), **metadata})
    with (
        atomic_file(path) as temporary,
        pq.ParquetWriter(
            temporary, schema, compression="zstd", write_page_checksum=True, version="2.6"
        ) as writer,
    ):
        groups = RowGroups(writer)
        yield groups
        if not groups.written:  # awkward opens no file without row groups
            groups.write(schema.empty_table())
