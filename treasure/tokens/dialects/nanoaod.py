"""NanoAOD and PFNano of CMS: every AK8 jet with its candidates, without cuts.

What `SkimJets` and `WriteH5` do to files of a configuration, this does to one file, in every layout
that `treasure.skim.layouts` knows, and with no selection at all.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.config.splits import Splits
from treasure.errors import DataError
from treasure.tokens.dialects.dialect import OF_JETS, Dialect, Options, Report

__all__ = ["NanoAOD"]

_TREE = "Events"
_WIDEST_ETA = 100.0


class NanoAOD(Dialect, kind="nanoaod"):
    """AK8 jets of a ROOT file of CMS."""

    summary: ClassVar[str] = "CMS NanoAOD and PFNano: ROOT; import only, every AK8 jet"
    imports_to: ClassVar[tuple[str, ...]] = (".h5", ".hdf5")
    reads: ClassVar[frozenset[str]] = OF_JETS | {"tree"}

    @classmethod
    def recognises(cls, source: Path) -> bool:
        return source.suffix == ".root" and "FatJet_pt" in _branches(source, _TREE)

    def read(self, source: Path, path: Path, options: Options) -> Report:
        # not before: coffea takes seconds to import
        from treasure.fileset.inspection import inspect_file
        from treasure.jets.write import write_jet_table
        from treasure.skim.run import skim_files

        if options.split not in (None, "hash"):
            raise DataError(
                f"{source}: NanoAOD says its events, whose hash is the split; leave --split out"
            )
        if options.label is None or options.label < 0:
            raise DataError(f"{source}: says no class of its jets; give --label, from 0 on")
        if not source.is_file():
            raise DataError(f"{source}: no such file; a ROOT file was expected")
        file = inspect_file(str(source), options.tree or _TREE, str(source))
        dataset = Dataset.model_validate(
            {
                "title": options.dataset or source.stem,
                "label": options.label,
                "is_mc": "genWeight" in _branches(source, options.tree or _TREE),
                "source": {"kind": "local", "files": [source.name]},
            }
        )
        selection = Selection(
            triggers=[], filters=[], jet_pt_min=0.0, jet_abs_eta_max=_WIDEST_ETA, jet_id=None
        )
        name = options.dataset or source.stem
        with TemporaryDirectory(prefix="treasure_import_") as folder:
            skim_files([file], name, dataset, selection, Path(folder))
            summary = write_jet_table(
                [Path(folder)],
                path,
                dataset_name=name,
                dataset=dataset,
                selection=selection,
                splits=Splits(),
                attributes={"imported_from": "nanoaod"},
            )
        report = Report(files=[path], jets=summary["jets"], particles=summary["candidates"])
        report.losses.append("everything but AK8 jets and their candidates")
        return report


def _branches(source: Path, tree: str) -> list[str]:
    """Branches of a tree; none if the file cannot be read, which the import will say."""
    import uproot

    from treasure.fileset.opening import open_options

    try:
        with uproot.open({str(source): None}, **open_options(str(source))) as file:
            return list(file[tree].keys())
    except Exception:  # whatever uproot meets
        return []
