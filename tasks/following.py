"""What a run leaves in the store for those who follow it: its plan, and signs of life."""

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import luigi
from luigi.parameter import ParameterVisibility

from tasks.interruption import why_dead
from tasks.progress import Progress, note_failure, one_line, way_of_showing
from tasks.screen import Screen, wants_table
from treasure.progress.plan import Plan, PlannedStage, add_parts, new_path
from treasure.progress.process import this_process
from treasure.progress.record import read_record, read_records, record_path
from treasure.store import MANIFEST

__all__ = ["follow_failures", "missing"]

_SECONDS_BETWEEN_SIGNS = 30


# The run of this process, once a stage is missing; None if it cannot be followed.
_runs: list["_Run | None"] = []


def missing(task: Any, store_directory: Callable[[], Path]) -> None:
    """A task is missing, and what it waits for is asked: the first one starts a run.

    In the jobs of a batch system this does nothing: they are parts of a run that others follow.
    """
    if "LAW_JOB_TASK_CLASS" in os.environ or getattr(task, "cancel_jobs", False):
        return
    # What is wrong with the tasks themselves, luigi meets just after this, and says it.
    with contextlib.suppress(Exception):
        if not _runs:
            _runs.append(None)
            _runs[0] = _Run(task, store_directory())
        elif _runs[0] is not None:
            _runs[0].meets(task)


def follow_failures(tasks: Any, store_directory: Callable[[], Path]) -> None:
    """Keep a record of why tasks fail, by what luigi tells.

    Parameters
    ----------
    tasks
        The base class of the tasks.
    store_directory
        Gives the directory of the store.
    """

    @tasks.event_handler(luigi.Event.FAILURE)
    def _failed(task: Any, error: BaseException) -> None:
        note_failure(task.label, store_directory(), task.directory, one_line(error))

    # Told in the parent, of a worker that was killed.
    @tasks.event_handler(luigi.Event.PROCESS_FAILURE)
    def _died(task: Any, message: str) -> None:
        told = why_dead(message.rsplit(maxsplit=1)[-1])
        print(f"error in {task}: {told}", file=sys.stderr, flush=True)
        note_failure(task.label, store_directory(), task.directory, told)


class _Run:
    """A run, from its first missing task to the end of this process."""

    def __init__(self, task: Any, store: Path) -> None:
        self._pid = os.getpid()
        self._store = store
        self._stages: dict[str, PlannedStage] = {}
        self._planned_tasks: dict[str, Any] = {}
        self._collect(task, {})
        self._met: set[tuple[Any, ...]] = set()
        self._plan = Plan(
            task=task.get_task_family(),
            version=str(task.version),
            config=task.loaded.name,
            stages=tuple(self._stages.values()),
            started=time.time(),
            process=this_process(),
        )
        self._screen: Screen | None = None
        Progress.plain = way_of_showing() != "none"
        try:
            self._path = new_path(store)
            self._plan.save(self._path)
        except OSError:  # a store that cannot be written is for the stages to complain of
            return
        self._forget_failures()
        atexit.register(self._end)
        # As luigi's own, a thread that does nothing but wait and make one call is safe with forks.
        threading.Thread(target=self._live, daemon=True).start()
        if wants_table():
            with contextlib.suppress(OSError):
                self._screen = Screen(store, self._path)
                Progress.plain = False

    def meets(self, task: Any) -> None:
        """Another missing task: of a stage that was not expected, or whose branches are known now.

        Cheap for all but the first branch of a stage: there may be thousands.
        """
        key = (task.get_task_family(), task.path_parts)
        if key in self._met:
            return
        whole = task.as_workflow() if hasattr(task, "as_workflow") else task
        name = self._name(whole)
        if name not in self._stages and self._name(task) in self._stages:
            return  # the one branch that was asked for
        # A workflow may be a share of the one that was planned.
        whole = self._planned_tasks.get(name, whole)
        stage = _planned(whole, name)
        if stage.parts is None:
            return
        self._met.add(key)
        with contextlib.suppress(OSError):
            if name in self._stages:
                if self._stages[name].parts is None:
                    add_parts(self._path, name, stage.parts)
            elif os.getpid() == self._pid:
                # Something removed that a later stage needs again.
                self._stages = {name: stage} | self._stages
                self._plan = replace(self._plan, stages=tuple(self._stages.values()))
                self._plan.save(self._path)

    def _collect(self, task: Any, seen: dict[str, bool]) -> None:
        """Find the stages that lead to a task, in the order in which they can run.

        As luigi does, do not look behind what is complete.
        """
        name = self._name(task)
        if name in seen:
            return
        seen[name] = True
        # The page of the scheduler shows what tells tasks apart, not dozens of how they are run.
        for _, parameter in task.get_params():
            if not parameter.significant:
                parameter.visibility = ParameterVisibility.HIDDEN
        stage = _planned(task, name)
        if not _is_complete(self._store, stage):
            for required in task.requirements().values():
                for one in required if isinstance(required, (list, tuple)) else [required]:
                    self._collect(one, seen)
        self._stages[name] = stage
        self._planned_tasks[name] = task

    def _name(self, task: Any) -> str:
        return str(task.directory.relative_to(self._store))

    def _forget_failures(self) -> None:
        """What failed in an earlier run is tried again now."""
        for stage in self._stages.values():
            path = record_path(self._store, self._store / stage.directory)
            records = {path: read_record(path)}
            if stage.parts != ("",):
                folder = path.with_suffix("")
                records |= {folder / f"{n}.json": r for n, r in read_records(folder).items()}
            for where, record in records.items():
                if record is not None and record.state == "failed":
                    with contextlib.suppress(OSError):
                        where.unlink()

    def _live(self) -> None:
        while True:
            time.sleep(_SECONDS_BETWEEN_SIGNS)
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def _end(self) -> None:
        if os.getpid() != self._pid:
            return
        with contextlib.suppress(OSError):
            replace(self._plan, ended=True).save(self._path)
        if self._screen is not None:
            self._screen.close()
            sys.stdout.flush()


def _planned(task: Any, name: str) -> PlannedStage:
    parts = task.parts
    return PlannedStage(
        task=task.get_task_family(),
        dataset=" ".join(task.path_parts),
        directory=name,
        parts=None if parts is None else tuple(parts),
    )


def _is_complete(store: Path, stage: PlannedStage) -> bool:
    if stage.parts is None:
        return False
    directory = f"{store}/{stage.directory}"
    return all(os.path.isfile(f"{directory}/{part}/{MANIFEST}") for part in stage.parts)
