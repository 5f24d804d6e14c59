"""Parquet files that describe themselves, and of which every page is checked when it is read."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import pyarrow as pa
import pyarrow.parquet as pq

from treasure.errors import DataError
from treasure.store import fingerprint

__all__ = ["CheckedParquet", "checked_description"]

_HDF5 = b"\x89HDF\r\n\x1a\n"


class CheckedParquet:
    """Reader of such a file; a subclass reads its description and its row groups.

    Parameters
    ----------
    path
        The parquet file.

    Raises
    ------
    DataError
        Naming the file that is missing or damaged.
    """

    called: ClassVar[str]
    """What was expected where there is no file."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            found = "a folder" if self.path.is_dir() else "no such file"
            raise DataError(f"{self.path}: {found}; {self.called} was expected")
        try:
            self._file = pq.ParquetFile(self.path, page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            with self.path.open("rb") as file:
                if file.read(len(_HDF5)) == _HDF5:
                    raise DataError(
                        f"{self.path}: HDF5, such as a jet table; {self.called} was expected"
                    ) from None
            raise DataError(f"{self.path}: not a whole parquet file ({error})") from error
        try:
            self._describe()
        except BaseException:
            self._file.close()
            raise

    def _describe(self) -> None:
        """Read and check what the file says of itself."""
        raise NotImplementedError

    def _expect(self, schema: pa.Schema, rows: int, called: str) -> None:
        """Refuse other columns and another number of rows than were described."""
        found = self._file.schema_arrow
        if not found.equals(schema, check_metadata=False):
            differing = sorted(set(map(str, found)) ^ set(map(str, schema)))
            raise DataError(f"{self.path}: columns differ from {called}: {differing}")
        described = self._file.metadata
        for rows_found in (described.num_rows, sum(self.row_groups)):
            if rows_found != rows:
                raise DataError(f"{self.path}: {rows_found} rows, but {rows} were written")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def row_groups(self) -> list[int]:
        """Rows of each row group."""
        described = self._file.metadata
        return [int(described.row_group(n).num_rows) for n in range(described.num_row_groups)]

    def where(self, number: int) -> str:
        """How messages call the rows of a row group."""
        sizes = self.row_groups
        first = sum(sizes[:number])
        return f"{self.path}, rows {first} to {first + sizes[number] - 1}"

    def row_group(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group, without reading those before, as a table of the columns (default: all).

        Raises
        ------
        DataError
            Naming the rows where something is damaged, or ids are out of range.
        """
        raise NotImplementedError

    def _stored(self, number: int, columns: Sequence[str], *, threads: bool = True) -> pa.Table:
        """Columns of a row group as they are stored.

        The checksum of a page is that of its content: what its header says is not covered, and may
        lead Arrow to values that are not there.
        """
        rows = self._file.metadata.row_group(number).num_rows
        try:
            table = self._file.read_row_group(number, columns=list(columns), use_threads=threads)
            table.validate(full=True)
            if len(table) != rows:
                raise ValueError(f"{len(table)} rows of {rows}")
            return table
        except (pa.ArrowException, OSError, ValueError) as error:
            damaged = f"{self.where(number)}: damaged ({error}); get the file again"
            raise DataError(damaged) from error

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Row groups, one after the other; see `row_group`."""
        for number in range(self._file.num_row_groups):
            yield self.row_group(number, columns)

    def whole(self, columns: Sequence[str] | None, schema: pa.Schema) -> pa.Table:
        """All rows (or some columns) in memory; of a file without rows, those of `schema`."""
        parts = list(self.chunks(columns))
        if parts:
            return pa.concat_tables(parts).unify_dictionaries()
        empty = schema.empty_table()
        return empty.select(list(columns)) if columns else empty


def checked_description(text: bytes, newest: int, path: Path) -> dict[str, Any]:
    """What a file says of itself, without its checksum.

    Raises
    ------
    DataError
        If a newer version wrote it.
    KeyError, TypeError, ValueError
        If it is damaged.
    """
    content: dict[str, Any] = json.loads(text)
    version = content["format_version"]
    if version > newest:
        raise DataError(
            f"{path}: format version {version}, this code reads up to {newest}; install a newer"
            " treasure"
        )
    if content.pop("checksum") != fingerprint(content):
        raise ValueError("its checksum does not fit")
    return content
