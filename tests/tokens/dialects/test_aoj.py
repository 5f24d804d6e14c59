"""Public files of Aspen Open Jets as jet tables of ours."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokens.dialects.test_jetclass import jet_table, read
from treasure.config.splits import Splits
from treasure.errors import DataError
from treasure.jets import imported
from treasure.jets.splits import assign_split
from treasure.jets.table import JetTable
from treasure.tokens.dialects import Options, export_file, import_file


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """A file as it is public: four keys, no attributes."""
    own = read(jet_table(tmp_path / "own.h5", [3, 150, 0, 149, 7, 5, 5]))
    path = tmp_path / "RunG_batch0.h5"
    with h5py.File(path, "w") as file:
        for key in ("event_info", "jet_kinematics", "jet_tagging", "PFCands"):
            file.create_dataset(key, data=own[key], compression="gzip")
    return path


@pytest.mark.parametrize("block", [2, 4096])
def test_everything_is_kept_and_class_and_split_are_added(
    public: Path, tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch
):
    if block == 2:  # several blocks, of which the last is not full
        for name in ("BLOCK_ROWS", "NARROW_CHUNK_ROWS", "CANDIDATE_CHUNK_ROWS"):
            monkeypatch.setattr(imported, name, block)
    report = import_file(public, tmp_path / "a.h5", options=Options(label=4))
    before, after = read(public), read(tmp_path / "a.h5")
    for key, values in before.items():
        assert np.array_equal(after[key], values) and after[key].dtype == values.dtype
    assert set(after["label"].tolist()) == {4}
    assert np.array_equal(after["split"], assign_split(before["event_info"], Splits()))
    assert (report.jets, report.particles) == (7, 319)
    with JetTable(tmp_path / "a.h5") as table:  # checksums and columns
        assert table.attributes["source_files"].startswith('[{"adler32"')
        assert table.attributes["dataset"] == "RunG_batch0"


def test_the_same_file_gives_the_same_bytes(public: Path, tmp_path: Path):
    for name in ("a.h5", "b.h5"):
        import_file(public, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize(("split", "value"), [("val", 1), ("unknown", -1)])
def test_all_jets_can_be_of_one_split_or_none(public: Path, tmp_path: Path, split: str, value: int):
    report = import_file(public, tmp_path / "a.h5", options=Options(split=split))
    assert set(read(tmp_path / "a.h5")["split"].tolist()) == {value}
    assert set(read(tmp_path / "a.h5")["label"].tolist()) == {-1}
    assert any("class -1" in note for note in report.notes)


def test_a_jet_table_keeps_its_own_split_and_class(tmp_path: Path):
    own = jet_table(tmp_path / "own.h5", [3, 4, 5])
    import_file(own, tmp_path / "a.h5")
    assert read(tmp_path / "a.h5")["split"].tolist() == [0, 1, 2]
    assert read(tmp_path / "a.h5")["label"].tolist() == [-1, 0, 1]


def test_other_files_and_exports_to_it_are_refused(public: Path, tmp_path: Path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(DataError, match="no key 'event_info'"):
        import_file(tmp_path / "other.h5", tmp_path / "a.h5")
    with pytest.raises(DataError, match="nothing is exported to the dialect aoj"):
        export_file(public, tmp_path / "a.h5", "aoj")
    assert not (tmp_path / "a.h5").exists()


def test_a_damaged_file_is_refused_and_nothing_is_left(public: Path, tmp_path: Path):
    data = bytearray(public.read_bytes())
    data[len(data) // 2] ^= 255
    public.write_bytes(bytes(data))
    with pytest.raises(DataError, match="damaged"):
        import_file(public, tmp_path / "a.h5")
    assert not [p for p in tmp_path.iterdir() if p.name not in ("own.h5", public.name)]


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.integers(0, 255))
def test_whatever_byte_is_damaged_the_answer_is_a_table_or_an_error_in_words(
    tmp_path_factory: pytest.TempPathFactory, place: float, value: int
):
    folder = tmp_path_factory.mktemp("damage")
    source = jet_table(folder / "a.h5", [3, 5])
    data = bytearray(source.read_bytes())
    data[int(place * min(len(data) - 1, 8000))] = value  # where HDF5 keeps what is where
    source.write_bytes(bytes(data))
    try:
        import_file(source, folder / "t.h5", "aoj")
    except DataError as error:
        assert str(source) in str(error)
        assert not (folder / "t.h5").exists()


@pytest.mark.parametrize("announced", [6, 8, 5000])
def test_more_or_fewer_jets_than_announced_are_an_error(
    public: Path, tmp_path: Path, announced: int
):
    with JetTable(public) as table, pytest.raises(DataError, match=f"but {announced} were"):
        imported.write_imported(
            tmp_path / "a.h5", table.chunks(3), rows=announced, slots=150, attributes={}
        )
    assert not (tmp_path / "a.h5").exists()
