"""The footers of real files, against what Arrow reads in them."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokens.test_table import metadata, rows
from treasure.tokens.table import TokenWriter
from treasure.tokens.thrift import read_struct


def test_a_footer_says_what_arrow_says(tmp_path: Path):
    path = tmp_path / "a.parquet"
    with TokenWriter(path, metadata(), row_group=40) as writer:
        writer.write(rows([[i % 50] * (i % 7) for i in range(100)]))
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer, size = read_struct(data[-8 - length : -8])
    described = pq.read_metadata(path)
    assert size == length
    assert footer[3] == described.num_rows == 100
    assert {pair[1]: pair[2] for pair in footer[5]} | described.metadata == described.metadata
    assert len(footer[4]) == described.num_row_groups == 3
    for number, group in enumerate(footer[4]):
        assert group[3] == described.row_group(number).num_rows
        for place, column in enumerate(group[1]):
            expected = described.row_group(number).column(place)
            found = column[3]
            assert b".".join(found[3]).decode() == expected.path_in_schema
            assert found[5] == expected.num_values
            assert found[7] == expected.total_compressed_size
            assert found[9] == expected.data_page_offset
            assert found.get(11) == expected.dictionary_page_offset


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x15\x01\x00", {1: -1}),
        (b"\x16\xac\x02\x00", {1: 150}),
        (b"\x05\x80\x02\x03\x00", {128: -2}),  # a long jump between fields
        (b"\x11\x12\x00", {1: True, 2: False}),
        (b"\x18\x03abc\x00", {1: b"abc"}),
        (b"\x19\x35\x02\x04\x06\x00", {1: [1, 2, 3]}),
        (b"\x19\x22\x01\x02\x00", {1: [1, 2]}),
        (b"\x2c\x15\x08\x00\x15\x02\x00", {2: {1: 4}, 3: 1}),
    ],
)
def test_values_of_all_kinds(data: bytes, expected: dict):
    assert read_struct(data + b"more") == (expected, len(data))


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\x15", b"\x15\x80", b"\x18\x05abc"),  # not all of it is there
        *(b"\x19\xf5\xff\xff\x03", b"\x16" + b"\x80" * 11 + b"\x00"),
        *(b"\x1b\x00", b"\x1d\x00"),  # maps, and what parquet knows nothing of
        *(b"\x1c" * 200, b"\x19" * 200),
    ],
)
def test_bytes_that_are_no_struct_are_refused(data: bytes):
    with pytest.raises(ValueError):
        read_struct(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_struct_or_refused(data: bytes):
    try:
        _, size = read_struct(data)
    except ValueError:
        return
    assert 0 < size <= len(data)
