"""`treasure export` and `treasure import` as commands."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.cli.jet_files import in_process, treasure
from tests.tokens.dialects.toys import codes, token_table
from treasure.cli.dialects import parse_names
from treasure.errors import DataError
from treasure.tokens.dialects import Options, export_file, import_file
from treasure.tokens.table import read_tokens


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return token_table(tmp_path / "a.parquet", codes([3, 130, 128, 127], 64), 64)


def test_an_export_says_what_was_written_and_in_one_line_what_was_lost(table: Path, tmp_path: Path):
    out = tmp_path / "out.parquet"
    run = treasure("export", table, out, "--dialect", "heptokens")
    assert run.returncode == 0, run.stdout
    first, second = run.stdout.splitlines()
    beside = tmp_path / "out.vocab.json"
    assert first == f"4 jets, 384 particles exported: {out}, {beside}"
    assert second == (
        "lost: run, section and number of each jet, its split, pT, axis and soft-drop mass;"
        " 4 particles of 2 jets with more than 127; sep of 3 jets, which fill all 128 positions"
    )


def test_an_import_says_what_stands_for_what_the_file_does_not_say(table: Path, tmp_path: Path):
    out, back = tmp_path / "ZJetsToNuNu_a.parquet", tmp_path / "back.parquet"
    assert treasure("export", table, out, "--dialect", "gabbro").returncode == 0
    run = treasure(
        "import", out, back, "--vocabulary", 64, "--label", 5, "--split", "val", "--dataset", "x"
    )
    assert run.returncode == 0, run.stdout
    assert run.stdout.startswith(f"4 jets, 386 particles imported: {back}\nnote: run, ")
    assert set(read_tokens(back)["label"].to_pylist()) == {5}
    assert set(read_tokens(back)["split"].to_pylist()) == {"val"}


def test_a_fault_is_one_line_and_leaves_nothing(table: Path, tmp_path: Path):
    run = treasure("import", table, tmp_path / "t.parquet", "--dialect", "gabbro")
    assert run.returncode == 1
    assert run.stdout.startswith("error: ") and len(run.stdout.splitlines()) == 1
    run = treasure("export", table, tmp_path / "t.parquet", "--dialect", "gabro")
    assert run.returncode == 1
    assert "no Dialect is called 'gabro'; known are aoj, gabbro, heptokens" in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_classes_get_the_names_that_are_given(table: Path, tmp_path: Path):
    run = in_process(
        "export",
        table,
        tmp_path / "out",
        "--dialect",
        "gabbro",
        "--name",
        "0=2016G",
        "--name",
        "-1=X",
    )
    assert run.exit_code == 0, run.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["2016G_a.parquet"]


@pytest.mark.parametrize("given", [["x=QCD"], ["0"], ["0="], ["0=A", "0=B"], ["0=A", "1=A"]])
def test_names_of_another_form_are_refused(given: list[str]):
    with pytest.raises(DataError, match="--name"):
        parse_names(given)


def test_a_dialect_of_ones_own_is_one_class(table: Path, tmp_path: Path):
    kind = "tests.tokens.dialects.mine:Lines"
    run = in_process("export", table, tmp_path / "a.txt", "--dialect", kind)
    assert run.exit_code == 0, run.output
    lines = (tmp_path / "a.txt").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [3, 130, 128, 127]
    run = in_process("import", tmp_path / "a.txt", tmp_path / "t.parquet", "--dialect", kind)
    assert isinstance(run.exception, DataError)


def test_exports_have_page_checksums(table: Path, tmp_path: Path):
    out = tmp_path / "out.parquet"
    in_process("export", table, out, "--dialect", "heptokens")
    column = pq.ParquetFile(out).metadata.row_group(0).column(0)
    data = bytearray(out.read_bytes())
    first = column.dictionary_page_offset or column.data_page_offset
    data[first + column.total_compressed_size - 5] ^= 1  # in the last page
    out.write_bytes(bytes(data))
    run = in_process("import", out, tmp_path / "t.parquet")
    assert isinstance(run.exception, DataError) and "damaged" in str(run.exception)


@pytest.mark.parametrize(
    ("dialect", "given", "option"),
    [
        ("aoj", ("--tree", "x"), "--tree"),
        ("aoj", ("--name", "0=QCD"), "--name"),
        ("jetclass", ("--vocabulary", "5"), "--vocabulary"),
        ("nanoaod", ("--codebook", "x.npz"), "--codebook"),
        ("heptokens", ("--tree", "x"), "--tree"),
        ("heptokens-npz", ("--name", "0=QCD"), "--name"),
        ("gabbro", ("--columns", "x.parquet"), "--columns"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    table: Path, tmp_path: Path, dialect: str, given: tuple[str, str], option: str
):
    run = in_process("import", table, tmp_path / "x.h5", "--dialect", dialect, *given)
    assert isinstance(run.exception, DataError)
    assert str(run.exception).startswith(f"{option} means nothing to an import of {dialect};")
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


def test_an_export_refuses_options_that_would_do_nothing(table: Path, tmp_path: Path):
    run = in_process("export", table, tmp_path / "x.parquet", "--dialect", "heptokens",
                     "--name", "0=QCD")  # fmt: skip
    assert str(run.exception) == "--name means nothing to an export to heptokens; leave it out"


def test_jets_that_fill_the_room_of_a_format_are_counted(table: Path, tmp_path: Path):
    book, npz = tmp_path / "book.npz", tmp_path / "a.npz"
    np.savez(book, codebooks=np.zeros((1, 64, 3), np.float32))
    export_file(table, npz, "heptokens-npz", Options(codebook=book))
    gabbro = tmp_path / "ZJetsToNuNu_a.parquet"
    export_file(table, gabbro, "gabbro")
    for source in (npz, gabbro):
        report = import_file(source, tmp_path / "t.parquet", options=Options(vocabulary=64))
        assert sum(n.startswith("2 jets have 128 particles, as many as") for n in report.notes) == 1
