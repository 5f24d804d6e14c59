"""How far a run is: its plan, the records of its branches, and which manifests are there."""

import os
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from treasure.progress.plan import Plan, PlannedStage, read_plan
from treasure.progress.process import is_alive
from treasure.progress.record import (
    Finished,
    Record,
    read_finished,
    read_record,
    read_records,
    record_path,
)
from treasure.store import MANIFEST

__all__ = ["SILENCE", "Branch", "Overview", "Reader", "StageProgress", "pause"]

SILENCE = 180.0
"""Seconds without a sign of life from which on it is said."""

_SHARE_TO_JUDGE_BY = 0.02
_LARGEST_SHARE = 20  # of all time, one part of so many is for reading how far the run is


@dataclass(frozen=True)
class Branch:
    """A branch that runs or failed.

    Attributes
    ----------
    name
        Its directory, below that of the stage; empty for a stage without branches.
    record
        What it says of itself.
    elapsed
        Seconds since it began.
    left
        Seconds that it still takes; None where it is too early to tell.
    silent
        Seconds since its last sign of life, where that is worrying; else 0.
    """

    name: str
    record: Record
    elapsed: float = 0
    left: float | None = None
    silent: float = 0


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is.

    Attributes
    ----------
    stage
        Its plan.
    done, total
        Branches; total is None while it is not known how many there are.
    running, failed
        Branches that are at work, and that failed or were killed.
    unit, count
        What its branches counted so far (``events``, ``jets``); empty and 0 if nothing.
    partial
        Whether it is not known what some of the complete branches counted.
    rate
        `unit` a second, of all that run together; of a complete stage, of one branch.
    left
        Seconds that it still takes; None where it is not known.
    """

    stage: PlannedStage
    done: int
    total: int | None
    running: tuple[Branch, ...] = ()
    failed: tuple[Branch, ...] = ()
    unit: str = ""
    count: float = 0
    partial: bool = False
    rate: float | None = None
    left: float | None = None

    @property
    def complete(self) -> bool:
        return self.total is not None and self.done >= self.total

    @property
    def fraction(self) -> float:
        """How far it is, 0 to 1, with the parts of branches that are done."""
        if not self.total:
            return float(self.complete)
        parts = sum(branch.record.fraction for branch in self.running)
        return min((self.done + parts) / self.total, 1.0)


@dataclass(frozen=True)
class Overview:
    """How far a run is.

    Attributes
    ----------
    plan
        What it is going to do.
    state
        ``running``; ``complete``; ``failed`` (it ended, and stages are missing); ``killed`` (its
        process is gone); ``silent`` (on another machine, without a sign of life).
    silent
        Seconds since its last sign of life; 0 where its process can be seen.
    stages
        In the order of the plan.
    """

    plan: Plan
    state: str
    silent: float = 0
    stages: tuple[StageProgress, ...] = ()


@dataclass
class _Seen:
    """What was found of a stage: complete branches stay so while somebody looks."""

    done: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)
    finished: dict[str, Finished] = field(default_factory=dict)
    sizes: tuple[tuple[str, int], ...] = ()


class Reader:
    """Reads how far a run is, again and again, at little cost.

    Parameters
    ----------
    store
        The store of the run.
    path
        The plan of the run.
    """

    def __init__(self, store: Path, path: Path) -> None:
        self.store = store
        self.path = path
        self._plan: Plan | None = None
        self._changed = (0, 0)
        self._seen: dict[str, _Seen] = {}
        self._now: float | None = None
        self._first_seen: dict[str, tuple[float, float]] = {}

    def read(self) -> Overview | None:
        """How far the run is now; None before its plan could ever be read."""
        self._read_plan()
        if self._plan is None:
            return None
        self._now = None
        stages = tuple(self._stage(stage) for stage in self._plan.stages)
        state, silent = self._state(self._plan, stages)
        return Overview(self._plan, state, silent, stages)

    def _read_plan(self) -> None:
        """Read the plan again if it changed, or says more than it did."""
        try:
            changed = self.path.stat()
        except OSError:
            return
        known = self._plan is not None and all(s.parts is not None for s in self._plan.stages)
        if known and self._changed == (changed.st_ino, changed.st_mtime_ns):
            return
        self._plan = read_plan(self.path) or self._plan
        self._changed = (changed.st_ino, changed.st_mtime_ns)

    def _state(self, plan: Plan, stages: tuple[StageProgress, ...]) -> tuple[str, float]:
        if stages and stages[-1].complete:
            return "complete", 0.0
        if plan.ended:
            return "failed", 0.0
        alive = is_alive(plan.process)
        if alive is not None:
            return ("running" if alive else "killed"), 0.0
        # Of a process on another machine, this is all that can be seen.
        signs = [plan.written]
        signs += [branch.record.written for stage in stages for branch in stage.running]
        silent = self._age(max(signs))
        return ("silent" if silent >= SILENCE else "running"), silent

    def _age(self, written: float) -> float:
        """Seconds since a file was written, by the one clock of its file system."""
        if self._now is None:
            self._now = _file_system_now(self.path.parent)
        return max(self._now - written, 0.0)

    def _stage(self, stage: PlannedStage) -> StageProgress:
        directory = self.store / stage.directory
        seen = self._seen.setdefault(stage.directory, _Seen())
        if stage.parts is None:
            done, total = 0, None
        else:
            _look(directory, stage.parts, seen)
            done, total = len(seen.done), len(stage.parts)
        complete = total is not None and done >= total

        records = {} if complete else self._records(stage, directory)
        running: list[Branch] = []
        failed: list[Branch] = []
        for name, record in records.items():
            if name in seen.done:
                continue
            branch = self._branch(directory, name, record)
            (running if branch.record.state == "running" else failed).append(branch)
        # Of a stage with branches, its own failure follows from theirs.
        failed = [branch for branch in failed if branch.name] or failed
        if stage.parts != ("",):
            _read_finished(record_path(self.store, directory).with_suffix(""), seen)
        else:
            _read_finished(record_path(self.store, directory).parent, seen, directory.name)
        counted = [f for name, f in seen.finished.items() if name in seen.done]
        return _summed(stage, done, total, running, failed, counted)

    def _records(self, stage: PlannedStage, directory: Path) -> dict[str, Record]:
        path = record_path(self.store, directory)
        own = read_record(path)
        records = {} if own is None else {"": own}
        if stage.parts is None or stage.parts == ("",):
            return records
        wanted = set(stage.parts)
        for name, record in read_records(path.with_suffix("")).items():
            if name in wanted:
                records[name] = record
        return records

    def _seconds_since(self, key: str, record: Record) -> float:
        """Seconds since this was first seen, by this process's own clock."""
        now = time.monotonic()
        elapsed, seen = self._first_seen.get(key, (-1.0, now))
        if elapsed != record.elapsed:
            self._first_seen[key] = (record.elapsed, now)
            return 0.0
        return now - seen

    def _branch(self, directory: Path, name: str, record: Record) -> Branch:
        if record.state == "failed":
            return Branch(name, record)
        alive = is_alive(record.process)
        if alive is False:
            error = "its process is gone: killed, or out of memory"
            return Branch(name, replace(record, state="failed", error=error))
        silent = 0.0
        if alive is None and (age := self._age(record.written)) >= SILENCE:
            silent = age
        share = record.fraction
        since = self._seconds_since(str(record_path(self.store, directory / name)), record)
        left = None
        if share >= _SHARE_TO_JUDGE_BY:
            left = max(record.elapsed * (1 - share) / share - since, 0.0)
        return Branch(name, record, record.elapsed + since, left, silent)


def pause(took: float, at_least: float) -> float:
    """Seconds until a run is read again, of which the last reading took so many."""
    return max(at_least, _LARGEST_SHARE * took)


def _look(directory: Path, parts: tuple[str, ...], seen: _Seen) -> None:
    """Find branches that were completed since the last look."""
    if parts == ("",):
        if os.path.isfile(directory / MANIFEST):
            seen.done.add("")
        return
    if len(seen.started) < len(parts):
        wanted = set(parts)
        try:
            with os.scandir(directory) as entries:
                seen.started = [entry.name for entry in entries if entry.name in wanted]
        except OSError:
            return
    for name in seen.started:
        if name not in seen.done and os.path.isfile(f"{directory}/{name}/{MANIFEST}"):
            seen.done.add(name)


def _read_finished(folder: Path, seen: _Seen, alone: str | None = None) -> None:
    """Read the lists again if they have grown; `alone` names a stage without branches."""
    try:
        sizes = tuple((str(p), p.stat().st_size) for p in sorted(folder.glob("finished.*.jsonl")))
    except OSError:
        return
    if sizes != seen.sizes:
        seen.sizes = sizes
        finished = read_finished(folder)
        if alone is not None:
            finished = {"": finished[alone]} if alone in finished else {}
        seen.finished = finished


def _summed(
    stage: PlannedStage,
    done: int,
    total: int | None,
    running: list[Branch],
    failed: list[Branch],
    counted: list[Finished],
) -> StageProgress:
    seconds = sum(f.seconds for f in counted)
    unit = next((f.unit for f in counted if f.unit), "")
    unit = unit or next((b.record.unit for b in running if b.record.unit), "")
    at_work = [b.record for b in running if b.record.unit == unit] if unit else []
    count = sum(f.count for f in counted if f.unit == unit) + sum(r.done for r in at_work)

    rate = None
    usual = sum(f.count for f in counted if f.unit == unit) / seconds if seconds > 0 else None
    if unit and running:
        rates = [
            b.record.done / b.record.elapsed
            if b.record.unit == unit and b.record.done > 0 and b.record.elapsed > 0
            else usual
            for b in running
        ]
        rate = sum(r for r in rates if r is not None) or None
    elif unit:
        rate = usual
    return StageProgress(
        stage,
        done,
        total,
        tuple(running),
        tuple(failed),
        unit,
        count,
        partial=bool(unit) and len(counted) < done,
        rate=rate,
        left=_left(done, total, running, len(failed), counted),
    )


def _left(
    done: int,
    total: int | None,
    running: list[Branch],
    failed: int,
    counted: list[Finished],
) -> float | None:
    """Seconds until the last branch ends, if as many as now run on, each as long as the others.

    Made of durations that the branches measured themselves: no clock of two machines is compared.
    """
    if total is None or not running:
        return None
    usual = sum(f.seconds for f in counted) / len(counted) if counted else None
    if usual is None:
        known = [b.elapsed + b.left for b in running if b.left is not None]
        usual = sum(known) / len(known) if known else None
    lefts = [b.left for b in running if b.left is not None]
    if usual is not None:
        lefts += [max(usual - b.elapsed, 0.0) for b in running if b.left is None]
    waiting = max(total - done - failed - len(running), 0)
    if len(lefts) < len(running) or (waiting and usual is None):
        return None
    return max((sum(lefts) + waiting * (usual or 0.0)) / len(running), *lefts)


def _file_system_now(folder: Path) -> float:
    """What time it is by the clock that stamps files there; that of a server may be another."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()
