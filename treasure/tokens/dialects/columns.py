"""Columns of others that our tables have no place for, in a parquet file of their own.

An import can put them there, row by row as in the token table, and an export can take them back.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from treasure.errors import DataError
from treasure.tokens.dialects.parquet import ParquetBlocks

__all__ = ["KeptColumns", "kept_columns"]


class KeptColumns:
    """Reads columns in portions of any size.

    Attributes
    ----------
    schema
        Of the columns.
    """

    def __init__(self, file: ParquetBlocks | None) -> None:
        self.schema = pa.schema([]) if file is None else file.schema
        self._blocks = iter(()) if file is None else file.blocks(file.schema.names)
        self._waiting = self.schema.empty_table()

    def take(self, rows: int) -> pa.Table:
        """The next rows; of no columns if there are none."""
        while len(self.schema) and len(self._waiting) < rows:
            self._waiting = pa.concat_tables([self._waiting, next(self._blocks)[1]])
        taken, self._waiting = self._waiting.slice(0, rows), self._waiting.slice(rows)
        return taken


@contextmanager
def kept_columns(path: Path | None, rows: int, reserved: Collection[str]) -> Iterator[KeptColumns]:
    """Columns that an import kept; none where there is no such file.

    Parameters
    ----------
    path
        The parquet file, or None.
    rows
        Of the table that they belong to.
    reserved
        Names that they must not have.

    Raises
    ------
    DataError
        If they belong to another table.
    """
    if path is None:
        yield KeptColumns(None)
        return
    with ParquetBlocks(path) as file:
        if file.rows != rows:
            raise DataError(
                f"{path}: columns of {file.rows} rows, but the table has {rows}; they were kept"
                " from another file"
            )
        if clash := sorted(set(file.schema.names) & set(reserved)):
            raise DataError(
                f"{path}: column {', '.join(clash)}, which the export writes itself; leave it out"
            )
        yield KeptColumns(file)
