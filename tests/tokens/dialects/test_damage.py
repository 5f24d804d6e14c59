"""One bit of an exported file, flipped: it is found, or it means nothing."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tokens.dialects.test_heptokens_npz import codebook
from tests.tokens.dialects.toys import codes, token_table
from treasure.errors import DataError
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
