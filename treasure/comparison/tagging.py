"""Classifiers that judge decoded jets: tops from QCD, and decoded jets from original ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.benchmark.comparison import train_all
from treasure.benchmark.metrics import area_under_curve, bootstrap
from treasure.benchmark.particles import (
    Particles,
    kinematic_features,
    scaled_to_range,
    standardised,
)
from treasure.benchmark.training import Sample
from treasure.comparison.choice import ChosenJets
from treasure.config.benchmark import TaggerConfig
from treasure.config.measurement import MeasurementConfig

__all__ = ["aucs", "scores_of_test", "separation_sample", "tagging_sample", "xval_sample"]

Momenta = NDArray[np.floating[Any]]
Scores = NDArray[np.float32]


def tagging_sample(momenta: Momenta, jets: ChosenJets, max_particles: int) -> Sample:
    """Jets for top tagging, with features relative to the jets of the jet tables.

    Parameters
    ----------
    momenta : (P, 4)
        px, py, pz, E [GeV] of the particles, original or decoded.
    jets : ChosenJets
        Axes, pT, labels and splits.
    max_particles
        Particles of a jet that the tagger sees: the first ones, which are the hardest.
    """
    features = _features(momenta, jets, max_particles)
    train = np.flatnonzero(jets.splits == 0)
    return Sample(standardised(features, train), jets.labels, jets.splits)


def xval_sample(jets: ChosenJets, max_particles: int) -> Sample:
    """Original jets for a tagger that takes numbers as scaled embeddings (arXiv:2310.02989)."""
    features = _features(jets.particles.momenta, jets, max_particles)
    train = np.flatnonzero(jets.splits == 0)
    return Sample(scaled_to_range(features, train), jets.labels, jets.splits, scaled=True)


def separation_sample(
    original: Momenta, decoded: Momenta, jets: ChosenJets, max_particles: int
) -> Sample:
    """Original (class 0) and decoded jets (class 1), to be told apart.

    The two versions of a jet are in the same split: what was trained on one is never tested on the
    other.
    """
    parts = [_features(momenta, jets, max_particles) for momenta in (original, decoded)]
    both = Particles.from_counts(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )
    splits = np.tile(jets.splits, 2)
    labels = np.repeat(np.arange(2), len(jets))
    return Sample(standardised(both, np.flatnonzero(splits == 0)), labels, splits)


def scores_of_test(
    samples: Mapping[str, Sample],
    tagger: TaggerConfig,
    config: MeasurementConfig,
    *,
    seed: int,
    directory: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Scores]:
    """Scores of the test jets by classifiers trained on each sample, on the CPU.

    Parameters
    ----------
    samples, tagger, seed, progress
        See `treasure.benchmark.comparison.train_all`.
    config
        Its `tagger_seeds` are the trainings.
    directory
        Where trainings are kept, so that a run goes on where it was stopped; nowhere when None.

    Returns
    -------
    dict of str to (seeds, n_test) float32
    """
    with tempfile.TemporaryDirectory() as temporary:
        trainings = train_all(
            samples,
            tagger,
            seeds=config.tagger_seeds,
            seed=seed,
            directory=directory or Path(temporary),
            progress=progress,
        )
    return {
        name: np.stack([runs[number].scores for number in config.tagger_seeds])
        for name, runs in trainings.items()
    }


def aucs(
    labels: NDArray[np.integer[Any]],
    scores: Mapping[str, Scores],
    *,
    reference: str,
    resamplings: int,
    seed: int,
) -> dict[str, float]:
    """Areas under the ROC curve, and what is lost with respect to a reference.

    Parameters
    ----------
    labels : (n,)
    scores : mapping of str to (seeds, n)
        Rows of the same number are of the same seed.
    reference
        The input that others are compared with.
    resamplings, seed
        Of the bootstrap, which draws the same test jets for all inputs.

    Returns
    -------
    dict
        ``<name>`` (mean over the seeds), ``<name>_error``; for others than the reference
        ``<name>_lost`` (reference − input), ``<name>_lost_error`` (of the same test jets for both)
        and ``<name>_lost_std``, the standard deviation over the seeds (0 for one).
    """
    each = {n: np.array([area_under_curve(labels, row) for row in s]) for n, s in scores.items()}
    errors = bootstrap(labels, scores, reference=reference, resamplings=resamplings, seed=seed)
    found: dict[str, float] = {}
    for name, values in each.items():
        found |= {name: float(values.mean()), f"{name}_error": errors[name]["value"]["auc"]}
        if name != reference:
            lost = each[reference] - values
            found |= {
                f"{name}_lost": float(lost.mean()),
                f"{name}_lost_error": errors[name]["difference"]["auc"],
                f"{name}_lost_std": float(lost.std(ddof=1)) if len(lost) > 1 else 0.0,
            }
    return found


def _features(momenta: Momenta, jets: ChosenJets, max_particles: int) -> Particles:
    packed = Particles.from_counts(momenta, jets.particles.counts).leading(max_particles)
    return kinematic_features(packed, jets.kinematics)
