"""HEPTokens in npz, read back by code that is written from its description alone."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokens.dialects.toys import COUNTS, codes, token_table
from treasure.errors import DataError
from treasure.tokens.dialects import Options, export_file, import_file
from treasure.tokens.table import read_tokens


def codebook(path: Path, size: int, codebooks: int = 1) -> Path:
    rng = np.random.default_rng(size)
    values = rng.normal(size=(codebooks, size, 3)).astype(np.float32)
    np.savez(path, codebooks=values)
    return path


def read_as_described(path: Path) -> tuple[list, dict[str, np.ndarray]]:
    """Codes of each jet, where an index is not -1."""
    arrays = dict(np.load(path))
    indices = arrays["indices"]
    assert indices.dtype == np.int16 and indices.shape[1] == 128
    assert arrays["labels"].dtype == np.int8 and arrays["eventNumber"].dtype == np.int64
    assert arrays["codebooks"].dtype == np.float32
    jets = [jet[jet[:, 0] != -1].tolist() for jet in indices]
    assert all((jet[len(kept) :] == -1).all() for jet, kept in zip(indices, jets, strict=True))
    return jets, arrays


@settings(max_examples=40, deadline=None)
@given(COUNTS, st.sampled_from([1, 2, 64, 32767]), st.integers(1, 3))
def test_a_reader_of_the_description_finds_the_first_128_codes_and_they_come_back(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], size: int, number: int
):
    folder = tmp_path_factory.mktemp("npz")
    jets = codes(counts, size, number)
    labels = [(-128, 127, 0)[i % 3] for i in range(len(jets))]
    source = token_table(folder / "a.parquet", jets, size, codebooks=number, labels=labels)
    book = codebook(folder / "book.npz", size, number)
    out, back, again = folder / "out.npz", folder / "back.parquet", folder / "again.npz"
    report = export_file(source, out, "heptokens-npz", Options(codebook=book))
    found, arrays = read_as_described(out)
    assert found == [jet[:128].reshape(-1, number).tolist() for jet in jets]
    assert arrays["labels"].tolist() == labels
    assert arrays["eventNumber"].tolist() == [10 + row for row in range(len(jets))]
    assert np.array_equal(arrays["codebooks"], np.load(book)["codebooks"])
    lost = sum(max(count - 128, 0) for count in counts)
    assert any(f"{lost:,} particles of" in loss for loss in report.losses) == (lost > 0)
    import_file(out, back)
    assert read_tokens(back)["tokens"].to_pylist() == [jet[:128].tolist() for jet in jets]
    assert read_tokens(back)["label"].to_pylist() == labels
    export_file(back, again, "heptokens-npz", Options(codebook=out))
    assert again.read_bytes() == out.read_bytes()


def test_the_sample_is_imported_to_the_expected_codes_and_exported_again_equal(
    shared: Path, tmp_path: Path
):
    source = shared / "reference/dialects/heptokens/tokens.npz"
    expected = np.load(source.with_name("expected.npz"))
    table, out = tmp_path / "t.parquet", tmp_path / "out.npz"
    report = import_file(source, table)
    found = read_tokens(table)
    particle = expected["type_ids"] == 9
    assert list(chain(*found["tokens"].to_pylist())) == (expected["tokens"][particle] - 4).tolist()
    assert found["label"].to_pylist() == expected["labels"].tolist()
    assert "the codebook, which belongs to a tokenizer" in report.losses
    export_file(table, out, "heptokens-npz", Options(codebook=source))
    first, second = np.load(source), np.load(out)
    assert sorted(first.files) == sorted(second.files)
    for name in first.files:
        assert second[name].dtype == first[name].dtype
        assert np.array_equal(second[name], first[name])


def test_a_vocabulary_that_int16_does_not_hold_is_refused(tmp_path: Path):
    for size in (32768, 2**31 - 1):
        source = token_table(tmp_path / "a.parquet", codes([3], size), size)
        with pytest.raises(DataError, match=r"holds 32767 at most; export to heptokens \(int64\)"):
            export_file(source, tmp_path / "out.npz", "heptokens-npz")
    assert not (tmp_path / "out.npz").exists()


def test_a_label_that_int8_does_not_hold_is_refused(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", codes([3], 64), 64, labels=[187])
    book = codebook(tmp_path / "book.npz", 64)
    with pytest.raises(DataError, match="classes from 187 to 187"):
        export_file(source, tmp_path / "out.npz", "heptokens-npz", Options(codebook=book))
    assert not (tmp_path / "out.npz").exists()


def test_a_codebook_is_needed_and_must_fit(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", codes([3], 64), 64)
    out = tmp_path / "out.npz"
    with pytest.raises(DataError, match="give the --tokenizer that made them, or a --codebook"):
        export_file(source, out, "heptokens-npz")
    for size, number in ((32, 1), (64, 2)):
        book = codebook(tmp_path / "book.npz", size, number)
        with pytest.raises(DataError, match=rf"has {number} of {size}; give the one that made"):
            export_file(source, out, "heptokens-npz", Options(codebook=book))
    export_file(source, out, "heptokens-npz", Options(codebook=codebook(tmp_path / "b.npz", 64)))
    other = tmp_path / "other.npz"
    np.savez(other, codebook=np.zeros((64, 3), np.float32))
    with pytest.raises(DataError, match=r"its codebooks are not those of .*other\.npz"):
        import_file(out, tmp_path / "t.parquet", options=Options(codebook=other))
    np.savez(other, something=np.zeros(3))
    with pytest.raises(DataError, match="a codebook was expected"):
        import_file(out, tmp_path / "t.parquet", options=Options(codebook=other))


GOOD = {
    "indices": np.array([[[3], [1], [-1]], [[0], [-1], [-1]]], np.int16),
    "labels": np.array([0, 1], np.int8),
    "codebooks": np.zeros((1, 4, 2), np.float32),
    "eventNumber": np.array([7, 8]),
}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"indices": np.array([[[3]], [[4]]], np.int16)}, r"row 1: code 4, but a vocabulary of 4"),
        ({"indices": np.array([[[3]], [[-2]]], np.int16)}, r"row 1: code -2"),
        ({"indices": np.array([[[3], [1]], [[-1], [1]]])}, r"row 1: -1 among the particles"),
        ({"indices": np.array([[3, 1], [1, 1]])}, r"expected \(jets, slots, Q\)"),
        ({"indices": np.array([[[3.0]], [[1.0]]])}, r"whole numbers were expected"),
        ({"indices": np.array([[[3, 1]], [[1, 1]]])}, r"2 codes a particle, but 1 codebooks"),
        ({"indices": np.array([[[object()]]])}, r"indices holds objects"),
        ({"indices": None}, r"no array indices \(found: labels"),
        ({"labels": np.array([0], np.int8)}, r"labels has shape \(1,\); expected \(2,\)"),
        ({"labels": np.array(["a", "b"])}, r"labels: is <U1; whole numbers"),
        ({"labels": np.array([0, 2**31])}, r"labels: 2147483648 in row 1 .* of 32 bits"),
        ({"eventNumber": np.array([0, 2**63], np.uint64)}, r"eventNumber: 9223372036854775808 in"),
        ({"codebooks": np.zeros((1, 3, 2), np.float32)}, r"code 3, but a vocabulary of 3"),
        ({"codebooks": np.zeros((4, 2), np.float32)}, r"expected floating-point numbers \(Q"),
        ({"codebooks": None}, r"does not say how many codes"),
    ],
)
def test_arrays_that_break_the_description_are_refused(tmp_path: Path, changed: dict, message: str):
    arrays = {name: a for name, a in {**GOOD, **changed}.items() if a is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        import_file(tmp_path / "a.npz", tmp_path / "t.parquet")
    assert not (tmp_path / "t.parquet").exists()


def test_the_arrays_of_those_faults_are_otherwise_accepted(tmp_path: Path):
    np.savez_compressed(tmp_path / "a.npz", **GOOD)
    import_file(tmp_path / "a.npz", tmp_path / "t.parquet")
    found = read_tokens(tmp_path / "t.parquet")
    assert found["tokens"].to_pylist() == [[3, 1], [0]]
    assert found["event"].to_pylist() == [7, 8]


def test_a_truncated_file_and_one_of_another_kind_are_refused(tmp_path: Path):
    np.savez(tmp_path / "a.npz", **GOOD)
    whole = (tmp_path / "a.npz").read_bytes()
    for data in (whole[:-40], b"", b"no zip"):
        (tmp_path / "b.npz").write_bytes(data)
        with pytest.raises(DataError, match="not a whole npz file"):
            import_file(tmp_path / "b.npz", tmp_path / "t.parquet")


def test_jets_of_many_blocks_stay_in_their_order(tmp_path: Path):
    jets = codes([(row * 7) % 4 for row in range(20_000)], 8192)
    source = token_table(tmp_path / "a.parquet", jets, 8192)
    out = tmp_path / "out.npz"
    export_file(source, out, "heptokens-npz", Options(codebook=codebook(tmp_path / "b.npz", 8192)))
    import_file(out, tmp_path / "t.parquet")
    found = read_tokens(tmp_path / "t.parquet")
    assert found["event"].to_pylist() == list(range(10, 20_010))
    assert found["tokens"].to_pylist() == [jet.tolist() for jet in jets]
