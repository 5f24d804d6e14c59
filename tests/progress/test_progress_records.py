"""Records of branches: whole or not at all, and harmless when damaged."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treasure.errors import DataError
from treasure.progress.plan import (
    Plan,
    PlannedStage,
    add_parts,
    find_plan,
    new_path,
    plans,
    read_plan,
)
from treasure.progress.process import is_alive, this_process
from treasure.progress.record import (
    Finished,
    Record,
    read_finished,
    read_record,
    read_records,
    record_path,
)

texts = st.text(max_size=80).filter(lambda text: not any(0xD800 <= ord(c) < 0xE000 for c in text))
numbers = st.floats(min_value=0, max_value=1e18)


@given(label=texts, error=texts, log=texts, unit=texts, done=numbers, total=numbers)
def test_a_record_is_read_as_it_was_written(tmp_path_factory, **content):
    path = tmp_path_factory.mktemp("store") / "a" / "b.json"
    Record(state="failed", process=this_process(), **content).save(path)
    record = read_record(path)
    assert {name: getattr(record, name) for name in content} == content
    assert record.process == this_process()
    assert 0 <= record.fraction <= 1


@given(name=texts)
def test_what_a_branch_of_any_name_counted_is_found_again(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("stage")
    Finished("jets", 7, 1.5).append(folder, "another")
    Finished("events", 12, 0.25).append(folder, name)
    assert read_finished(folder)[name] == Finished("events", 12, 0.25)


def test_records_have_the_names_of_the_directories_of_branches(tmp_path):
    branch = tmp_path / "test" / "SkimJets" / "q.c d" / "v1.2-0a" / "q.c d_0001"
    path = record_path(tmp_path, branch)
    assert path.parent == record_path(tmp_path, branch.parent).with_suffix("")
    Record("SkimJets", "running").save(path)
    assert list(read_records(path.parent)) == ["q.c d_0001"]


@given(content=st.binary(max_size=200))
def test_any_bytes_in_place_of_a_record_do_no_harm(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("store")
    for name in ("a.json", "finished.host.jsonl"):
        (folder / name).write_bytes(content)
    assert read_record(folder / "a.json") is None
    assert read_finished(folder) == {}
    assert read_plan(folder / "a.json") is None


@pytest.mark.parametrize(
    "content",
    [
        {"state": "done"},
        {"state": "running", "done": "many", "total": None, "process": 3, "label": []},
        {"state": "running", "done": -1, "total": 10**400, "elapsed": True},
        ["running"],
    ],
)
def test_values_of_other_types_are_as_good_as_none(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    record = read_record(path)
    assert record is None or (record.done, record.total, record.elapsed) == (0, 0, 0)


def test_a_reader_never_sees_half_a_record(tmp_path):
    path = tmp_path / "a.json"
    Record("", "running").save(path)
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            Record("x" * (number % 5000), "running", done=number % 5000).save(path)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = [read_record(path) for _ in range(2000)]
    finally:
        stop.set()
        writer.join()
    assert all(record is not None and len(record.label) == record.done for record in seen)
    assert os.listdir(tmp_path) == ["a.json"]


def test_lines_of_several_processes_do_not_mix(tmp_path):
    code = (
        "import sys; from pathlib import Path; from treasure.progress.record import Finished\n"
        "for n in range(300):\n"
        "    Finished('jets', n, 1.0).append(Path(sys.argv[1]), f'{sys.argv[2]}_{n}')\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, tmp_path, name]) for name in "abc"]
    assert [process.wait() for process in running] == [0, 0, 0]
    finished = read_finished(tmp_path)
    assert len(finished) == 900
    assert all(finished[f"{name}_{n}"].count == n for name in "abc" for n in range(300))


def test_a_process_is_known_to_live_to_be_gone_or_to_be_elsewhere():
    assert is_alive(this_process()) is True
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_alive(this_process() | {"pid": ended.pid}) is False
    # The same number, of a process that began at another time.
    machine = this_process()["birth"].rpartition(" ")[0]
    assert is_alive(this_process() | {"birth": f"{machine} 1"}) is False
    assert is_alive(this_process() | {"birth": "another machine 1"}) is None
    assert is_alive({}) is None


def plan(**changes):
    stage = PlannedStage("SkimJets", "qcd", "test/SkimJets/qcd/v1-0a", ("qcd_0000",))
    values = {"task": "SkimJets", "version": "v1", "config": "test", "stages": (stage,)}
    return Plan(**(values | {"started": 1.0, "process": this_process()} | changes))


def test_the_latest_run_of_a_version_and_a_configuration_is_found(tmp_path):
    for started, version, config in ((1, "v1", "test"), (3, "v2", "test"), (2, "v1", "aoj")):
        plan(started=started, version=version, config=config).save(new_path(tmp_path))
    assert [p.started for _, p in plans(tmp_path)] == [3, 2, 1]
    assert read_plan(find_plan(tmp_path)).started == 3
    assert read_plan(find_plan(tmp_path, "v1")).started == 2
    assert read_plan(find_plan(tmp_path, "v1", "test")).started == 1
    with pytest.raises(
        DataError, match=r"version 'v3' .*v1 \(--config aoj\), v1 \(--config test\)"
    ):
        find_plan(tmp_path, "v3")


def test_a_store_without_runs_says_so(tmp_path):
    with pytest.raises(DataError, match="no run is recorded"):
        find_plan(tmp_path)


def test_a_plan_is_read_as_it_was_written_and_never_leads_out_of_the_store(tmp_path):
    path = new_path(tmp_path)
    plan().save(path)
    read = read_plan(path)
    assert read.stages == plan().stages and abs(read.written - time.time()) < 3600
    for directory in ("/etc", "../../etc"):
        plan(stages=(PlannedStage("A", "", directory, None),)).save(path)
        assert read_plan(path) is None


def test_branches_that_become_known_later_are_added(tmp_path):
    path = new_path(tmp_path)
    stages = [PlannedStage(name, "qcd", f"test/{name}/qcd/v1-0a", None) for name in ("A", "B")]
    plan(stages=tuple(stages)).save(path)
    add_parts(path, stages[1].directory, ("qcd_0000", "qcd_0001"))
    assert [s.parts for s in read_plan(path).stages] == [None, ("qcd_0000", "qcd_0001")]


def test_old_plans_are_removed(tmp_path):
    stage = PlannedStage("SkimJets", "qcd", "test/SkimJets/qcd/v1-0a", None)
    for _ in range(40):
        path = new_path(tmp_path)
        plan(stages=(stage,)).save(path)
        add_parts(path, stage.directory, ("qcd_0000",))
    assert len(plans(tmp_path)) == 30
    assert len(list(path.parent.iterdir())) == 60
