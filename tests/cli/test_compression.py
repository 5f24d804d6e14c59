"""`treasure compress` and `decompress`: there and back, and what they say."""

from pathlib import Path

import pytest

from tests.cli.jet_files import treasure
from tests.tokens.test_table import metadata, rows
from treasure.store import checksums
from treasure.tokens.table import TokenWriter, write_tokens

TOKENS = [[i % 50] * (i % 7) for i in range(300)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_tokens(tmp_path / "qcd_0_tokenized.parquet", rows(TOKENS), metadata())
    return tmp_path / "qcd_0_tokenized.parquet"


def test_there_and_back_with_default_names(table: Path):
    before = checksums(table)
    result = treasure("compress", str(table))
    assert result.returncode == 0, result.stdout
    assert "300 jets, 897 particles" in result.stdout
    assert "bits a particle" in result.stdout
    compressed = table.with_name("qcd_0_tokenized.compressed.parquet")
    assert compressed.stat().st_size > 0
    table.unlink()
    result = treasure("decompress", str(compressed))
    assert result.returncode == 0, result.stdout
    assert checksums(table) == before


def test_inspect_shows_what_a_compressed_table_is(table: Path):
    other = table.with_name("x.parquet")
    assert treasure("compress", str(table), "-o", str(other), "--variant", "rank").returncode == 0
    result = treasure("inspect", str(other), "--rows", "7")
    assert result.returncode == 0, result.stdout
    assert "compressed token table" in result.stdout
    assert "rank" in result.stdout and "897" in result.stdout
    assert "[6, 6, 6, 6, …] (6)" in result.stdout


def test_inspect_says_how_tokens_were_made_compressed_or_not(tmp_path: Path):
    path = tmp_path / "qcd_0_tokenized.parquet"
    with TokenWriter(path, metadata(4096)) as writer:
        writer.write(rows(TOKENS), clipped_particles=17, cut_particles=23)
    assert treasure("compress", str(path), "-o", str(tmp_path / "x.parquet")).returncode == 0
    for each in (path, tmp_path / "x.parquet"):
        result = treasure("inspect", str(each))
        assert result.returncode == 0, result.stdout
        for line in (
            "clipped particles: 17", "cut particles: 23", "dataset: qcd", "ids: 4,096",
            "features: log_pt, delta_eta, delta_phi", f"tokenizer: {'f' * 64}",
            "jets of: qcd_0.h5", f"with sha256: {'0' * 64}",
        ):  # fmt: skip
            assert line in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compress", "TABLE", "-o", "TABLE"), "the input itself"),
        (("compress", "TABLE", "--variant", "order_free"), "needs the artefact of the tokenizer"),
        (("decompress", "TABLE", "-o", "x.parquet"), "no compressed token table"),
        (("compress", "nothing.parquet"), "nothing.parquet: no such file"),
        (("compress", "TABLE", "-o", "x.txt"), "x.txt: what is written is parquet"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(table: Path, arguments: tuple, message: str):
    result = treasure(*(str(table) if word == "TABLE" else word for word in arguments))
    assert result.returncode == 1
    assert "error: " in result.stdout and message in result.stdout
    assert "Traceback" not in result.stdout
