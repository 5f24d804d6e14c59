"""Aspen Open Jets from the command line: what its original maker wrote, bit for bit."""

import json
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from .conftest import Terminal

KEYS = ("event_info", "jet_kinematics", "jet_tagging", "PFCands")

# The configuration that a user writes, but for the path.
MINE = """
# my.yaml
defaults: aoj
datasets:
  mine: {source: {kind: local, files: ["/somewhere/*.root"]}, label: 0, is_mc: true}
selection: {candidate_order: aoj}
"""


def write_h5(folder: Path, files: Path, *arguments: str, more: str = "") -> list[Path]:
    """Run the command on the files of a folder; its jet tables, in order."""
    folder.mkdir()
    config = folder / "my.yaml"
    config.write_text(MINE.replace("/somewhere", str(files)) + more)
    terminal = Terminal(folder / "store")
    run = terminal(
        "law", "run", "WriteH5", "--config", str(config), "--dataset", "mine", "--version", "x",
        *arguments,
    )  # fmt: skip
    assert run.code == 0, run.text
    found = list((folder / "store").glob("my/WriteH5/mine/x-*/*/*.h5"))
    return sorted(found, key=lambda path: int(path.stem.rpartition("batch")[2]))


def read(paths: list[Path]) -> dict[str, np.ndarray]:
    """Four keys of some files, one after the other."""
    parts = []
    for path in paths:
        with h5py.File(path) as file:
            parts.append({key: file[key][()] for key in KEYS})
    return {key: np.concatenate([part[key] for part in parts]) for key in KEYS}


@pytest.fixture(scope="module")
def maker(shared) -> Path:
    return shared / "reference" / "aoj_maker"


@pytest.fixture(scope="module")
def made(maker, tmp_path_factory) -> list[Path]:
    return write_h5(tmp_path_factory.mktemp("aoj") / "run", maker)


@pytest.fixture(scope="module")
def several(maker, tmp_path_factory) -> Path:
    """The events of the file shared out over three."""
    folder = tmp_path_factory.mktemp("several")
    with uproot.open(maker / "qcd_300.root") as file:
        events = file["Events"].arrays(library="ak")
    for number, (start, stop) in enumerate(((0, 90), (90, 91), (91, 300))):
        write_events(folder / f"events_{number}.root", events[start:stop])
    return folder


def write_events(path: Path, events: ak.Array) -> None:
    """A TTree with the branches that the events have, counters included."""
    collections = {name[1:] for name in events.fields if f"{name[1:]}_pt" in events.fields}
    collections |= {"FatJetPFCands"} & {name.partition("_")[0] for name in events.fields}
    data: dict = {}
    for name in events.fields:
        collection, _, field = name.partition("_")
        if collection in collections and field:
            data.setdefault(collection, {})[field] = events[name]
        elif name[1:] not in collections:
            data[name] = ak.to_numpy(events[name])
    data = {k: ak.zip(v) if isinstance(v, dict) else v for k, v in data.items()}
    types = {k: v.type.content if isinstance(v, ak.Array) else v.dtype for k, v in data.items()}
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", types, counter_name=lambda name: "n" + name)
        tree.extend(data)


def assert_as_the_maker(found: dict[str, np.ndarray], maker: Path) -> None:
    expected = read([maker / "qcd_300.h5"])
    for key in ("event_info", "jet_kinematics", "jet_tagging"):
        assert found[key].dtype == expected[key].dtype
        assert found[key].tobytes() == expected[key].tobytes(), key
    candidates, reference = found["PFCands"], expected["PFCands"]
    np.testing.assert_array_max_ulp(candidates[:, :, :4], reference[:, :, :4], maxulp=1)
    assert candidates[:, :, 4:].tobytes() == reference[:, :, 4:].tobytes()


def test_the_table_is_that_of_the_original_maker(made, maker):
    (path,) = made
    assert path.name == "mine_batch0.h5"
    assert_as_the_maker(read(made), maker)


def test_shards_of_other_files_and_any_number_of_workers_hold_the_same_bytes(
    several, made, tmp_path
):
    more = "jet_table: {jets_per_shard: 60}\n"
    paths = {}
    for workers in ("1", "2"):
        paths[workers] = write_h5(
            tmp_path / workers, several, "--workers", workers, "--set",
            "datasets.mine.shard_name=RunG", more=more,
        )  # fmt: skip
    names = [path.name for path in paths["1"]]
    assert names == [f"RunG_batch{n}.h5" for n in range(len(names))] and len(names) == 8
    for one, two in zip(*paths.values(), strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.parent.name == one.stem
    found, expected = read(paths["1"]), read(made)
    for key in KEYS:
        assert found[key].tobytes() == expected[key].tobytes(), key
    previous = None
    for number, path in enumerate(paths["1"]):
        with h5py.File(path) as file:
            assert 0 < len(file["event_info"]) <= 60
            assert previous is None or (file["event_info"][0] != previous).any()
            previous = file["event_info"][-1]
            files = [Path(f["uri"]).name for f in json.loads(file.attrs["source_files"])]
        assert files == sorted(files)
        assert ("events_0.root" in files) == (number < 3), (number, files)
        assert ("events_2.root" in files) == (number > 1), (number, files)


def test_a_range_of_entries_that_skips_a_file_and_triggers_that_no_file_has(several, tmp_path):
    # Of 90, 1 and 209 events: 10 of the first, none of the second, 20 of the third.
    entries = "datasets.mine.source.entry_start=80,datasets.mine.source.entry_stop=100"
    (path,) = write_h5(tmp_path / "range", several, "--set", entries)
    with h5py.File(path) as file:
        assert set(file["event_info"][:, 2]) <= {*range(81, 91), *range(172, 192)}
        assert len(json.loads(file.attrs["source_files"])) == 2
    run = Terminal(tmp_path / "range" / "store")(
        "law", "run", "WriteH5", "--config", str(tmp_path / "range" / "my.yaml"), "--dataset",
        "mine", "--version", "x", "--set", "selection.triggers=[HLT_Typo]",
    )  # fmt: skip
    assert run.code == 0, run.text
    assert run.text.count("no file has any of the 1 paths of selection.triggers") == 3
    validated = tmp_path / "golden.json"
    validated.write_text('{"1": [[1, 10]]}')
    run = Terminal(tmp_path / "range" / "store")(
        "law", "run", "SkimJets", "--config", str(tmp_path / "range" / "my.yaml"), "--dataset",
        "mine", "--version", "x", "--set", f"selection.golden_json={validated}",
        "--set", "datasets.mine.is_mc=false",
    )  # fmt: skip
    assert run.code == 0, run.text
    assert run.text.count("no event is in a section of selection.golden_json (runs 280000)") == 3
    paths = (tmp_path / "range" / "store").glob("my/WriteH5/mine/x-*/*/*.h5")
    assert 0 in [len(read([path])["event_info"]) for path in paths]
