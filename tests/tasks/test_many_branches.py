"""Stages with thousands of branches: found at once, told to luigi in shares, never stale."""

import json
import os
import subprocess
import sys

import pytest

from tasks.fileset import CreateFileset
from tasks.made_of import RECORD
from tasks.outputs import StageCollection
from tasks.simulation import SimulatePFNano
from tasks.skim import SkimJets
from tasks.stage import StageTarget
from treasure import store
from treasure.errors import DataError
from treasure.fileset.model import Fileset, FilesetFile

HEAVY = (
    "awkward", "coffea", "dask", "h5py", "matplotlib", "numba", "pandas", "pyarrow", "torch",
    "uproot",
)  # fmt: skip


@pytest.fixture
def config(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("TREASURE_STORE", str(tmp_path / "store"))
    path = tmp_path / "many.yaml"
    path.write_text(
        "defaults: test\ndatasets:\n  qcd: null\n  ttbar: null\n"
        "  x: {label: 0, is_mc: true, source: {kind: local, files: [/data/*.root]}}\n"
    )
    return str(path)


def fresh(task, **parameters):
    """A task as another process makes it."""
    task.clear_instance_cache()
    return task(**parameters)


def list_files(config: str, *names: str) -> None:
    """Leave a fileset as CreateFileset leaves it."""
    task = fresh(CreateFileset, config=config)
    task.output().remove()
    files = [
        FilesetFile(uri=f"/data/{n}", tree="Events", entries=1, size=1, checksum=None, uuid=n)
        for n in names
    ]
    with task.stage() as stage:
        Fileset(dataset="x", files=files).save(stage.directory / "fileset.json")


def run(config: str, branch: int) -> SkimJets:
    task = fresh(SkimJets, config=config, branch=branch)
    with task.stage():
        pass
    return task


def test_a_collection_counts_what_is_complete(tmp_path):
    targets = {n: StageTarget(str(tmp_path / f"x_{n}")) for n in range(4)}
    collection = StageCollection(targets)
    assert collection.count() == 0 and not collection.exists()
    for number in (0, 2):
        (tmp_path / f"x_{number}").mkdir()
    (tmp_path / "x_2" / store.MANIFEST).write_text("{}")
    assert collection.count(keys=True) == (1, [2])
    assert list(collection.iter_missing(keys=True)) == [(n, targets[n]) for n in (0, 1, 3)]
    assert list(collection.iter_existing()) == [targets[2]]
    assert not collection.complete() and StageCollection(targets, threshold=0.25).exists()
    assert StageCollection({}).complete()


def test_outputs_are_known_without_a_task_for_each_branch(config):
    list_files(config, *"abc")
    done = run(config, 1)
    whole = fresh(SkimJets, config=config)
    collection = whole.output()["collection"]
    assert collection.count(keys=True) == (1, [1])
    assert collection.targets[1].path == str(done.directory) == done.output().path
    assert whole.output()["collection"] is collection
    assert len(SkimJets._Register__instance_cache) < 3 + len("abc")


def test_status_asks_once_for_each_branch(config, tmp_path):
    """File-system calls on the results of a status: a listing, and one question a branch."""
    strace = "/usr/bin/strace"
    if not os.access(strace, os.X_OK):
        pytest.skip("needs strace (Debian: apt-get install strace)")
    names = [f"f{number}" for number in range(20)]
    list_files(config, *names)
    for number in range(20):
        run(config, number)
    log = tmp_path / "calls"
    command = ["law", "run", "MergeCutflows", "--config", config, "--print-status", "-1"]
    done = subprocess.run(
        [strace, "-f", "-e", "trace=%file", "-o", str(log), *command],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if "ptrace" in done.stderr:
        pytest.skip("strace is not permitted here")
    assert "existent (20/20)" in done.stdout
    calls = [line for line in log.read_text().splitlines() if "/SkimJets/x/" in line]
    assert 20 <= len(calls) < 40
    assert sum("x_0007" in line for line in calls) == 1


def test_the_record_says_what_all_branches_agree_with(config):
    list_files(config, "b")
    record = run(config, 0).directory.parent / RECORD
    first = record.read_text()
    list_files(config, "b", "c")
    whole = fresh(SkimJets, config=config)
    assert len(whole.branch_map) == 2  # looked up in the manifests
    assert record.read_text() == first  # to look is not to write
    run(config, 1)
    second = record.read_text()
    assert second != first
    list_files(config, "a", "b", "c")
    with pytest.raises(DataError, match=r"x_0000: made of other files .* --version"):
        fresh(SkimJets, config=config).get_branch_map()
    with pytest.raises(DataError, match="made of other files"):
        run(config, 2)
    assert record.read_text() == second


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"files_sha256": 1}', None])
def test_a_record_that_is_damaged_or_gone_hides_nothing(config, damage):
    list_files(config, "b")
    record = run(config, 0).directory.parent / RECORD
    record.unlink() if damage is None else record.write_text(damage)
    assert len(fresh(SkimJets, config=config).branch_map) == 1
    list_files(config, "a")
    with pytest.raises(DataError, match="made of other files"):
        fresh(SkimJets, config=config).get_branch_map()


def test_what_is_merged_is_compared_whatever_the_record_says(config):
    from tasks.skim import _refuse_other_files

    list_files(config, "b")
    branch = run(config, 0)
    files = branch.files()
    _refuse_other_files(branch.directory, {"files": [{"uuid": "b"}]}, files)
    with pytest.raises(DataError, match="x_0000: made of other files"):
        _refuse_other_files(branch.directory, {"files": [{"uuid": "a"}]}, files)


def test_thousands_of_branches_are_told_in_shares_of_those_that_are_missing(config):
    override = "datasets.y={label: 0, is_mc: true, source: {kind: simulation, process: qcd}}"
    parameters = {"config": config, "dataset": "y"}

    def shares(files: int):
        task = SimulatePFNano(**parameters, set=(override, f"datasets.y.source.n_files={files}"))
        (yielded,) = task.workflow_proxy.run()
        return task, yielded

    task, yielded = shares(1001)
    assert [share.branches for share in yielded] == [
        ((0, 200),), ((200, 400),), ((400, 600),), ((600, 800),), ((800, 1000),), ((1000,),)
    ]  # fmt: skip
    for number in (0, 1, 2, 201):
        with task.as_branch(number).stage():
            pass
    _, (first, *_) = shares(1001)
    assert first.branches == ((3, 201), (202, 204))
    assert sorted(first.branch_map) == [*range(3, 201), 202, 203]
    assert first.fingerprint == task.fingerprint and first.directory == task.directory
    assert not first.complete() and first.priority < first.as_branch(3).priority
    _, yielded = shares(400)  # a few hundred are told at once
    assert len(yielded.flat_requirements) == 400


def test_the_whole_tree_is_known_without_heavy_packages(tmp_path):
    code = (
        "import sys, json\n"
        "from tasks.benchmark import BenchmarkTopTagging\n"
        "task = BenchmarkTopTagging(config='test')\n"
        "for dep, *_ in task.walk_deps(max_depth=-1, order='pre'): dep.output(), dep.complete()\n"
        f"print(json.dumps(sorted(set({HEAVY!r}) & set(sys.modules))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
        env=os.environ | {"TREASURE_STORE": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_a_file_is_read_once_unless_it_is_written_again(tmp_path):
    read = []

    @store.remembered
    def content(path):
        read.append(path)
        return path.read_text()

    path = tmp_path / "a"
    store.write_text(path, "one")
    assert content(path) == content(path) == "one" and len(read) == 1
    store.write_text(path, "two")
    assert content(path) == "two" and len(read) == 2
    path.unlink()
    with pytest.raises(FileNotFoundError):
        content(path)
