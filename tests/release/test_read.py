"""Reading a release as its users do."""

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from treasure.errors import DataError
from treasure.release.read import Release
from treasure.tokens.table import read_tokens


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "release"))


def test_datasets_files_and_rows(made: Path) -> None:
    release = Release(made)
    assert release.datasets == ["qcd", "ttbar"]
    assert release.rows() == 240 and release.rows("qcd") == 120
    assert release.rows(split="val") == 24 and release.rows("qcd", "train") == 84
    files = release.files("qcd", "train")
    assert [file.name for file in files] == [f"qcd_{i}_tokenized.parquet" for i in range(2)]
    assert len(release.files("qcd")) == 6
    assert release.manifest.name == "jets"
    assert (release.tokenizer_directory / "tokenizer.json").is_file()
    release.verify()


@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_tables_give_all_rows_in_order(made: Path, rows: int) -> None:
    release = Release(made)
    tables = list(release.tables("ttbar", "test", rows=rows))
    assert all(0 < len(table) <= rows for table in tables)
    expected = pa.concat_tables([read_tokens(f) for f in release.files("ttbar", "test")])
    assert pa.concat_tables(tables).to_pylist() == expected.to_pylist()
    (first, *_) = release.tables("ttbar", "test", columns=["tokens", "label"])
    assert first.column_names == ["tokens", "label"]


def test_unknown_names_are_answered_with_the_known_ones(made: Path) -> None:
    release = Release(made)
    with pytest.raises(DataError, match="no dataset 'zjets'; there are qcd, ttbar"):
        release.files("zjets")
    with pytest.raises(DataError, match="no split 'valid'; there are test, train, val"):
        release.files("qcd", "valid")
    with pytest.raises(DataError, match="no column 'token'; there are run"):
        next(release.tables("qcd", columns=["token"]))


@pytest.mark.parametrize(
    "name", ["tokens/qcd/test/qcd_0_tokenized.parquet", "README.md", "tokenizer/tokenizer.json"]
)
def test_a_missing_or_short_file_is_named_at_once(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{name}: .* bytes, but"):
        Release(copy)
    (copy / name).unlink()
    with pytest.raises(DataError, match=f"{name}: missing"):
        Release(copy)


def test_a_damaged_tokenizer_is_not_handed_out(copy: Path) -> None:
    path = copy / "tokenizer/tokenizer.safetensors"
    path.write_bytes(b"\x01" + path.read_bytes()[1:])
    release = Release(copy)
    with pytest.raises(DataError, match=r"tokenizer\.safetensors: sha256 is"):
        _ = release.tokenizer_directory
    with pytest.raises(DataError, match=r"tokenizer\.safetensors"):
        release.verify()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": "treasure-release"', '"format": "x"', "not the manifest of a release"),
        ('"format_version": 1', '"format_version": 2', "format_version"),
        ('"README.md"', '"../README.md"', "not a path inside the release"),
        ('"README.md"', '"/README.md"', "not a path inside the release"),
        ("{", "[", "not valid JSON"),
    ],
)
def test_a_strange_manifest_is_refused(copy: Path, old: str, new: str, message: str) -> None:
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        Release(copy)
