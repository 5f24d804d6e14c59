"""CreateFileset: which files a dataset has, and what is in them."""

from math import ceil
from typing import Any

from tasks.base import DatasetTask, section
from tasks.simulation import SimulatePFNano
from tasks.workflow import BranchedTask

__all__ = ["CreateFileset", "FilesetBranches"]

FILESET = "fileset.json"


class CreateFileset(DatasetTask):
    """List the files of a dataset with their entries, sizes, checksums and identities.

    For a simulated dataset the files are simulated first.
    """

    @property
    def is_simulated(self) -> bool:
        return bool(self.entry.source.kind == "simulation")

    def settings(self) -> dict[str, Any]:
        names = ("kind", "n_files") if self.is_simulated else ()
        return {"source": section(self.entry.source, *names)}

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
                "events": sum(file.entries for file in fileset.files),
                "bytes": sum(file.size for file in fileset.files),
            }


class FilesetBranches(BranchedTask):
    """A stage with one branch for each group of files of a dataset's fileset.

    The branches follow from the configuration for a simulated dataset, and from the fileset, once
    it exists, for others; until then there is one branch, which stands for all.
    """

    exclude_index = True
    cache_branch_map_default = False

    def create_branch_map(self) -> dict[int, Any]:
        from treasure.fileset.model import Fileset

        target = CreateFileset.req(self).output()
        if target.exists():
            self.cache_branch_map = True
            fileset = Fileset.load(target.directory / FILESET)
            return dict(enumerate(fileset.groups(self.entry.files_per_branch)))
        if self.entry.source.kind == "simulation":
            groups = ceil(self.entry.source.n_files / self.entry.files_per_branch)
            return dict.fromkeys(range(groups))
        return {0: None}
