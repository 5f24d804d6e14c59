"""What an import refuses: damage of any one bit, and places that say something else."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tokens.dialects.test_heptokens_npz import codebook
from tests.tokens.dialects.toys import codes, token_table
from treasure.errors import DataError
from treasure.tokens.compressed import write_compressed
from treasure.tokens.dialects import Options, export_file, import_file
from treasure.tokens.table import read_tokens

JETS, SIZE = codes([5, 126, 30], 64), 64
NAMES = {
    "gabbro": "ZJetsToNuNu_a.parquet",
    "heptokens": "out.parquet",
    "heptokens-npz": "out.npz",
}


@pytest.mark.parametrize("dialect", NAMES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.floats(0, 1), st.integers(0, 7))
def test_no_flipped_bit_of_an_export_changes_what_is_imported(
    tmp_path_factory: pytest.TempPathFactory, dialect: str, place: float, bit: int
):
    folder = tmp_path_factory.mktemp("flip")
    needs = Options(codebook=codebook(folder / "b.npz", SIZE)) if dialect.endswith("npz") else None
    out = folder / NAMES[dialect]
    export_file(token_table(folder / "a.parquet", JETS, SIZE), out, dialect, needs)
    data = bytearray(out.read_bytes())
    data[min(int(place * len(data)), len(data) - 1)] ^= 1 << bit
    out.write_bytes(data)
    try:
        import_file(out, folder / "t.parquet", dialect, Options(vocabulary=SIZE))
    except DataError:
        return
    found = read_tokens(folder / "t.parquet")["tokens"].to_pylist()
    assert found == [jet.tolist() for jet in JETS]


@pytest.mark.parametrize(("dialect", "name"), [("gabbro", "x.h5"), ("heptokens", "x.txt")])
def test_tokens_are_imported_to_parquet_only(tmp_path: Path, dialect: str, name: str):
    out = tmp_path / NAMES[dialect]
    export_file(token_table(tmp_path / "a.parquet", JETS, SIZE), out, dialect)
    with pytest.raises(DataError, match=r"imported to \.parquet; name the file so"):
        import_file(out, tmp_path / name, dialect, Options(vocabulary=SIZE))
    with pytest.raises(DataError, match="a class is a number from 0 on, or -1"):
        import_file(out, tmp_path / "t.parquet", dialect, Options(vocabulary=SIZE, label=-5))


def test_jets_are_imported_to_hdf5_only_and_tables_of_ours_not_at_all(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", JETS, SIZE)
    (tmp_path / "jets.h5").write_bytes(b"any")
    with pytest.raises(DataError, match=r"aoj is imported to \.h5 or \.hdf5; name the file so"):
        import_file(tmp_path / "jets.h5", tmp_path / "jets.parquet")
    with pytest.raises(DataError, match="a token table of treasure already"):
        import_file(source, tmp_path / "t.parquet")
    write_compressed(source, tmp_path / "c.parquet")
    with pytest.raises(DataError, match="a compressed token table of treasure; use treasure deco"):
        import_file(tmp_path / "c.parquet", tmp_path / "t.parquet")
    with pytest.raises(DataError, match="a tokenizer is a folder; name one without"):
        import_file(tmp_path, tmp_path / "t.parquet", "gabbro")
