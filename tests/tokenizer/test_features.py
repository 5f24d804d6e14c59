import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tokenizer.toys import toy_jets
from treasure.config.tokenizer import FeatureConfig
from treasure.errors import ConfigError, DataError
from treasure.tokenizer.calibration import CHARGED_PION_MASS, Calibration
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


OMNIJET = FeatureConfig(shift=(1.8, 0.0, 0.0), scale=(1.0, 3.0, 3.0), angle_max=0.8)


def test_a_given_standardisation_is_the_formula_of_omnijet_alpha():
    features = Kinematic(OMNIJET)
    raw, _ = features.clipped(pack(*toy_jets(20)))
    features.fit(raw)
    expected = np.stack([raw[:, 0] - 1.8, 3 * raw[:, 1], 3 * raw[:, 2]], axis=1)
    np.testing.assert_allclose(features.standardise(raw), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(features.restore(expected), raw, rtol=1e-12, atol=1e-12)
    assert np.abs(features.restore(np.full((1, 3), 1e9)))[0].tolist() == [8.0, 0.8, 0.8]
    other = Kinematic(OMNIJET)
    other.load(features.describe())
    assert (other.standardise(raw) == features.standardise(raw)).all()


def test_a_scale_without_a_shift_shifts_nothing():
    features = Kinematic(FeatureConfig(scale=(1.0, 2.0, 4.0)))
    features.fit(np.ones((1, 3)))
    np.testing.assert_allclose(features.standardise(np.ones((1, 3))), [[1.0, 2.0, 4.0]])


def test_a_standardisation_that_does_not_fit_is_refused():
    with pytest.raises(ValidationError, match="shift is of no effect without scale"):
        FeatureConfig(shift=(1.8, 0.0, 0.0))
    with pytest.raises(ValidationError, match="not above 0"):
        FeatureConfig(scale=(1.0, 0.0, 3.0))
    with pytest.raises(ConfigError, match=r"features\.scale: 2 numbers, but kinematic has 3"):
        Kinematic(FeatureConfig(scale=(1.0, 3.0)))
    with pytest.raises(ConfigError, match=r"features\.shift: 1 numbers"):
        Kinematic(FeatureConfig(shift=(1.0,), scale=(1.0, 3.0, 3.0)))


def test_kinematic_features_have_no_categories_to_agree_on():
    assert Kinematic(FeatureConfig()).agreement(np.zeros((2, 3)), np.ones((2, 3))) == {}


def logs_of_jets(raw: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log pT and log mass of jets of charged pions, one after the other, in the axis frame."""
    pts, masses = [], []
    for part in np.split(raw, np.cumsum(counts)[:-1]):
        pt, eta, phi = np.exp(part[:, 0]), part[:, 1], part[:, 2]
        p = np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
        energy = np.sqrt((p**2).sum(axis=0) + CHARGED_PION_MASS**2).sum()
        p = p.sum(axis=1)
        pts.append(np.log(max(np.hypot(*p[:2]), CHARGED_PION_MASS)) if len(part) else 0.0)
        masses.append(np.log(energy**2 - p @ p) / 2 if len(part) > 1 else 0.0)
    return np.array(pts), np.array(masses)


@settings(max_examples=25, deadline=None)
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=6).filter(sum),
    seed=st.integers(0, 10**6),
)
@example(counts=[8, 1], seed=1)
def test_jet_terms_are_squared_log_ratios_of_jet_pt_and_mass(counts: list[int], seed: int):
    features = Kinematic(FeatureConfig())
    features.fit(features.clipped(pack(*toy_jets(50)))[0])
    rng = np.random.default_rng(seed)
    number = np.array(counts)
    columns = rng.normal(0, 1, (number.sum(), 3))
    target = columns + rng.normal(0, 0.3, columns.shape)
    owner = torch.from_numpy(owners(number))
    decoded = torch.from_numpy(columns).requires_grad_()
    by_pt, by_mass = features.jet_terms(decoded, torch.from_numpy(target), owner, len(counts))
    (pt, mass), (true_pt, true_mass) = (
        logs_of_jets(features.restore(values), number) for values in (columns, target)
    )
    some, several = number > 0, number > 1
    assert by_pt.item() == pytest.approx(((pt - true_pt)[some] ** 2).mean(), rel=1e-6)
    expected = ((mass - true_mass)[several] ** 2).mean() if several.any() else 0.0
    assert by_mass.item() == pytest.approx(expected, rel=1e-6, abs=1e-12)
    (by_pt + by_mass).backward()
    assert decoded.grad is not None and decoded.grad.isfinite().all()


def test_gradients_of_jet_terms_are_finite_whatever_is_decoded():
    features = Kinematic(FeatureConfig())
    rng = np.random.default_rng(1)
    target = torch.from_numpy(rng.normal(size=(40, 3)).astype(np.float32))
    owner = torch.arange(4).repeat_interleave(10)
    together = torch.zeros(40, 3)  # all particles of a jet in one place
    far = 1e6 * torch.from_numpy(rng.normal(size=(40, 3)).astype(np.float32))
    for values in (together, far, target.clone()):
        decoded = values.clone().requires_grad_()
        by_pt, by_mass = features.jet_terms(decoded, target, owner, 4)
        assert by_pt.isfinite() and by_mass.isfinite()
        (by_pt + by_mass).backward()
        assert decoded.grad is not None and decoded.grad.isfinite().all()
    assert by_pt.item() == by_mass.item() == 0.0


def test_the_gradient_of_jet_terms_leads_downhill():
    features = Kinematic(FeatureConfig())
    rng = np.random.default_rng(2)
    target = torch.from_numpy(rng.normal(size=(30, 3)))
    decoded = (target + 0.3 * torch.from_numpy(rng.normal(size=(30, 3)))).requires_grad_()
    owner = torch.arange(3).repeat_interleave(10)

    def loss(columns: torch.Tensor) -> torch.Tensor:
        return sum(features.jet_terms(columns, target, owner, 3))

    before = loss(decoded)
    before.backward()
    with torch.no_grad():
        assert loss(decoded - 1e-3 * decoded.grad) < before
    assert torch.autograd.gradcheck(loss, decoded)
