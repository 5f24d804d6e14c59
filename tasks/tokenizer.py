"""TrainTokenizer: learn the vocabulary of the jets."""

from typing import Any

from tasks.base import TreasureTask, section
from tasks.jets import WriteH5, jet_files

__all__ = ["TrainTokenizer"]


class TrainTokenizer(TreasureTask):
    """Train the VQ-VAE tokenizer on the jets of the datasets that the configuration names.

    Takes a GPU where there is one. A killed training goes on from its last epoch.
    """

    schema = 3

    @property
    def datasets(self) -> list[str]:
        return list(self.tree.training_datasets or self.tree.datasets)

    def settings(self) -> dict[str, Any]:
        return {
            "tokenizer": section(self.tree.tokenizer),
            "seed": self.tree.seed,
            "datasets": self.datasets,
        }

    def requirements(self) -> dict[str, Any]:
        return {name: WriteH5.req(self, dataset=name) for name in self.datasets}

    def run(self) -> None:
        from treasure.tokenizer.train import train_tokenizer

        jet_tables = {name: jet_files(self.input()[name]) for name in self.datasets}
        with self.stage() as stage:
            metrics = train_tokenizer(
                jet_tables,
                self.tree.tokenizer,
                seed=self.tree.seed,
                directory=stage.directory,
                progress=stage.progress,
            )
            tested = {f"test_{name}": metrics.pop(name) for name in ("jets", "particles")}
            stage.summary = {**tested, **metrics}
