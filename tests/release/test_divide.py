"""Dividing token tables by split."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.release.workshop import SPLITS, token_columns, write_shard
from treasure.errors import DataError
from treasure.release.divide import divide
from treasure.tokens.table import TokenTable, read_tokens, schema


@settings(max_examples=30, deadline=None)
@given(
    splits=st.lists(st.sampled_from(SPLITS), max_size=80),
    group=st.integers(1, 30),
    shard_group=st.integers(1, 30),
    codebooks=st.sampled_from([1, 3]),
)
def test_dividing_conserves_rows_order_schema_and_metadata(
    splits: list[str], group: int, shard_group: int, codebooks: int
) -> None:
    columns = token_columns(len(splits), seed=3, label=1, codebooks=codebooks)
    columns["split"] = splits
    with TemporaryDirectory() as folder:
        path = Path(folder)
        shard = path / "a_tokenized.parquet"
        write_shard(shard, columns, codebooks=codebooks, row_group=shard_group)
        rows, labels = divide(shard, lambda split: path / f"{split}.parquet", row_group=group)
        source = read_tokens(shard).to_pylist()
        assert rows == {split: splits.count(split) for split in SPLITS}
        for split in SPLITS:
            expected = [row for row in source if row["split"] == split]
            part = path / f"{split}.parquet"
            assert part.exists() == bool(expected)
            assert labels[split] == ({"1": len(expected)} if expected else {})
            if not expected:
                continue
            assert read_tokens(part).to_pylist() == expected
            with TokenTable(shard) as whole, TokenTable(part) as table:
                assert table.metadata == whole.metadata
                particles = sum(row["n_constituents"] for row in expected)
                assert table.counts == {"rows": len(expected), "particles": particles}
            with pq.ParquetFile(part) as file:
                assert file.schema_arrow.equals(schema(codebooks), check_metadata=False)
                sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            whole_groups, rest = divmod(len(expected), group)
            assert sizes == [group] * whole_groups + [rest] * (rest > 0)
        names = {"a_tokenized.parquet"} | {f"{split}.parquet" for split in splits}
        assert {p.name for p in path.iterdir()} == names


def test_bytes_do_not_depend_on_how_the_shard_was_grouped(tmp_path: Path) -> None:
    columns = token_columns(500, seed=1)
    found = []
    for group in (1000, 37):
        shard = write_shard(tmp_path / "a_tokenized.parquet", columns, row_group=group)
        divide(shard, lambda split: tmp_path / split)
        found.append([(tmp_path / split).read_bytes() for split in SPLITS])
    assert found[0] == found[1]


def test_flipped_bits_in_a_shard_never_reach_the_rows(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a_tokenized.parquet", token_columns(400, seed=1))
    original, rows = shard.read_bytes(), read_tokens(shard)
    footer = len(original) - 8 - int.from_bytes(original[-8:-4], "little")
    found = 0
    for position in range(4, footer, footer // 25):
        damaged = bytearray(original)
        damaged[position] ^= 16
        shard.write_bytes(damaged)
        try:
            divide(shard, lambda split: tmp_path / "parts" / split)
        except DataError as error:
            assert "a_tokenized.parquet" in str(error)
            found += 1
        else:  # in the header of a page, outside of its checksum, and without consequence
            for split in SPLITS:
                expected = rows.filter(pc.equal(rows["split"].cast(pa.string()), split))
                assert read_tokens(tmp_path / "parts" / split).to_pylist() == expected.to_pylist()
    assert found >= 20


def test_a_row_without_a_known_split_is_refused(tmp_path: Path) -> None:
    columns = token_columns(10, seed=1)
    columns["split"][7] = "unknown"
    shard = write_shard(tmp_path / "a_tokenized.parquet", columns, row_group=4)
    expected = "row 7 has split 'unknown'; expected one of train, val, test"
    with pytest.raises(DataError, match=expected):
        divide(shard, lambda split: tmp_path / split)


def test_a_parquet_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_tokenized.parquet"
    pq.write_table(pa.table({"split": ["train"]}), path)
    with pytest.raises(DataError, match="no token table"):
        divide(path, lambda split: tmp_path / split)


def test_a_part_is_whole_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = write_shard(tmp_path / "a_tokenized.parquet", token_columns(100, seed=1), row_group=30)
    replace, whole = os.replace, []

    def looked_at(source: Path, target: Path) -> None:
        whole.append(pq.ParquetFile(source).metadata.num_rows)
        replace(source, target)

    monkeypatch.setattr(os, "replace", looked_at)
    rows, _ = divide(shard, lambda split: tmp_path / split, row_group=7)
    assert sorted(whole) == sorted(rows.values())


def test_parts_have_page_checksums_and_full_row_groups(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a_tokenized.parquet", token_columns(300, seed=1), row_group=50)
    divide(shard, lambda split: tmp_path / split, row_group=10)
    for split in SPLITS:
        path = tmp_path / split
        found = pq.ParquetFile(path).metadata
        sizes = [found.row_group(i).num_rows for i in range(found.num_row_groups)]
        assert set(sizes[:-1]) == {10} and 0 < sizes[-1] <= 10
        column = found.row_group(0).column(11)
        assert column.has_dictionary_page and column.compression == "ZSTD"
        data = bytearray(path.read_bytes())
        data[column.data_page_offset + column.total_compressed_size // 2] ^= 4
        path.write_bytes(data)
        with pytest.raises(DataError, match="damaged"):
            read_tokens(path)
