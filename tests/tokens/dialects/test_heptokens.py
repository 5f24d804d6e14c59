"""HEPTokens in parquet, read back by code that is written from its description alone."""

import json
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from tests.tokens.dialects.toys import COUNTS, SIZES, codes, token_table
from treasure.errors import DataError
from treasure.tokens.dialects import Options, export_file, import_file
from treasure.tokens.table import read_tokens


def read_as_described(path: Path) -> list[list[int]]:
    """Codes of the jets of a file: cls 1, 4 + code, sep 2 if there is room, pad 0."""
    table = pq.read_table(path)
    size = json.loads(table.schema.metadata[b"heptokens_token_vocabulary"])["vocab_size"] - 4
    jets = []
    for tokens, mask, types in zip(
        *(table[name].to_pylist() for name in ("tokens", "mask", "type_ids")), strict=True
    ):
        assert len(tokens) == len(mask) == len(types) == 128
        real = [token for token, kept in zip(tokens, mask, strict=True) if kept]
        assert tokens == real + [0] * (128 - len(real))
        assert real[0] == 1
        inner = real[1:-1] if real[-1] == 2 else real[1:]
        assert len(real) == 128 or real[-1] == 2
        assert types == [0] + [9] * len(inner) + [0] * (127 - len(inner))
        jets.append([token - 4 for token in inner])
        assert all(0 <= code < size for code in jets[-1])
    return jets


@settings(max_examples=40, deadline=None)
@given(COUNTS, SIZES)
def test_a_reader_of_the_description_finds_the_first_127_codes_of_every_jet(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], size: int
):
    folder = tmp_path_factory.mktemp("heptokens")
    jets = codes(counts, size)
    source = token_table(folder / "a.parquet", jets, size, labels=list(range(len(jets))))
    out = folder / "out.parquet"
    report = export_file(source, out, "heptokens")
    expected = [jet[:127].tolist() for jet in jets]
    assert read_as_described(out) == expected
    assert pq.read_table(out)["label"].to_pylist() == list(range(len(jets)))
    assert report.jets == len(jets) and report.particles == sum(map(len, expected))
    lost, cut = sum(max(c - 127, 0) for c in counts), sum(c > 127 for c in counts)
    full = sum(count >= 127 for count in counts)
    assert (f"{lost:,} particles of {cut:,} jets with more than 127" in report.losses) == (lost > 0)
    assert (f"sep of {full:,} jets, which fill all 128 positions" in report.losses) == (full > 0)
    vocabulary = json.loads((folder / "out.vocab.json").read_text())
    assert vocabulary["vocab_size"] == size + 4
    stored = pq.read_schema(out).metadata[b"heptokens_token_vocabulary"]
    assert json.loads(stored) == vocabulary


@settings(max_examples=40, deadline=None)
@given(COUNTS, SIZES)
def test_what_is_imported_is_what_was_exported_and_is_exported_again_the_same(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], size: int
):
    folder = tmp_path_factory.mktemp("heptokens")
    jets = codes(counts, size)
    labels = [number % 3 for number in range(len(jets))]
    source = token_table(folder / "a.parquet", jets, size, labels=labels)
    out, back, again = (folder / f"{name}.parquet" for name in ("out", "back", "again"))
    export_file(source, out, "heptokens")
    import_file(out, back)
    found = read_tokens(back)
    assert found["tokens"].to_pylist() == [jet[:127].tolist() for jet in jets]
    assert found["label"].to_pylist() == labels
    assert found["event"].to_pylist() == [10 + number for number in range(len(jets))]
    export_file(back, again, "heptokens")
    first, second = (pq.read_table(path).drop_columns(["source_file"]) for path in (out, again))
    assert second.equals(first)


def test_the_full_file_is_imported_to_the_expected_codes_and_exported_again_equal(
    shared: Path, tmp_path: Path
):
    source = shared / "reference/dialects/heptokens/tokens_full.parquet"
    expected = np.load(source.with_name("expected.npz"))
    table, kept, out = (tmp_path / f"{name}.parquet" for name in ("t", "kept", "out"))
    import_file(source, table, options=Options(columns=kept))
    found = read_tokens(table)
    particle = expected["type_ids"] == 9
    assert list(chain(*found["tokens"].to_pylist())) == (expected["tokens"][particle] - 4).tolist()
    assert found["n_constituents"].to_pylist() == particle.sum(axis=1).tolist()
    assert found["label"].to_pylist() == expected["labels"].tolist()
    export_file(table, out, "heptokens", Options(columns=kept))
    first, second = pq.read_table(source), pq.read_table(out)
    assert second.schema.equals(first.schema, check_metadata=True)
    for name in first.column_names:  # NaN is not equal to itself
        assert repr(second[name].to_pylist()) == repr(first[name].to_pylist()), name
    for name in ("tokens", "mask", "type_ids"):
        assert np.array_equal(np.array(second[name].to_pylist()), expected[name])
    vocabulary = json.loads(source.with_name("tokens_full.vocab.json").read_text())
    assert json.loads((tmp_path / "out.vocab.json").read_text()) == vocabulary


def test_the_least_that_is_accepted_is_imported_and_exported_again_equal(
    shared: Path, tmp_path: Path
):
    source = shared / "reference/dialects/heptokens/tokens_minimal.parquet"
    table, out = tmp_path / "t.parquet", tmp_path / "out.parquet"
    with pytest.raises(DataError, match="does not say how many codes"):
        import_file(source, table)
    report = import_file(source, table, options=Options(vocabulary=8192))
    assert "class -1: the file has no column label" in report.notes
    export_file(table, out, "heptokens")
    first, second = pq.read_table(source), pq.read_table(out)
    for name in ("tokens", "mask"):
        assert second[name].to_pylist() == first[name].to_pylist()


def test_the_codes_of_both_samples_are_those_of_the_codebook(shared: Path, tmp_path: Path):
    folder = shared / "reference/dialects/heptokens"
    expected = np.load(folder / "expected.npz")
    import_file(folder / "tokens_full.parquet", tmp_path / "t.parquet")
    codebook = np.load(folder / "tokens.npz")["codebooks"][0]
    found = np.concatenate(read_tokens(tmp_path / "t.parquet")["tokens"].to_pylist())
    # The readers look constituents up by position, one place before the sequence with cls.
    counts = (expected["type_ids"] == 9).sum(axis=1)
    z_q = expected["z_q"]
    assert np.array_equal(
        codebook[found.astype(int)], np.concatenate([z_q[i, :n] for i, n in enumerate(counts)])
    )


VARIANTS = [
    ("tokens", "mask", pa.list_(pa.int64())),
    ("input_ids", "attention_mask", pa.large_list(pa.int32())),
    ("tokens", "attention_mask", pa.list_(pa.int16(), 8)),
    ("input_ids", "mask", pa.large_list(pa.uint64())),
]


@pytest.mark.parametrize(("tokens", "mask", "kind"), VARIANTS)
def test_all_accepted_names_and_kinds_of_lists_and_lengths_are_read(
    tmp_path: Path, tokens: str, mask: str, kind: pa.DataType
):
    rows = [[1, 4, 19, 2, 0, 0, 0, 0], [1, 5, 6, 7, 8, 9, 10, 11], [1, 2, 0, 0, 0, 0, 0, 0]]
    masks = [[bool(token) for token in row] for row in rows]
    columns = {tokens: pa.array(rows, kind), mask: pa.array(masks, pa.list_(pa.bool_()))}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    report = import_file(
        tmp_path / "a.parquet", tmp_path / "t.parquet", options=Options(vocabulary=16)
    )
    found = read_tokens(tmp_path / "t.parquet")
    assert found["tokens"].to_pylist() == [[0, 15], [1, 2, 3, 4, 5, 6, 7], []]
    assert "1 jets fill their row, and may have lost particles" in report.notes


GOOD = [[1, 4, 5, 2, 0, 0], [1, 4, 2, 0, 0, 0]]


def write(path: Path, rows: list, masks: list | None = None, types: list | None = None) -> Path:
    columns = {"tokens": pa.array(rows, pa.list_(pa.int64()))}
    if masks is None:
        masks = [[token != 0 for token in row] for row in rows]
    columns["mask"] = pa.array(masks, pa.list_(pa.bool_()))
    if types is not None:
        columns["type_ids"] = pa.array(types, pa.list_(pa.int64()))
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("rows", "masks", "types", "message"),
    [
        ([GOOD[0], [1, 20, 2, 0, 0, 0]], None, None, r"row 1: token 20 .* of 16 codes has 4 to 19"),
        ([GOOD[0], [1, 3, 2, 0, 0, 0]], None, None, r"row 1: token 3 among the constituents"),
        ([GOOD[0], [1, -4, 2, 0, 0, 0]], None, None, r"row 1: token -4 among the constituents"),
        ([GOOD[0], [1, 2, 4, 2, 0, 0]], None, None, r"row 1: token 2 among the constituents"),
        ([GOOD[0], [2, 4, 2, 0, 0, 0]], None, None, r"row 1: does not begin with 1"),
        ([GOOD[0], [1, 4, 4, 0, 0, 0]], None, None, r"row 1: does not end with 2"),
        ([GOOD[0], [1, 0, 4, 2, 0, 0]], None, None, r"row 1: its mask has a hole"),
        ([GOOD[0], [0, 0, 0, 0, 0, 0]], None, None, r"row 1: no token at all"),
        ([GOOD[0], [1, 4, 2, 0, 0]], None, None, r"row 1 has 5 positions, the others 6"),
        (GOOD, [[True] * 4 + [False] * 2] * 2, None, r"row 1: does not end with 2"),
        (GOOD, [[True] * 2 + [False] * 4] * 2, None, r"row 0: tokens other than 0 \(pad\)"),
        (GOOD, [[True] * 4] * 2, None, r"row 0 has 4 positions, the others 6"),
        (GOOD, None, [[0, 9, 9, 0, 0, 0]] * 2, r"row 1: type_ids other than 9"),
        (GOOD, None, [[0, 8, 8, 0, 0, 0], [0, 8, 0, 0, 0, 0]], r"row 0: type_ids other than 9"),
        ([GOOD[0], None], [[True] * 6] * 2, None, r"1 rows are null"),
    ],
)
def test_rows_that_break_the_description_are_refused(
    tmp_path: Path, rows: list, masks: list | None, types: list | None, message: str
):
    source = write(tmp_path / "a.parquet", rows, masks, types)
    with pytest.raises(DataError, match=message):
        import_file(source, tmp_path / "t.parquet", options=Options(vocabulary=16))
    assert not (tmp_path / "t.parquet").exists()


def test_a_file_of_gabbro_is_not_one_of_heptokens(shared: Path, tmp_path: Path):
    source = shared / "reference/dialects/gabbro/ZJetsToNuNu_000_tokenized.parquet"
    with pytest.raises(DataError, match="tokens or input_ids was expected"):
        import_file(source, tmp_path / "t.parquet", "heptokens", Options(vocabulary=8192))


def test_vocabularies_that_differ_or_are_of_another_kind_are_refused(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", codes([3, 4], 64), 64)
    out, table = tmp_path / "out.parquet", tmp_path / "t.parquet"
    export_file(source, out, "heptokens")
    with pytest.raises(DataError, match=r"128 \(--vocabulary\), 64 \(metadata of the file\)"):
        import_file(out, table, options=Options(vocabulary=128))
    beside = tmp_path / "out.vocab.json"
    content = json.loads(beside.read_text())
    content["objects"]["tracks"]["quantizers"][0]["base"] = 5
    for changed in (content, [], {"objects": {"tracks": {"codebook_size": "64"}}}, {}):
        beside.write_text(json.dumps(changed))
        with pytest.raises(DataError, match=r"out\.vocab\.json: not a vocabulary of pad 0"):
            import_file(out, table)
    beside.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        import_file(out, table)
    beside.unlink()
    import_file(out, table)


def test_kept_columns_of_another_file_are_refused(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", codes([3, 4], 64), 64)
    kept, out = tmp_path / "kept.parquet", tmp_path / "out.parquet"
    pq.write_table(pa.table({"dsid": [1, 2, 3]}), kept)
    with pytest.raises(DataError, match="columns of 3 rows, but the table has 2"):
        export_file(source, out, "heptokens", Options(columns=kept))
    pq.write_table(pa.table({"label": [1, 2]}), kept)
    with pytest.raises(DataError, match="column label, which the export writes itself"):
        export_file(source, out, "heptokens", Options(columns=kept))
    assert not out.exists()


def test_several_codes_a_particle_are_refused(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", codes([3], 64, 2), 64, codebooks=2)
    with pytest.raises(DataError, match="Export to heptokens-npz"):
        export_file(source, tmp_path / "out.parquet", "heptokens")


def test_jets_of_many_blocks_stay_in_their_order(tmp_path: Path):
    jets = codes([(row * 7) % 4 for row in range(20_000)], 8192)
    source = token_table(tmp_path / "a.parquet", jets, 8192)
    out = tmp_path / "out.parquet"
    export_file(source, out, "heptokens")
    import_file(out, tmp_path / "t.parquet")
    found = read_tokens(tmp_path / "t.parquet")
    assert found["event"].to_pylist() == list(range(10, 20_010))
    assert found["tokens"].to_pylist() == [jet.tolist() for jet in jets]


def test_columns_that_come_twice_and_numbers_that_do_not_fit_are_refused(tmp_path: Path):
    source = write(tmp_path / "a.parquet", GOOD)
    table = pq.read_table(source)
    for changed, message in (
        (table.append_column("mask", table["mask"]), "several columns are called mask"),
        (table.append_column("label", pa.array([0, 2**31])), "label: 2147483648 in row 1"),
        (table.append_column("event_index", pa.array([0, 2**63], pa.uint64())), "event_index: 9"),
        (table.append_column("input_ids", table["tokens"]), "one of tokens or input_ids was"),
    ):
        pq.write_table(changed, source)
        with pytest.raises(DataError, match=message):
            import_file(source, tmp_path / "t.parquet", "heptokens", Options(vocabulary=16))
