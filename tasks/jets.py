"""WriteH5: the jet table in the Aspen Open Jets format."""

from typing import Any

from tasks.base import section
from tasks.fileset import FilesetBranches
from tasks.skim import SkimJets

__all__ = ["WriteH5", "jet_files"]


class WriteH5(FilesetBranches):
    """Write the selected jets as HDF5 files in the Aspen Open Jets format, with label and split."""

    reqs = {"skim": SkimJets}

    def settings(self) -> dict[str, Any]:
        return {"label": self.entry.label, "splits": section(self.tree.splits)}

    def run(self) -> None:
        from treasure.jets.write import write_jet_table

        skim = self.input()["skim"]
        with self.stage() as stage:
            stage.summary = write_jet_table(
                skim.verified(),
                skim.manifest["summary"]["parts"],
                stage.directory / f"{self.stem}.h5",
                dataset_name=str(self.dataset),
                dataset=self.entry,
                selection=self.tree.selection,
                splits=self.tree.splits,
                attributes={"fingerprint": self.fingerprint},
                progress=stage.progress,
            )


def jet_files(output: Any) -> list[Any]:
    """The verified jet tables of a dataset, in the order of the branches."""
    targets = output["collection"].targets.values()
    return [path for target in targets for path in sorted(target.verified().glob("*.h5"))]
