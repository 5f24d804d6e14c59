"""WriteH5: the jet table in the Aspen Open Jets format, in shards."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tasks.base import section
from tasks.fileset import saved_fileset
from tasks.made_of import MadeOf, refuse_other_files, uuids
from tasks.skim import MergeCutflows
from tasks.stage import StageTarget
from tasks.workflow import BranchedTask
from treasure import store
from treasure.errors import DataError

__all__ = ["MERGED", "ShardBranches", "WriteH5", "jet_files"]

MERGED = "cutflow.json"  # as `treasure.skim.merge` says, which is slow to import


class ShardBranches(BranchedTask):
    """A stage with one branch for each shard of a dataset's jets.

    How many there are follows from the merged cutflow alone, so that it stays known when the skims
    are removed to save space; until there is one, a single branch stands for all.
    """

    exclude_index = True
    cache_branch_map_default = False

    @property
    def cutflow(self) -> Any:
        """The task that merges the cutflows."""
        return self.required["cutflow"]

    @property
    def skims(self) -> Any:
        """The workflow whose branches leave the jets."""
        return self.cutflow.requirements()["skim"]

    @property
    def merged(self) -> dict[str, Any] | None:
        """The merged cutflow; None before it is there."""
        target = self.cutflow.output()
        if not target.exists():
            return None
        return _merged(target.directory / MERGED)

    def create_branch_map(self) -> dict[int, Any]:
        """Number → (branches of the skim, nominal rows counted from the first of them)."""
        from treasure.jets.shards import overlapping, plan_shards

        merged = self.merged
        if merged is None:
            return {0: None}
        self.cache_branch_map = True
        self._refuse_other_files(merged)
        jets = [branch["jets"] for branch in merged["branches"]]
        plan = plan_shards(
            merged["jets"], merged["most_jets_in_event"], self.tree.jet_table.jets_per_shard
        )
        shards = {}
        needed = overlapping(plan, jets)
        for number, ((start, stop), (branches, first)) in enumerate(zip(plan, needed, strict=True)):
            shards[number] = (branches, (start - first, stop - first))
        refuse_other_files(self.directory, _made_of(merged, shards), self.stem_of)
        return shards

    def made_of(self) -> MadeOf | None:
        return None if self.merged is None else _made_of(self.merged, self.branch_map)

    def identity(self) -> dict[str, Any]:
        merged = None if self.is_workflow() else self.merged
        if merged is None:
            return super().identity()
        return {**super().identity(), "files": _all_files(merged)}

    def stem_of(self, branch: int) -> str:
        return f"{self.entry.shard_name or self.dataset}_batch{branch}"

    def _refuse_other_files(self, merged: dict[str, Any]) -> None:
        listed = saved_fileset(self.skims.requirements()["fileset"])
        if listed is None:
            return
        # A file that is shorter than the range of entries is in the fileset, and in no branch.
        files = [file for group in listed.groups for file in group]
        if uuids(files) != [file["uuid"] for file in merged["files"]]:
            directory = self.cutflow.directory
            raise DataError(
                f"{directory}: made of other files than the fileset of {self.dataset!r} lists now;"
                " give the new files a --version of their own, or remove it and all that was made"
                " from it"
            )


@store.remembered
def _merged(path: Path) -> dict[str, Any]:
    directory = StageTarget(str(path.parent)).verified(MERGED)
    content: dict[str, Any] = store.read_json(directory / MERGED)
    return content


def _all_files(merged: dict[str, Any]) -> str:
    """A shard may hold jets of any file: one fingerprint of all, where there may be thousands."""
    return store.fingerprint([file["uuid"] for file in merged["files"]])


def _made_of(merged: dict[str, Any], shards: Iterable[int]) -> MadeOf:
    digest = _all_files(merged)
    return MadeOf(digest, dict.fromkeys(shards, digest))


class WriteH5(ShardBranches):
    """Write the selected jets as HDF5 files in the Aspen Open Jets format, with label and split.

    No file has more than `jet_table.jets_per_shard` jets, and no event is divided.
    """

    reqs = {"cutflow": MergeCutflows}
    schema = 3
    progress_unit = "jets"
    imports = ("treasure.jets.write",)

    def settings(self) -> dict[str, Any]:
        return {
            "dataset": section(self.entry, "label", "shard_name"),
            "jet_table": section(self.tree.jet_table),
            "splits": section(self.tree.splits),
        }

    def requires(self) -> Any:
        shard = self.branch_map.get(self.branch)
        skims = [self.skims.as_branch(number) for number in shard[0]] if shard else []
        return {**super().requires(), "skim": skims}

    def run(self) -> None:
        from treasure.jets.write import write_jet_table

        _, rows = self.branch_data
        with self.stage() as stage:
            stage.summary = write_jet_table(
                [skim.verified() for skim in self.input()["skim"]],
                stage.directory / f"{self.stem}.h5",
                dataset_name=str(self.dataset),
                dataset=self.entry,
                selection=self.tree.selection,
                splits=self.tree.splits,
                attributes={"fingerprint": self.fingerprint},
                rows=rows,
                progress=stage.progress,
            )


def jet_files(output: Any) -> list[Any]:
    """The verified jet tables of a dataset, in the order of the branches."""
    targets = output["collection"].targets.values()
    return [path for target in targets for path in sorted(target.verified().glob("*.h5"))]
