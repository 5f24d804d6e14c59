"""Code use and responses."""

import numpy as np
import pytest

from treasure.comparison.code_use import code_use
from treasure.comparison.response import resolutions, response


def test_use_of_one_codebook():
    found = code_use(np.array([0, 0, 1, 3]), 8)
    assert found["bits"] == 3.0
    assert found["entropy_bits"] == pytest.approx(1.5)
    assert found["perplexity"] == pytest.approx(2**1.5)
    assert (found["codes_used"], found["codes_used_share"]) == (3, 3 / 8)


def test_use_of_two_codebooks_is_the_sum_of_both():
    ids = np.array([[0, 1], [0, 1], [1, 1], [1, 1]])
    found = code_use(ids, 4)
    assert (found["codebooks"], found["bits"], found["codes_used"]) == (2, 4.0, 3)
    assert found["entropy_bits"] == pytest.approx(1.0)
    assert found["perplexity"] == pytest.approx(1.5)


def test_no_particle_uses_no_code():
    found = code_use(np.zeros((0, 2), dtype=int), 4)
    assert (found["codes_used"], found["entropy_bits"]) == (0, 0.0)


def test_resolutions_of_known_differences():
    original = np.zeros((1001, 2))
    decoded = np.column_stack([np.linspace(-1, 3, 1001), np.full(1001, 0.5)])
    found = resolutions(decoded, original, ("a", "b"))
    assert found["resolution_a_bias"] == pytest.approx(1.0)
    assert found["resolution_a_iqr"] == pytest.approx(2.0)
    assert found["resolution_a_rms"] == pytest.approx(np.sqrt(1 + 4 / 3), rel=1e-3)
    assert found["resolution_b_iqr"] == 0.0
    assert set(resolutions(decoded[:0], original[:0], ("a",)).values()) == {0.0}


def test_response_of_a_normal_distribution():
    rng = np.random.default_rng(1)
    original = rng.uniform(300, 600, 4000)
    decoded = original * rng.normal(1.02, 0.05, 4000)
    found = response("x", decoded, original, resamplings=200, seed=1)
    assert found["x_median"] == pytest.approx(1.02, abs=0.004)
    assert found["x_iqr"] == pytest.approx(1.349 * 0.05 / 1.02, rel=0.05)
    # error of the IQR of n normal values: 1.573 sigma / sqrt(n)
    assert found["x_iqr_error"] == pytest.approx(1.573 * 0.05 / 1.02 / np.sqrt(4000), rel=0.3)
    assert response("x", decoded, original, resamplings=200, seed=1) == found


def test_jets_without_response_are_left_out():
    decoded, original = np.array([1.0, 2.0, np.nan, 4.0]), np.array([1.0, np.nan, 3.0, 0.0])
    found = response("x", decoded, original, resamplings=10, seed=1)
    assert (found["x_median"], found["x_iqr"], found["x_iqr_error"]) == (1.0, 0.0, 0.0)
    none = response("x", decoded[1:], original[1:], resamplings=10, seed=1)
    assert set(none.values()) == {0.0}
