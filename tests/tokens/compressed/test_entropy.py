"""Entropies: those of a known source are found, and chance is not taken for knowledge."""

import numpy as np
import pytest

from treasure.tokens.compressed.entropy import folds, plug_in, smoothed


def source(jets: int = 4_000, size: int = 64) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids of jets of 20 that each go up by 0 to 3 from the one before: 2 bits given it."""
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 4, (jets, 20))
    steps[:, 0] = rng.integers(0, size, jets)
    ids = np.cumsum(steps, axis=1) % size
    before = np.concatenate([np.full((jets, 1), size), ids[:, :-1]], axis=1)
    return ids.ravel(), before.ravel(), np.full(jets, 20)


def test_the_entropy_of_a_known_source_is_found():
    ids, before, counts = source()
    of = folds(counts)
    everywhere = np.zeros_like(ids)
    assert of.bits(smoothed(ids, [everywhere], of, 1 / 64)) == pytest.approx(6, abs=0.01)
    given = smoothed(ids, [everywhere, before], of, 1 / 64)
    assert of.bits(given) == pytest.approx((19 * 2 + 6) / 20, abs=0.02)


def test_ids_that_do_not_depend_on_each_other_have_no_less_entropy_given_the_previous_one():
    """Where the plug-in estimate of the same ids finds next to none."""
    rng = np.random.default_rng(1)
    counts = np.full(2_000, 20)
    ids = rng.integers(0, 4096, counts.sum())
    before = np.roll(ids, 1)
    of = folds(counts)
    given = of.bits(smoothed(ids, [np.zeros_like(ids), before], of, 1 / 4096))
    assert 11.9 < given < 12.3
    joint, alone = (plug_in(keys)["plug_in"] for keys in (before * 4096 + ids, before))
    assert joint - alone < 4


def test_the_correction_of_miller_and_madow_goes_towards_the_truth():
    ids = np.random.default_rng(2).integers(0, 1024, 20_000)
    found = plug_in(ids)
    assert found["plug_in"] < found["miller_madow"] == pytest.approx(10, abs=0.002)


def test_probabilities_add_up_to_1():
    rng = np.random.default_rng(3)
    counts = np.full(100, 10)
    ids, before = rng.integers(0, 5, (2, 1000))
    of = folds(counts)
    # Each id once behind the same context, in rows that do not fill tables.
    judged = np.flatnonzero(of.judge)[:5]
    ids[judged], before[judged] = np.arange(5), 2
    ids[-1] = 4
    found = smoothed(ids, [np.zeros_like(ids), before], of, 1 / 5)
    assert found[judged].sum() == pytest.approx(1)
