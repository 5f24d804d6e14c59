import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.jets.conftest import random_rows, write_skim
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.config.splits import Splits
from treasure.errors import ConfigError, DataError
from treasure.jets.shards import overlapping, plan_shards
from treasure.jets.table import JetTable
from treasure.jets.write import write_jet_table
from treasure.store import checksums


@given(st.integers(0, 2000), st.integers(0, 8), st.integers(0, 300))
def test_a_plan_covers_every_row_once(jets, most, more):
    plan = plan_shards(jets, most, max(most, 1) + more)
    assert plan[0][0] == 0 and plan[-1][1] == jets
    assert all(before[1] == after[0] for before, after in pairwise(plan))
    assert all(start < stop for start, stop in plan) or plan == [(0, 0)]


@given(st.lists(st.integers(1, 5), max_size=60), st.integers(0, 40))
def test_events_moved_to_their_starts_fit_every_table(events, more):
    ends = np.cumsum([0, *events])
    most = max(events, default=0)
    maximum = max(most, 1) + more
    plan = plan_shards(int(ends[-1]), most, maximum)

    def moved(row):
        return int(ends[ends <= row][-1])

    lengths = [moved(stop) - moved(start) for start, stop in plan]
    assert sum(lengths) == ends[-1]
    assert max(lengths) <= maximum


def test_tables_that_cannot_hold_an_event_are_refused():
    with pytest.raises(ConfigError, match=r"jets_per_shard is 3, but an event has 5 .*set it to 5"):
        plan_shards(100, 5, 3)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12), st.integers(1, 9))
def test_every_branch_is_needed_and_every_row_is_in_a_needed_branch(jets, maximum):
    total = sum(jets)
    ends = np.cumsum([0, *jets])
    needed: set[int] = set()
    plan = plan_shards(total, 1, maximum)
    for (start, stop), (branches, first) in zip(plan, overlapping(plan, jets), strict=True):
        assert first == ends[branches.start] <= start
        assert stop <= ends[branches.stop]
        assert all(jets[b] == 0 or (ends[b] < stop and ends[b + 1] > start) for b in branches)
        needed.update(branches)
    assert needed == set(range(len(jets)))


# A skim: branches, of parts, of events, each with its number of jets.
SKIM = st.lists(
    st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=8), max_size=3),
    min_size=1,
    max_size=4,
)


def skim_of(folder: Path, branches) -> tuple[list[Path], list[dict]]:
    """Write a skim; its directories, and the parts as rows."""
    directories, everything, event = [], [], 0
    for number, parts in enumerate(branches):
        written = []
        for jets in parts:
            rows = random_rows([(event + n) % 4 for n in range(sum(jets))], seed=event)
            numbers = np.repeat(np.arange(event, event + len(jets)), jets)
            rows["scalars"] |= {
                "run": numbers // 7 + 1, "luminosityBlock": numbers // 3 + 1, "event": numbers % 5,
                "FatJet_index": np.concatenate([np.arange(n) for n in jets]),
                "FatJet_pt": (event * 10 + np.arange(len(numbers))).astype(np.float32),
            }  # fmt: skip
            event += len(jets)
            written.append(rows)
        directory = write_skim(folder / str(number), written, source=f"{number}.root")
        directories.append(directory)
        everything += written
    return directories, everything


def write_shards(folder: Path, skims: list[Path], jets: list[int], most: int, maximum: int):
    paths = []
    dataset = Dataset(label=1, is_mc=True, source={"kind": "local", "files": ["x"]})
    plan = plan_shards(sum(jets), most, maximum)
    for number, (branches, first) in enumerate(overlapping(plan, jets)):
        start, stop = plan[number]
        paths.append(folder / f"top_batch{number}.h5")
        write_jet_table(
            [skims[b] for b in branches], paths[-1], dataset_name="top", dataset=dataset,
            selection=Selection(), splits=Splits(), attributes={},
            rows=(start - first, stop - first),
        )  # fmt: skip
    return paths


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(SKIM, st.integers(0, 25), st.integers(1, 7))
def test_shards_together_are_the_skims_and_divide_no_event(
    tmp_path_factory, monkeypatch, branches, more, block
):
    folder = tmp_path_factory.mktemp("shards")
    skims, everything = skim_of(folder, branches)
    jets = [sum(map(sum, parts)) for parts in branches]
    most = max((n for parts in branches for part in parts for n in part), default=0)
    maximum = max(most, 1) + more
    monkeypatch.setattr("treasure.jets.write.BLOCK_ROWS", block * 2)
    monkeypatch.setattr("treasure.jets.write.CANDIDATE_CHUNK_ROWS", block)
    monkeypatch.setattr("treasure.jets.write.NARROW_CHUNK_ROWS", block)
    tables = []
    for path in write_shards(folder, skims, jets, most, maximum):
        with JetTable(path) as table:
            tables.append({k: table.column(k) for k in ("event_info", "jet_kinematics")})
            tables[-1]["PFCands"] = np.concatenate(
                [np.zeros((0, 150, 11), np.float32), *(c.candidates for c in table.chunks())]
            )
            files = json.loads(table.attributes["source_files"])
            numbers = [int(file["uri"].split(".")[0]) for file in files]
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert all(len(table["event_info"]) <= maximum for table in tables)
    together = {k: np.concatenate([table[k] for table in tables]) for k in tables[0]}

    def skimmed(*names):
        empty = np.zeros((0, len(names)))
        rows = [np.stack([p["scalars"][n] for n in names], axis=1) for p in everything]
        return np.concatenate([empty, *rows])

    numbers = skimmed("run", "luminosityBlock", "event")
    assert (together["event_info"] == numbers).all() and len(numbers) == sum(jets)
    assert (together["jet_kinematics"][:, 0] == skimmed("FatJet_pt")[:, 0]).all()
    energy = [p["candidates"]["E"] for p in everything]
    found = together["PFCands"][:, :, 3]
    assert (found[found != 0] == np.concatenate([np.zeros(0), *energy])).all()
    # The last jet of a table and the first of the next are of different events.
    index = skimmed("FatJet_index")[:, 0]
    for end in np.cumsum([len(table["event_info"]) for table in tables])[:-1]:
        assert end == len(index) or index[end] == 0


def test_events_without_numbers_of_their_own_are_not_divided_either(tmp_path):
    rows = random_rows([1] * 40)
    rows["scalars"] |= dict.fromkeys(("run", "luminosityBlock", "event"), np.ones(40, np.int64))
    skim = write_skim(tmp_path / "skim", [rows])
    paths = write_shards(tmp_path, [skim], [40], 2, 11)
    lengths = []
    for path in paths:
        with JetTable(path) as table:
            lengths.append(len(table))
    assert lengths == [10, 10, 10, 10]


def test_a_table_of_some_rows_lists_what_its_own_branches_read(tmp_path):
    notes = {"jets_reclustered": 2}
    first = write_skim(tmp_path / "0", [random_rows([1] * 6)], source="0.root", notes=notes)
    second = write_skim(
        tmp_path / "1", [random_rows([1] * 6)], source="1.root", notes=notes, layouts=["D"],
        puppi="applied", absent_columns={"PFCands_d0": "-1"}, replaced_values={"PFCands_dz": 1},
    )  # fmt: skip
    paths = write_shards(tmp_path, [first, second], [6, 6], 2, 6)
    described = []
    for path in paths:
        with JetTable(path) as table:
            found = table.attributes
            names = ("layouts", "absent_columns", "replaced_values", "notes", "source_files")
            described.append([found["puppi"], *(json.loads(found[name]) for name in names)])
    files = [[file["uri"] for file in one[-1]] for one in described]
    assert files == [["0.root"], ["1.root"], ["1.root"]]
    assert described[0][:5] == ["stored", ["A"], {}, {}, notes]
    assert described[1][:5] == ["applied", ["D"], {"PFCands_d0": "-1"}, {"PFCands_dz": 1}, notes]


def test_rows_that_the_skim_does_not_have_are_refused(write):
    with pytest.raises(DataError, match=r"rows 2 to 9 were asked of a skim of 4 rows"):
        write(random_rows([1] * 4), rows=(2, 9))


def test_the_same_rows_give_the_same_bytes_whatever_part_they_came_from(write):
    rows = random_rows([n % 9 for n in range(300)])
    some, _ = write(rows, rows=(100, 250))
    cut = {
        "scalars": {k: v[50:] for k, v in rows["scalars"].items()},
        "counts": rows["counts"][50:],
        "candidates": {k: v[rows["counts"][:50].sum() :] for k, v in rows["candidates"].items()},
    }
    again, _ = write(cut, rows=(50, 200), name="again.h5")
    assert checksums(some) == checksums(again)


def test_plain_h5py_opens_it_without_plugins(write):
    path, _ = write(random_rows([3, 160] * 100))
    code = f"""
import sys, h5py
with h5py.File({str(path)!r}) as file:
    sums = {{key: float(file[key][()].sum()) for key in file}}
assert not [m for m in sys.modules if m.startswith(("treasure", "hdf5plugin", "deflate"))]
print(len(sums))
"""
    run = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, cwd="/",
        env=os.environ | {"HDF5_PLUGIN_PATH": ""},
    )  # fmt: skip
    assert run.stdout.strip() == "6", run.stderr
