"""Compressed token tables: what is written is read, and what does not fit is refused."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizer.toys import SMALL, write_table
from tests.tokens.test_table import metadata, rows
from treasure.errors import ConfigError, DataError
from treasure.store import canonical_json, checksums, fingerprint
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.train import train_tokenizer
from treasure.tokens.compressed import CompressedTable, decompress, read_compressed
from treasure.tokens.compressed import write_compressed as write
from treasure.tokens.compressed.table import CODED, KEY
from treasure.tokens.compressed.write import pt_order
from treasure.tokens.table import TokenTable, TokenWriter, read_tokens, write_tokens
from treasure.tokens.tokenize import tokenize_shard

TOKENS = st.lists(st.lists(st.integers(0, 8191), max_size=40), max_size=30)
VARIANTS = ("static", "rank", "previous")


def table_of(path: Path, tokens: list, size: int = 8192, codebooks: int = 1, group: int = 200):
    with TokenWriter(path, metadata(size, codebooks), row_group=group) as writer:
        writer.write(rows(tokens, codebooks))
    return path


def many(jets: int = 400, size: int = 8192, seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [np.sort(rng.integers(0, size, n) ** 2 // size).tolist() for n in rng.poisson(30, jets)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An artefact, and a token table of it."""
    directory = tmp_path_factory.mktemp("tokenizer")
    jets = write_table(directory / "qcd_3.h5", 300, 5, label=1)
    train_tokenizer({"qcd": [jets]}, SMALL, seed=1, directory=directory / "vq", device="cpu")
    tokens = directory / "qcd_3_tokenized.parquet"
    tokenize_shard(
        jets,
        Tokenizer.load(directory / "vq"),
        tokens,
        dataset_name="qcd",
        source_checksum="ab" * 32,
    )
    return directory / "vq", tokens


@settings(max_examples=30, deadline=None)
@given(TOKENS, st.sampled_from(VARIANTS), st.integers(1, 40))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, tokens: list, variant: str, group: int
):
    directory = tmp_path_factory.mktemp("compressed")
    path = table_of(directory / "a.parquet", tokens, group=group)
    summary = write(path, directory / "b.parquet", variant=variant)
    assert read_compressed(directory / "b.parquet").equals(read_tokens(path))
    assert summary["rows"] == len(tokens)
    assert summary["particles"] == sum(map(len, tokens))
    with CompressedTable(directory / "b.parquet") as read, TokenTable(path) as original:
        assert len(read) == len(original)
        assert read.metadata == original.metadata
        assert read.counts == original.counts
        parts = [len(part) for part in original.chunks()]
        assert [len(part) for part in read.chunks()] == parts


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 100_000])
def test_small_and_large_vocabularies(tmp_path: Path, variant: str, size: int):
    path = table_of(tmp_path / "a.parquet", many(60, size), size=size)
    write(path, tmp_path / "b.parquet", variant=variant)
    assert read_compressed(tmp_path / "b.parquet").equals(read_tokens(path))


@pytest.mark.parametrize("variant", ["static", "rank"])
def test_several_codebooks_a_particle(tmp_path: Path, variant: str):
    tokens = [[[i % 7, 3 * i % 1024, 5] for i in range(n)] for n in (0, 1, 40, 80)]
    path = table_of(tmp_path / "a.parquet", tokens, 1024, 3)
    write(path, tmp_path / "b.parquet", variant=variant)
    assert read_compressed(tmp_path / "b.parquet").equals(read_tokens(path))
    with pytest.raises(ConfigError, match=r"a\.parquet: variant previous .* 3 ids each"):
        write(path, tmp_path / "c.parquet", variant="previous")
    assert not (tmp_path / "c.parquet").exists()


@pytest.mark.parametrize("variant", VARIANTS)
def test_decompressing_gives_the_bytes_of_the_original(tmp_path: Path, variant: str):
    path = tmp_path / "a.parquet"
    with TokenWriter(path, metadata()) as writer:
        writer.write(rows(many()), clipped_particles=3)
    write(path, tmp_path / "b.parquet", variant=variant)
    decompress(tmp_path / "b.parquet", tmp_path / "c.parquet")
    assert checksums(tmp_path / "c.parquet") == checksums(path)


def test_order_free_keeps_the_stored_order_with_a_correction(
    trained: tuple[Path, Path], tmp_path: Path
):
    artefact, path = trained
    write(path, tmp_path / "b.parquet", variant="order_free", tokenizer=artefact)
    assert read_compressed(tmp_path / "b.parquet").equals(read_tokens(path))


def test_order_rebuilt_is_the_order_of_the_decoded_pt(trained: tuple[Path, Path], tmp_path: Path):
    artefact, path = trained
    stored = write(path, tmp_path / "b.parquet", variant="order_free", tokenizer=artefact)
    rebuilt = write(
        path, tmp_path / "c.parquet", variant="order_free", order="rebuilt", tokenizer=artefact
    )
    assert rebuilt["bytes_of_ids"] < stored["bytes_of_ids"]
    with CompressedTable(tmp_path / "c.parquet") as table:
        assert table.order == "rebuilt"
    original, found = read_tokens(path), read_compressed(tmp_path / "c.parquet")
    assert found.drop_columns(["tokens"]).equals(original.drop_columns(["tokens"]))
    tokenizer = Tokenizer.load(artefact)
    size = tokenizer.vocabulary_size
    alone = tokenizer.decode(np.arange(size)[:, None], np.zeros((size, 3), dtype=np.float32))[:, 0]
    pt = np.hypot(np.asarray(alone["px"]), np.asarray(alone["py"]))
    for before, after in zip(
        original["tokens"].to_pylist(), found["tokens"].to_pylist(), strict=True
    ):
        assert sorted(before) == sorted(after)
        assert (np.diff(pt[after]) <= 0).all()


def test_codes_of_equal_pt_are_ordered_by_their_number(trained: tuple[Path, Path]):
    artefact, path = trained
    with TokenTable(path) as table:
        order = pt_order(artefact, table.metadata)
    assert sorted(order.tolist()) == list(range(table.metadata.size))


def test_another_tokenizer_and_none_are_refused(trained: tuple[Path, Path], tmp_path: Path):
    artefact, path = trained
    other = table_of(tmp_path / "a.parquet", many(5))
    with pytest.raises(DataError, match="but the tokens are of ffffffffff; name the artefact"):
        write(other, tmp_path / "b.parquet", tokenizer=artefact)
    with pytest.raises(ConfigError, match="order_free needs the artefact of the tokenizer"):
        write(path, tmp_path / "b.parquet", variant="order_free")
    assert not (tmp_path / "b.parquet").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "best"}, "one of static, rank, previous, order_free"),
        ({"variant": "rank", "order": "rebuilt"}, "'rebuilt' for order_free"),
        ({"order": "any"}, "'stored' is for all variants"),
    ],
)
def test_variants_and_orders_that_there_are_not(tmp_path: Path, options: dict, message: str):
    path = table_of(tmp_path / "a.parquet", [[1]])
    with pytest.raises(ConfigError, match=message):
        write(path, tmp_path / "b.parquet", **options)


def test_a_vocabulary_that_does_not_fit_the_tables_is_refused(tmp_path: Path):
    path = table_of(tmp_path / "a.parquet", [[1]], size=2**20 + 1)
    with pytest.raises(DataError, match=r"1048577 ids does not fit.*keep the parquet table"):
        write(path, tmp_path / "b.parquet")


def test_a_row_group_is_read_without_those_before(tmp_path: Path):
    path = table_of(tmp_path / "a.parquet", many())
    write(path, tmp_path / "b.parquet")
    column = pq.ParquetFile(tmp_path / "b.parquet").metadata.row_group(0).column(11)
    data = bytearray((tmp_path / "b.parquet").read_bytes())
    data[column.data_page_offset + 300] ^= 1
    (tmp_path / "b.parquet").write_bytes(bytes(data))
    with CompressedTable(tmp_path / "b.parquet") as table:
        assert table.row_groups == [200, len(table) - 200]
        assert table.row_group(1, ["tokens"]).equals(
            read_tokens(path, ["tokens"]).slice(200).combine_chunks()
        )
        with pytest.raises(DataError, match=r"b\.parquet, rows 0 to 199: damaged"):
            table.row_group(0)
        # What is not asked for is not read.
        assert len(table.row_group(0, ["label"])) == 200


def test_the_other_columns_are_plain_parquet(tmp_path: Path):
    path = table_of(tmp_path / "a.parquet", many(30))
    write(path, tmp_path / "b.parquet")
    plain = pq.read_table(tmp_path / "b.parquet")
    assert plain.column_names[-1] == CODED
    assert plain.drop_columns([CODED]).equals(read_tokens(path).drop_columns(["tokens"]))
    assert plain[CODED].null_count == 29


def test_some_columns_can_be_read_alone(tmp_path: Path):
    path = table_of(tmp_path / "a.parquet", many(30))
    write(path, tmp_path / "b.parquet")
    for names in (["tokens", "label"], ["n_constituents"], ["tokens"]):
        assert read_compressed(tmp_path / "b.parquet", names).equals(read_tokens(path, names))
    with pytest.raises(DataError, match="no column 'charm'"):
        read_compressed(tmp_path / "b.parquet", ["charm"])


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.integers(0, 7))
def test_no_flipped_bit_ever_changes_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
):
    directory = tmp_path_factory.mktemp("flip")
    path = table_of(directory / "a.parquet", many(60))
    other = directory / "b.parquet"
    write(path, other)
    data = bytearray(other.read_bytes())
    data[min(int(place * len(data)), len(data) - 1)] ^= 1 << bit
    other.write_bytes(bytes(data))
    try:
        found = read_compressed(other)
    except DataError:
        return
    assert found.equals(read_tokens(path))


def rewritten(path: Path, change_block=lambda block: block, change=lambda content: content) -> Path:
    """The same file with other blocks or metadata, and page checksums that fit."""
    table, content = (
        pq.read_table(path),
        json.loads(pq.ParquetFile(path).metadata.metadata[KEY.encode()]),
    )
    del content["checksum"]
    content = change(content)
    text = canonical_json({**content, "checksum": fingerprint(content)})
    blocks = [value if value is None else change_block(value) for value in table[CODED].to_pylist()]
    table = table.set_column(11, table.schema.field(CODED), pa.array(blocks, pa.binary()))
    other = path.with_name("other.parquet")
    with pq.ParquetWriter(other, table.schema.with_metadata(None)) as writer:
        writer.write_table(table.replace_schema_metadata(None))
        writer.add_key_value_metadata({KEY: text})
    return other


def sealed(content: bytes) -> bytes:
    return content + zlib.crc32(content).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:100] + bytes([b[100] ^ 8]) + b[101:], "checksum of the block"),
        (lambda b: b[:-4], "checksum of the block"),
        (lambda b: b[:-3], "bytes"),
        (lambda b: b"", "a block of 0 bytes"),
        (lambda b: sealed(b[:100] + bytes([b[100] ^ 8]) + b[101:-4]), "damaged"),
        (lambda b: sealed(b[:8]), "damaged"),
        (lambda b: sealed(b[:-4] + bytes(4)), "damaged"),
        (lambda b: sealed(b"\1\0\0\0" + b[4:-4]), "1 ids are coded, but n_constituents wants"),
    ],
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_bad_bytes_in_a_block_are_found_and_named(
    tmp_path: Path, variant: str, change, message: str
):
    path = table_of(tmp_path / "a.parquet", many(50))
    write(path, tmp_path / "b.parquet", variant=variant)
    other = rewritten(tmp_path / "b.parquet", change_block=change)
    with pytest.raises(DataError, match=rf"other\.parquet, rows 0 to 49: .*{message}"):
        read_compressed(other)


def test_a_block_in_another_row_is_refused(tmp_path: Path):
    path = table_of(tmp_path / "a.parquet", many(3))
    write(path, tmp_path / "b.parquet")
    table = pq.read_table(tmp_path / "b.parquet")
    text = pq.ParquetFile(tmp_path / "b.parquet").metadata.metadata[KEY.encode()]
    block = table[CODED][0].as_py()
    for cells in ([None, block, None], [block, block, None], [None] * 3):
        changed = table.set_column(11, table.schema.field(CODED), pa.array(cells, pa.binary()))
        with pq.ParquetWriter(tmp_path / "c.parquet", changed.schema) as writer:
            writer.write_table(changed)
            writer.add_key_value_metadata({KEY: text.decode()})
        with pytest.raises(DataError, match=r"rows 0 to 2: .*in the first row, and only there"):
            read_compressed(tmp_path / "c.parquet")


def array(values: np.ndarray) -> dict:
    packed = pa.compress(values.tobytes(), codec="zstd", asbytes=True)
    text = base64.b64encode(packed).decode()
    return {"dtype": values.dtype.name, "shape": list(values.shape), "zstd": text}


def set_model(name: str, **values):
    def change(content: dict) -> dict:
        content["model"][name] |= values
        return content

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {**c, "format_version": 99}, "version 99, this code reads up to 1; install"),
        (lambda c: {**c, "variant": "best"}, "best"),
        (lambda c: {**c, "model": {}}, "damaged"),
        (lambda c: {**c, "model": []}, "damaged"),
        (lambda c: {**c, "counts": {}}, "damaged"),
        (lambda c: {**c, "counts": {**c["counts"], "rows": 4}}, "50 rows, but 4 were written"),
        (set_model("codes", shape=[5]), "damaged"),
        (set_model("codes", shape=[2**40]), "damaged"),
        (set_model("codes", dtype="float64"), "damaged"),
        (set_model("codes", zstd="%%"), "damaged"),
        (set_model("codes", zstd="AAAA"), "damaged"),
        (set_model("codes", **array(np.full(8192, 81, np.uint8))), "levels that there are not"),
        (set_model("codes", **array(np.full(8192, 7, np.uint16))), "levels that there are not"),
        (set_model("bucket", **array(np.full(8192, 7, np.uint16))), "not of 8192 ids"),
        (set_model("steps", **array(np.full((33, 255), 7, np.uint8))), "steps have the shape"),
        (
            lambda c: {**c, "tokens": {**c["tokens"], "vocabulary": {"size": 9, "codebooks": 1}}},
            "damaged",
        ),
    ],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path: Path, change, message: str):
    path = table_of(tmp_path / "a.parquet", many(50))
    write(path, tmp_path / "b.parquet")
    with pytest.raises(DataError, match=rf"other\.parquet: .*{message}"):
        CompressedTable(rewritten(tmp_path / "b.parquet", change=change))


def test_other_files_are_told_apart(tmp_path: Path):
    path = table_of(tmp_path / "a.parquet", many(5))
    write(path, tmp_path / "b.parquet")
    with pytest.raises(DataError, match="no compressed token table"):
        CompressedTable(path)
    with pytest.raises(DataError, match=r"it is a compressed one, which `treasure decompress`"):
        TokenTable(tmp_path / "b.parquet")
    with pytest.raises(DataError, match="no such file"):
        CompressedTable(tmp_path / "nothing.parquet")
    (tmp_path / "c.parquet").write_bytes((tmp_path / "b.parquet").read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole parquet file"):
        CompressedTable(tmp_path / "c.parquet")


def test_an_order_that_cannot_be_kept_is_said(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("treasure.tokens.compressed.steps._LARGEST_DIGIT", 0)
    artefact, path = trained
    with pytest.raises(DataError, match=r"qcd_3_tokenized\.parquet: a particle stands .* places"):
        write(path, tmp_path / "b.parquet", variant="order_free", tokenizer=artefact)
    assert not (tmp_path / "b.parquet").exists()


def test_a_damaged_token_table_is_not_compressed(tmp_path: Path):
    path = table_of(tmp_path / "a.parquet", many(400))
    column = pq.ParquetFile(path).metadata.row_group(1).column(11)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + 1000] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"a\.parquet, rows 200 to 399: damaged"):
        write(path, tmp_path / "b.parquet")
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]


def test_ids_out_of_range_are_not_compressed(tmp_path: Path):
    path = table_of(tmp_path / "a.parquet", [[1], [15]], size=16)
    plain = pq.read_table(path)
    counts = pq.ParquetFile(path).metadata.metadata[b"treasure_counts"].decode()
    cells = pa.array([[1], [16]], pa.list_(pa.int32()))
    wrong = plain.set_column(11, plain.schema.field(11), cells).cast(plain.schema)
    with pq.ParquetWriter(path, plain.schema) as writer:
        writer.write_table(wrong)
        writer.add_key_value_metadata({"treasure_counts": counts})
    with pytest.raises(DataError, match=r"rows 0 to 1: ids from 1 to 16, but .* 0 to 15"):
        write(path, tmp_path / "b.parquet")
    assert not (tmp_path / "b.parquet").exists()


def test_without_constriction_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "a.parquet"
    write_tokens(path, rows([[1, 2]]), metadata())
    monkeypatch.setitem(__import__("sys").modules, "constriction", None)
    with pytest.raises(ConfigError, match=r"pip install 'treasure-workflow\[compression\]'"):
        write(path, tmp_path / "b.parquet")
