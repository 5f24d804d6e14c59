"""Which entries of which files are read, under which names, and what a branch says of it."""

import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from tests.layout_a import random_events, write_events
from treasure.config.dataset import Dataset
from treasure.errors import DataError
from treasure.fileset.inspection import inspect_file
from treasure.fileset.model import Fileset, FilesetFile
from treasure.fileset.sources import create_fileset
from treasure.skim.parts import read_parts
from treasure.skim.reading import chunk_bounds
from treasure.skim.run import skim_files


def local(*files: object, **more: object) -> Dataset:
    source = {"kind": "local", "files": [str(file) for file in files], **more}
    return Dataset(label=0, is_mc=True, source=source)


def rows_of(folder: Path, summary: dict) -> list[dict]:
    tables = read_parts([folder / name for name in summary["parts"]], 1000)
    return [row for table in tables for row in table.to_pylist()]


def add_luminosity_blocks(path: Path, run: int, sections: list[int]) -> Path:
    """Write a file again, with the tree LuminosityBlocks beside its events."""
    with uproot.open(path) as file:
        events = file["Events"].arrays()
    arrays = {name: events[name] for name in events.fields if not name.startswith("n")}
    groups: dict = {}
    for name, array in arrays.items():
        group, _, field = name.partition("_")
        jagged = array.ndim == 2
        groups.setdefault(group if jagged else name, {})[field if jagged else ""] = array
    data = {
        group: ak.zip(fields) if "" not in fields else fields[""]
        for group, fields in groups.items()
    }
    with uproot.recreate(path) as file:
        types = {
            name: array.type.content if array.ndim == 2 else np.asarray(array).dtype
            for name, array in data.items()
        }
        file.mktree("Events", types, counter_name=lambda name: "n" + name).extend(data)
        blocks = {"run": np.uint32, "luminosityBlock": np.uint32}
        file.mktree("LuminosityBlocks", blocks).extend(
            {
                "run": np.full(len(sections), run, np.uint32),
                "luminosityBlock": np.array(sections, np.uint32),
            }
        )
    return path


@given(start=st.integers(0, 50), length=st.integers(1, 200), most=st.integers(1, 60))
def test_chunks_cover_the_range_once_in_order_and_none_is_too_large(start, length, most):
    file = FilesetFile(
        uri="a", tree="t", entries=300, size=1, checksum=None, uuid="u",
        entry_start=start, entry_stop=start + length,
    )  # fmt: skip
    bounds = chunk_bounds(file, most)
    assert [entry for a, b in bounds for entry in range(a, b)] == list(range(start, start + length))
    assert all(0 < b - a <= most for a, b in bounds)
    assert len(bounds) == -(-length // most)


@pytest.mark.parametrize(("start", "stop"), [(0, 13), (7, 21), (30, None), (39, 99)])
def test_a_range_of_entries_is_what_is_read(tmp_path, selection, start, stop):
    path = write_events(tmp_path / "a.root", random_events(40, seed=3))
    chunked = selection.model_copy(update={"events_per_chunk": 6})
    whole = skim_files(
        create_fileset("x", local(path), base=tmp_path).files,
        "x",
        local(path),
        chunked,
        tmp_path / "w",
    )
    wanted = local(path, entry_start=start, entry_stop=stop)
    fileset = create_fileset("x", wanted, base=tmp_path)
    fileset.save(tmp_path / "f.json")
    fileset = Fileset.load(tmp_path / "f.json")
    read = range(start, min(stop or 40, 40))
    assert fileset.entries == len(read)
    summary = skim_files(fileset.files, "x", wanted, chunked, tmp_path / "r")
    assert summary["events"] == len(read)
    assert rows_of(tmp_path / "r", summary) == [
        row for row in rows_of(tmp_path / "w", whole) if row["event"] - 1 in read
    ]


def test_entries_beyond_a_file_are_none_and_none_at_all_is_an_error(tmp_path, selection):
    for name, n_events in {"a": 5, "b": 30, "c": 8}.items():
        write_events(tmp_path / f"{name}.root", random_events(n_events, seed=n_events))
    wanted = local(tmp_path, entry_start=8)
    fileset = create_fileset("x", wanted, base=tmp_path)
    assert [file.selected_entries for file in fileset.files] == [0, 22, 0]
    assert fileset.entries == 22
    assert fileset.groups() == [[fileset.files[1]]]
    summary = skim_files(fileset.files, "x", wanted, selection, tmp_path / "s")
    assert summary["events"] == 22
    with pytest.raises(DataError, match="no file has an entry from 30 on, the longest has 30"):
        create_fileset("x", local(tmp_path, entry_start=30), base=tmp_path)
    with pytest.raises(DataError, match="leaves nothing"):
        skim_files(fileset.files[:1], "x", wanted, selection, tmp_path / "t")


NAMES = [
    "with space.root", "a:b.root", "a.root:Events", "x.root:Events/b.root", "a::b.root",
    "a#b%20.root", "ä é 中.root", "a*b?.root", "a[1].root", "~a.root", "a{b}.root", "-a.root",
    "new\nline.root", "http:/x.root", "back\\slash.root", "quotes'\".root",
]  # fmt: skip


def test_names_with_odd_characters_are_read(tmp_path, selection):
    expected = {}
    for number, name in enumerate(NAMES):
        made = write_events(tmp_path / "made.root", random_events(4, seed=number))
        path = tmp_path / "odd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made.rename(path)
        expected[str(path)] = number
    for wanted in (
        local(*expected),
        local(tmp_path / "odd" / "**" / "*.root*"),
        local(tmp_path / "odd"),
    ):
        fileset = create_fileset("x", wanted, base=tmp_path)
        found = {file.uri for file in fileset.files}
        assert found == set(expected) or found == {n for n in expected if n.endswith(".root")}
        fileset.save(tmp_path / "f.json")
        fileset = Fileset.load(tmp_path / "f.json")
    summary = skim_files(fileset.files, "x", wanted, selection, tmp_path / "s")
    assert summary["events"] == 4 * len(fileset.files)


def test_a_name_that_no_json_can_hold_is_refused(tmp_path):
    made = write_events(tmp_path / "made.root", random_events(4))
    (tmp_path / "odd").mkdir()
    made.rename(tmp_path / "odd" / "bytes\udcff.root")
    with pytest.raises(DataError, match=r"bytes\\xff\.root: its name is not UTF-8.*rename"):
        create_fileset("x", local(tmp_path / "odd"), base=tmp_path)


def test_sections_are_those_of_the_tree_if_the_file_is_read_whole_else_of_the_events(
    tmp_path, selection
):
    with_tree = write_events(tmp_path / "a.root", random_events(25, seed=1, run=7))
    add_luminosity_blocks(with_tree, 7, [9, 1, 2, 3, 5, 6])
    without = write_events(tmp_path / "b.root", random_events(25, seed=2, run=8))
    wanted = local(with_tree, without)
    files = create_fileset("x", wanted, base=tmp_path).files
    summary = skim_files(files, "x", wanted, selection, tmp_path / "s")
    assert summary["luminosity_sections"] == {"7": [[1, 3], [5, 6], [9, 9]], "8": [[1, 3]]}
    some = [file.model_copy(update={"entry_start": 12, "entry_stop": 22}) for file in files]
    summary = skim_files(some, "x", wanted, selection, tmp_path / "t")
    assert summary["luminosity_sections"] == {"7": [[2, 3]], "8": [[2, 3]]}


def test_sections_are_processed_also_where_no_event_passes(tmp_path, skim):
    path = write_events(tmp_path / "a.root", random_events(25, seed=1, run=7))
    summary, rows = skim(path, jet_pt_min=5000.0)
    assert rows == []
    assert summary["luminosity_sections"] == {"7": [[1, 3]]}
    assert summary["most_jets_in_event"] == 0


def test_the_most_selected_jets_in_an_event(tmp_path, skim):
    paths = [write_events(tmp_path / f"{n}.root", random_events(30, seed=n)) for n in (1, 2)]
    summary, rows = skim(*paths, events_per_chunk=7)
    counts = np.unique([(row["run"], row["event"]) for row in rows[: summary["jets"]]], axis=0)
    per_file = [skim(path, folder=path.stem)[1] for path in paths]
    most = max(
        np.unique([row["event"] for row in found], return_counts=True)[1].max()
        for found in per_file
    )
    assert summary["most_jets_in_event"] == most
    assert len(counts) > 0


def test_events_without_a_luminosity_section_are_refused(tmp_path, skim, shared):
    made = write_events(tmp_path / "a.root", random_events(5), drop=("luminosityBlock",))
    real = shared / "data" / "nanoaod" / "missing_luminosity_block.root"
    for path in (made, real):
        with pytest.raises(DataError, match="luminosityBlock") as caught:
            skim(path)
        assert str(path) in str(caught.value)


def test_an_empty_tree_and_an_ntuple_are_refused(tmp_path, shared, selection):
    with pytest.raises(DataError, match="has no entries; take the file off the list"):
        create_fileset("x", local(shared / "data" / "nanoaod" / "empty_tree.root"), base=tmp_path)
    with uproot.recreate(tmp_path / "n.root") as file:
        file["Events"] = {"run": np.array([1, 2])}
    with pytest.raises(DataError, match=r"is an RNTuple; a TTree was expected.*mktree"):
        create_fileset("x", local(tmp_path / "n.root"), base=tmp_path)


def test_a_file_that_is_truncated_after_the_fileset_was_made_is_refused(tmp_path, selection):
    path = write_events(tmp_path / "a.root", random_events(40, seed=1))
    file = inspect_file(str(path), "Events", str(path))
    whole = path.read_bytes()
    for size in (0, 30, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        # Also where its size is as the fileset says; but its last byte is not of any event.
        knowns = (
            [file] if size == len(whole) - 1 else [file, file.model_copy(update={"size": size})]
        )
        for known in knowns:
            with pytest.raises(DataError, match=str(path)):
                skim_files([known], "x", local(path), selection, tmp_path / "s")
    assert not (tmp_path / "s" / "cutflow.json").exists()


def test_the_order_of_files_is_that_of_the_group_and_each_is_named_in_its_parts(
    tmp_path, selection
):
    paths = [write_events(tmp_path / f"{n}.root", random_events(12, seed=n)) for n in (1, 2, 3)]
    wanted = local(*paths, entry_start=4)
    files = create_fileset("x", wanted, base=tmp_path).files
    told: list[tuple[int, int]] = []
    chunked = selection.model_copy(update={"events_per_chunk": 4})
    summary = skim_files(files, "x", wanted, chunked, tmp_path / "s", lambda *p: told.append(p))
    assert told == [(n, 6) for n in range(1, 7)]
    possible = [f"part_{n:05d}_{start:010d}.parquet" for n in range(3) for start in (4, 8)]
    assert [name for name in possible if name in summary["parts"]] == summary["parts"]
    shutil.rmtree(tmp_path / "s")


def test_limits_are_part_of_the_fileset(tmp_path):
    for number in range(5):
        write_events(tmp_path / f"{number}.root", random_events(6, seed=number))
    (tmp_path / "9.root").write_text("no ROOT file: it is beyond the limit")
    wanted = local(tmp_path, limit_files=3, entry_start=1, entry_stop=5).model_copy(
        update={"files_per_branch": 2}
    )
    fileset = create_fileset("x", wanted, base=tmp_path)
    assert [Path(file.uri).name for file in fileset.files] == ["0.root", "1.root", "2.root"]
    assert fileset.files_per_branch == 2
    assert [len(group) for group in fileset.groups()] == [2, 1]
    from coffea.dataset_tools.filespec import DataGroupSpec

    group = DataGroupSpec.model_validate(fileset.to_coffea())
    assert group["x"].files.num_selected_entries == fileset.entries == 12
    assert {tuple(map(tuple, file.steps)) for file in group["x"].files.values()} == {((1, 5),)}
