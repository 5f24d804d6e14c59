"""Stages with one branch for each file, or group of files, of a dataset."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from tasks.base import DatasetTask
from tasks.made_of import MadeOf, note_files
from tasks.remote import Workflow
from tasks.stage import Stage, StageTarget
from treasure.errors import ConfigError

__all__ = ["BranchedTask"]

_NOT_KNOWN = "branches-not-known-yet"


class BranchedTask(DatasetTask, Workflow):
    """A stage on one dataset, shared out over branches; each branch has a directory of its own.

    The whole has the fingerprint; a branch adds its stem (``qcd_0003``) to the path. A branch
    requires the same branch of what has the same branches, and all of everything else.

    Branches that follow from what an earlier stage wrote are not known before: until then their
    value in the branch map is None, and they stand for all that there will be. They are never
    complete, whatever a run that knew more has left.

    A stage that leaves something else than a directory for each branch overrides `branch_target`.
    """

    exclude_index = True

    _branches_exist = False  # those of --branches were looked up

    imports: ClassVar[tuple[str, ...]] = ()
    """Modules that `run` imports. A process is forked for each branch: what takes seconds to import
    is imported before, once. Not for torch, which does not survive forks once it was used."""

    def deps(self) -> Any:
        if self.is_branch():  # luigi asks it of what is missing, before it forks
            self.as_workflow().refuse_unknown_branch(self.branch)
            for module in self.imports:
                importlib.import_module(module)
        return super().deps()

    def check_classes(self) -> None:
        """Of the whole: there may be thousands of branches."""
        if not self.is_branch():
            super().check_classes()

    def workflow_requires(self) -> Any:
        return {**super().workflow_requires(), **self.requirements()}

    @property
    def priority(self) -> int:
        """Branches run before luigi is told of more of them (`tasks.outputs`)."""
        return int(self.is_branch())

    @cached_property
    def required(self) -> dict[str, Any]:
        """The requirements of the whole, made once: a branch asks for them many times."""
        if self.is_branch():
            return dict(self.as_workflow().required)
        return self.requirements()

    def identity(self) -> dict[str, Any]:
        # but for what it adds, a branch is what the whole is
        return dict(self.as_workflow().own_identity)

    @cached_property
    def own_identity(self) -> dict[str, Any]:
        """The identity of the whole."""
        return super().identity()

    def requires(self) -> Any:
        whole = self.required
        return {
            name: task.req(task, branch=self.branch)
            if isinstance(task, BranchedTask) and task.dataset == self.dataset
            else task
            for name, task in whole.items()
        }

    def output(self) -> Any:
        if self.is_branch():
            self.as_workflow().refuse_unknown_branch(self.branch)
        return self.as_workflow().branch_target(self.branch)  # of a workflow, law asks its proxy

    def branch_target(self, branch: int) -> StageTarget:
        """What a branch of this workflow leaves."""
        known = self.branch_map.get(branch) is not None
        return StageTarget(str(self.directory / (self.stem_of(branch) if known else _NOT_KNOWN)))

    def made_of(self) -> MadeOf | None:
        """The files that the branches of this workflow are made of, as they are listed now."""
        return None

    @contextmanager
    def stage(self) -> Iterator[Stage]:
        with super().stage() as stage:
            whole = self.as_workflow()
            if (files := whole.made_of()) is not None:
                note_files(whole.directory, files, whole.stem_of)
            yield stage

    def get_branch_map(self, *args: Any, **kwargs: Any) -> dict[int, Any]:
        looked_up = self.cache_branch_map and self._branches_exist
        if self.is_workflow() and self.branches and not looked_up:
            everything: dict[int, Any] = self.create_branch_map()
            if everything and self.numbers_known(everything):
                # law leaves out what does not exist, and takes nothing left for everything
                for asked in self.branches:
                    if not any(_is_in(asked, number) for number in everything):
                        raise _no_such("--branches", ":".join(_texts(asked)), self, everything)
                self._branches_exist = True
            # What --branches asks for cannot be looked up in a map that is not the real one.
            if None in everything.values():
                return everything
        known: dict[int, Any] = super().get_branch_map(*args, **kwargs)
        return known

    def numbers_known(self, branches: dict[int, Any]) -> bool:
        """Whether a branch map has the numbers that there will be."""
        return None not in branches.values()

    def refuse_unknown_branch(self, branch: int) -> None:
        """ConfigError if this workflow is known to have no such branch."""
        if branch in self.branch_map:
            return
        everything: dict[int, Any] = self.create_branch_map()  # also what --branches leaves out
        if everything and branch not in everything and self.numbers_known(everything):
            raise _no_such("--branch", str(branch), self, everything)

    @cached_property
    def fingerprint(self) -> str:
        return super().fingerprint if self.is_workflow() else self.as_workflow().fingerprint

    @property
    def stem(self) -> str:
        """The name of this branch's files, without extension."""
        return self.stem_of(self.branch)

    def stem_of(self, branch: int) -> str:
        """The name of a branch's files, without extension."""
        return f"{self.dataset}_{branch:04d}"

    @property
    def directory(self) -> Path:
        return super().directory / self.stem if self.is_branch() else super().directory

    @property
    def parts(self) -> list[str] | None:
        if self.is_branch():
            return super().parts
        branches = self.branch_map
        return None if None in branches.values() else [self.stem_of(n) for n in branches]

    @property
    def label(self) -> str:
        return f"{super().label} {self.branch}" if self.is_branch() else super().label


def _is_in(asked: tuple[int | None, ...], number: int) -> bool:
    """Whether a branch is the one, or in the range without its end, of a part of --branches."""
    if len(asked) == 1:
        return number == asked[0]
    start, stop = asked
    return (start is None or number >= start) and (stop is None or number < stop)


def _texts(asked: tuple[int | None, ...]) -> list[str]:
    return ["" if number is None else str(number) for number in asked]


def _no_such(
    flag: str, asked: str, workflow: BranchedTask, branches: dict[int, Any]
) -> ConfigError:
    first, last = min(branches), max(branches)
    there = f"branches {first} to {last}" if last > first else f"one branch, {first}"
    return ConfigError(f"{flag} {asked}: {workflow.label} has {there}")
