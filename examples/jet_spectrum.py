"""A task of one's own: the pt spectrum of the selected jets, as a figure and as numbers.

::

    law run examples.jet_spectrum.JetSpectrum --config test --dataset qcd
    law run examples.jet_spectrum.JetSpectrum --config test --dataset ttbar --bins 20

The stages before it run by themselves if they have not. What is left is in
``$TREASURE_STORE/test/JetSpectrum/qcd/v1-<fingerprint>/``. List the module in ``law.cfg`` under
``[modules]`` to call the task by its name alone.
"""

from typing import Any

import luigi

from tasks.base import DatasetTask
from tasks.jets import WriteH5, jet_files
from treasure import store

__all__ = ["JetSpectrum"]


class JetSpectrum(DatasetTask):
    """Draw the jet pt of a dataset, each split for itself: they must look alike."""

    # What is needed: the jet tables of the same dataset, configuration and version.
    reqs = {"jets": WriteH5}

    bins = luigi.IntParameter(default=40, description="number of bins; default: 40")

    def settings(self) -> dict[str, Any]:
        # Whatever changes the bytes belongs here: then it is part of the fingerprint, and of the
        # path. What comes from the stages before is part of theirs.
        return {"bins": self.bins}

    def run(self) -> None:
        # Heavy packages are imported here, so that `law run --print-status` stays quick.
        import numpy as np

        from treasure.jets.splits import SPLITS
        from treasure.jets.table import JetTable
        from treasure.report.figures import histogram_comparison, save

        parts: dict[str, list[Any]] = {split: [] for split in SPLITS}
        with self.stage() as stage:  # alone in stage.directory; the manifest follows at the end
            files = jet_files(self.input()["jets"])  # verified against their manifests
            for done, path in enumerate(files, 1):
                with JetTable(path) as table:
                    for chunk in table.chunks():  # never the whole table in memory
                        for number, split in enumerate(SPLITS):
                            parts[split].append(chunk.kinematics[chunk.split == number, 0])
                stage.progress(done, len(files))
            pt = {split: np.concatenate(found) for split, found in parts.items()}
            edges = np.linspace(300, 1300, self.bins + 1)  # GeV
            figure = histogram_comparison(
                pt, edges, "Jet $p_T$ [GeV]", density=True, ratio_to="train", right="13 TeV"
            )
            save(figure, stage.directory / "jet_pt.png")
            counts = {split: np.histogram(pt[split], edges)[0].tolist() for split in SPLITS}
            result = {"edges": edges.tolist(), "jets": counts}
            store.write_json(stage.directory / "jet_pt.json", result)
            # The summary line of the terminal; also in the manifest.
            stage.summary = {"jets": sum(len(values) for values in pt.values())}
