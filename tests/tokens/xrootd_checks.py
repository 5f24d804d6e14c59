"""What must hold with a server on this host; run by `test_remote` inside its network."""

import os
from pathlib import Path

import pytest

from tests.fileset.test_fileset_xrootd import NOBODY, PORT
from tests.tokens.toys import jets, write
from treasure import TokenDataset
from treasure.errors import DataError

STORE = Path(os.environ["XROOTD_TEST_FOLDER"]) / "data" / "store"
URL = f"root://localhost:{PORT}//store"
FILE = "part00_tokenized.parquet"


def copies(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*.parquet"))


def test_a_file_is_copied_once_and_is_that_of_the_server(tmp_path):
    for _ in range(2):
        dataset = TokenDataset(f"{URL}/{FILE}", cache=tmp_path, columns=["event"])
        assert dataset[:]["event"].tolist() == list(range(40))
        (copy,) = copies(tmp_path)
        assert copy.read_bytes() == (STORE / FILE).read_bytes()


def test_a_glob_a_folder_and_a_release(tmp_path):
    assert len(TokenDataset(f"{URL}/part*.parquet", cache=tmp_path)) == 65
    assert len(TokenDataset(f"{URL}/release/tokens", cache=tmp_path)) == 16
    assert len(TokenDataset(f"{URL}/release", cache=tmp_path, split="test")) == 8


def test_a_file_that_is_written_again_is_copied_again(tmp_path):
    place = STORE / "other_tokenized.parquet"
    for n in (10, 12):
        write(place, jets(n))
        os.chown(place, NOBODY, NOBODY)
        place.chmod(0o644)
        assert len(TokenDataset(f"{URL}/{place.name}", cache=tmp_path)) == n


def test_what_is_not_there_is_named(tmp_path):
    for name in ("none.parquet", "nothing"):
        with pytest.raises(DataError, match=name):
            TokenDataset(f"{URL}/{name}", cache=tmp_path)
