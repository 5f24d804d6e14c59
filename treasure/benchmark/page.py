"""The report of the benchmark: one HTML page from metrics, scores, jets and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from treasure.benchmark.comparison import REFERENCE
from treasure.benchmark.metrics import METRICS, background_efficiency
from treasure.benchmark.provenance import cutflow_table, dataset_histories
from treasure.benchmark.training import Training
from treasure.jets.splits import SPLITS
from treasure.report.figures import curves, histogram_comparison, roc
from treasure.report.html import Page

__all__ = ["Findings", "write_page"]

CLASSES = ("background", "signal")
EFFICIENCIES = np.linspace(0.01, 1.0, 100)
"""εS at which the ROC curves are drawn."""
NAMES = {
    "accuracy": "accuracy",
    "auc": "AUC",
    "rejection_at_0.3": "1/εB at εS = 0.3",
    "rejection_at_0.5": "1/εB at εS = 0.5",
}
OBSERVABLES = {
    "jet_pt": "jet pT",
    "jet_msoftdrop": "soft-drop mass",
    "n_constituents": "number of constituents",
}
MEANING = {
    "continuous": "particles as measured, from the jet tables",
    "tokens": "token ids from the published release, embedded from its codebook",
    "decoded": "particles that the tokenizer makes of the tokens",
    "xval": "particles as measured, each number scaling a learned vector (arXiv:2310.02989)",
}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Findings:
    """What the page shows beside the metrics.

    Attributes
    ----------
    labels, splits : array, shape (n,)
        Of the jets after resampling.
    jet_pt : array, shape (n,)
        Jet pT [GeV] after resampling.
    released_pt, released_labels : array, shape (n_released,)
        Before resampling.
    original, decoded : dict of str to array, shape (n,)
        Observables `pt` and `mass` [GeV] of the summed constituents.
    trainings : dict
        input → seed → training.
    class_names : (str, str)
        Names of the datasets of background and signal.
    tokenizer_figures : list of Path
        PNG files in the release.
    """

    labels: Array
    splits: Array
    jet_pt: Array
    released_pt: Array
    released_labels: Array
    original: Mapping[str, Array]
    decoded: Mapping[str, Array]
    trainings: Mapping[str, Mapping[int, Training]]
    class_names: tuple[str, str]
    tokenizer_figures: list[Path]


def write_page(
    path: Path, metrics: Mapping[str, Any], findings: Findings, provenance: Mapping[str, Any]
) -> Path:
    """Write the report.

    Parameters
    ----------
    path : Path
        The HTML file.
    metrics : mapping
        The content of ``metrics.json``.
    findings : Findings
    provenance : mapping
        See `treasure.benchmark.provenance.dataset_histories`; shown as it is, too.
    """
    release = metrics["release"]
    page = Page(
        "Top tagging on continuous, tokenized and decoded jets",
        f"Release {release['name']}, version {release['version']}: {metrics['n_test']} test jets, "
        f"{len(metrics['seeds'])} trainings of each tagger",
    )
    _headline(page, metrics)
    _curves(page, metrics, findings)
    _resampling(page, metrics, findings)
    _reconstruction(page, metrics, findings)
    _provenance(page, metrics, provenance)
    return page.write(path)


def _headline(page: Page, metrics: Mapping[str, Any]) -> None:
    page.heading("Result")
    page.text(
        "One tagger, trained on three representations of the same jets with the same "
        "hyper-parameters. Each number is the mean over the seeds ± standard deviation over the "
        "seeds (training) ± statistical uncertainty of the mean from the finite number of test "
        "jets (bootstrap)."
    )
    inputs = metrics["inputs"]
    page.table(
        ["input", *(NAMES[m] for m in METRICS)],
        [[name, *(_value(m, found[m]) for m in METRICS)] for name, found in inputs.items()],
        "Tagging performance on the test split",
    )
    others = [name for name in inputs if name != REFERENCE]
    if others:
        page.table(
            ["input", *(NAMES[m] for m in METRICS)],
            [
                [name, *(_value(m, inputs[name]["difference"][m], signed=True) for m in METRICS)]
                for name in others
            ],
            f"Difference to {REFERENCE}: same seeds and test jets, so that what is common cancels",
        )
    page.table(
        ["input", "what the tagger sees"], [[name, MEANING.get(name, "")] for name in inputs]
    )


def _value(metric: str, summary: Mapping[str, Any], *, signed: bool = False) -> str:
    digits = 1 if metric.startswith("rejection") else 4
    sign = "+" if signed else ""
    text = f"{summary['mean']:{sign}.{digits}f} ± {summary['std']:.{digits}f}"
    if summary["statistical"] is not None:
        text += f" ± {summary['statistical']:.{digits}f}"
    return text.replace("-", "−")


def _curves(page: Page, metrics: Mapping[str, Any], findings: Findings) -> None:
    page.heading("ROC curves")
    test = findings.labels[findings.splits == 2]
    efficiencies = {
        name: np.stack(
            [
                background_efficiency(test, training.scores, EFFICIENCIES)
                for training in runs.values()
            ]
        )
        for name, runs in findings.trainings.items()
    }
    legend = {
        name: f"{name} (AUC {found['auc']['mean']:.4f})"
        for name, found in metrics["inputs"].items()
    }
    seeds = len(metrics["seeds"])
    page.figure(
        roc(EFFICIENCIES, efficiencies, ratio_to=REFERENCE, legend=legend),
        f"Background rejection against signal efficiency; bands: standard deviation over {seeds} "
        "seeds. Where no background jet is left nothing is drawn.",
    )
    page.heading("Scores and training", 3)
    bins = np.linspace(0, 1, 41)
    shown: list[tuple[Figure | Path | str, str]] = []
    for name, runs in findings.trainings.items():
        pooled = np.concatenate([training.scores for training in runs.values()])
        is_signal = np.tile(test == 1, len(runs))
        series = {
            f"{CLASSES[value]} ({findings.class_names[value]})": pooled[is_signal == bool(value)]
            for value in (0, 1)
        }
        # every test jet is there once per seed: weights keep the statistical uncertainty right
        weights = {key: np.full(len(values), 1 / len(runs)) for key, values in series.items()}
        figure = histogram_comparison(series, bins, "Tagger score", weights=weights, log=True)
        shown.append((figure, f"Scores of the test jets: {name}, mean over the seeds"))
    losses = {
        name: np.array(
            [[epoch["val_loss"] for epoch in run.history] for run in runs.values()],
            dtype=np.float64,
        )
        for name, runs in findings.trainings.items()
    }
    # NaN where there are no validation jets
    if all(np.isfinite(loss).all() for loss in losses.values()):
        epochs = np.arange(1, losses[REFERENCE].shape[1] + 1)
        figure = curves(epochs, losses, "Epoch", "Cross-entropy on the validation jets")
        shown.append((figure, "The weights of the lowest validation loss are those that count"))
    page.figures(shown)


def _resampling(page: Page, metrics: Mapping[str, Any], findings: Findings) -> None:
    page.heading("Jet pT after resampling")
    test = metrics["observables"]["jet_pt"]
    error = "" if test["statistical"] is None else f" ± {test['statistical']:.4f}"
    page.text(
        "In each split and each bin of jet pT the class with more jets is resampled to the other's "
        f"number. On the test jets the jet pT alone then has an AUC of {test['auc']:.4f}{error}: "
        "no tagger can live on it."
    )
    names = [f"{CLASSES[i]} ({findings.class_names[i]})" for i in (0, 1)]
    before = {names[i]: findings.released_pt[findings.released_labels == i] for i in (0, 1)}
    after = {names[i]: findings.jet_pt[findings.labels == i] for i in (0, 1)}
    low, high = np.quantile(findings.released_pt, [0.0, 0.995])
    bins = np.linspace(low, high, 41)
    pt_label = "Jet $p_T$ [GeV]"
    page.figures(
        [
            (
                histogram_comparison(series, bins, pt_label, ratio_to=names[0], log=True),
                f"{title} resampling, all splits",
            )
            for title, series in (("Before", before), ("After", after))
        ]
    )
    page.table(
        ["split", *CLASSES],
        [[split, *metrics["jets"]["after_resampling"][split]] for split in SPLITS],
        "Jets after resampling",
    )
    page.table(
        ["dataset", "label", "released", "of another label", "after resampling"],
        [
            [name, c["label"], c["released"], c["other_label"], c["chosen"]]
            for name, c in metrics["jets"]["datasets"].items()
        ],
        "Jets of the release",
    )
    page.table(
        ["observable", "AUC", "statistical uncertainty"],
        [
            [OBSERVABLES.get(name, name), v["auc"], v["statistical"]]
            for name, v in metrics["observables"].items()
        ],
        "What single observables of the test jets can do",
    )


def _reconstruction(page: Page, metrics: Mapping[str, Any], findings: Findings) -> None:
    page.heading("Reconstruction")
    test = findings.splits == 2
    pairs = {
        "pt": ("Jet $p_T$ (sum of constituents) [GeV]", "pT"),
        "mass": ("Jet mass [GeV]", "mass"),
    }
    shown: list[tuple[Figure | Path | str, str]] = []
    for observable, (xlabel, _) in pairs.items():
        series = {
            "original": findings.original[observable][test],
            "decoded": findings.decoded[observable][test],
        }
        low, high = np.quantile(series["original"], [0.0, 0.995])
        shown.append(
            (
                histogram_comparison(
                    series, np.linspace(low, high, 41), xlabel, ratio_to="original"
                ),
                "Test jets before and after the tokens",
            )
        )
    for observable, (_, short) in pairs.items():
        original = findings.original[observable]
        used = test & (original > 0)
        response = findings.decoded[observable][used] / original[used]
        label = findings.labels[used]
        series = {f"{CLASSES[i]} ({findings.class_names[i]})": response[label == i] for i in (0, 1)}
        found = metrics["reconstruction"][observable]
        reach = np.quantile(np.abs(response - 1), 0.98) if len(response) else 0.0
        reach = float(np.clip(1.3 * reach, 0.01, 0.3))
        bins = np.linspace(1 - reach, 1 + reach, 61)
        figure = histogram_comparison(series, bins, f"Decoded / original jet {short}", density=True)
        shown.append(
            (figure, f"Response: median {found['median']:.4f}, IQR/median {found['iqr']:.4f}")
        )
    page.figures(shown)
    if findings.tokenizer_figures:
        page.heading("Figures of the tokenizer, from the release", 3)
        page.figures([(path, path.stem.replace("_", " ")) for path in findings.tokenizer_figures])


def _provenance(page: Page, metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    page.heading("Cutflow")
    histories = dataset_histories(provenance)
    if not histories:
        page.text("The provenance that was handed in names no datasets.")
    for name, history in histories.items():
        page.heading(name, 3)
        table = cutflow_table(history.get("cutflow"))
        if table is not None:
            page.table(*table, caption=f"What each cut lets through: {name}")
        sources = history.get("sources")
        count = f"{len(sources)} source files" if isinstance(sources, list) else "sources"
        if sources:
            page.details(f"{count} of {name}", sources)
        for key, value in history.items():
            known = key == "sources" or (key == "cutflow" and table is not None)
            if not known and value is not None:
                page.details(f"{key} of {name}", value)
    page.heading("Provenance")
    page.text("Every stage from the source files to this page, with what decided its bytes.")
    chain = provenance.get("chain")
    if isinstance(chain, list):
        for number, stage in enumerate(chain, 1):
            page.details(f"{number}. {_stage_title(stage)}", stage)
    rest = {k: v for k, v in provenance.items() if k not in ("chain", "datasets")}
    if rest:
        page.details("more", rest)
    for key in ("release", "tokenizer", "tagger", "benchmark", "trainings"):
        page.details(f"this benchmark: {key}", metrics[key])


def _stage_title(stage: Any) -> str:
    if not isinstance(stage, Mapping):
        return "stage"
    title = str(stage.get("label") or stage.get("task") or "stage")
    version, fingerprint = stage.get("version"), stage.get("fingerprint")
    return (
        title
        + (f", version {version}" if version else "")
        + (f", fingerprint {str(fingerprint)[:10]}" if fingerprint else "")
    )
