"""The compressed token table: a parquet file in which one binary column replaces the tokens.

All other columns are those of the token table, so that any reader of parquet reads them. The first
row of each row group has the coded ids of all its rows. The metadata of the file has the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from treasure.errors import DataError, TreasureError
from treasure.store import fingerprint
from treasure.tokens.compressed.block import read_block
from treasure.tokens.compressed.model import check, from_json
from treasure.tokens.table import TokenMetadata, check_rows, schema, token_lists

__all__ = [
    "CODED",
    "FORMAT_VERSION",
    "KEY",
    "CompressedTable",
    "compressed_schema",
    "read_compressed",
]

FORMAT_VERSION = 1
KEY = "treasure_compressed_tokens"
CODED = "tokens_coded"


def compressed_schema() -> pa.Schema:
    """Columns of a compressed token table."""
    return schema().remove(len(schema()) - 1).append(pa.field(CODED, pa.binary()))


class CompressedTable:
    """Reader of a compressed token table, with what `treasure.tokens.table.TokenTable` has.

    Opening checks the format version, the columns, the vocabulary and the model; reading checks
    every page, and every block of coded ids before and after it is decoded.

    Parameters
    ----------
    path
        The parquet file.

    Attributes
    ----------
    metadata : TokenMetadata
        Of the token table that was compressed.
    counts : dict
        ``rows``, ``particles`` and the others of that table.
    variant, order : str
        See `treasure.tokens.compressed.write.write_compressed`.

    Raises
    ------
    DataError
        Naming the file that is missing, damaged, of a newer version, or no compressed table.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file; a compressed token table was expected")
        try:
            self._file = pq.ParquetFile(self.path, page_checksum_verification=True)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{self.path}: not a whole parquet file ({error})") from error
        try:
            self._describe()
        except BaseException:
            self._file.close()
            raise

    def _describe(self) -> None:
        text = (self._file.metadata.metadata or {}).get(KEY.encode())
        if text is None:
            raise DataError(
                f"{self.path}: parquet, but no compressed token table (no metadata {KEY!r})"
            )
        try:
            content = json.loads(text)
            version = content["format_version"]
            if version > FORMAT_VERSION:
                raise DataError(
                    f"{self.path}: format version {version}, this code reads up to"
                    f" {FORMAT_VERSION}; install a newer treasure"
                )
            if content.pop("checksum") != fingerprint(content):
                raise ValueError("its checksum does not fit")
            self.metadata = TokenMetadata(**content["tokens"])
            self.counts: dict[str, int] = content["counts"]
            self.variant, self.order = str(content["variant"]), str(content["order"])
            try:
                check(self.variant, self.order, self.metadata)
            except TreasureError as error:
                raise ValueError(str(error)) from error
            self._coder = from_json(content["model"], self.metadata, self.variant, self.order)
            rows = int(self.counts["rows"])
        except (
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            OSError,
            pa.ArrowException,
        ) as error:
            raise DataError(f"{self.path}: its metadata {KEY!r} is damaged ({error})") from error
        found = self._file.schema_arrow
        if not found.equals(compressed_schema(), check_metadata=False):
            differing = sorted(set(map(str, found)) ^ set(map(str, compressed_schema())))
            raise DataError(f"{self.path}: columns differ from a compressed table: {differing}")
        if rows != len(self):
            raise DataError(f"{self.path}: {len(self)} rows, but {rows} were written")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def row_groups(self) -> int:
        """Number of row groups."""
        return int(self._file.num_row_groups)

    def chunks(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Row groups, one after the other, as tables of the columns (default: all 12).

        Raises
        ------
        DataError
            Naming the rows where a page or a block is damaged, or ids are out of range.
        """
        for number in range(self.row_groups):
            yield self.row_group(number, columns)

    def row_group(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group, without reading those before; see `chunks`."""
        sizes = [self._file.metadata.row_group(i).num_rows for i in range(number + 1)]
        first, last = sum(sizes[:-1]), sum(sizes) - 1
        where = f"{self.path}, rows {first} to {last}"
        names = list(columns or schema().names)
        for name in set(names).difference(schema().names):
            raise DataError(f"{self.path}: no column {name!r}; one of {', '.join(schema().names)}")
        decode = "tokens" in names
        wanted = list(dict.fromkeys(name for name in names if name != "tokens"))
        if decode:
            wanted += [CODED] if "n_constituents" in wanted else ["n_constituents", CODED]
        try:
            table = self._file.read_row_group(number, columns=wanted)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{where}: damaged ({error}); get the file again") from error
        if not decode:
            return table.select(names)
        try:
            tokens = self._tokens(table)
        except (ValueError, OverflowError, pa.ArrowException) as error:
            raise DataError(f"{where}: damaged ({error}); get the file again") from error
        table = table.append_column(schema(self.metadata.codebooks).field("tokens"), tokens)
        check_rows(table, self.metadata, where)
        return table.select(names)

    def _tokens(self, table: pa.Table) -> pa.Array:
        blocks = table[CODED].combine_chunks().drop_null()
        counts = table["n_constituents"].to_numpy().astype(np.int64)
        if len(blocks) != 1 or not table[CODED][0].is_valid:
            raise ValueError("the coded ids are not in the first row, and only there")
        if counts.min() < 0:
            raise ValueError("n_constituents below 0")
        ids = read_block(self._coder, blocks[0].as_buffer(), counts, self.metadata.codebooks)
        return token_lists(ids, counts)


def read_compressed(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A whole compressed table (or some columns) in memory, verified; see `CompressedTable`."""
    with CompressedTable(path) as table:
        parts = list(table.chunks(columns))
        if parts:
            return pa.concat_tables(parts).unify_dictionaries()
        empty = schema(table.metadata.codebooks).empty_table()
        return empty.select(list(columns)) if columns else empty
