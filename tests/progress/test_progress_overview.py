"""What records, manifests and processes add up to, and how it looks."""

import io
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from treasure.progress.overview import SILENCE, Reader
from treasure.progress.plan import Plan, PlannedStage, new_path
from treasure.progress.process import this_process
from treasure.progress.record import Finished, Record, record_path
from treasure.progress.table import RunTable, duration
from treasure.store import MANIFEST

BRANCHES = tuple(f"qcd_{number:04d}" for number in range(10))
ELSEWHERE = {"host": "node7", "pid": 1, "birth": "another machine 1"}


class Store:
    """A store in which a skim of ten branches runs."""

    def __init__(self, place, process=None):
        self.place = place
        self.stage = PlannedStage("SkimJets", "qcd", "test/SkimJets/qcd/v1-0a", BRANCHES)
        self.single = PlannedStage("MergeCutflows", "qcd", "test/MergeCutflows/qcd/v1-0b", ("",))
        self.later = PlannedStage("WriteH5", "qcd", "test/WriteH5/qcd/v1-0c", None)
        self.path = new_path(place)
        self.plan = Plan(
            "WriteH5", "v1", "test", (self.stage, self.single, self.later), 1.0,
            process or this_process(),
        )  # fmt: skip
        self.plan.save(self.path)
        self.reader = Reader(place, self.path)

    def branch(self, name, stage=None):
        return self.place / (stage or self.stage).directory / name

    def finish(self, name, count=None, seconds=2.0):
        self.branch(name).mkdir(parents=True, exist_ok=True)
        (self.branch(name) / MANIFEST).write_text("{}")
        if count is not None:
            folder = record_path(self.place, self.branch(name)).parent
            Finished("events", count, seconds).append(folder, name)

    def record(self, name, state="running", **content):
        values = {"process": this_process(), "unit": "events"} | content
        path = record_path(self.place, self.branch(name))
        Record(f"SkimJets qcd {name}", state, **values).save(path)
        return path

    def read(self):
        return self.reader.read()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def text(overview, width=80, height=24, encoding="utf-8"):
    screen = io.BytesIO()
    console = Console(
        width=width, height=height, force_terminal=True, color_system=None, legacy_windows=False,
        file=io.TextIOWrapper(screen, encoding=encoding, errors="replace"),
    )  # fmt: skip
    console.print(RunTable(overview))
    console.file.flush()
    return screen.getvalue().decode(encoding)


def test_counts_rates_and_time_left_by_hand(store):
    for name in BRANCHES[:4]:
        store.finish(name, 100, 2.0)
    store.record("qcd_0004", done=50, total=100, elapsed=2.0)
    store.record("qcd_0005", elapsed=0.5)
    skim, single, later = store.read().stages
    assert (skim.done, skim.total, len(skim.running)) == (4, 10, 2)
    assert skim.count == 450 and skim.unit == "events" and not skim.partial
    # one at 25 events/s of its own, the other as fast as those that are complete: 50 events/s
    assert skim.rate == pytest.approx(75)
    # left: 2 s of the one, 1.5 s of the other, and 4 × 2 s of the rest, by two at a time
    assert skim.left == pytest.approx((2 + 1.5 + 8) / 2)
    assert (single.done, single.total, single.left) == (0, 1, None)
    assert (later.total, later.complete) == (None, False)


def test_time_left_runs_down_between_two_records(store):
    store.record("qcd_0000", done=10, total=100, elapsed=100.0)
    first = store.read().stages[0].running[0].left
    assert first == pytest.approx(900)
    time.sleep(0.02)
    assert store.read().stages[0].running[0].left <= first - 0.02


def test_a_branch_whose_count_was_lost_is_complete_all_the_same(store):
    store.finish("qcd_0000", 100)
    store.finish("qcd_0001")
    skim = store.read().stages[0]
    assert skim.done == 2 and skim.count == 100 and skim.partial


def test_only_a_manifest_makes_complete(store):
    folder = record_path(store.place, store.branch("qcd_0000")).parent
    Finished("events", 100, 1.0).append(folder, "qcd_0000")
    store.branch("qcd_0000").mkdir(parents=True)
    skim = store.read().stages[0]
    assert skim.done == 0 and skim.count == 0


def test_a_record_that_was_left_behind_does_not_hide_the_manifest(store):
    store.finish("qcd_0000")
    store.record("qcd_0000", "failed", error="long ago")
    assert store.read().stages[0].failed == ()


def test_a_reader_sees_what_was_completed_since(store):
    assert store.read().stages[0].done == 0
    for number, name in enumerate(BRANCHES):
        store.finish(name, 1)
        assert store.read().stages[0].done == number + 1
    assert store.read().stages[0].complete


def test_a_failed_branch_is_shown_with_its_error_and_its_log(store):
    store.record("qcd_0003", "failed", error="file.root: truncated", log="/logs/3.txt")
    overview = store.read()
    assert [b.record.error for b in overview.stages[0].failed] == ["file.root: truncated"]
    assert overview.state == "running"
    store.plan = replace(store.plan, ended=True)
    store.plan.save(store.path)
    shown = text(store.read())
    assert "ended, not complete" in shown
    assert "file.root: truncated" in shown and "/logs/3.txt" in shown


def test_a_stage_that_failed_because_of_its_branches_counts_for_none(store):
    failure = Record("SkimJets qcd", "failed", error="3 of 4 jobs failed", process=this_process())
    failure.save(record_path(store.place, store.branch("qcd_0000").parent))
    assert [b.record.error for b in store.read().stages[0].failed] == ["3 of 4 jobs failed"]
    store.record("qcd_0003", "failed", error="file.root: truncated")
    assert [b.name for b in store.read().stages[0].failed] == ["qcd_0003"]


def test_a_killed_process_is_not_taken_for_a_running_one(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    store = Store(tmp_path, this_process() | {"pid": ended.pid})
    store.record("qcd_0000", process=this_process() | {"pid": ended.pid})
    overview = store.read()
    assert overview.state == "killed"
    assert overview.stages[0].running == () and len(overview.stages[0].failed) == 1
    assert "killed" in text(overview)


def test_a_run_elsewhere_is_silent_after_a_while_and_lives_by_its_branches(tmp_path):
    store = Store(tmp_path, ELSEWHERE)
    path = store.record("qcd_0000", process=ELSEWHERE)
    assert store.read().state == "running"
    now = os.stat(store.path).st_mtime
    long_ago = now - SILENCE - 600
    os.utime(store.path, (long_ago, long_ago))
    assert store.read().state == "running"  # its branch has just written
    os.utime(path, (long_ago, long_ago))
    overview = store.read()
    assert overview.state == "silent" and overview.silent >= SILENCE + 600
    (branch,) = overview.stages[0].running
    assert branch.silent >= SILENCE
    assert "no sign of life for 13:" in text(overview) and "node7" in text(overview)


def test_files_from_the_future_are_signs_of_life(tmp_path):
    store = Store(tmp_path, ELSEWHERE)
    later = os.stat(store.path).st_mtime + 1e6
    os.utime(store.path, (later, later))
    assert store.read().state == "running"


def test_a_run_is_complete_with_its_last_stage_though_earlier_results_were_removed(store):
    store.plan = replace(store.plan, stages=(store.stage, store.single))
    store.plan.save(store.path)
    directory = store.branch("", store.single)
    directory.mkdir(parents=True)
    (directory / MANIFEST).write_text("{}")
    assert store.read().state == "complete"


def test_a_damaged_plan_after_a_good_one_changes_nothing(store):
    store.record("qcd_0000")
    store.read()
    store.path.write_text("{")
    assert len(store.read().stages[0].running) == 1
    assert Reader(store.place, store.path).read() is None


@pytest.mark.parametrize("width", [30, 50, 60, 78, 80, 100, 160])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_longer_than_the_terminal_is_wide(tmp_path, width, encoding):
    store = Store(tmp_path)
    long = PlannedStage("AStageWithALongName", "データ" * 20, "test/A/b/v1-0d", BRANCHES)
    store.plan = replace(store.plan, stages=(*store.plan.stages, long))
    store.plan.save(store.path)
    store.finish("qcd_0000", 123_456_789_012)
    store.record("qcd_0001", done=3e9, total=9e9, elapsed=500.0)
    store.record("qcd_0002", "failed", error="e" * 400, log="/" + "l" * 400)
    lines = text(store.read(), width, encoding=encoding).splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    assert encoding != "ascii" or any(line.startswith("x Ski") for line in lines)


def test_thousands_of_branches_and_dozens_of_stages_fit_in_twenty_lines(tmp_path):
    store = Store(tmp_path)
    names = tuple(f"qcd_{number:04d}" for number in range(3000))
    many = [
        PlannedStage("SkimJets", f"d{n}", f"test/SkimJets/d{n}/v1-0a", names) for n in range(40)
    ]
    store.plan = replace(store.plan, stages=(store.stage, *many))
    store.plan.save(store.path)
    for name in BRANCHES[:5]:
        store.record(name)
    for name in BRANCHES[5:]:
        store.record(name, "failed", error="no")
    shown = text(store.read(), height=50)
    assert len(shown.splitlines()) <= 23
    assert "and 2 more failed" in shown and "not yet done" in shown
    assert len(text(store.read(), height=24).splitlines()) <= 23


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.2, "0 s"),
        (59, "59 s"),
        (60, "1:00"),
        (3599, "59:59"),
        (3661, "1:01:01"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations(seconds, told):
    assert duration(seconds) == told
