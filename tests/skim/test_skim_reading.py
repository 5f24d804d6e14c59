"""What is read of a file, and how often: nothing in vain."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import uproot

from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.errors import DataError
from treasure.fileset.opening import close_kept, options_for_chunks
from treasure.skim.record import CANDIDATE_COLUMNS, JET_COLUMNS


def destroy(path: Path, branch: str) -> None:
    """Overwrite all baskets of a branch."""
    with uproot.open(path) as file:
        number = file["Events"][branch].num_baskets
        keys = [file["Events"][branch].basket_key(n) for n in range(number)]
        ranges = [(key.fSeekKey, key.fNbytes) for key in keys]
    with open(path, "r+b") as file:
        for start, size in ranges:
            file.seek(start)
            file.write(b"\xff" * size)


def test_branches_that_are_not_used_are_never_read(tmp_path, skim):
    whole = write_events(tmp_path / "whole.root", random_events(30, seed=4))
    expected = skim(whole, folder="whole")[1]
    with uproot.open(whole) as file:
        branches = set(file["Events"].keys())
    used = {
        "run", "luminosityBlock", "event", "genWeight", *TRIGGERS, *FILTERS, "nFatJet",
        "FatJet_jetId", *(f"FatJet_{name}" for name in JET_COLUMNS), "nPFCands",
        *(f"PFCands_{name}" for name in ("pt", "eta", "phi", "mass", *CANDIDATE_COLUMNS[4:])),
        "nFatJetPFCands", "FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx",
    }  # fmt: skip
    unused = branches - used
    assert len(unused) > 0 and len(expected) > 0
    read = set()
    for branch in sorted(branches):
        path = Path(shutil.copy(whole, tmp_path / f"{branch}.root"))
        destroy(path, branch)
        try:
            assert skim(path, folder=branch)[1] == expected
        except DataError as error:
            assert str(path) in str(error)
            read.add(branch)
    assert read == branches & used


def is_open(path: Path) -> bool:
    """Whether this process holds a file open."""
    links = (os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))
    return any(os.path.exists(link) and os.path.samefile(link, path) for link in links)


def test_a_tree_is_parsed_once_as_long_as_its_file_is_the_same(tmp_path):
    one = write_events(tmp_path / "one.root", random_events(5, seed=1))
    other = write_events(tmp_path / "other.root", random_events(7, seed=2))

    def tree(path: Path) -> uproot.TTree:
        with uproot.open({str(path): None}, **options_for_chunks(str(path))) as file:
            return file["Events"]

    first = tree(one)
    assert tree(one) is first and is_open(one)
    assert tree(other).num_entries == 7
    assert is_open(other) and not is_open(one)
    shutil.copy(one, tmp_path / "new.root")
    os.replace(tmp_path / "new.root", other)
    assert tree(other).num_entries == 5
    assert tree(other)["event"].array().tolist() == [*tree(one)["event"].array()]
    close_kept()
    assert not is_open(one) and not is_open(other)
    assert tree(one) is not first


@pytest.mark.parametrize("events_per_chunk", [1000, 7])
def test_a_file_that_was_replaced_is_read_anew(tmp_path, skim, events_per_chunk):
    path = write_events(tmp_path / "a.root", random_events(20, seed=1))
    skim(path, folder="first", events_per_chunk=events_per_chunk)
    write_events(tmp_path / "b.root", random_events(30, seed=2))
    expected = skim(tmp_path / "b.root", folder="b", events_per_chunk=events_per_chunk)[1]
    os.replace(tmp_path / "b.root", path)
    assert skim(path, folder="second", events_per_chunk=events_per_chunk)[1] == expected


def test_nothing_heavy_is_imported_that_is_not_needed(tmp_path):
    """What a skim and a jet table import, they import in each process."""
    path = write_events(tmp_path / "a.root", random_events(20, seed=1))
    script = f"""
import sys
from pathlib import Path
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.config.splits import Splits
from treasure.fileset.inspection import inspect_file
from treasure.jets.write import write_jet_table
from treasure.skim.run import skim_files

folder = Path({str(tmp_path)!r})
data = Dataset(label=0, is_mc=True, source={{"kind": "local", "files": ["x"]}})
selection, file = Selection(jet_id=None), inspect_file({str(path)!r}, "Events", {str(path)!r})
skim_files([file], "x", data, selection, folder / "skim")
write_jet_table(
    [folder / "skim"], folder / "x.h5", dataset_name="x", dataset=data, selection=selection,
    splits=Splits(), attributes={{}},
)
heavy = {{"dask", "distributed", "fastjet", "matplotlib", "pandas", "scipy.stats", "torch"}}
print(sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
