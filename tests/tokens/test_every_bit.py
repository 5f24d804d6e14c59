"""Damage that chance seldom finds: one bit of thousands, each in its turn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.tokens.test_table import metadata, rows
from treasure.errors import DataError
from treasure.tokens.compressed.table import CompressedTable
from treasure.tokens.compressed.write import write_compressed
from treasure.tokens.dataset import TokenDataset
from treasure.tokens.table import TokenTable, write_tokens

EVERY = 3  # bits; each place in a byte has its turn
JETS = [[i % 50] * (i % 7) for i in range(40)]


def of_table(path: Path) -> Any:
    with TokenTable(path) as table:
        return pa.concat_tables(table.chunks()).to_pylist(), table.metadata, table.counts


def of_compressed(path: Path) -> Any:
    with CompressedTable(path) as table:
        return pa.concat_tables(table.chunks()).to_pylist(), table.metadata, table.counts


def of_dataset(path: Path) -> Any:
    found = TokenDataset(path)[:]
    return {name: value.tolist() for name, value in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("read", [of_table, of_compressed, of_dataset])
def test_no_bit_changes_what_is_read_or_ends_the_process(
    tmp_path: Path, read: Callable[[Path], Any]
):
    path = tmp_path / "a_tokenized.parquet"
    write_tokens(path, rows(JETS), metadata())
    if read is of_compressed:
        write_compressed(path, tmp_path / "b.parquet")
        path = tmp_path / "b.parquet"
    clean, expected = path.read_bytes(), read(path)
    wrong, found = [], 0
    for place in range(0, 8 * len(clean), EVERY):
        data = bytearray(clean)
        data[place // 8] ^= 1 << place % 8
        path.write_bytes(data)
        try:
            if read(path) != expected:
                wrong.append(place)
        except DataError:
            found += 1
    assert not wrong
    assert found > len(clean)  # of 8/3 flips a byte; statistics and names of writers mean nothing
