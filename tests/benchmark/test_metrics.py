import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torchmetrics.functional.classification import binary_auroc

from treasure.benchmark.metrics import (
    area_under_curve,
    background_efficiency,
    bootstrap,
    bootstrap_auc,
    evaluate,
)
from treasure.errors import DataError


def gaussians(n: int, distance: float, seed: int = 0):
    """Scores N(0, 1) of background and N(distance, 1) of signal, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n)
    return labels, rng.normal(distance * labels)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=2, max_size=60).filter(
        lambda rows: len({label for label, _ in rows}) == 2
    )
)
def test_auc_is_the_fraction_of_pairs_in_the_right_order(rows):
    labels = np.array([int(label) for label, _ in rows])
    scores = np.array([score for _, score in rows])
    signal, background = scores[labels == 1, None], scores[labels == 0]
    pairs = (signal > background) + 0.5 * (signal == background)
    assert area_under_curve(labels, scores) == pytest.approx(pairs.mean(), abs=1e-12)


def test_auc_agrees_with_torchmetrics():
    labels, scores = gaussians(2000, 1.0)
    scores = 1 / (1 + np.exp(-np.round(scores, 1)))  # with ties
    expected = binary_auroc(torch.from_numpy(scores), torch.from_numpy(labels))
    assert area_under_curve(labels, scores) == pytest.approx(float(expected), abs=1e-6)


def test_auc_of_two_gaussians():
    labels, scores = gaussians(20_000, 1.5)
    assert area_under_curve(labels, scores) == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.006)


@pytest.mark.parametrize("efficiency", [0.3, 0.5])
def test_rejection_of_two_gaussians(efficiency):
    labels, scores = gaussians(200_000, 1.0)
    # P(score > t) of background at the threshold t that keeps this fraction of signal
    expected = 1 / norm.sf(1.0 + norm.isf(efficiency))
    found = evaluate(labels, norm.cdf(scores))
    assert found[f"rejection_at_{efficiency}"] == pytest.approx(expected, rel=0.03)


def test_accuracy_counts_right_answers_at_one_half():
    found = evaluate([0, 0, 1, 1], [0.2, 0.7, 0.9, 0.5])
    assert found["accuracy"] == 0.75


def test_rejection_without_background_left_is_the_number_of_background_jets():
    found = evaluate([0] * 10 + [1] * 10, [0.1] * 10 + [0.9] * 10)
    assert found["rejection_at_0.5"] == 10 and found["auc"] == 1


def test_background_efficiency_ends_at_one_and_rises():
    labels, scores = gaussians(500, 1.0)
    found = background_efficiency(labels, scores, np.linspace(0.01, 1, 50))
    assert (np.diff(found) >= 0).all() and found[-1] <= 1
    assert background_efficiency([0, 1], [1.0, 1.0], [0.5])[0] == 1  # equal scores pass together


def test_bootstrap_agrees_with_the_formula_of_hanley_and_mcneil():
    n, distance = 1000, 1.2
    labels, scores = gaussians(n, distance)
    auc = area_under_curve(labels, scores)
    # J. A. Hanley, B. J. McNeil, Radiology 143 (1982) 29, equations 1 and 2
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / n**2
    found = bootstrap_auc(labels, scores, resamplings=1000, seed=1)
    assert found == pytest.approx(np.sqrt(variance), rel=0.12)


def test_what_two_taggers_share_cancels_in_their_difference():
    labels, scores = gaussians(1000, 1.0)
    rng = np.random.default_rng(1)
    inputs = {"continuous": scores[None], "tokens": (scores + 0.1 * rng.normal(size=2000))[None]}
    found = bootstrap(labels, inputs, reference="continuous", resamplings=200, seed=1)
    assert found["continuous"]["difference"]["auc"] == 0
    assert found["tokens"]["difference"]["auc"] < 0.3 * found["tokens"]["value"]["auc"]


def test_bootstrap_repeats_with_its_seed_and_whatever_the_block(monkeypatch):
    labels, scores = gaussians(50, 1.0)
    arguments = {"reference": "a", "resamplings": 20, "seed": 3}
    first = bootstrap(labels, {"a": scores[None]}, **arguments)
    monkeypatch.setattr("treasure.benchmark.metrics.BLOCK", 300)
    assert bootstrap(labels, {"a": scores[None]}, **arguments) == first
    assert bootstrap(labels, {"a": scores[None]}, **(arguments | {"seed": 4})) != first


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 1], [0.1, 0.2], "2 signal and 0 background"),
        ([0, 1], [0.1, np.nan], "1 scores not finite"),
        ([0, 1], [0.1], "labels for"),
    ],
)
def test_what_has_no_auc_is_refused(labels, scores, message):
    with pytest.raises(DataError, match=message):
        area_under_curve(labels, scores)
