"""BenchmarkTopTagging: did the tokens keep the physics?"""

from pathlib import Path
from typing import Any

from tasks.base import TreasureTask, section
from tasks.jets import WriteH5, jet_files
from tasks.messages import say, shown_path
from tasks.release import PublishFDP
from treasure import store

__all__ = ["BenchmarkTopTagging"]


class BenchmarkTopTagging(TreasureTask):
    """Compare top tagging on jets, on their tokens, and on jets decoded from the tokens.

    Reads the published release as a user of the dataset would. Leaves metrics.json and
    report.html.
    """

    def settings(self) -> dict[str, Any]:
        return {
            "tagger": section(self.tree.tagger),
            "benchmark": section(self.tree.benchmark),
            "seed": self.tree.seed,
        }

    def requirements(self) -> dict[str, Any]:
        jets = {f"jets_{name}": WriteH5.req(self, dataset=name) for name in self.tree.datasets}
        return {"release": PublishFDP.req(self), **jets}

    def run(self) -> None:
        from treasure.benchmark.run import run_benchmark

        inputs = self.input()
        receipt = store.read_json(inputs["release"].verified() / "receipt.json")
        with self.stage() as stage:
            stage.summary = run_benchmark(
                Path(receipt["location"]),
                {name: jet_files(inputs[f"jets_{name}"]) for name in self.tree.datasets},
                {name: entry.label for name, entry in self.tree.datasets.items()},
                self.tree.tagger,
                self.tree.benchmark,
                seed=self.tree.seed,
                directory=stage.directory,
                provenance={
                    "datasets": {name: self._history(name) for name in self.tree.datasets},
                    "chain": self.provenance(),
                },
                progress=stage.progress,
            )
        say(f"report: {shown_path(self.directory / 'report.html')}")

    def _history(self, dataset: str) -> dict[str, Any]:
        """Where the jets of a dataset come from, from its merged cutflow: skims may be gone."""
        merged = WriteH5.req(self, dataset=dataset).merged
        assert merged is not None
        quantities = ("cut", "events", "jets", "weight")
        return {
            "cutflow": [{name: step[name] for name in quantities} for step in merged["cutflow"]],
            "sources": merged["files"],
            "configuration": merged["selection"],
        }
