"""Metrics of a binary tagger: accuracy, area under the ROC curve, background rejection.

Signal has label 1, background label 0; a higher score means more signal-like. εS and εB are the
fractions of signal and background with a score of at least a threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from treasure.errors import DataError

__all__ = [
    "METRICS",
    "SIGNAL_EFFICIENCIES",
    "area_under_curve",
    "background_efficiency",
    "bootstrap",
    "bootstrap_auc",
    "evaluate",
]

SIGNAL_EFFICIENCIES = (0.3, 0.5)
"""Working points εS of the quoted rejections; 0.3 is that of arXiv:1902.09914."""

METRICS = ("accuracy", "auc", *(f"rejection_at_{e}" for e in SIGNAL_EFFICIENCIES))
"""Names of the metrics, in the order in which they are shown."""

BLOCK = 4_000_000
"""Weights held at once by the bootstrap: bounds its memory."""

Floats = npt.NDArray[np.float64]


class _Cuts:
    """Weights of signal and background above every possible threshold, hardest cut first.

    Jets of equal score pass together, so they make one threshold.
    """

    def __init__(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> None:
        label, score = np.asarray(labels), np.asarray(scores, dtype=np.float64)
        if label.shape != score.shape or label.ndim != 1:
            raise DataError(f"metrics: {label.shape} labels for {score.shape} scores")
        if not np.isfinite(score).all():
            raise DataError(f"metrics: {np.count_nonzero(~np.isfinite(score))} scores not finite")
        self.n_signal = int(np.count_nonzero(label == 1))
        self.n_background = int(np.count_nonzero(label == 0))
        if self.n_signal == 0 or self.n_background == 0:
            raise DataError(
                f"metrics: {self.n_signal} signal and {self.n_background} background jets, "
                "expected at least one of each"
            )
        self._order = np.argsort(-score, kind="stable")
        ordered = score[self._order]
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self._is_signal = label[self._order] == 1
        self._is_right = (score >= 0.5) == (label == 1)

    def passing(self, weights: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Return weights (n_sets, n_thresholds) of signal and background that pass."""
        ordered = weights[:, self._order]
        signal = np.cumsum(ordered * self._is_signal, axis=1, dtype=np.float64)[:, self._ends]
        background = np.cumsum(ordered * ~self._is_signal, axis=1, dtype=np.float64)
        return signal, background[:, self._ends]

    def metrics(self, weights: npt.NDArray[Any]) -> dict[str, Floats]:
        """Return each metric for each set of weights, shape (n_sets,)."""
        signal, background = self.passing(weights)
        n_signal, n_background = signal[:, -1], background[:, -1]
        result = {
            "accuracy": (weights * self._is_right).sum(axis=1) / weights.sum(axis=1),
            "auc": _trapezoids(background, signal) / (n_signal * n_background),
        }
        for efficiency, name in zip(SIGNAL_EFFICIENCIES, METRICS[2:], strict=True):
            passed = _at_efficiency(signal, background, efficiency)
            # no background left: the rejection is at least that of one jet
            result[name] = n_background / np.maximum(passed, 1.0)
        return result


def _trapezoids(x: Floats, y: Floats) -> Floats:
    """Area under steps from (0, 0), ties as straight lines: exactly the rank statistic."""
    start = np.zeros((len(x), 1))
    return (
        np.diff(x, axis=1, prepend=start) * (y + np.concatenate([start, y[:, :-1]], axis=1)) / 2
    ).sum(axis=1)


def _at_efficiency(signal: Floats, background: Floats, efficiency: float) -> Floats:
    """Background at the hardest threshold that keeps at least this fraction of the signal."""
    needed = efficiency * signal[:, -1:] * (1 - 1e-12)
    return background[np.arange(len(signal)), (signal >= needed).argmax(axis=1)]


def area_under_curve(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Return the area under the ROC curve, exactly.

    It is the probability that a signal jet scores higher than a background jet, ties counting one
    half (Mann-Whitney U / (n_S n_B)); J. A. Hanley, B. J. McNeil, Radiology 143 (1982) 29.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        0 or 1.
    scores : array_like of float, shape (n,)
        Finite, of any scale.

    Raises
    ------
    DataError
        If a class is empty, a score not finite, or the shapes differ.
    """
    cuts = _Cuts(labels, scores)
    signal, background = cuts.passing(np.ones((1, np.size(scores))))
    return float(_trapezoids(background, signal)[0]) / (cuts.n_signal * cuts.n_background)


def background_efficiency(
    labels: npt.ArrayLike, scores: npt.ArrayLike, signal_efficiency: npt.ArrayLike
) -> Floats:
    """Return εB at given εS: at the hardest threshold that keeps at least εS of the signal.

    Parameters
    ----------
    labels, scores : array_like, shape (n,)
        See `area_under_curve`.
    signal_efficiency : array_like, shape (m,)
        εS in (0, 1].

    Returns
    -------
    array of float64, shape (m,)
        In [0, 1].
    """
    cuts = _Cuts(labels, scores)
    signal, background = cuts.passing(np.ones((1, np.size(scores))))
    needed = np.asarray(signal_efficiency, dtype=np.float64) * cuts.n_signal * (1 - 1e-12)
    return background[0][np.searchsorted(signal[0], needed)] / cuts.n_background


def evaluate(labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float]:
    """Return every metric of `METRICS` for one set of scores.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
        0 or 1.
    scores : array_like of float, shape (n,)
        Probabilities to be signal: the accuracy cuts at 0.5.

    Returns
    -------
    dict
        `rejection_at_x` is 1/εB at εS = x; where no background jet passes it is n_B, the rejection
        of one jet: then a lower limit.
    """
    found = _Cuts(labels, scores).metrics(np.ones((1, np.size(scores))))
    return {name: float(found[name][0]) for name in METRICS}


def bootstrap(
    labels: npt.ArrayLike,
    scores: Mapping[str, npt.NDArray[Any]],
    *,
    reference: str,
    resamplings: int,
    seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the statistical uncertainties that come from the finite number of test jets.

    The jets of each class are drawn with replacement (B. Efron, Ann. Statist. 7 (1979) 1), the same
    draw for every tagger, so that in a difference what is common to two taggers cancels.

    Parameters
    ----------
    labels : array_like of int, shape (n,)
    scores : mapping of str to array, shape (n_seeds, n)
        Scores of each input's trainings; the metrics are averaged over them.
    reference : str
        The input to which differences are taken.
    resamplings : int
        Number of draws, at least 2.
    seed : int

    Returns
    -------
    dict
        input → {"value" | "difference"} → metric → standard deviation.
    """
    label = np.asarray(labels)
    generator = np.random.default_rng([seed, resamplings])
    cuts = {name: [_Cuts(label, row) for row in np.atleast_2d(s)] for name, s in scores.items()}
    classes = [np.flatnonzero(label == value) for value in (0, 1)]
    drawn: dict[str, dict[str, list[Floats]]] = {n: {m: [] for m in METRICS} for n in scores}
    for first in range(0, resamplings, step := max(1, BLOCK // max(1, label.size))):
        weights = np.zeros((min(step, resamplings - first), label.size), dtype=np.float32)
        for row in weights:
            for members in classes:
                picks = generator.integers(0, len(members), len(members))
                row[members] = np.bincount(picks, minlength=len(members))
        for name, taggers in cuts.items():
            rows = [tagger.metrics(weights) for tagger in taggers]
            for metric in METRICS:
                drawn[name][metric].append(np.mean([row[metric] for row in rows], axis=0))
    found = {n: {m: np.concatenate(v) for m, v in metrics.items()} for n, metrics in drawn.items()}
    return {
        name: {
            "value": {m: float(found[name][m].std(ddof=1)) for m in METRICS},
            "difference": {
                m: float((found[name][m] - found[reference][m]).std(ddof=1)) for m in METRICS
            },
        }
        for name in scores
    }


def bootstrap_auc(
    labels: npt.ArrayLike, values: npt.ArrayLike, *, resamplings: int, seed: int
) -> float:
    """Return the statistical uncertainty of the AUC of one observable; see `bootstrap`."""
    found = bootstrap(
        labels,
        {"value": np.asarray(values, dtype=np.float64)},
        reference="value",
        resamplings=resamplings,
        seed=seed,
    )
    return found["value"]["value"]["auc"]
