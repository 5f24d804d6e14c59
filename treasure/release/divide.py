"""Dividing a token table by split, row group by row group."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.jets.splits import SPLITS
from treasure.store import atomic_file
from treasure.tokens.pages import dictionary_columns
from treasure.tokens.table import COUNTS, ENCODINGS, ROW_GROUP, TokenTable, counts_text

__all__ = ["divide"]

_COMPRESSION_LEVEL = 9


def divide(
    shard: Path, place: Callable[[str], Path], *, row_group: int = ROW_GROUP
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Write the rows of each split of a token table to a table of its own.

    The order of rows, the columns and the metadata are kept; bytes do not depend on the row groups
    of the shard. A split without rows gets no file.

    Parameters
    ----------
    shard
        Token table with the column `split`.
    place
        Final path of the table of a split.
    row_group
        Rows a row group of what is written.

    Returns
    -------
    Rows by split (every split, zeros included), and rows by split and label.

    Raises
    ------
    DataError
        If the table is damaged, or a row has another split than train, val or test.
    """
    rows: Counter[str] = Counter()
    labels: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    with ExitStack() as stack:
        table = stack.enter_context(TokenTable(shard))
        layout = _Layout(shard)
        writers: dict[str, _SplitWriter] = {}
        for group in table.chunks():
            numbers = _split_numbers(group["split"], shard, sum(rows.values()))
            for number in np.unique(numbers):
                split = SPLITS[number]
                chosen = group.filter(pa.array(numbers == number))
                if split not in writers:
                    temporary = stack.enter_context(atomic_file(place(split)))
                    writers[split] = _SplitWriter(temporary, layout, split, row_group)
                writers[split].add(chosen)
                rows[split] += len(chosen)
                labels[split].update(_label_counts(chosen))
        for writer in writers.values():
            writer.close()
    return (
        {split: rows[split] for split in SPLITS},
        {split: dict(sorted(labels[split].items())) for split in SPLITS},
    )


class _Layout:
    """Schema of a shard with its metadata, and the columns that it encodes by dictionary."""

    def __init__(self, shard: Path) -> None:
        with pq.ParquetFile(shard) as file:
            self.schema = file.schema_arrow
            self.has_counts = COUNTS.encode() in (file.metadata.metadata or {})
        self.dictionaries = dictionary_columns(shard)
        plain = {*self.schema.names} - {*self.dictionaries}
        self.encodings = {name: kind for name, kind in ENCODINGS.items() if name in plain}


class _SplitWriter:
    """Collects the rows of one split and writes them in row groups of one size."""

    def __init__(self, path: Path, layout: _Layout, split: str, row_group: int) -> None:
        self.layout, self.split, self.row_group = layout, split, row_group
        self.waiting = layout.schema.empty_table()
        self.rows = self.particles = 0
        self.writer = pq.ParquetWriter(
            path,
            layout.schema,
            compression="zstd",
            compression_level=_COMPRESSION_LEVEL,
            use_dictionary=layout.dictionaries,
            column_encoding=layout.encodings or None,
            write_page_checksum=True,
            version="2.6",
        )

    def add(self, table: pa.Table) -> None:
        schema = self.layout.schema
        # Groups carry dictionaries of their own; one constant value needs one entry.
        index = schema.get_field_index("split")
        constant: pa.Array = pa.array([self.split] * len(table), pa.string())
        if pa.types.is_dictionary(schema.field(index).type):
            constant = constant.dictionary_encode()
        constant = constant.cast(schema.field(index).type)
        table = table.set_column(index, schema.field(index), constant).cast(schema)
        self.rows += len(table)
        self.particles += pc.sum(pc.list_value_length(table["tokens"])).as_py() or 0
        self.waiting = pa.concat_tables([self.waiting, table])
        while len(self.waiting) >= self.row_group:
            self._write(self.row_group)

    def close(self) -> None:
        if len(self.waiting):
            self._write(len(self.waiting))
        if self.layout.has_counts:
            # of a part, only these two can be known
            counts = counts_text({"rows": self.rows, "particles": self.particles})
            self.writer.add_key_value_metadata({COUNTS: counts})
        self.writer.close()

    def _write(self, rows: int) -> None:
        group = self.waiting.slice(0, rows).unify_dictionaries().combine_chunks()
        self.writer.write_table(group, row_group_size=rows)
        self.waiting = self.waiting.slice(rows)


def _split_numbers(split: pa.ChunkedArray, shard: Path, before: int) -> NDArray[Any]:
    """Positions of the splits in `SPLITS`, int32, one a row."""
    names = split.cast(pa.string())
    numbers = pc.index_in(names, value_set=pa.array(SPLITS, pa.string()))
    if numbers.null_count:
        row = int(np.flatnonzero(pc.is_null(numbers).to_numpy())[0])
        raise DataError(
            f"{shard}: row {before + row} has split {names[row].as_py()!r}; expected one of "
            f"{', '.join(SPLITS)}: only rows with a split can be released"
        )
    return numbers.to_numpy()


def _label_counts(table: pa.Table) -> dict[str, int]:
    if "label" not in table.column_names:
        return {}
    counts = pc.value_counts(table["label"]).to_pylist()
    return {str(entry["values"]): entry["counts"] for entry in counts}
