"""CreateFileset: which files a dataset has, and what is in them."""

from math import ceil
from typing import Any

from tasks.base import DatasetTask, section
from tasks.simulation import SimulatePFNano
from tasks.workflow import BranchedTask
from treasure import store
from treasure.errors import DataError
from treasure.fileset.locate import anchored

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
        if self.is_simulated:
            return {"source": section(self.entry.source, "kind", "n_files")}
        # The same relative path means other files in another folder.
        files = [anchored(pattern) for pattern in self.entry.source.files]
        return {"source": {**section(self.entry.source), "files": files}}

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
            branches = dict(enumerate(fileset.groups(self.entry.files_per_branch)))
            self._refuse_other_files(branches)
            return branches
        if self.entry.source.kind == "simulation":
            groups = ceil(self.entry.source.n_files / self.entry.files_per_branch)
            return dict.fromkeys(range(groups))
        return {0: None}

    def files(self) -> list[Any]:
        """The files of this branch, from the fileset as it is now.

        The branch map may be older: it was made when the tree of stages was built, and a fileset
        that was removed then is another by now.
        """
        from treasure.fileset.model import Fileset

        fileset = Fileset.load(CreateFileset.req(self).output().directory / FILESET)
        return fileset.groups(self.entry.files_per_branch)[self.branch]

    def identity(self) -> dict[str, Any]:
        if self.is_workflow() or not CreateFileset.req(self).complete():
            return super().identity()
        return {**super().identity(), "files": [file.uuid for file in self.files()]}

    def _refuse_other_files(self, branches: dict[int, Any]) -> None:
        """A fileset that was made again may list other files: then the results are of another."""
        for number, files in branches.items():
            directory = self.directory / f"{self.dataset}_{number:04d}"
            if not (directory / store.MANIFEST).is_file():
                continue
            made_of = store.read_manifest(directory)["identity"].get("files")
            if made_of is not None and made_of != [file.uuid for file in files]:
                raise DataError(
                    f"{directory}: made of other files than the fileset of {self.dataset!r} lists"
                    f" now; give the new files a --version of their own, or remove"
                    f" {self.directory.parent} and all that was made from it"
                )
