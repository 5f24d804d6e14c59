"""The outputs of a stage with thousands of branches, found with one listing of its directory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import law
from law.workflow.base import BaseWorkflowProxy
from law.workflow.local import LocalWorkflowProxy

__all__ = ["ListedLocally", "ListedOutputs", "StageCollection"]

_SHARE = 200  # branches that luigi has to look at, at once


class StageCollection(law.TargetCollection):
    """The directories of a stage's branches, which lie beside each other.

    Where they lie is listed once, and only branches found there are looked into for a manifest: a
    network file system may take a millisecond for each question.
    """

    def exists(self, **options: Any) -> bool:
        return bool(super().exists(**self._among_listed(options)))

    def count(self, **options: Any) -> Any:
        return super().count(**self._among_listed(options))

    def iter_existing(self, **options: Any) -> Iterator[Any]:
        return iter(super().iter_existing(**self._among_listed(options)))

    def iter_missing(self, **options: Any) -> Iterator[Any]:
        return iter(super().iter_missing(**self._among_listed(options)))

    def _among_listed(self, options: dict[str, Any]) -> dict[str, Any]:
        if options.get("exists_func") is not None:
            return options
        first = next(iter(self.targets.values()), None)
        names = set() if first is None else _names_in(Path(first.path).parent)

        def exists(target: Any) -> bool:
            return target.basename in names and bool(target.exists())

        return {**options, "exists_func": exists}


def _names_in(directory: Path) -> set[str]:
    try:
        return {path.name for path in directory.iterdir()}
    except OSError:  # not there yet
        return set()


class ListedOutputs(BaseWorkflowProxy):
    """The outputs of a workflow, without a task made for each of its branches.

    A mix-in for law's proxies of workflows, to be named after them.
    """

    _made_for: Any = None  # branch map and directory of the collection
    _collection: Any = None

    def output(self) -> Any:
        branches, directory = self.task.branch_map, self.task.directory
        if self._made_for is None or not (
            self._made_for[0] is branches and self._made_for[1] == directory
        ):
            targets = {branch: self.task.branch_target(branch) for branch in branches}
            self._collection = StageCollection(targets, threshold=self.threshold(len(targets)))
            self._made_for = branches, directory
        return law.util.DotDict(collection=self._collection)


class ListedLocally(LocalWorkflowProxy, ListedOutputs):
    """Law's workflow of local processes, with its outputs listed.

    Luigi looks at every task that waits before it starts one. A workflow of thousands of branches
    is therefore shared out over workflows of some hundred of those that are missing; the branches
    of one are started before the next tells its own, since they have a higher priority.
    """

    def run(self) -> Iterator[Any]:
        branches = self.task.branch_map
        if len(branches) <= 2 * _SHARE:
            yield from super().run()
            return
        _, there = self.output()["collection"].count(keys=True)
        missing = sorted(set(branches).difference(there))
        shares = [missing[start : start + _SHARE] for start in range(0, len(missing), _SHARE)]
        if shares:
            yield [
                self.task.req(
                    self.task,
                    branches=tuple(law.util.range_join(share)),
                    _skip_task_excludes=True,
                )
                for share in shares
            ]
