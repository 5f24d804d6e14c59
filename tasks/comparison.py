"""CompareTokenizers: which tokenizer keeps most of the jets?

Each training and each measurement is a stage of its own, with a fingerprint of its own: a tokenizer
that is added or changed leaves those of the others alone.
"""

from typing import Any

import luigi

from tasks.base import TreasureTask, section
from tasks.jets import WriteH5, jet_files
from tasks.messages import say, shown_path
from treasure import store
from treasure.config.loading import load_config, nearest
from treasure.errors import ConfigError

__all__ = ["CompareTokenizers", "MeasureOriginals", "MeasureTokenizer", "TrainComparedTokenizer"]

MEASURES = "measures.json"


class OneTokenizer(TreasureTask):
    """A stage that works on one tokenizer of the comparison, trained with one seed."""

    exclude_index = True

    tokenizer = luigi.Parameter(
        default="",
        description="the tokenizer, a name of comparison.tokenizers; default: the first",
    )
    training_seed = luigi.OptionalIntParameter(
        default=None, description="seed of its training; default: the first of comparison.seeds"
    )

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        params = super().modify_param_values(params)
        comparison = compared(load_config(params["config"], params["set"]).config)
        names = list(comparison.tokenizers)
        params["tokenizer"] = params["tokenizer"] or names[0]
        if params["tokenizer"] not in names:
            raise ConfigError(
                f"--tokenizer {params['tokenizer']}: not in comparison.tokenizers"
                + nearest(params["tokenizer"], names)
            )
        if params["training_seed"] is None:
            params["training_seed"] = comparison.seeds[0]
        if params["training_seed"] < 0:
            raise ConfigError(f"--training-seed {params['training_seed']}: expected 0 or more")
        return params

    @property
    def path_parts(self) -> tuple[str, ...]:
        return (f"{self.tokenizer}-{self.training_seed}",)


class TrainComparedTokenizer(OneTokenizer):
    """Train one tokenizer of the comparison with one seed.

    Only its own section, its budget, its seed and the jets decide what comes out. Takes a GPU where
    there is one. A killed training goes on from its last checkpoint.
    """

    schema = 3

    @property
    def datasets(self) -> list[str]:
        return list(self.tree.training_datasets or self.tree.datasets)

    def settings(self) -> dict[str, Any]:
        trained = self.tree.comparison.trained(self.tokenizer)
        return {
            "tokenizer": section(trained, exclude=("check",)),
            "seed": self.training_seed,
            "datasets": self.datasets,
        }

    def requirements(self) -> dict[str, Any]:
        return {name: WriteH5.req(self, dataset=name) for name in self.datasets}

    def run(self) -> None:
        from treasure.tokenizer.train import train_tokenizer

        with self.stage() as stage:
            metrics = train_tokenizer(
                {name: jet_files(self.input()[name]) for name in self.datasets},
                self.tree.comparison.trained(self.tokenizer),
                seed=self.training_seed,
                directory=stage.directory,
                progress=stage.progress,
            )
            response = metrics["response"]["all"]
            stage.summary = {
                "training_jets": metrics["training"]["jets"],
                "jets_seen": metrics["training"]["jets_seen"],
                "steps": metrics["training"]["steps"],
                "codes_used": metrics["codes_used"],
                "jet_pt_iqr": response["jet_pt"]["iqr_over_median"],
                "jet_mass_iqr": response["jet_mass"]["iqr_over_median"],
                "train_seconds": metrics["train_seconds"],
            }


class ComparedJets(TreasureTask):
    """A stage that reads the jets on which tokenizers are compared."""

    exclude_index = True

    @property
    def labels(self) -> dict[str, int]:
        """Class of each dataset that is used: 0 background, 1 signal."""
        datasets = self.tree.datasets.items()
        return {name: entry.label for name, entry in datasets if entry.label in (0, 1)}

    def requirements(self) -> dict[str, Any]:
        return {f"jets_{name}": WriteH5.req(self, dataset=name) for name in self.labels}

    def jet_tables(self) -> dict[str, list[Any]]:
        return {name: jet_files(self.input()[f"jets_{name}"]) for name in self.labels}


class MeasureOriginals(ComparedJets):
    """Train the tagger on original jets: what every tokenizer is compared with."""

    def settings(self) -> dict[str, Any]:
        return {
            "labels": self.labels,
            "measurement": section(self.tree.comparison.measurement),
            "tagger": section(self.tree.tagger),
            "seed": self.tree.seed,
        }

    def run(self) -> None:
        from treasure.comparison.originals import measure_originals

        with self.stage() as stage:
            found = measure_originals(
                self.jet_tables(),
                self.labels,
                self.tree.tagger,
                self.tree.comparison.measurement,
                seed=self.tree.seed,
                directory=stage.directory,
                progress=stage.progress,
            ).metrics
            stage.summary = {name: found[name] for name in ("jets", "auc_original", "auc_xval")}


class MeasureTokenizer(OneTokenizer, ComparedJets):
    """Measure one trained tokenizer on the test jets of both classes."""

    @property
    def measurement(self) -> Any:
        return self.tree.comparison.measured(self.tokenizer)

    def settings(self) -> dict[str, Any]:
        tagger = {"tagger": section(self.tree.tagger)} if self.measurement.classifiers else {}
        return {
            "labels": self.labels,
            "measurement": section(self.measurement),
            "seed": self.tree.seed,
            **tagger,
        }

    def requirements(self) -> dict[str, Any]:
        needed = {**super().requirements(), "tokenizer": TrainComparedTokenizer.req(self)}
        if self.measurement.classifiers:
            needed["originals"] = MeasureOriginals.req(self)
        return needed

    def run(self) -> None:
        from treasure.comparison.measure import measure_tokenizer
        from treasure.comparison.originals import Originals
        from treasure.tokenizer.artefact import Tokenizer

        inputs = self.input()
        trained = inputs["tokenizer"].verified()
        classifiers = self.measurement.classifiers
        with self.stage() as stage:
            found = measure_tokenizer(
                Tokenizer.load(trained),
                self.jet_tables(),
                self.labels,
                self.tree.tagger,
                self.measurement,
                seed=self.tree.seed,
                originals=Originals.load(inputs["originals"].verified()) if classifiers else None,
                directory=stage.directory,
                progress=stage.progress,
            )
            training = store.read_json(trained / "metrics.json")["training"]
            found |= {name: training[name] for name in ("jets_seen", "steps")}
            found["train_seconds"] = inputs["tokenizer"].manifest["timing"]["train_seconds"]
            store.write_json(stage.directory / MEASURES, found)
            shown = ("jets", "bits", "codes_used", "jet_pt_iqr", "jet_mass_iqr", "auc_lost")
            stage.summary = {name: found[name] for name in shown if name in found}


class CompareTokenizers(TreasureTask):
    """Compare the tokenizers of the configuration: tables, figures, and whether goals are met.

    Leaves comparison.json, comparison.md, report.html and figures. With --workers N, N tokenizers
    are trained at a time.
    """

    schema = 2

    def settings(self) -> dict[str, Any]:
        comparison = compared(self.tree)
        told = ("title", "description", "family")
        entries = comparison.tokenizers.items()
        return {
            "tokenizers": {name: section(entry, *told) for name, entry in entries},
            **section(comparison, "baseline", "chosen", "curve", "seeds", "goals"),
        }

    def requirements(self) -> dict[str, Any]:
        comparison = compared(self.tree)
        measured = {
            f"{name}-{seed}": MeasureTokenizer.req(self, tokenizer=name, training_seed=seed)
            for name in comparison.tokenizers
            for seed in comparison.seeds_of(name)
        }
        classifiers = comparison.measurement.classifiers
        return ({"originals": MeasureOriginals.req(self)} if classifiers else {}) | measured

    def run(self) -> None:
        from treasure.comparison.page import write_comparison

        comparison, inputs = compared(self.tree), self.input()
        measured = {
            name: {
                seed: store.read_json(inputs[f"{name}-{seed}"].verified() / MEASURES)
                for seed in comparison.seeds_of(name)
            }
            for name in comparison.tokenizers
        }
        originals = {}
        if "originals" in inputs:
            path = inputs["originals"].verified() / "originals.json"
            originals = store.read_json(path)["metrics"]
        with self.stage() as stage:
            stage.summary = write_comparison(
                stage.directory, comparison, measured, originals, self.provenance()
            )
        say(f"report: {shown_path(self.directory / 'report.html')}")


def compared(tree: Any) -> Any:
    """The comparison of a configuration, which must have something to compare."""
    if not tree.comparison.tokenizers:
        raise ConfigError(
            "comparison.tokenizers: none in this configuration; say which, or `comparison: demo`"
        )
    return tree.comparison
