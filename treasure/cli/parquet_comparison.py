"""Compare two parquet tables (parts of skims, token tables) column by column, row after row."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treasure.cli.row_matching import RowMatch
from treasure.cli.table_comparison import KeyComparison, TableComparison
from treasure.cli.ulp import ColumnDifference, same_bits

__all__ = ["compare_parquet"]

_BATCH_ROWS = 8192


def compare_parquet(
    a: pq.ParquetFile,
    b: pq.ParquetFile,
    *,
    ulp: int = 0,
    advance: Callable[[int], None] = lambda rows: None,
) -> TableComparison:
    """Compare two parquet tables: columns by name, rows in their order.

    Parameters
    ----------
    a, b
        Open files.
    ulp
        Floating-point numbers so far apart count as equal.
    advance
        Called with the number of rows just compared.
    """
    rows_a, rows_b = (int(file.metadata.num_rows) for file in (a, b))
    both = np.arange(min(rows_a, rows_b))
    match = RowMatch(
        "order", both, both, np.arange(len(both), rows_a), np.arange(len(both), rows_b)
    )
    names_a, names_b = a.schema_arrow.names, b.schema_arrow.names
    common = [name for name in names_a if name in names_b]
    columns = [ColumnDifference(name, ulp) for name in common]
    for column in columns:
        types = [file.schema_arrow.field(column.name).type for file in (a, b)]
        if types[0] != types[1]:
            column.note = f"{types[0]} and {types[1]}"
    key = KeyComparison(
        "",  # the columns of a parquet table belong to no key
        columns,
        [name for name in names_a if name not in names_b],
        [name for name in names_b if name not in names_a],
    )
    found = TableComparison(match, [key])
    start = 0
    for block_a, block_b in zip(_blocks(a, common), _blocks(b, common), strict=False):
        rows = min(len(block_a), len(block_b))
        differ = np.zeros(rows, bool)
        beyond = np.zeros(rows, bool)
        for column in columns:
            _compare(column, block_a[:rows], block_b[:rows], start, differ, beyond)
        found.rows_differ += int(np.count_nonzero(differ))
        found.rows_beyond += int(np.count_nonzero(beyond))
        start += rows
        advance(rows)
    return found


def _blocks(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.Table]:
    """Tables of `_BATCH_ROWS` rows, the last one shorter; row groups do not matter."""
    held: pa.Table | None = None
    for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
        table = pa.Table.from_batches([batch])
        held = table if held is None else pa.concat_tables([held, table])
        while len(held) >= _BATCH_ROWS:
            yield held.slice(0, _BATCH_ROWS)
            held = held.slice(_BATCH_ROWS)
    if held is not None and len(held):
        yield held


def _compare(
    column: ColumnDifference,
    a: pa.Table,
    b: pa.Table,
    start: int,
    differ: NDArray[np.bool_],
    beyond: NDArray[np.bool_],
) -> None:
    """Compare a block of a column, and mark the rows that differ."""
    rows_a, values_a = _flattened(a[column.name])
    rows_b, values_b = _flattened(b[column.name])
    lengths_a, lengths_b = (np.bincount(rows, minlength=len(a)) for rows in (rows_a, rows_b))
    unequal = lengths_a != lengths_b
    if unequal.any():
        where = np.flatnonzero(unequal)
        said = [
            np.array([f"{length} values" for length in lengths[where]], object)
            for lengths in (lengths_a, lengths_b)
        ]
        column.add(where + start, None, said[0], said[1])
        differ[where] = beyond[where] = True
        kept_a, kept_b = ~unequal[rows_a], ~unequal[rows_b]
        rows_a, values_a, values_b = rows_a[kept_a], values_a[kept_a], values_b[kept_b]
    column.values += len(values_a)
    different = ~same_bits(values_a, values_b)
    rows = rows_a[different]
    differ[rows] = True
    is_list = len(rows_a) != len(np.unique(rows_a))
    first = np.searchsorted(rows_a, rows)
    changed = column.add(
        rows + start,
        np.flatnonzero(different) - first if is_list else None,
        *_one_dtype(values_a[different], values_b[different]),
    )
    beyond[changed - start] = True


def _flattened(column: pa.ChunkedArray) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Values of a column, lists within lists made flat, and the row of each."""
    array = column.combine_chunks()
    rows = np.arange(len(array))
    while pa.types.is_nested(array.type) and hasattr(array, "flatten"):
        if pa.types.is_struct(array.type):
            break
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        rows = np.repeat(rows, lengths)
        array = array.flatten()
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if array.null_count or pa.types.is_nested(array.type):
        values = np.empty(len(array), object)
        values[:] = array.to_pylist()
        return rows, values
    return rows, array.to_numpy(zero_copy_only=False)


def _one_dtype(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if a.dtype == b.dtype:
        return a, b
    numeric = a.dtype.kind in "biuf" and b.dtype.kind in "biuf"
    dtype = np.result_type(a.dtype, b.dtype) if numeric else np.dtype(object)
    return a.astype(dtype), b.astype(dtype)
