"""How near decoded quantities are to the original ones: differences, and ratios with errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["resolutions", "response"]

Floats = NDArray[np.floating[Any]]


def resolutions(decoded: Floats, original: Floats, names: Sequence[str]) -> dict[str, float]:
    """Differences of the features of particles, decoded minus original.

    Parameters
    ----------
    decoded, original : (P, F)
        Raw features, in their units.
    names
        Of the F features.

    Returns
    -------
    dict
        ``resolution_<feature>_rms``, ``_bias`` (the mean) and ``_iqr`` (interquartile range); 0
        without particles.
    """
    found: dict[str, float] = {}
    for i, name in enumerate(names):
        difference = decoded[:, i].astype(np.float64) - original[:, i]
        if not len(difference):
            difference = np.zeros(1)
        low, high = np.percentile(difference, [25, 75])
        found |= {
            f"resolution_{name}_rms": float(np.sqrt((difference**2).mean())),
            f"resolution_{name}_bias": float(difference.mean()),
            f"resolution_{name}_iqr": float(high - low),
        }
    return found


def response(
    name: str, decoded: Floats, original: Floats, *, resamplings: int, seed: int
) -> dict[str, float]:
    """Response of an observable of jets: decoded / original.

    Parameters
    ----------
    name
        With which the keys begin.
    decoded, original : (N,)
        Of the same jets; those where one is NaN or the original is 0 are left out.
    resamplings
        Draws of as many jets, with replacement, for the uncertainty (B. Efron, Ann. Statist. 7
        (1979) 1).
    seed
        Of the draws.

    Returns
    -------
    dict
        ``<name>_median``, ``<name>_iqr`` (interquartile range over median) and
        ``<name>_iqr_error``, the standard deviation of that; 0 where no jet is left.
    """
    usable = np.isfinite(original) & np.isfinite(decoded)
    usable[usable] = original[usable] > 0
    ratio = decoded[usable].astype(np.float64) / original[usable]
    if not len(ratio):
        return {f"{name}_median": 0.0, f"{name}_iqr": 0.0, f"{name}_iqr_error": 0.0}
    generator = np.random.default_rng([seed, resamplings])
    drawn = [
        _iqr_over_median(ratio[generator.integers(0, len(ratio), len(ratio))])
        for _ in range(resamplings)
    ]
    return {
        f"{name}_median": float(np.median(ratio)),
        f"{name}_iqr": _iqr_over_median(ratio),
        f"{name}_iqr_error": float(np.std(drawn, ddof=1)) if resamplings > 1 else 0.0,
    }


def _iqr_over_median(ratio: NDArray[np.float64]) -> float:
    low, median, high = np.percentile(ratio, [25, 50, 75])
    return float((high - low) / median) if median > 0 else 0.0
