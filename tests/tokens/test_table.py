import json
from pathlib import Path

import awkward as ak
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from treasure.errors import DataError
from treasure.store import checksums
from treasure.tokens.table import (
    TokenMetadata,
    TokenTable,
    TokenWriter,
    read_tokens,
    schema,
    write_tokens,
)

COLUMNS = [
    "run", "luminosityBlock", "event", "jet_index", "label", "split", "jet_pt", "jet_eta",
    "jet_phi", "jet_msoftdrop", "n_constituents", "tokens",
]  # fmt: skip


def metadata(size: int = 8192, codebooks: int = 1) -> TokenMetadata:
    return TokenMetadata(
        dataset="qcd",
        tokenizer_fingerprint="f" * 64,
        vocabulary={"size": size, "codebooks": codebooks, "specials": {}},
        features=["log_pt", "delta_eta", "delta_phi"],
        source_file="qcd_0.h5",
        source_checksum="0" * 64,
    )


def rows(tokens: list, codebooks: int = 1, seed: int = 0) -> pa.Table:
    n, rng = len(tokens), np.random.default_rng(seed)
    kinematics = {
        name: rng.normal(size=n).astype(np.float32)
        for name in ("jet_pt", "jet_eta", "jet_phi", "jet_msoftdrop")
    }
    fields = schema(codebooks)
    return pa.table(
        {
            "run": np.arange(n) + 2**40,
            "luminosityBlock": np.arange(n),
            "event": np.arange(n) * 2**33,
            "jet_index": np.arange(n, dtype=np.int32) % 3,
            "label": np.arange(n, dtype=np.int32) % 2,
            "split": pa.array([("train", "val", "test")[i % 3] for i in range(n)], pa.string()),
            **kinematics,
            "n_constituents": np.array([len(jet) for jet in tokens], dtype=np.int32),
            "tokens": pa.array(tokens, fields.field("tokens").type),
        }
    )


TOKENS = st.lists(st.lists(st.integers(0, 8191), max_size=150), max_size=30)
PAIRS = st.lists(
    st.lists(st.tuples(st.integers(0, 8191), st.integers(0, 8191)), max_size=9), max_size=9
)


@settings(max_examples=40, deadline=None)
@given(TOKENS, st.integers(1, 40))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[list[int]], group: int
):
    path = tmp_path_factory.mktemp("table") / "a_tokenized.parquet"
    table = rows(tokens)
    with TokenWriter(path, metadata(), row_group=group) as writer:
        for start in range(0, len(table), 7):
            writer.write(table.slice(start, 7))
    found = read_tokens(path)
    assert found.to_pylist() == table.to_pylist()
    with TokenTable(path) as read:
        assert len(read) == len(tokens)
        assert read.metadata == metadata()
        assert read.counts["particles"] == sum(map(len, tokens))
        assert [len(part) for part in read.chunks()] == [
            min(group, len(tokens) - start) for start in range(0, len(tokens), group)
        ]


@settings(max_examples=20, deadline=None)
@given(PAIRS)
def test_several_codebooks_a_particle(tmp_path_factory: pytest.TempPathFactory, tokens: list):
    path = tmp_path_factory.mktemp("table") / "a.parquet"
    write_tokens(path, rows(tokens, 2), metadata(codebooks=2))
    expected = [[list(pair) for pair in jet] for jet in tokens]
    assert read_tokens(path)["tokens"].to_pylist() == expected


def test_the_columns_are_those_of_the_contract(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1, 2], []]), metadata())
    plain = pq.read_table(path)
    assert plain.column_names == COLUMNS
    assert plain.schema.field("tokens").type == pa.list_(pa.int32())
    assert plain.schema.field("split").type == pa.dictionary(pa.int32(), pa.string())
    stored = json.loads(plain.schema.metadata[b"treasure_tokens"])
    assert stored["vocabulary"] == {"size": 8192, "codebooks": 1, "specials": {}}
    assert stored["features"] == ["log_pt", "delta_eta", "delta_phi"]
    assert stored["source_file"] == "qcd_0.h5"
    column = pq.ParquetFile(path).metadata.row_group(0).column(11)
    assert column.compression == "ZSTD"
    assert ak.from_parquet(path)["tokens"].tolist() == [[1, 2], []]


def test_the_same_rows_give_the_same_bytes_however_they_come(tmp_path: Path):
    table = rows([[i % 50] * (i % 7) for i in range(1000)])
    with TokenWriter(tmp_path / "a.parquet", metadata(), row_group=300) as writer:
        for start in range(0, 1000, 13):
            writer.write(table.slice(start, 13))
    with TokenWriter(tmp_path / "b.parquet", metadata(), row_group=300) as writer:
        writer.write(table)
    assert checksums(tmp_path / "a.parquet") == checksums(tmp_path / "b.parquet")


def test_a_flipped_bit_in_a_page_is_found_and_its_rows_are_named(tmp_path: Path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.parquet"
    tokens = [rng.integers(0, 8192, 30).tolist() for _ in range(400)]
    with TokenWriter(path, metadata(), row_group=200) as writer:
        writer.write(rows(tokens))
    column = pq.ParquetFile(path).metadata.row_group(1).column(11)
    clean = path.read_bytes()
    for page in (column.dictionary_page_offset, column.data_page_offset):
        data = bytearray(clean)
        data[page + 1000] ^= 4
        path.write_bytes(bytes(data))
        with pytest.raises(DataError, match=r"a\.parquet, rows 200 to 399: damaged"):
            read_tokens(path)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.integers(0, 7))
@example(0.10272942674894117, 4)  # in the header of a page: fewer values in a dictionary
@example(4413.5 / 6787, 3)  # in the footer: fewer rows in a row group
@example(3412.5 / 6787, 0)  # in the footer: fewer than no rows
def test_no_flipped_bit_ever_changes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
):
    path = tmp_path_factory.mktemp("flip") / "a.parquet"
    table = rows([[i % 50] * (i % 7) for i in range(100)])
    write_tokens(path, table, metadata())
    data = bytearray(path.read_bytes())
    data[min(int(place * len(data)), len(data) - 1)] ^= 1 << bit
    path.write_bytes(bytes(data))
    try:
        with TokenTable(path) as read:
            found, description = pa.concat_tables(read.chunks()), read.metadata
    except DataError:
        return
    # Some bits mean nothing, such as those of statistics that nobody reads.
    assert found.to_pylist() == table.to_pylist()
    assert description == metadata()


def test_what_is_no_parquet_file_is_called_by_its_name(tmp_path: Path):
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n and more")
    for name, message in (
        ("a.h5", r"a\.h5: HDF5, such as a jet table; a token table \(parquet\) was expected"),
        ("", r": a folder; a token table"),
        ("missing", r"missing: no such file"),
    ):
        with pytest.raises(DataError, match=message):
            TokenTable(tmp_path / name)


def test_a_truncated_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1]]), metadata())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet: not a whole parquet file"):
        read_tokens(path)


@pytest.mark.parametrize("bad", [-1, 16])
def test_ids_outside_the_vocabulary_are_neither_written_nor_read(tmp_path: Path, bad: int):
    path = tmp_path / "a.parquet"
    with pytest.raises(DataError, match="0 to 15"):
        write_tokens(path, rows([[1], [bad]]), metadata(16))
    assert not path.exists()
    assert not list(tmp_path.iterdir())


def test_a_count_that_differs_from_the_tokens_is_refused(tmp_path: Path):
    table = rows([[1, 2], [3]])
    wrong = table.set_column(10, "n_constituents", pa.array([2, 2], pa.int32()))
    with pytest.raises(DataError, match="n_constituents"):
        write_tokens(tmp_path / "a.parquet", wrong, metadata())


def test_missing_columns_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="do not fit"):
        write_tokens(tmp_path / "a.parquet", rows([[1]]).drop(["label"]), metadata())


def test_other_parquet_files_and_newer_versions_are_refused(tmp_path: Path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    with pytest.raises(DataError, match="no token table"):
        TokenTable(other)
    newer = TokenMetadata(**{**metadata().__dict__, "format_version": 99})
    write_tokens(tmp_path / "newer.parquet", rows([[1]]), newer)
    with pytest.raises(DataError, match="version 99"):
        TokenTable(tmp_path / "newer.parquet")
    with pytest.raises(DataError, match="no such file"):
        TokenTable(tmp_path / "nothing.parquet")


def test_some_columns_can_be_read_alone(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1], [2, 3]]), metadata())
    found = read_tokens(path, ["label", "jet_pt"])
    assert found.column_names == ["label", "jet_pt"]
    assert len(found) == 2


def altered(path: Path, change) -> Path:
    """The same rows under other metadata: `change` gets and returns the stored description."""
    table = pq.read_table(path)
    stored = dict(table.schema.metadata)
    counts = pq.ParquetFile(path).metadata.metadata[b"treasure_counts"]
    stored[b"treasure_tokens"] = change(stored[b"treasure_tokens"])
    other = path.with_name("altered.parquet")
    with pq.ParquetWriter(other, table.schema.with_metadata(stored)) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"treasure_counts": counts.decode()})
    return other


def test_metadata_that_do_not_fit_their_checksum_are_refused(tmp_path: Path):
    write_tokens(tmp_path / "a.parquet", rows([[1]]), metadata())
    assert len(TokenTable(altered(tmp_path / "a.parquet", lambda text: text))) == 1
    other = altered(tmp_path / "a.parquet", lambda text: text.replace(b'"qcd"', b'"top"'))
    with pytest.raises(DataError, match=r"damaged .*its checksum does not fit"):
        TokenTable(other)
    for text in (b"{", b"[]", b'{"format_version": 1}'):
        with pytest.raises(DataError, match="its metadata 'treasure_tokens' is damaged"):
            TokenTable(altered(tmp_path / "a.parquet", lambda _, text=text: text))


def test_counts_that_are_damaged_are_refused(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1], [2]]), metadata())
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"rows"', b'"qows"'))
    with pytest.raises(DataError, match="its metadata 'treasure_tokens' is damaged"):
        TokenTable(path)
    path.write_bytes(whole.replace(b'"clipped_particles":0', b'"clipped_particles":7'))
    with pytest.raises(DataError, match="the checksum of 'treasure_counts' does not fit"):
        TokenTable(path)


def test_counts_of_files_from_before_they_had_a_checksum_are_read(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1], [2]]), metadata())
    table = pq.read_table(path)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"treasure_counts": '{"particles":2,"rows":2}'})
    with TokenTable(path) as read:
        assert read.counts == {"rows": 2, "particles": 2}


def test_other_columns_and_a_number_of_rows_other_than_written_are_refused(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1], [2]]), metadata())
    table = pq.read_table(path)
    counts = pq.ParquetFile(path).metadata.metadata[b"treasure_counts"].decode()
    for changed, message in (
        (table.drop_columns(["label"]), r"columns differ .*label"),
        (table.slice(1), r"1 rows, but 2 were written"),
    ):
        with pq.ParquetWriter(path, changed.schema) as writer:
            writer.write_table(changed)
            writer.add_key_value_metadata({"treasure_counts": counts})
        with pytest.raises(DataError, match=message):
            TokenTable(path)


def test_ids_are_checked_again_on_reading(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1], [15]]), metadata(16))
    table = pq.read_table(path)
    counts = pq.ParquetFile(path).metadata.metadata[b"treasure_counts"].decode()
    wrong = table.set_column(
        11, table.schema.field(11), pa.array([[1], [16]], pa.list_(pa.int32()))
    )
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(wrong.cast(table.schema))
        writer.add_key_value_metadata({"treasure_counts": counts})
    with pytest.raises(DataError, match=r"rows 0 to 1: ids from 1 to 16, but .* 0 to 15"):
        read_tokens(path)


def test_rows_are_written_as_they_come_and_counted(tmp_path: Path):
    path = tmp_path / "a.parquet"
    with TokenWriter(path, metadata(), row_group=10) as writer:
        for _ in range(5):
            writer.write(rows([[1, 2]] * 10), clipped_particles=3, cut_particles=1)
            assert not path.exists() and not writer._waiting  # no more in memory than a row group
    with TokenTable(path) as table:
        counts = {"rows": 50, "particles": 100, "clipped_particles": 15, "cut_particles": 5}
        assert table.counts == counts


def test_a_writer_that_fails_at_the_end_leaves_no_file_and_says_why(tmp_path: Path):
    writer = TokenWriter(tmp_path / "a.parquet", metadata(), row_group=10)
    with pytest.raises(RuntimeError, match="the end"), writer:
        writer.write(rows([[1]]))

        def fail() -> None:
            raise RuntimeError("the end")

        close, writer._writer.close = writer._writer.close, fail
    close()
    assert not list(tmp_path.iterdir())


def test_files_are_closed_when_their_block_ends(tmp_path: Path):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1]]), metadata())
    with TokenTable(path) as table:
        pass
    with pytest.raises(DataError, match="closed file"):
        next(table.chunks())


def test_other_readers_read_the_encodings_that_are_written(tmp_path: Path):
    table = rows([[i % 50] * (i % 7) for i in range(1000)])
    write_tokens(tmp_path / "a.parquet", table, metadata())
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    encodings = {COLUMNS[n]: group.column(n).encodings for n in range(12)}
    assert "BYTE_STREAM_SPLIT" in encodings["jet_pt"]
    assert "DELTA_BINARY_PACKED" in encodings["event"]
    assert "RLE_DICTIONARY" in encodings["tokens"]
    sums = "sum(event)::DOUBLE, sum(jet_pt::DOUBLE), sum(n_constituents), sum(list_sum(tokens))"
    found = duckdb.sql(f"SELECT {sums} FROM '{tmp_path / 'a.parquet'}'").fetchall()[0]
    expected = [np.asarray(table[name]).astype(np.float64).sum() for name in ("event", "jet_pt")]
    assert found == pytest.approx(
        (*expected, sum(i % 7 for i in range(1000)), sum(i % 50 * (i % 7) for i in range(1000)))
    )


def test_a_part_of_a_table_may_not_know_what_was_lost(tmp_path: Path):
    path = tmp_path / "a.parquet"
    with TokenWriter(path, metadata()) as writer:
        writer.write(rows([[1, 2]]))
        writer.clipped_particles = writer.cut_particles = None
    with TokenTable(path) as table:
        assert table.counts == {"rows": 1, "particles": 2}
