"""The compressed token table: a parquet file in which one binary column replaces the tokens.

All other columns are those of the token table, so that any reader of parquet reads them. The first
row of each row group has the coded ids of all its rows. The metadata of the file has the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from treasure.errors import DataError, TreasureError
from treasure.tokens.checked import CheckedParquet, checked_description
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


class CompressedTable(CheckedParquet):
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

    called = "a compressed token table"

    def _describe(self) -> None:
        text = (self._file.metadata.metadata or {}).get(KEY.encode())
        if text is None:
            raise DataError(
                f"{self.path}: parquet, but no compressed token table (no metadata {KEY!r})"
            )
        try:
            content = checked_description(text, FORMAT_VERSION, self.path)
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
        self._expect(compressed_schema(), rows, "a compressed table")

    def row_group(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group, without reading those before (default: all 12 columns).

        Raises
        ------
        DataError
            Naming the rows where a page or a block is damaged, or ids are out of range.
        """
        where = self.where(number)
        names = list(columns or schema().names)
        for name in set(names).difference(schema().names):
            raise DataError(f"{self.path}: no column {name!r}; one of {', '.join(schema().names)}")
        decode = "tokens" in names
        wanted = list(dict.fromkeys(name for name in names if name != "tokens"))
        if decode:
            wanted += [CODED] if "n_constituents" in wanted else ["n_constituents", CODED]
        table = self._stored(number, wanted)
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
        return table.whole(columns, schema(table.metadata.codebooks))
