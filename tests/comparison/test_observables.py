import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tokenizer.toys import toy_jets
from treasure.comparison import observables
from treasure.comparison.observables import OBSERVABLES, RADIUS, jet_observables
from treasure.errors import DataError
from treasure.tokenizer.metrics import tau32
from treasure.tokenizer.particles import pack


def momenta(*particles: tuple[float, float, float]) -> NDArray[np.float64]:
    """px, py, pz, E of massless particles from pT, eta, phi."""
    pt, eta, phi = np.array(particles, dtype=np.float64).reshape(-1, 3).T
    return np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)], 1)


@pytest.mark.parametrize(
    ("hard", "soft", "distance", "kept"),
    [(90.0, 12.0, 0.5, True), (95.0, 9.0, 0.5, False), (60.0, 40.0, 1.2, True)],
)
def test_two_prongs(hard: float, soft: float, distance: float, kept: bool):
    jet = momenta((hard, 0.1, 0.0), (soft, 0.1, distance))
    found = jet_observables(jet, np.array([2]))
    mass = np.sqrt(2 * hard * soft * (1 - np.cos(distance)))
    assert found["mass"][0] == pytest.approx(mass, rel=1e-6)
    assert found["pt"][0] == pytest.approx(np.hypot(*jet[:, :2].sum(axis=0)), rel=1e-9)
    # soft drop with beta 0: the softer has more than a tenth of the pT (arXiv:1402.2657)
    assert (soft / (hard + soft) > 0.1) == kept
    assert found["softdrop_mass"][0] == pytest.approx(mass if kept else 0.0, abs=1e-3)
    assert found["tau21"][0] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(found["tau32"][0])


def test_three_prongs_have_the_subjettiness_of_the_formula():
    """Three far prongs, one of which is two close particles: two axes miss one prong."""
    jet = momenta((50.0, 0.0, 0.0), (40.0, 0.6, 0.0), (5.0, 0.0, 0.3))
    found = jet_observables(jet, np.array([3]))
    # tau2: the soft particle belongs to the axis of the hard one, which stays (one-pass minimum)
    tau2 = 5.0 * 0.3 / (95.0 * RADIUS)
    # tau1: one axis on the hardest prong, at the least sum of pT times distance (the median)
    tau1 = (40.0 * 0.6 + 5.0 * 0.3) / (95.0 * RADIUS)
    assert found["tau21"][0] == pytest.approx(tau2 / tau1, rel=2e-3)
    assert found["tau32"][0] == pytest.approx(0.0, abs=1e-6)


def test_what_is_not_defined_is_nan():
    found = jet_observables(momenta((10.0, 0.0, 0.0)), np.array([0, 1, 0]))
    assert list(found) == list(OBSERVABLES)
    assert found["pt"] == pytest.approx([0.0, 10.0, 0.0])
    assert np.isnan(found["softdrop_mass"]).tolist() == [True, False, True]
    assert found["softdrop_mass"][1] == pytest.approx(0.0, abs=1e-3)
    assert np.isnan(found["tau21"]).all()
    assert np.isnan(found["tau32"]).all()
    assert all(len(v) == 0 for v in jet_observables(np.zeros((0, 4)), np.zeros(0, int)).values())


def test_many_jets_are_each_as_alone_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch):
    jets = pack(*toy_jets(40, 3, np.r_[np.arange(20), np.arange(20)]))
    together = jet_observables(jets.momenta, jets.counts)
    np.testing.assert_allclose(together["tau32"], tau32(jets.momenta, jets.counts), rtol=1e-9)
    monkeypatch.setattr(observables, "_JETS_AT_ONCE", 7)
    chunked = jet_observables(jets.momenta, jets.counts)
    ends = np.cumsum(jets.counts)
    for name in OBSERVABLES:
        np.testing.assert_array_equal(chunked[name], together[name])
    for i in (3, 17, 39):
        alone = jet_observables(jets.momenta[ends[i] - jets.counts[i] : ends[i]], jets.counts[[i]])
        for name in OBSERVABLES:
            np.testing.assert_allclose(alone[name][0], together[name][i], rtol=1e-6)


def test_momenta_that_are_not_finite_are_named():
    with pytest.raises(DataError, match="1 of 2 particles"):
        jet_observables(np.array([[1.0, 0, 0, 1], [np.nan, 0, 0, 1]]), np.array([2]))
