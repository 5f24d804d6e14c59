import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.layout_a import random_events, write_events
from treasure.config.dataset import Dataset
from treasure.errors import DataError, TreasureError
from treasure.fileset.model import Fileset, FilesetFile
from treasure.fileset.sources import create_fileset


def local(*files: object, **more: object) -> Dataset:
    source = {"kind": "local", "files": [str(file) for file in files], **more}
    return Dataset(label=0, is_mc=True, source=source)


def simulated() -> Dataset:
    return Dataset(label=0, is_mc=True, source={"kind": "simulation", "process": "qcd"})


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples")
    for number, name in enumerate(["a.root", "b.root", "sub/c.root"]):
        write_events(folder / name, random_events(5 + number, seed=number))
    (folder / "sub" / ".d.0123.tmp.root").write_bytes(b"of a running job")
    (folder / "notes.md").write_text("not data")
    return folder


def names(fileset: Fileset) -> list[str]:
    return [Path(file.uri).name for file in fileset.files]


def test_a_file_is_described_by_entries_size_checksum_and_uuid(samples: Path, tmp_path: Path):
    path = samples / "a.root"
    (file,) = create_fileset("x", local(path), base=tmp_path).files
    assert file.uri == file.location == str(path)
    assert (file.tree, file.entries, file.size) == ("Events", 5, path.stat().st_size)
    assert file.checksum == f"adler32:{zlib.adler32(path.read_bytes()):08x}"
    with uproot.open(path) as opened:
        assert file.uuid == str(opened.file.uuid)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.root", ["a.root"]),
        ("?.root", ["a.root", "b.root"]),
        ("*/*.root", ["c.root"]),
        ("**/*.root", ["a.root", "b.root", "c.root"]),
        ("", ["a.root", "b.root", "c.root"]),
        ("file://{}/a.root", ["a.root"]),
    ],
)
def test_globs_directories_and_paths(samples: Path, pattern: str, expected: list[str]):
    text = pattern.format(samples) if "{}" in pattern else samples / pattern
    assert names(create_fileset("x", local(text), base=samples)) == expected


def test_names_that_look_like_patterns(samples: Path, tmp_path: Path):
    for name, source in (("star*.root", "a"), ("star1.root", "b"), ("c[1].root", "c")):
        (tmp_path / name).write_bytes(
            (samples / ("sub" if source == "c" else "") / f"{source}.root").read_bytes()
        )
    found = [
        names(create_fileset("x", local(tmp_path / wanted), base=tmp_path))
        for wanted in ("star*.root", "c[1].root")
    ]
    assert found == [["star*.root", "star1.root"], ["c[1].root"]]


def test_lists_may_hold_comments_globs_and_lists(samples: Path, tmp_path: Path):
    inner = tmp_path / "inner.txt"
    inner.write_text(f"# a comment\n\n{samples}/sub   # the rest\n")
    outer = tmp_path / "outer.txt"
    outer.write_text(f"{samples}/b.root\ninner.txt\n")
    assert names(create_fileset("x", local(outer), base=tmp_path)) == ["b.root", "c.root"]
    inner.write_text("outer.txt\n")
    with pytest.raises(DataError, match="names itself"):
        create_fileset("x", local(outer), base=tmp_path)


def test_environment_variables_relative_paths_and_doubles(samples, tmp_path, monkeypatch):
    monkeypatch.setenv("SAMPLES_FOR_TEST", str(samples))
    monkeypatch.chdir(samples)
    dataset = local("$SAMPLES_FOR_TEST/a.root", "a.root", "./sub/../a.root", "[ab].root")
    assert names(create_fileset("x", dataset, base=tmp_path)) == ["a.root", "b.root"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("nothing*.root", "no file matches"),
        ("nothing.root", "no such file"),
        ("$UNSET_HERE/*.root", r"no file matches \(\$UNSET_HERE not set\)"),
        ("empty", r"no \*.root file in this directory"),
        ("empty.txt", "the list is empty"),
        ("missing.txt", "cannot be read"),
    ],
)
def test_what_matches_nothing_is_named(tmp_path: Path, pattern: str, message: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(TreasureError, match=message) as caught:
        create_fileset("x", local(tmp_path / pattern), base=tmp_path)
    assert str(tmp_path / pattern) in str(caught.value)


def test_unknown_protocols_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="gopher:// cannot be read"):
        create_fileset("x", local("gopher://host/a.root"), base=tmp_path)


def bad_files(samples: Path, folder: Path) -> dict[str, Path]:
    whole = (samples / "a.root").read_bytes()
    content = {
        "truncated.root": whole[: len(whole) // 2],
        "empty.root": b"",
        "text.root": b"hello, this is no ROOT file at all" * 20,
        "header.root": whole[:60] + b"\xff" * 400,
    }
    paths = {}
    for name, data in content.items():
        paths[name] = folder / name
        paths[name].write_bytes(data)
    paths["no_events.root"] = write_events(folder / "no_events.root", random_events(0))
    with uproot.recreate(folder / "other_tree.root") as file:
        file.mktree("Runs", {"run": np.int32}).extend({"run": np.array([1], np.int32)})
    with uproot.recreate(folder / "ntuple.root") as file:
        file["Events"] = {"run": np.array([1, 2])}
    return paths | {name: folder / name for name in ("other_tree.root", "ntuple.root")}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("truncated.root", "truncated|damaged"),
        ("empty.root", "0 bytes"),
        ("text.root", "not a ROOT file"),
        ("header.root", "truncated|damaged"),
        ("no_events.root", "has no entries"),
        ("other_tree.root", r"no tree 'Events' \(found: Runs\)"),
        ("ntuple.root", "RNTuple; a TTree was expected"),
    ],
)
def test_bad_files_are_named_with_the_reason(samples, tmp_path, name, message):
    path = bad_files(samples, tmp_path)[name]
    with pytest.raises(DataError, match=message) as caught:
        create_fileset("x", local(path), base=tmp_path)
    assert str(path) in str(caught.value)


def test_bad_files_are_listed_up_to_the_allowed_number(samples: Path, tmp_path: Path):
    bad = bad_files(samples, tmp_path)
    files = [samples / "a.root", *bad.values()]
    fileset = create_fileset("x", local(*files, allowed_bad_files=len(bad)), base=tmp_path)
    assert names(fileset) == ["a.root"]
    assert {file.uri for file in fileset.bad_files} == {str(path) for path in bad.values()}
    with pytest.raises(DataError) as caught:
        create_fileset("x", local(*files, allowed_bad_files=len(bad) - 1), base=tmp_path)
    message = str(caught.value)
    assert f"{len(bad)} of {len(files)} files" in message
    assert "datasets.x.source.allowed_bad_files" in message


def test_no_file_left_is_an_error_whatever_is_allowed(tmp_path: Path):
    for name in ("a.root", "b.root"):
        (tmp_path / name).write_text("no")
    with pytest.raises(DataError, match="2 of 2 files"):
        create_fileset("x", local(tmp_path, allowed_bad_files=9), base=tmp_path)


def test_a_copy_under_another_name_is_refused(samples: Path, tmp_path: Path):
    for name in ("a.root", "z.root"):
        shutil.copy(samples / "a.root", tmp_path / name)
    with pytest.raises(DataError, match=r"the same bytes as .*a\.root"):
        create_fileset("x", local(tmp_path), base=tmp_path)


def test_the_json_is_canonical_and_progress_is_told(samples: Path, tmp_path: Path):
    told: list[tuple[int, int]] = []
    for number, threads in enumerate((1, 8)):
        fileset = create_fileset(
            "x",
            local(samples),
            base=tmp_path,
            threads=threads,
            progress=lambda done, total: told.append((done, total)),
        )
        fileset.save(tmp_path / f"{number}.json")
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "1.json").read_bytes()
    assert told == [(1, 3), (2, 3), (3, 3)] * 2
    assert Fileset.load(tmp_path / "0.json").files[0].location == fileset.files[0].location


def test_simulated_files_are_named_relative_so_that_a_store_can_be_moved(tmp_path: Path):
    store = tmp_path / "store"
    paths = [
        write_events(store / "Simulate" / "v1" / f"file_{n}.root", random_events(4, seed=n))
        for n in range(3)
    ]
    base = store / "CreateFileset" / "qcd"
    create_fileset("qcd", simulated(), simulated=paths, base=base).save(base / "fileset.json")
    text = (base / "fileset.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["files"][1]["uri"] == "../../Simulate/v1/file_1.root"
    moved = tmp_path / "elsewhere"
    os.rename(store, moved)
    fileset = Fileset.load(moved / "CreateFileset" / "qcd" / "fileset.json")
    assert [file.location for file in fileset.files] == [
        str(moved / "Simulate" / "v1" / f"file_{n}.root") for n in range(3)
    ]
    fileset.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == text


def test_simulation_without_files_says_so(tmp_path: Path):
    with pytest.raises(DataError, match="no simulated files"):
        create_fileset("qcd", simulated(), base=tmp_path)


def test_filesets_validate_as_coffeas_own(samples: Path, tmp_path: Path):
    from coffea.dataset_tools.filespec import DataGroupSpec

    fileset = create_fileset("x", local(samples), base=tmp_path)
    group = DataGroupSpec.model_validate(fileset.to_coffea())
    assert group["x"].files.num_entries == fileset.entries == 18


@given(
    n=st.integers(1, 20),
    size=st.integers(1, 7),
    sections=st.none() | st.just({"1": [[1, 2], [5, 9]]}),
)
def test_groups_keep_every_file_in_order_and_json_gives_it_back(
    n, size, sections, tmp_path_factory
):
    files = [
        FilesetFile(
            uri=f"{i}.root", tree="Events", entries=i + 1, size=i, checksum=None, uuid=str(i)
        )
        for i in range(n)
    ]
    fileset = Fileset(dataset="x", files=files, luminosity_sections=sections, files_per_branch=size)
    groups = fileset.groups()
    assert [file for group in groups for file in group] == files
    assert all(len(group) == size for group in groups[:-1])
    path = tmp_path_factory.getbasetemp() / "fileset.json"
    fileset.save(path)
    assert Fileset.load(path).model_dump() == fileset.model_dump()


@pytest.mark.parametrize("content", ["{", '{"dataset": 1}', '{"dataset": "x", "files": []}', "[]"])
def test_what_is_not_a_fileset_is_named(tmp_path: Path, content: str):
    path = tmp_path / "fileset.json"
    path.write_text(content)
    with pytest.raises(DataError, match=str(path)):
        Fileset.load(path)


def test_a_dataset_needs_a_known_kind_of_source():
    with pytest.raises(ValidationError, match="simulation"):
        Dataset(label=0, is_mc=True, source={"kind": "tape"})


def test_the_model_is_light():
    import subprocess
    import sys

    code = "import treasure.fileset.model, sys; print(sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    for heavy in ("'uproot'", "'awkward'", "'coffea'", "'h5py'", "'pyarrow'", "'numpy'"):
        assert heavy not in loaded.stdout


def test_filesets_do_not_change_and_name_what_is_wrong_in_them(samples: Path, tmp_path: Path):
    fileset = create_fileset("x", local(samples / "a.root"), base=tmp_path)
    url = fileset.files[0].model_copy(update={"uri": "root://server//store/a.root"})
    assert url.location == url.uri
    with pytest.raises(ValidationError, match="frozen"):
        fileset.files[0].uri = "other"
    with pytest.raises(ValidationError, match="frozen"):
        fileset.dataset = "other"
    fileset.save(tmp_path / "f.json")
    content = json.loads((tmp_path / "f.json").read_text())
    for change, message in (
        (
            {"files": [{**content["files"][0], "entries": -1}]},
            r"files\.0\.entries: .*CreateFileset",
        ),
        ({"more": 1}, "more: .*CreateFileset"),
        ({"schema_version": 1}, "fileset of schema version 1, this is version 2; .*CreateFileset"),
    ):
        (tmp_path / "f.json").write_text(json.dumps({**content, **change}))
        with pytest.raises(DataError, match=message):
            Fileset.load(tmp_path / "f.json")


def test_coffea_gets_the_configuration_of_the_source(samples: Path, tmp_path: Path):
    fileset = create_fileset("x", local(samples / "a.root"), base=tmp_path)
    found = fileset.to_coffea()["x"]
    assert found["metadata"] == {"source": fileset.source}
    assert found["files"][str(samples / "a.root")]["steps"] == [[0, 5]]
