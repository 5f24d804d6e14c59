"""Efficiencies of cuts, with their uncertainties."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv

__all__ = ["Efficiency", "counted", "cumulative", "stepwise", "weighted"]

COVERAGE = 0.682689492137086  # of one standard deviation of a normal distribution


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What share passes; `low` and `high` are the ends of its interval of 68.3 % confidence."""

    value: float
    low: float
    high: float


def counted(passed: int, total: int) -> Efficiency | None:
    """Share of independent trials that passed, with the interval of Clopper and Pearson.

    Biometrika 26 (1934) 404; in terms of quantiles of the beta distribution, Particle Data Group,
    Review of Particle Physics, Statistics. None where there is no trial.
    """
    if total == 0:
        return None
    tail = (1 - COVERAGE) / 2
    low = betaincinv(passed, total - passed + 1, tail) if passed else 0.0
    high = betaincinv(passed + 1, total - passed, 1 - tail) if passed < total else 1.0
    return Efficiency(passed / total, float(low), float(high))


def weighted(passed: Mapping[str, Any], total: Mapping[str, Any]) -> Efficiency | None:
    """Share of the sum of weights that passed, from two steps of a cutflow.

    With W and S the sums of weights and of squared weights, the variance is
    ((1 − 2ε) S_passed + ε² S_total) / W_total², from the independent sums of what passed and what
    failed; it holds for negative weights, too. None where W_total is 0.
    """
    if total["weight"] == 0:
        return None
    value = passed["weight"] / total["weight"]
    variance = (1 - 2 * value) * passed["weight2"] + value**2 * total["weight2"]
    error = float(np.sqrt(max(variance, 0.0))) / abs(total["weight"])
    return Efficiency(value, value - error, value + error)


def stepwise(cutflow: Sequence[Mapping[str, Any]], quantity: str) -> list[Efficiency | None]:
    """Efficiency of each cut with respect to the one before; None for the first.

    Parameters
    ----------
    cutflow
        Steps with `events`, `jets`, `weight` and `weight2`.
    quantity
        "events", "jets" or "weight".
    """
    before = [None, *cutflow[:-1]]
    return [
        None if last is None else _efficiency(step, last, quantity)
        for step, last in zip(cutflow, before, strict=True)
    ]


def cumulative(cutflow: Sequence[Mapping[str, Any]], quantity: str) -> list[Efficiency | None]:
    """Efficiency of each cut and all before it, with respect to the first step."""
    return [None, *(_efficiency(step, cutflow[0], quantity) for step in cutflow[1:])]


def _efficiency(
    passed: Mapping[str, Any], total: Mapping[str, Any], quantity: str
) -> Efficiency | None:
    if quantity == "weight":
        return weighted(passed, total)
    return counted(passed[quantity], total[quantity])
