"""Dividing a token table by split, row group by row group."""

from collections import Counter
from collections.abc import Callable, Iterator
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

__all__ = ["COMPRESSION", "ROW_GROUP", "divide", "open_table", "token_batches"]

# Contract with readers: large enough that dictionaries and statistics cost little, small enough to
# be held in memory (about 20 MB for jets of 50 constituents).
ROW_GROUP = 100_000
COMPRESSION = "zstd"
_BATCH = 16_384


def open_table(path: Path) -> pq.ParquetFile:
    """Open a token file for reading with its page checksums verified.

    Raises
    ------
    DataError
        If it is not a parquet file with the columns `split` and `tokens`.
    """
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file ({_first_line(error)})") from None
    missing = [name for name in ("split", "tokens") if name not in table.schema_arrow.names]
    if missing:
        table.close()
        raise DataError(
            f"{path}: no column {missing[0]!r}; a token table has "
            f"{', '.join(table.schema_arrow.names) or 'none'} and needs 'split' and 'tokens'"
        )
    return table


def token_batches(
    path: Path, *, rows: int = _BATCH, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Read a token file in batches of at most `rows` rows, in order.

    Raises
    ------
    DataError
        If a page differs from its checksum, or the file cannot be read.
    """
    with open_table(path) as table:
        try:
            yield from table.iter_batches(batch_size=rows, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path}: damaged ({_first_line(error)}); make this file again"
            ) from None


def divide(
    shard: Path, place: Callable[[str], Path]
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Write the rows of each split of a token file to a file of its own.

    The order of rows, the schema and its metadata are kept. A split without rows gets no file.

    Parameters
    ----------
    shard
        Token file with the column `split`.
    place
        Final path of the file of a split.

    Returns
    -------
    Rows by split (every split, zeros included), and rows by split and label.

    Raises
    ------
    DataError
        If the file is damaged, or a row has another split than train, val or test.
    """
    rows: Counter[str] = Counter()
    labels: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    with open_table(shard) as table:
        schema = table.schema_arrow
    with ExitStack() as stack:
        writers: dict[str, _SplitWriter] = {}
        for batch in token_batches(shard):
            split_of_row = _split_numbers(batch, shard, sum(rows.values()))
            for number in np.unique(split_of_row):
                split = SPLITS[number]
                chosen = batch.filter(pa.array(split_of_row == number))
                if split not in writers:
                    temporary = stack.enter_context(atomic_file(place(split)))
                    writers[split] = _SplitWriter(temporary, schema, split)
                writers[split].add(chosen)
                rows[split] += chosen.num_rows
                labels[split].update(_label_counts(chosen))
        for writer in writers.values():
            writer.close()
    return (
        {split: rows[split] for split in SPLITS},
        {split: dict(sorted(labels[split].items())) for split in SPLITS},
    )


class _SplitWriter:
    """Collects the rows of one split and writes them in row groups of `ROW_GROUP`.

    Groups do not depend on how the rows arrive, so the bytes do not either.
    """

    def __init__(self, path: Path, schema: pa.Schema, split: str) -> None:
        self.schema, self.split = schema, split
        self.pending: list[pa.RecordBatch] = []
        self.count = 0
        self.writer = pq.ParquetWriter(
            path, schema, compression=COMPRESSION, write_page_checksum=True
        )

    def add(self, batch: pa.RecordBatch) -> None:
        # Chunks carry dictionaries of their own; one constant value needs one entry.
        index = self.schema.get_field_index("split")
        constant = pa.array([self.split] * batch.num_rows, pa.string())
        batch = batch.set_column(index, self.schema.field(index), _as(constant, self.schema, index))
        self.pending.append(batch)
        self.count += batch.num_rows
        while self.count >= ROW_GROUP:
            self._write(ROW_GROUP)

    def close(self) -> None:
        if self.count:
            self._write(self.count)
        self.writer.close()

    def _write(self, rows: int) -> None:
        table = pa.Table.from_batches(self.pending).unify_dictionaries()
        group = table.slice(0, rows).combine_chunks().replace_schema_metadata(self.schema.metadata)
        self.writer.write_table(group, row_group_size=rows)
        rest = table.slice(rows)
        self.pending, self.count = rest.to_batches(), rest.num_rows


def _as(values: pa.Array, schema: pa.Schema, index: int) -> pa.Array:
    wanted = schema.field(index).type
    encoded = values.dictionary_encode() if pa.types.is_dictionary(wanted) else values
    return encoded.cast(wanted)


def _split_numbers(batch: pa.RecordBatch, shard: Path, before: int) -> NDArray[Any]:
    """Positions of the splits in `SPLITS`, int32, one a row."""
    names = batch.column("split")
    if pa.types.is_dictionary(names.type):
        names = names.dictionary_decode()
    numbers = pc.index_in(names, value_set=pa.array(SPLITS, names.type))
    if numbers.null_count:
        row = int(np.flatnonzero(numbers.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(
            f"{shard}: row {before + row} has split {names[row].as_py()!r}; expected one of "
            f"{', '.join(SPLITS)}"
        )
    return numbers.to_numpy(zero_copy_only=False)


def _label_counts(batch: pa.RecordBatch) -> dict[str, int]:
    if "label" not in batch.schema.names:
        return {}
    counts = pc.value_counts(batch.column("label")).to_pylist()
    return {str(entry["values"]): entry["counts"] for entry in counts}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
