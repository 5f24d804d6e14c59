"""The benchmark as a whole: release and jet tables in, ``metrics.json`` and ``report.html`` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from treasure.benchmark.comparison import REFERENCE, compare, train_all
from treasure.benchmark.loading import BenchmarkJets, decode_jets, load_jets
from treasure.benchmark.metrics import area_under_curve, bootstrap_auc
from treasure.benchmark.page import Findings, write_page
from treasure.benchmark.particles import (
    FEATURES,
    Particles,
    jet_observables,
    kinematic_features,
    scaled_to_range,
    standardised,
)
from treasure.benchmark.training import Sample, one_thread
from treasure.config.benchmark import BenchmarkConfig, TaggerConfig
from treasure.jets.splits import SPLITS
from treasure.progress.parts import part_of
from treasure.release.read import Release
from treasure.store import write_json
from treasure.tokenizer.artefact import Tokenizer
from treasure.tokenizer.train import default_device

__all__ = ["METRICS_FILE", "REPORT_FILE", "run_benchmark"]

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
TRAININGS = "trainings"

Array = npt.NDArray[Any]

# what a progress bar shows of the time: choosing and reading, decoding, training
SHARES = {"load": 10, "decode": 10, "train": 80}


def run_benchmark(
    release: Path,
    jet_tables: Mapping[str, Sequence[Path]],
    labels: Mapping[str, int],
    tagger: TaggerConfig,
    config: BenchmarkConfig,
    *,
    seed: int,
    directory: Path,
    provenance: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
    device: str | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Train taggers on three representations of the same jets and compare them.

    A run that was killed goes on where it stopped: finished trainings are kept in
    ``directory/trainings`` and known by what they were trained on.

    Parameters
    ----------
    release : Path
        Directory of the published release: the tokens and the tokenizer.
    jet_tables : mapping of str to sequence of Path
        Jet tables of each dataset: the continuous jets.
    labels : mapping of str to int
        Class of each dataset: 0 background, 1 signal; others are not used.
    tagger : TaggerConfig
    config : BenchmarkConfig
    seed : int
    directory : Path
        ``metrics.json`` and ``report.html`` go here.
    provenance : mapping
        What the report tells of the stages before; see `treasure.benchmark.provenance`.
    progress : callable, optional
        Called with (done, total), in percent.
    device : str, optional
        Where the taggers are trained ("cpu", "cuda", "mps"); the accelerator that is there when
        None. Bits repeat on the CPU only.
    workers : int, optional
        Trainings at the same time; the number of usable CPUs when None.

    Returns
    -------
    dict
        Summary: jets, AUC of each input.

    Raises
    ------
    DataError
        If release and jet tables do not fit, or a class or split is empty.
    """
    directory = Path(directory)
    opened = Release(release)
    tokenizer = Tokenizer.load(opened.tokenizer_directory)
    jets = load_jets(
        opened,
        jet_tables,
        labels,
        bin_width=config.pt_bin_width,
        seed=seed,
        max_jets=config.max_jets,
        progress=part_of(progress, SHARES, "load"),
    )
    with one_thread():
        decoded = decode_jets(tokenizer, jets, part_of(progress, SHARES, "decode"))
    trainings = train_all(
        make_samples(jets, decoded, tokenizer.codebook, config),
        tagger,
        seeds=config.seeds,
        seed=seed,
        directory=directory / TRAININGS,
        device=device or default_device(),
        workers=workers,
        progress=part_of(progress, SHARES, "train"),
    )
    test = jets.splits == 2
    scores = {n: np.stack([run.scores for run in runs.values()]) for n, runs in trainings.items()}
    before, after = jet_observables(jets.continuous), jet_observables(decoded)
    metrics: dict[str, Any] = {
        "inputs": compare(jets.labels[test], scores, resamplings=config.bootstrap, seed=seed),
        "reference": REFERENCE,
        "n_test": int(np.count_nonzero(test)),
        "seeds": list(config.seeds),
        "jets": {
            "after_resampling": {
                split: np.bincount(jets.labels[jets.splits == i], minlength=2).tolist()
                for i, split in enumerate(SPLITS)
            },
            "datasets": {n: {"label": labels[n], **c} for n, c in jets.counts.items()},
        },
        "observables": _observables(jets, config.bootstrap, seed),
        "reconstruction": {
            name: _response(after[name][test], before[name][test]) for name in before
        },
        "trainings": {
            name: {
                str(number): {
                    "best_epoch": run.best_epoch + 1,
                    "val_loss": run.history[run.best_epoch]["val_loss"],
                }
                for number, run in runs.items()
            }
            for name, runs in trainings.items()
        },
        "features": list(FEATURES),
        "tagger": tagger.model_dump(mode="json"),
        "benchmark": config.model_dump(mode="json"),
        "tokenizer": {
            "fingerprint": tokenizer.fingerprint,
            "vocabulary_size": tokenizer.vocabulary_size,
        },
        "release": {"name": opened.manifest.name, "version": opened.manifest.version},
    }
    findings = Findings(
        labels=jets.labels,
        splits=jets.splits,
        jet_pt=jets.kinematics[:, 0],
        released_pt=jets.released_pt,
        released_labels=jets.released_labels,
        original=before,
        decoded=after,
        trainings=trainings,
        class_names=_class_names(jets, labels),
        tokenizer_figures=sorted(opened.tokenizer_directory.rglob("*.png")),
    )
    write_page(directory / REPORT_FILE, metrics, findings, provenance)
    write_json(directory / METRICS_FILE, metrics)
    return {
        "jets": len(jets),
        "test_jets": metrics["n_test"],
        **{f"auc_{name}": round(v["auc"]["mean"], 4) for name, v in metrics["inputs"].items()},
    }


def make_samples(
    jets: BenchmarkJets, decoded: Particles, codebook: Array, config: BenchmarkConfig
) -> dict[str, Sample]:
    """Return the inputs that the configuration names, ready for training.

    Features are standardised on the training jets, each input on its own; so are the vectors of
    the codebook, over the tokens of the training jets. Those of "xval" are scaled to [-5, 5].
    """
    train = np.flatnonzero(jets.splits == 0)

    def sample(particles: Particles, vectors: Array | None = None) -> Sample:
        return Sample(particles, jets.labels, jets.splits, vectors)

    def kinematic(momenta: Particles) -> Sample:
        leading = momenta.leading(config.max_particles)
        return sample(standardised(kinematic_features(leading, jets.kinematics), train))

    def xval() -> Sample:
        features = kinematic_features(
            jets.continuous.leading(config.max_particles), jets.kinematics
        )
        return Sample(scaled_to_range(features, train), jets.labels, jets.splits, scaled=True)

    def tokens() -> Sample:
        leading = jets.tokens.leading(config.max_particles)
        vectors = codebook.reshape(-1, *codebook.shape[-2:])
        ids = Particles(leading.values.reshape(len(leading.values), len(vectors)), leading.offsets)
        used = ids.values[ids.rows(train)]
        return sample(ids, _standardised_codebook(vectors, used))

    makers = {
        "continuous": lambda: kinematic(jets.continuous),
        "tokens": tokens,
        "decoded": lambda: kinematic(decoded),
        "xval": xval,
    }
    return {name: makers[name]() for name in config.inputs}


def _standardised_codebook(vectors: Array, used: Array) -> npt.NDArray[np.float32]:
    """Shift and scale vectors (Q, K, d) to mean 0 and variance 1 over the ids (P, Q) in use."""
    result = np.empty(vectors.shape, dtype=np.float32)
    for i, book in enumerate(vectors.astype(np.float64)):
        weight = np.bincount(used[:, i], minlength=len(book)) / max(len(used), 1)
        mean = weight @ book
        spread = np.sqrt(weight @ (book - mean) ** 2)
        result[i] = (book - mean) / np.where(spread > 0, spread, 1.0)
    return result


def _observables(jets: BenchmarkJets, resamplings: int, seed: int) -> dict[str, dict[str, Any]]:
    """Return the AUC of single observables on the test jets, higher meaning more signal-like."""
    test = jets.splits == 2
    label = jets.labels[test]
    values = {
        "jet_pt": jets.kinematics[test, 0],
        "jet_msoftdrop": jets.kinematics[test, 3],
        "n_constituents": jets.tokens.counts[test],
    }
    return {
        name: {
            "auc": area_under_curve(label, value),
            "statistical": bootstrap_auc(label, value, resamplings=resamplings, seed=seed)
            if resamplings >= 2
            else None,
        }
        for name, value in values.items()
    }


def _response(decoded: Array, original: Array) -> dict[str, float]:
    """Return median and relative interquartile range of decoded / original."""
    ratio = decoded[original > 0] / original[original > 0]
    low, median, high = np.quantile(ratio, [0.25, 0.5, 0.75]) if len(ratio) else (0.0, 0.0, 0.0)
    return {"median": float(median), "iqr": float((high - low) / median) if median else 0.0}


def _class_names(jets: BenchmarkJets, labels: Mapping[str, int]) -> tuple[str, str]:
    background, signal = (
        ", ".join(name for name in jets.counts if labels[name] == value) for value in (0, 1)
    )
    return background, signal
