import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenizer.toys import toy_jets
from treasure.config.tokenizer import FeatureConfig
from treasure.errors import DataError
from treasure.tokenizer.calibration import Calibration
from treasure.tokenizer.features import Kinematic
from treasure.tokenizer.particles import Particles, owners, pack

MASSLESS = Calibration(particle_mass=0.0)


def one(pt: float, eta: float, phi: float, axis: tuple[float, float]) -> Particles:
    momentum = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]
    return Particles(
        np.array([momentum], np.float32), np.array([1]), np.array([axis], dtype=np.float32)
    )


def test_features_are_log_pt_and_angles_to_the_axis():
    raw = Kinematic(FeatureConfig()).raw(one(20.0, 1.3, 0.4, (1.0, 0.5)))
    np.testing.assert_allclose(raw[0], [np.log(20.0), 0.3, -0.1], atol=1e-5)


def test_delta_phi_is_taken_the_short_way_round():
    raw = Kinematic(FeatureConfig()).raw(one(5.0, 0.0, -3.1, (0.0, 3.1)))
    np.testing.assert_allclose(raw[0, 2], 2 * np.pi - 6.2, atol=1e-5)


@given(st.integers(0, 1000))
def test_features_and_momenta_are_inverse(seed: int):
    features = Kinematic(FeatureConfig(log_pt_range=(-12, 12), angle_max=9))
    particles = pack(*toy_jets(3, seed))
    raw, clipped = features.clipped(particles)
    assert clipped == 0
    features.fit(raw)
    back = features.restore(features.standardise(raw))
    axes = particles.axes[owners(particles.counts)]
    momenta = features.momenta(back, axes, MASSLESS)
    np.testing.assert_allclose(momenta[:, :3], particles.momenta[:, :3], rtol=2e-4, atol=2e-4)
    length = np.linalg.norm(momenta[:, :3], axis=1)
    np.testing.assert_allclose(momenta[:, 3], length, rtol=1e-9)


def test_particles_out_of_range_are_clipped_and_counted():
    features = Kinematic(FeatureConfig(angle_max=0.5))
    raw, clipped = features.clipped(one(1e9, 3.0, 0.0, (0.0, 0.0)))
    assert clipped == 1
    assert raw[0].tolist() == [8.0, 0.5, 0.0]


def test_a_particle_along_the_beam_is_clipped_too():
    beam = Particles(np.array([[0, 0, 5, 5]], np.float32), np.array([1]), np.zeros((1, 2), "f4"))
    raw, clipped = Kinematic(FeatureConfig()).clipped(beam)
    assert clipped == 1
    assert np.isfinite(raw).all()


def test_constant_features_are_refused():
    features = Kinematic(FeatureConfig())
    with pytest.raises(DataError, match="delta_eta"):
        features.fit(np.array([[1.0, 0.5, 0.1], [2.0, 0.5, 0.2]]))


def test_constants_survive_the_description():
    features = Kinematic(FeatureConfig())
    features.fit(features.clipped(pack(*toy_jets(20)))[0])
    other = Kinematic(FeatureConfig())
    other.load(features.describe())
    assert (other.mean == features.mean).all()
    assert (other.std == features.std).all()
