from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokens.toys import folder, jets, write
from treasure import TokenDataset
from treasure.errors import DataError
from treasure.tokens.pages import PagedTable, dictionary_columns, token_chunks
from treasure.tokens.pages import read_ids as read_chunk
from treasure.tokens.table import schema
from treasure.tokens.unpack import read_page

JETS = st.lists(st.lists(st.integers(0, 40), max_size=30), min_size=1, max_size=60)


def stored(path: Path, lists: list, codebooks: int = 1, **options: object) -> pq.ParquetFile:
    """A parquet file with these tokens."""
    if codebooks > 1:
        lists = [
            [[token + 50 * book for book in range(codebooks)] for token in jet] for jet in lists
        ]
    field = schema(codebooks).field("tokens")
    table = pa.table([pa.array(lists, field.type)], schema=pa.schema([field]))
    pq.write_table(table, path, **{"write_page_checksum": True, **options})
    return pq.ParquetFile(path, page_checksum_verification=True)


def read_ids(path: Path, file: pq.ParquetFile, number: int, kind: type = np.int32):
    chunks = token_chunks(path, file)
    return read_chunk(path, chunks[number], kind) if chunks else None


def by_arrow(file: pq.ParquetFile, group: int) -> tuple[list, list]:
    rows = file.read_row_group(group)["tokens"].to_pylist()
    return np.ravel([token for jet in rows for token in jet]).tolist(), [len(jet) for jet in rows]


@settings(max_examples=150, deadline=None)
@given(
    JETS,
    st.integers(1, 3),
    st.sampled_from(["zstd", "none"]),
    st.booleans(),
    st.integers(50, 300),
    st.integers(1, 60),
    st.sampled_from([100, 1 << 20]),
    st.sampled_from([np.int32, np.uint16]),
)
def test_what_is_read_is_what_arrow_reads(
    tmp_path_factory, lists, codebooks, compression, dictionary, page, group, limit, kind
):
    path = tmp_path_factory.getbasetemp() / "pages.parquet"
    file = stored(
        path,
        lists,
        codebooks,
        compression=compression,
        use_dictionary=dictionary,
        data_page_size=page,
        write_batch_size=7,
        dictionary_pagesize_limit=limit,  # beyond it, plain pages follow
        row_group_size=group,
    )
    for number in range(file.num_row_groups):
        found = read_ids(path, file, number, kind)
        assert found is not None
        assert found[0].dtype == kind
        ids, counts = by_arrow(file, number)
        assert found[0].tolist() == ids
        assert (found[1] // codebooks).tolist() == counts


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "snappy"},
        {"data_page_version": "2.0"},
        {"write_page_checksum": False},
        {
            "use_dictionary": False,
            "column_encoding": {"tokens.list.element": "DELTA_BINARY_PACKED"},
        },
    ],
)
def test_what_is_unusual_is_left_to_arrow(tmp_path, options):
    file = stored(tmp_path / "a.parquet", [[1, 2], [3]], **options)
    assert read_ids(tmp_path / "a.parquet", file, 0) is None


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("wrong", [-1, 65536, 2**31 - 1])
def test_ids_that_do_not_fit_are_left_to_arrow(tmp_path, dictionary, wrong):
    path = tmp_path / "a.parquet"
    file = stored(path, [[1, 2], [3, wrong]], compression="zstd", use_dictionary=dictionary)
    assert read_ids(path, file, 0, np.uint16) is None
    assert (read_ids(path, file, 0, np.int32) is None) == (wrong < 0)


@pytest.mark.parametrize("lists", [[[1, None]], [[1], None]])
def test_what_is_missing_is_left_to_arrow(tmp_path, lists):
    path = tmp_path / "a.parquet"
    table = pa.table({"tokens": pa.array(lists, pa.list_(pa.int32()))})
    pq.write_table(table, path, write_page_checksum=True)
    assert read_ids(path, pq.ParquetFile(path), 0) is None


def test_no_flipped_bit_gives_other_tokens(tmp_path):
    path = tmp_path / "a.parquet"
    lists = [row.tolist() for row in np.random.default_rng(0).integers(0, 40, (60, 9))]
    file = stored(path, lists, compression="zstd", data_page_size=200, write_batch_size=50)
    ids, counts = by_arrow(file, 0)
    column = file.metadata.row_group(0).column(0)
    whole, first = path.read_bytes(), column.dictionary_page_offset
    refused = 0
    for place in range(first, first + column.total_compressed_size):
        for bit in range(8):
            data = bytearray(whole)
            data[place] ^= 1 << bit
            path.write_bytes(data)
            found = read_ids(path, file, 0)
            refused += found is None
            assert found is None or (found[0].tolist(), found[1].tolist()) == (ids, counts)
    assert refused > 0.9 * 8 * column.total_compressed_size * 0.5
    path.write_bytes(whole[: first + 20])
    assert read_ids(path, file, 0) is None
    path.unlink()
    assert read_ids(path, file, 0) is None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 40), st.integers(0, 255), st.booleans())
def test_no_bytes_lead_beyond_a_page(data, entries, highest, plain):
    ids, counts = np.full(48, -7, dtype=np.int32), np.zeros(9, dtype=np.int64)
    content = np.frombuffer(data + bytes(8), dtype=np.uint8).copy()
    read_page(
        *(content, len(data), entries, plain, np.arange(5, dtype=np.int32), 2**31 - 1),
        *(np.array([1, highest]), ids[4:44], counts[4:5], np.zeros(3, dtype=np.int64)),
    )
    assert (ids[:4] == -7).all()
    assert (ids[44:] == -7).all()
    assert counts[:4].sum() == counts[5:].sum() == 0


@pytest.mark.parametrize("codebooks", [1, 2])
def test_files_of_the_writer_are_read_by_their_pages(tmp_path, codebooks):
    folder(tmp_path, [50], row_group=20, codebooks=codebooks)
    path = tmp_path / "part00_tokenized.parquet"
    file = pq.ParquetFile(path)
    assert all(read_ids(path, file, number) is not None for number in range(3))


@pytest.mark.parametrize("codebooks", [1, 2])
def test_a_dataset_is_the_same_when_arrow_reads_it(tmp_path, codebooks, monkeypatch):
    folder(tmp_path, [50, 3], row_group=20, codebooks=codebooks)
    by_pages = [jet["tokens"].tolist() for jet in TokenDataset(tmp_path)]
    monkeypatch.setattr(PagedTable, "ids", lambda *_: None)
    assert [jet["tokens"].tolist() for jet in TokenDataset(tmp_path)] == by_pages


def test_a_row_group_of_many_pages(tmp_path):
    path = write(tmp_path / "a.parquet", jets(60_000, longest=120))
    file = pq.ParquetFile(path)
    found = read_ids(path, file, 0)
    assert found is not None
    tokens = file.read_row_group(0, columns=["tokens"])["tokens"].combine_chunks()
    assert (found[0] == tokens.flatten().to_numpy()).all()
    assert (found[1] == np.diff(tokens.offsets.to_numpy())).all()


@pytest.mark.parametrize("dictionary", [True, False, ["split"]])
def test_columns_with_a_dictionary_are_those_that_arrow_names(tmp_path: Path, dictionary):
    path = tmp_path / "a.parquet"
    lists = pa.array([[1, 2], [3]], pa.list_(pa.int32()))
    table = pa.table({"split": ["val", "val"], "event": [1, 2], "tokens": lists})
    for rows in (2, 0):
        pq.write_table(table.slice(0, rows), path, use_dictionary=dictionary)
        group = pq.ParquetFile(path).metadata.row_group(0)
        columns = [group.column(place) for place in range(group.num_columns)]
        named = [column.path_in_schema for column in columns if column.has_dictionary_page]
        assert dictionary_columns(path) == named
    pq.ParquetWriter(path, table.schema).close()  # without a row group
    assert dictionary_columns(path) == []


def test_a_damaged_footer_has_columns_or_is_an_error(tmp_path: Path):
    path, damaged = tmp_path / "a.parquet", tmp_path / "b.parquet"
    pq.write_table(pa.table({"split": ["val"], "event": [1]}), path)
    content = path.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    refused = 0
    for byte in range(len(content) - footer, len(content) - 4):
        for bit in range(8):
            changed = bytearray(content)
            changed[byte] ^= 1 << bit
            damaged.write_bytes(changed)
            try:
                dictionary_columns(damaged)
            except DataError as error:
                assert str(error) == f"{damaged}: its footer is damaged; make the file again"
                refused += 1
    assert refused > 100
