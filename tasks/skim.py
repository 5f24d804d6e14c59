"""SkimJets and MergeCutflows: from events to selected jets, and what the cuts let through."""

from pathlib import Path
from typing import Any

from tasks.base import DatasetTask, section
from tasks.executing import check_executor
from tasks.fileset import CreateFileset, FilesetBranches, saved_fileset
from tasks.made_of import uuids
from tasks.messages import say
from treasure.errors import DataError

__all__ = ["MergeCutflows", "SkimJets"]

_LIMITS = ("limit_files", "entry_start", "entry_stop")


class SkimJets(FilesetBranches):
    """Select large-radius jets and their candidates; one branch for each group of files.

    A coffea processor applies trigger, filters and jet selection and writes parquet files, with a
    cutflow in events, jets and weights beside them.
    """

    reqs = {"fileset": CreateFileset}
    schema = 2
    # coffea imports its methods when they are first used
    imports = ("treasure.skim.run", "coffea.nanoevents.methods.nanoaod")

    def settings(self) -> dict[str, Any]:
        from treasure.skim.golden import golden_digest

        settings = {
            "dataset": section(self.entry, "is_mc", "matching", "layout"),
            "selection": section(self.tree.selection),
        }
        # Another content of the same file selects other events.
        if digest := golden_digest(self.tree.selection, self.entry):
            settings["golden_json_sha256"] = digest
        return settings

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        params = super().modify_param_values(params)
        check_executor(params["executor"], params["executor_workers"], params["dask_address"])
        return params

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
                executor=self.chosen_executor(len(self.branch_map)),
            )
        self._say_if_no_trigger(stage.summary)
        self._say_if_not_validated(stage.summary)

    def _say_if_not_validated(self, summary: dict[str, Any]) -> None:
        validated = {step["cut"]: step["events"] for step in summary["cutflow"]}.get("golden_json")
        if summary["events"] and validated == 0:
            runs = ", ".join(sorted(summary["luminosity_sections"], key=int)[:4])
            say(
                f"{self.label}: no event is in a section of selection.golden_json (runs {runs});"
                " compare the file with the data"
            )

    def _say_if_no_trigger(self, summary: dict[str, Any]) -> None:
        missing, files = summary["missing_triggers"], len(summary["files"])
        asked = self.tree.selection.triggers
        if asked and all(missing.get(path) == files for path in asked):
            say(
                f"{self.label}: no file has any of the {len(asked)} paths of selection.triggers, so"
                " that no event passes; set selection.triggers to paths that are there, or to []"
            )


class MergeCutflows(DatasetTask):
    """Add up the cutflows of a dataset, and compare its luminosity sections with those expected.

    Writes one JSON, the sections processed in the format of CMS (collision data), and a report.
    """

    # No settings: the report shows the title of the dataset, but another title makes no jet anew.
    reqs = {"fileset": CreateFileset, "skim": SkimJets}

    def run(self) -> None:
        from treasure.skim.golden import golden_sections
        from treasure.skim.merge import merge, read_branch, write_merged

        listed = saved_fileset(self.requirements()["fileset"])
        assert listed is not None  # luigi saw to it
        fileset = listed.fileset
        targets = self.input()["skim"]["collection"].targets
        with self.stage() as stage:
            branches = []
            for number, target in sorted(targets.items()):
                branches.append(read_branch(target.directory))
                _refuse_other_files(target.directory, branches[-1], listed.groups[number])
                stage.progress(len(branches), len(targets))
            merged = merge(
                branches,
                str(self.dataset),
                self.entry,
                planned=fileset.luminosity_sections,
                golden=golden_sections(self.tree.selection, self.entry),
                limits={k: v for k in _LIMITS if (v := fileset.source.get(k))},
                files_left_out=[file.model_dump() for file in fileset.bad_files],
            )
            write_merged(merged, stage.directory)
            stage.summary = {
                "branches": len(branches),
                "events_read": merged["events"],
                "jets_selected": merged["jets"],
            }
            if merged["luminosity"]:
                stage.summary |= {
                    f"sections_{name}": merged["luminosity"][f"n_{name}"]
                    for name in ("processed", "expected", "missing", "outside")
                }


def _refuse_other_files(directory: Path, branch: dict[str, Any], files: list[Any]) -> None:
    """What is added up must be of the files that the fileset lists now, whatever a record says."""
    if [file["uuid"] for file in branch["files"]] != uuids(files):
        raise DataError(
            f"{directory}: made of other files than the fileset of its dataset lists now; remove it"
            " and run SkimJets again"
        )
