"""SkimJets: from events to selected jets."""

from typing import Any

from tasks.base import section
from tasks.fileset import CreateFileset, FilesetBranches
from tasks.messages import say

__all__ = ["SkimJets"]


class SkimJets(FilesetBranches):
    """Select large-radius jets and their candidates; one branch for each group of files.

    A coffea processor applies trigger, filters and jet selection and writes parquet files, with a
    cutflow in events, jets and weights beside them.
    """

    reqs = {"fileset": CreateFileset}

    def settings(self) -> dict[str, Any]:
        return {
            "dataset": section(self.entry, "is_mc", "matching", "layout", "files_per_branch"),
            "selection": section(self.tree.selection),
        }

    def run(self) -> None:
        from treasure.skim.run import skim_files

        if not self.entry.is_mc and self.tree.selection.golden_json is None:
            say(
                f"{self.label}: collision data without selection.golden_json: every section is used"
            )
        with self.stage() as stage:
            stage.summary = skim_files(
                self.files(),
                str(self.dataset),
                self.entry,
                self.tree.selection,
                stage.directory,
                progress=stage.progress,
            )
