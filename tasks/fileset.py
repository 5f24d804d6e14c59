"""CreateFileset: which files a dataset has, and what is in them."""

from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from tasks.base import DatasetTask, section
from tasks.made_of import MadeOf, refuse_other_files, uuids
from tasks.messages import say
from tasks.simulation import SimulatePFNano
from tasks.stage import StageTarget
from tasks.workflow import BranchedTask
from treasure.fileset.locate import anchored
from treasure.store import remembered

__all__ = ["FILESET", "CreateFileset", "FilesetBranches", "Listed", "saved_fileset"]

FILESET = "fileset.json"

# Of a source: how it is read, which changes no byte.
_RUN_ONLY = ("stage", "verify", "offline", "portal", "folder")


class CreateFileset(DatasetTask):
    """List the files of a dataset with their entries, sizes, checksums and identities.

    For a simulated dataset the files are simulated first.
    """

    schema = 2

    @property
    def is_simulated(self) -> bool:
        return bool(self.entry.source.kind == "simulation")

    @property
    def _is_part(self) -> bool:
        source = self.entry.source
        return source.limit_files is not None or bool(source.entry_start or source.entry_stop)

    def settings(self) -> dict[str, Any]:
        if self.is_simulated:
            source = section(self.entry.source, "kind", "n_files")
        else:
            source = section(self.entry.source, exclude=_RUN_ONLY)
        if "files" in source:
            # The same relative path means other files in another folder.
            source["files"] = [anchored(pattern) for pattern in source["files"]]
        return {"source": source, "files_per_branch": self.entry.files_per_branch}

    def requirements(self) -> dict[str, Any]:
        return {"simulation": SimulatePFNano.req(self)} if self.is_simulated else {}

    def run(self) -> None:
        from treasure.fileset.sources import create_fileset

        simulated = []
        if self.is_simulated:
            for target in self.input()["simulation"]["collection"].targets.values():
                simulated += sorted(target.verified().glob("*.root"))
        with self.stage() as stage:
            fileset = create_fileset(
                str(self.dataset),
                self.entry,
                simulated=simulated,
                base=stage.directory,
                progress=stage.progress,
            )
            fileset.save(stage.directory / FILESET)
            stage.summary = {
                "files": len(fileset.files),
                "files_left_out": len(fileset.bad_files),
                "events": fileset.entries,
                "bytes": sum(file.size for file in fileset.files),
            }
        announced = fileset.provenance.get("events")  # of a record: all its files, whole
        if announced is not None and not self._is_part and announced != fileset.entries:
            say(
                f"{self.label}: the record says {announced:,} events, its files hold"
                f" {fileset.entries:,}"
            )


class FilesetBranches(BranchedTask):
    """A stage with one branch for each group of files of a dataset's fileset.

    The number of branches follows from the configuration for a simulated dataset, and from the
    fileset, once it exists, for others; until then there is one branch, which stands for all.
    """

    exclude_index = True
    cache_branch_map_default = False

    @cached_property
    def fileset(self) -> CreateFileset:
        """The task that lists the files of the dataset, one object for all branches."""
        made: CreateFileset = (
            CreateFileset.req(self) if self.is_workflow() else self.as_workflow().fileset
        )
        return made

    def create_branch_map(self) -> dict[int, Any]:
        listed = saved_fileset(self.fileset)
        if listed is not None:
            self.cache_branch_map = True
            refuse_other_files(self.directory, listed.made_of, self.stem_of)
            return dict(enumerate(listed.groups))
        if self.entry.source.kind == "simulation":
            groups = ceil(self.entry.source.n_files / self.entry.files_per_branch)
            return dict.fromkeys(range(groups))
        return {0: None}

    def numbers_known(self, branches: dict[int, Any]) -> bool:
        # a simulation's follow from the configuration, before the fileset exists
        return super().numbers_known(branches) or self.entry.source.kind == "simulation"

    def files(self) -> list[Any]:
        """The files of this branch, from the fileset as it is now.

        The branch map may be older: it was made when the tree of stages was built, and a fileset
        that was removed then is another by now.
        """
        groups = _listed(self.fileset.directory / FILESET).groups
        return list(groups[self.branch])

    def made_of(self) -> MadeOf | None:
        listed = saved_fileset(self.fileset)
        return None if listed is None else listed.made_of

    def identity(self) -> dict[str, Any]:
        if self.is_workflow() or not self.fileset.complete():
            return super().identity()
        return {**super().identity(), "files": uuids(self.files())}


class Listed(NamedTuple):
    """A saved fileset (`treasure.fileset.model.Fileset`), and its groups of files."""

    fileset: Any
    groups: list[list[Any]]
    made_of: MadeOf


def saved_fileset(task: CreateFileset) -> Listed | None:
    """The fileset that a task has written; None before."""
    target = task.output()
    return _listed(target.directory / FILESET) if target.exists() else None


@remembered
def _listed(path: Path) -> Listed:
    from treasure.fileset.model import Fileset

    fileset = Fileset.load(StageTarget(str(path.parent)).verified(FILESET) / FILESET)
    groups = fileset.groups()
    made_of = MadeOf.of({number: uuids(files) for number, files in enumerate(groups)})
    return Listed(fileset, groups, made_of)
