import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treasure.benchmark.metrics import area_under_curve
from treasure.benchmark.resampling import equal_spectra
from treasure.errors import DataError


def spectra(n: int = 6000, seed: int = 0):
    """Falling background and harder signal, labels and splits."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    pt = 300 + rng.exponential(np.where(labels, 220.0, 100.0))
    return pt, labels, rng.choice(3, n, p=[0.7, 0.1, 0.2])


def test_classes_have_the_same_number_of_jets_in_every_bin_of_every_split():
    pt, labels, splits = spectra()
    chosen = equal_spectra(pt, labels, splits, bin_width=25.0, seed=1)
    edges = np.arange(0, 5000, 25.0)
    for split in range(3):
        counts = []
        for label in (0, 1):
            kept = chosen[(labels[chosen] == label) & (splits[chosen] == split)]
            counts.append(np.histogram(pt[kept], edges)[0])
            released = np.histogram(pt[(labels == label) & (splits == split)], edges)[0]
            assert (counts[-1] <= released).all()
        np.testing.assert_array_equal(*counts)
        # nothing is thrown away that could be kept
        both = [
            np.histogram(pt[(labels == label) & (splits == split)], edges)[0] for label in (0, 1)
        ]
        np.testing.assert_array_equal(counts[0], np.minimum(*both))


def test_jet_pt_alone_separates_no_more():
    pt, labels, splits = spectra(40_000)
    chosen = equal_spectra(pt, labels, splits, bin_width=25.0, seed=1)
    assert area_under_curve(labels, pt) > 0.65
    assert area_under_curve(labels[chosen], pt[chosen]) == pytest.approx(0.5, abs=0.015)


def test_jets_are_chosen_at_random_and_repeat_with_the_seed():
    pt, labels, splits = spectra()
    first = equal_spectra(pt, labels, splits, bin_width=25.0, seed=1)
    np.testing.assert_array_equal(first, equal_spectra(pt, labels, splits, bin_width=25.0, seed=1))
    other = equal_spectra(pt, labels, splits, bin_width=25.0, seed=2)
    assert len(other) == len(first) and (other != first).any()
    # within a bin the choice does not prefer the first rows
    kept = np.isin(np.arange(len(pt)), first)
    assert kept[: len(pt) // 2].mean() == pytest.approx(kept[len(pt) // 2 :].mean(), abs=0.05)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.integers(0, 1000), st.integers(2, 20))
def test_never_more_jets_than_allowed_and_none_twice(n, seed, max_jets):
    pt, labels, splits = spectra(n, seed)
    chosen = equal_spectra(pt, labels, splits, bin_width=50.0, seed=1, max_jets=max_jets)
    assert len(np.unique(chosen)) == len(chosen)
    for split in range(3):
        here = labels[chosen][splits[chosen] == split]
        assert (here == 0).sum() == (here == 1).sum() <= max_jets


def test_a_pt_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="1 of 2 jet pT"):
        equal_spectra([400.0, np.nan], [0, 1], [0, 0], bin_width=25.0, seed=1)
