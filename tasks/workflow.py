"""Stages with one branch for each file, or group of files, of a dataset."""

from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.base import DatasetTask
from tasks.remote import Workflow

__all__ = ["BranchedTask"]


class BranchedTask(DatasetTask, Workflow):
    """A stage on one dataset, shared out over branches; each branch has a directory of its own.

    The whole has the fingerprint; a branch adds its stem (``qcd_0003``) to the path. A branch
    requires the same branch of what has the same branches, and all of everything else.
    """

    exclude_index = True

    def workflow_requires(self) -> Any:
        return {**super().workflow_requires(), **self.requirements()}

    def requires(self) -> Any:
        whole = self.as_workflow().requirements()
        return {
            name: task.req(task, branch=self.branch)
            if isinstance(task, BranchedTask) and task.dataset == self.dataset
            else task
            for name, task in whole.items()
        }

    @cached_property
    def fingerprint(self) -> str:
        return super().fingerprint if self.is_workflow() else self.as_workflow().fingerprint

    @property
    def stem(self) -> str:
        """The name of this branch's files, without extension."""
        return f"{self.dataset}_{self.branch:04d}"

    @property
    def directory(self) -> Path:
        return super().directory / self.stem if self.is_branch() else super().directory

    @property
    def label(self) -> str:
        return f"{super().label} {self.branch}" if self.is_branch() else super().label
