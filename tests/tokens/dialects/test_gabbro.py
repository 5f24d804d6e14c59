"""gabbro's dialect, read back by code that is written from its description alone."""

import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from tests.tokens.dialects.toys import COUNTS, SIZES, codes, token_table
from treasure.errors import ConfigError, DataError
from treasure.tokens import table as tokens_table
from treasure.tokens.dialects import Options, export_file, import_file
from treasure.tokens.table import TokenTable, counts_text, read_tokens


def read_as_described(path: Path, size: int) -> list[list[int]]:
    """One column without a name; drop the first and the last token of a jet, subtract 1."""
    table = pq.read_table(path)
    assert table.schema.names == [""]
    assert table.schema.field(0).type == pa.large_list(pa.field("item", pa.int64(), nullable=False))
    jets = []
    for tokens in table.column(0).to_pylist():
        assert tokens[0] == 0 and tokens[-1] == size + 1
        jets.append([token - 1 for token in tokens[1:-1]])
        assert all(0 <= code < size for code in jets[-1])
    return jets


@settings(max_examples=40, deadline=None)
@given(COUNTS, SIZES)
def test_a_reader_of_the_description_finds_the_first_128_codes_of_every_jet(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], size: int
):
    folder = tmp_path_factory.mktemp("gabbro")
    jets = codes(counts, size)
    source = token_table(folder / "a.parquet", jets, size)
    out = folder / "ZJetsToNuNu_a.parquet"
    report = export_file(source, out, "gabbro")
    expected = [jet[:128].tolist() for jet in jets]
    assert read_as_described(out, size) == expected
    assert report.jets == len(jets) and report.particles == sum(map(len, expected))
    lost = sum(max(count - 128, 0) for count in counts)
    cut = sum(count > 128 for count in counts)
    said = f"{lost:,} particles of {cut:,} jets with more than 128"
    assert (said in report.losses) == (lost > 0)


@settings(max_examples=40, deadline=None)
@given(COUNTS, SIZES)
def test_what_is_imported_is_what_was_exported_and_is_exported_again_the_same(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], size: int
):
    folder = tmp_path_factory.mktemp("gabbro")
    jets = codes(counts, size)
    source = token_table(folder / "a.parquet", jets, size, labels=[1] * len(jets))
    out, back = folder / "TTBar_a.parquet", folder / "back.parquet"
    again = folder / "TTBar_b.parquet"
    export_file(source, out, "gabbro")
    import_file(out, back, options=Options(vocabulary=size))
    found = read_tokens(back)
    assert found["tokens"].to_pylist() == [jet[:128].tolist() for jet in jets]
    assert found["label"].to_pylist() == [1] * len(jets)
    export_file(back, again, "gabbro")
    assert again.read_bytes() == out.read_bytes()


def test_the_file_of_gabbro_is_imported_to_the_expected_codes_and_exported_again_equal(
    shared: Path, tmp_path: Path
):
    source = shared / "reference/dialects/gabbro/ZJetsToNuNu_000_tokenized.parquet"
    expected = np.load(source.with_name("expected.npz"))
    table, out = tmp_path / "t.parquet", tmp_path / "ZJetsToNuNu_x.parquet"
    report = import_file(source, table)  # dialect and vocabulary are said by the files themselves
    assert (report.jets, report.particles) == (100, 4966)
    found = ak.from_arrow(read_tokens(table)["tokens"])
    assert ak.num(found).tolist() == expected["ZJetsToNuNu_counts"].tolist()
    assert ak.flatten(found).tolist() == expected["ZJetsToNuNu_codes"].tolist()
    with TokenTable(table) as read:
        assert read.metadata.size == 8192
        assert list(read.metadata.features) == ["log_pt", "delta_eta", "delta_phi"]
    assert set(read_tokens(table)["label"].to_pylist()) == {0}
    export_file(table, out, "gabbro")
    first, second = pq.read_table(source), pq.read_table(out)
    assert second.schema.equals(first.schema) and second.equals(first)
    assert ak.from_parquet(out).type == ak.from_parquet(source).type
    assert ak.array_equal(ak.from_parquet(out), ak.from_parquet(source))


def test_a_folder_gets_a_file_for_each_class(tmp_path: Path):
    jets = codes([3, 4, 5, 0], 64)
    source = token_table(tmp_path / "a.parquet", jets, 64, labels=[1, 0, 1, -1])
    with pytest.raises(DataError, match=r"class -1, which has no name .* --name -1=NAME"):
        export_file(source, tmp_path / "out", "gabbro")
    assert not list((tmp_path / "out").glob("*.parquet"))
    report = export_file(source, tmp_path / "out", "gabbro", Options(names={-1: "2016G"}))
    found = {path.name: read_as_described(path, 64) for path in report.files}
    assert found == {
        "2016G_a.parquet": [[]],
        "TTBar_a.parquet": [jets[0].tolist(), jets[2].tolist()],
        "ZJetsToNuNu_a.parquet": [jets[1].tolist()],
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(found)
    back = tmp_path / "back.parquet"
    import_file(tmp_path / "out/2016G_a.parquet", back, options=Options(vocabulary=64))
    assert read_tokens(back)["label"].to_pylist() == [-1]


def test_a_name_that_says_another_class_is_refused(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", codes([3], 64), 64, labels=[1])
    with pytest.raises(DataError, match=r"ZJetsToNuNu_a\.parquet: .* name it TTBar_"):
        export_file(source, tmp_path / "ZJetsToNuNu_a.parquet", "gabbro")
    with pytest.raises(DataError, match="cannot be a class"):
        export_file(source, tmp_path / "a_b", "gabbro", Options(names={1: "a_b"}))
    with pytest.raises(DataError, match="two classes of one name"):
        export_file(source, tmp_path / "x", "gabbro", Options(names={0: "TTBar"}))
    assert {path.name for path in tmp_path.iterdir()} == {"a.parquet"}


def test_several_codes_a_particle_are_refused(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", codes([3], 64, 2), 64, codebooks=2)
    with pytest.raises(DataError, match="2 codes a particle; gabbro has one"):
        export_file(source, tmp_path / "ZJetsToNuNu_a.parquet", "gabbro")


def gabbro_file(path: Path, rows: list, kind: pa.DataType | None = None) -> Path:
    column = pa.array(rows, kind or pa.large_list(pa.int64()))
    pq.write_table(pa.table([column], names=[""]), path)
    return path


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[0, 1, 65], [0, 3, 64]], r"row 1: ends with 64; .* and 65 with a vocabulary of 64"),
        ([[0, 1, 65], [1, 3, 65]], r"row 1: begins with 1"),
        ([[0, 1, 65], []], r"row 1: fewer than two tokens"),
        ([[0, 1, 65], [0]], r"row 1: fewer than two tokens"),
        ([[0, 1, 65], [0, 3, 65, 65]], r"row 1: token 65 among the particles; .* 1 to 64 there"),
        ([[0, 1, 65], [0, 0, 65]], r"row 1: token 0 among the particles"),
        ([[0, 1, 65], [0, -3, 65]], r"row 1: token -3 among the particles"),
        ([[0, 1, 65], None], r"1 rows are null"),
        ([[0, None, 65]], r"1 nulls"),
    ],
)
def test_tokens_that_break_the_description_are_refused_by_their_row(
    tmp_path: Path, rows: list, message: str
):
    source = gabbro_file(tmp_path / "ZJetsToNuNu_a.parquet", rows)
    with pytest.raises(DataError, match=message):
        import_file(source, tmp_path / "t.parquet", "gabbro", Options(vocabulary=64))
    assert not (tmp_path / "t.parquet").exists()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (pa.list_(pa.float32()), "not the numbers expected"),
        (pa.list_(pa.string()), "not the numbers expected"),
        (pa.list_(pa.list_(pa.int64())), "not numbers|not the numbers expected"),
    ],
)
def test_columns_of_another_type_are_refused(tmp_path: Path, kind: pa.DataType, message: str):
    value = {"float": 1.0, "string": "a"}.get(str(kind.value_type), [1])
    source = gabbro_file(tmp_path / "ZJetsToNuNu_a.parquet", [[value]], kind)
    with pytest.raises(DataError, match=message):
        import_file(source, tmp_path / "t.parquet", "gabbro", Options(vocabulary=64))


def test_a_vocabulary_must_be_known_and_be_the_same_wherever_it_is_said(
    shared: Path, tmp_path: Path
):
    original = shared / "reference/dialects/gabbro"
    source = tmp_path / "ZJetsToNuNu_000_tokenized.parquet"
    shutil.copyfile(original / source.name, source)
    table = tmp_path / "t.parquet"
    with pytest.raises(DataError, match="does not say how many codes"):
        import_file(source, table)
    shutil.copyfile(original / "config.yaml", tmp_path / "config.yaml")
    with pytest.raises(DataError, match=r"4096 \(--vocabulary\), 8192 \(config\.yaml\)"):
        import_file(source, table, options=Options(vocabulary=4096))
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(DataError, match="row 0: ends with 8193"):
        import_file(source, table, options=Options(vocabulary=4096))
    for size in (0, -5, 2**31):
        with pytest.raises(DataError, match="are possible"):
            import_file(source, table, options=Options(vocabulary=size))
    codebook = tmp_path / "small.npz"
    np.savez(codebook, codebook=np.zeros((16, 4), np.float32))
    with pytest.raises(DataError, match="do not fit each other"):
        import_file(source, table, options=Options(vocabulary=8192, codebook=codebook))
    assert not table.exists()


def test_files_that_are_not_there_or_no_parquet_or_of_others_are_refused(tmp_path: Path):
    nothing, text, other = (tmp_path / f"{n}.parquet" for n in ("nothing", "text", "other"))
    text.write_text("no parquet")
    pq.write_table(pa.table({"x": [1]}), other)
    with pytest.raises(DataError, match="no such file"):
        import_file(nothing, tmp_path / "t.parquet", "gabbro")
    with pytest.raises(DataError, match="not a whole parquet file"):
        import_file(text, tmp_path / "t.parquet", "gabbro", Options(vocabulary=4))
    with pytest.raises(DataError, match="a file of gabbro has one, without a name"):
        import_file(other, tmp_path / "t.parquet", "gabbro", Options(vocabulary=4))
    with pytest.raises(DataError, match="cannot tell which dialect"):
        import_file(other, tmp_path / "t.parquet")
    with pytest.raises(ConfigError, match="no Dialect is called 'gabro'"):
        import_file(other, tmp_path / "t.parquet", "gabro")
    with pytest.raises(DataError, match="--columns means nothing to an import of gabbro"):
        import_file(other, tmp_path / "t.parquet", "gabbro", Options(columns=text))
    with pytest.raises(DataError, match="is the file that is read"):
        export_file(other, other, "gabbro")


def test_jets_of_many_blocks_and_classes_stay_in_their_order(tmp_path: Path):
    counts = [(row * 7) % 4 for row in range(20_000)]
    jets = codes(counts, 8192)
    labels = [row % 2 for row in range(20_000)]
    source = token_table(tmp_path / "a.parquet", jets, 8192, labels=labels)
    export_file(source, tmp_path / "out", "gabbro")
    for label, name in enumerate(("ZJetsToNuNu", "TTBar")):
        out = tmp_path / "out" / f"{name}_a.parquet"
        import_file(out, tmp_path / "t.parquet", options=Options(vocabulary=8192))
        found = ak.from_arrow(read_tokens(tmp_path / "t.parquet")["tokens"])
        assert ak.num(found).tolist() == counts[label::2]
        assert ak.flatten(found).tolist() == np.concatenate(jets[label::2]).tolist()


def test_a_table_that_lost_particles_since_it_was_written_is_not_exported(tmp_path: Path):
    source = token_table(tmp_path / "a.parquet", codes([3, 4], 64), 64)
    table = pq.read_table(source)
    with pq.ParquetWriter(source, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(
            {tokens_table.COUNTS: counts_text({"rows": 2, "particles": 8})}
        )
    out = tmp_path / "ZJetsToNuNu_a.parquet"
    with pytest.raises(DataError, match="2 jets with 7 particles, but 2 with 8 were written"):
        export_file(source, out, "gabbro")
    assert not out.exists()
