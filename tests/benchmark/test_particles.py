import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treasure.benchmark.particles import (
    Particles,
    jet_observables,
    kinematic_features,
    scaled_to_range,
    standardised,
)
from treasure.errors import DataError

COUNTS = st.lists(st.integers(0, 5), min_size=1, max_size=8)


def numbered(counts: list[int]) -> Particles:
    return Particles.from_counts(np.arange(sum(counts)), np.array(counts))


@settings(deadline=None)
@given(COUNTS, st.randoms(use_true_random=False))
def test_select_keeps_each_jet_together(counts, random):
    particles = numbered(counts)
    jets = [random.randrange(len(counts)) for _ in range(6)]
    lists = np.split(particles.values, np.cumsum(counts)[:-1])
    selected = particles.select(np.array(jets))
    np.testing.assert_array_equal(selected.values, np.concatenate([lists[j] for j in jets]))
    np.testing.assert_array_equal(selected.counts, [counts[j] for j in jets])


@settings(deadline=None)
@given(COUNTS, st.integers(1, 6))
def test_leading_takes_the_first_particles_of_each_jet(counts, maximum):
    particles = numbered(counts)
    lists = np.split(particles.values, np.cumsum(counts)[:-1])
    leading = particles.leading(maximum)
    np.testing.assert_array_equal(leading.values, np.concatenate([x[:maximum] for x in lists]))
    assert len(leading) == len(counts)


def momentum(pt, eta, phi, mass=0.0):
    energy = np.sqrt((pt * np.cosh(eta)) ** 2 + mass**2)
    return np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy])


def test_features_are_relative_to_the_jet_and_angles_wrap():
    particles = Particles.from_counts(
        np.stack([momentum(10.0, 0.5, 3.1), momentum(2.0, -0.3, 0.2)]), np.array([1, 1])
    )
    found = kinematic_features(particles, [[100.0, 0.4, -3.1], [50.0, -0.3, 0.2]]).values
    delta_phi = 3.1 - (-3.1) - 2 * np.pi
    expected = [np.log(10), np.log(0.1), 0.1, delta_phi, np.hypot(0.1, delta_phi)]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_allclose(found[1], [np.log(2), np.log(0.04), 0, 0, 0], atol=1e-5)


def test_two_massless_particles_back_to_back_have_the_mass_of_their_energies():
    particles = Particles.from_counts(
        np.stack([momentum(50.0, 0.0, 0.0), momentum(50.0, 0.0, np.pi)]), np.array([2])
    )
    found = jet_observables(particles)
    assert found["mass"][0] == pytest.approx(100.0) and found["pt"][0] == pytest.approx(0, abs=1e-9)


def test_standardised_uses_the_reference_jets_only():
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.normal(3.0, 2.0, 1000), np.full(1000, 7.0)])
    particles = Particles.from_counts(values, np.full(100, 10))
    reference = np.arange(50)
    found = standardised(particles, reference).values
    sample = found[:500]
    np.testing.assert_allclose(sample.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(sample.std(axis=0), [1, 0], atol=1e-6)
    expected = (values[:, 0] - values[:500, 0].mean()) / values[:500, 0].std()
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_scaled_features_reach_from_minus_to_plus_five_on_the_reference_jets():
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.uniform(1.0, 3.0, 1000), np.full(1000, 7.0)])
    values[:2, 0], values[-1, 0] = (1.0, 3.0), 100.0
    found = scaled_to_range(Particles.from_counts(values, np.full(100, 10)), np.arange(50)).values
    np.testing.assert_allclose(found[:500, 0], 5 * (values[:500, 0] - 2), rtol=1e-5, atol=1e-5)
    assert found[-1, 0] == 5.0  # beyond the reference
    assert (found[:, 1] == 0).all()
    with pytest.raises(DataError, match="no particles at all"):
        scaled_to_range(Particles.from_counts(values[:0], np.zeros(3, int)), np.arange(3))


def test_offsets_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="expected ascending from 0 to 3"):
        Particles(np.arange(3), np.array([0, 2]))
