"""What was measured of all tokenizers, as one table of means over the seeds, and the goals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from treasure.config.comparison import ComparisonConfig
from treasure.errors import DataError

__all__ = ["collect", "full_entries", "spread"]

Measures = Mapping[str, Any]


def collect(
    config: ComparisonConfig,
    measured: Mapping[str, Mapping[int, Measures]],
    originals: Measures,
) -> dict[str, Any]:
    """Put together what was measured.

    Parameters
    ----------
    config : ComparisonConfig
    measured : mapping of str to mapping of int to mapping
        Name of the tokenizer → seed of its training → what `treasure.comparison.measure` returns,
        with `train_seconds`, `jets_seen` and `steps`.
    originals : mapping
        What was measured on original jets; empty without classifiers.

    Returns
    -------
    dict
        `tokenizers`: name → `title`, `description`, `family`, `curve` (whether it is a point of the
        rate-distortion curve only), `seeds`, and each quantity as its `mean` and `std` over the
        seeds (standard deviation of one training, ddof 1; 0.0 for one seed; ``<quantity>_error`` is
        the statistical uncertainty of the finite number of test jets); `goals`: see `goals`;
        `baseline`, `chosen`, `seeds`, `n_test`, `originals`.

    Raises
    ------
    DataError
        If a tokenizer was measured with no seed, or on other jets than the others.
    """
    tokenizers: dict[str, dict[str, Any]] = {}
    for name, runs in measured.items():
        if not runs:
            raise DataError(f"tokenizer {name!r}: not measured with any seed, expected one or more")
        entry = config.tokenizers[name]
        tokenizers[name] = {
            "title": entry.title or name,
            "description": entry.description,
            "family": entry.family,
            "curve": name in config.curve,
            "seeds": list(runs),
            **_over_seeds(list(runs.values())),
        }
    jets = {runs["jets"]["mean"] for name, runs in tokenizers.items() if not runs["curve"]}
    if len(jets) > 1:
        raise DataError(
            f"tokenizers were measured on {sorted(jets)} test jets, expected the same number for"
            " all"
        )
    return {
        "tokenizers": tokenizers,
        "goals": goals(config, tokenizers),
        "baseline": config.baseline,
        "chosen": config.chosen,
        "seeds": list(config.seeds),
        "n_test": int(jets.pop()) if jets else 0,
        "originals": dict(originals),
    }


def full_entries(comparison: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Tokenizers of a comparison that are more than a point of the rate-distortion curve."""
    return {name: found for name, found in comparison["tokenizers"].items() if not found["curve"]}


def spread(found: Mapping[str, Any], quantity: str) -> float:
    """Uncertainty of a quantity: its standard deviation over the seeds and the statistical one."""
    statistical = found.get(f"{quantity}_error", {"mean": 0.0})["mean"]
    return math.hypot(found[quantity]["std"], statistical)


def goals(
    config: ComparisonConfig, tokenizers: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Compare the chosen tokenizer with the baseline, and with fixed targets.

    Returns
    -------
    list of dict
        `goal`; `wanted`, with `bound` "≤" or "≥"; `found`, None where it means nothing;
        `uncertainty`, of the mean over the seeds and of the finite number of test jets, which are
        taken as independent; `met`, None where nothing was measured.
    """
    if config.baseline is None or config.chosen is None or not tokenizers:
        return []
    base, best = tokenizers[config.baseline], tokenizers[config.chosen]
    wanted = config.goals
    over, told = f"{config.chosen} / {config.baseline}", []
    for key, title in (("jet_pt_iqr", "jet pT"), ("jet_mass_iqr", "jet mass")):
        share = _share(best, base, key)
        told.append(_goal(f"{title} IQR/median, {over}", "≤", wanted.iqr_share, *share))
    share = _share(best, base, "auc_lost")
    told.append(_goal(f"AUC lost, {over}", "≤", wanted.auc_lost_share, *share))
    for key, title, bound, limit in (
        ("codes_used_share", "share of codes used", "≥", wanted.codes_used_share),
        ("jet_pt_iqr", "jet pT IQR/median", "≤", wanted.iqr_target),
        ("jet_mass_iqr", "jet mass IQR/median", "≤", wanted.iqr_target),
        ("auc_lost", "AUC lost", "≤", wanted.auc_target),
    ):
        told.append(_goal(f"{title}, {config.chosen}", bound, limit, *_value(best, key)))
    return told


def _over_seeds(runs: Sequence[Measures]) -> dict[str, dict[str, float]]:
    found = {}
    for key in runs[0]:
        values = [run[key] for run in runs if key in run]
        numbers = [value for value in values if isinstance(value, int | float)]
        if len(numbers) == len(runs):
            std = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else 0.0
            found[key] = {"mean": float(np.mean(numbers)), "std": std}
    return found


def _value(found: Mapping[str, Any], key: str) -> tuple[float | None, float | None]:
    """Mean and its uncertainty."""
    if key not in found:
        return None, None
    statistical = found.get(f"{key}_error", {"mean": 0.0})["mean"]
    return found[key]["mean"], math.hypot(
        found[key]["std"] / math.sqrt(len(found["seeds"])), statistical
    )


def _share(
    best: Mapping[str, Any], base: Mapping[str, Any], key: str
) -> tuple[float | None, float | None]:
    """Ratio and its uncertainty; None where the denominator is not positive."""
    (above, above_error), (below, below_error) = _value(best, key), _value(base, key)
    if above is None or above_error is None or below_error is None or not below or below <= 0:
        return None, None
    share = above / below
    return share, math.hypot(above_error, share * below_error) / below


def _goal(
    goal: str, bound: str, wanted: float, found: float | None, uncertainty: float | None
) -> dict[str, Any]:
    met = None
    if found is not None:
        met = found <= wanted if bound == "≤" else found >= wanted
    return {
        "goal": goal,
        "bound": bound,
        "wanted": wanted,
        "found": found,
        "uncertainty": uncertainty,
        "met": met,
    }
