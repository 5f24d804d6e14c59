"""The detector response against its formulas."""

import numpy as np
import pytest

from treasure.config.simulation import Detector
from treasure.simulation.calorimeter import (
    Deposits,
    hadron_clusters,
    photon_clusters,
    reaches_calorimeter,
)
from treasure.simulation.tracks import Tracks, impact_parameters, reconstruct_tracks

N = 40_000
DETECTOR = Detector(impact_error_spread=0.0, impact_tail_fraction=0.0)


def tracks(pt: float, eta: float, kind: int, radius: float = 0.0) -> Tracks:
    phi = np.random.default_rng(1).uniform(-3, 3, N)
    px, py = pt * np.cos(phi), pt * np.sin(phi)
    return reconstruct_tracks(
        event=np.zeros(N, dtype=np.int64),
        kind=np.full(N, kind),
        px=px,
        py=py,
        pz=np.full(N, pt * np.sinh(eta)),
        # displaced along the flight direction: the impact parameters stay zero
        vertex=(radius * px / pt, radius * py / pt, np.full(N, radius * np.sinh(eta))),
        vertex_error=np.zeros((1, 3)),
        detector=DETECTOR,
        random=np.random.default_rng(2),
    )


@pytest.mark.parametrize(
    ("pt", "eta", "kind", "constant", "slope"),
    [
        (50.0, 0.2, 211, 0.01, 1.5e-4),
        (400.0, -1.0, 211, 0.015, 2.5e-4),
        (20.0, 2.2, 321, 0.025, 5.5e-4),
        (300.0, 0.2, 13, 0.01, 1.0e-4),
    ],
)
def test_track_momentum_resolution(
    pt: float, eta: float, kind: int, constant: float, slope: float
) -> None:
    expected = np.sqrt(constant**2 + (slope * pt) ** 2)
    measured = tracks(pt, eta, kind).pt
    assert np.std(measured) / pt == pytest.approx(expected, rel=0.03)
    assert np.mean(measured) == pytest.approx(pt, rel=0.002)


def test_electrons_use_track_and_calorimeter() -> None:
    pt, eta = 100.0, 0.2
    energy = pt * np.cosh(eta)
    ecal = np.sqrt(0.028**2 / energy + (0.12 / energy) ** 2 + 0.01**2)
    track = np.hypot(0.03, 1.3e-3 * pt)
    expected = 1 / np.sqrt(ecal**-2 + track**-2)
    assert np.std(tracks(pt, eta, 11).pt) / pt == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("pt", "eta", "kind", "efficiency"),
    [
        (0.2, 0.0, 211, 0.0),
        (0.8, 0.0, 211, 0.70),
        (5.0, 0.0, 211, 0.95),
        (5.0, 2.0, 211, 0.85),
        (5.0, 2.6, 211, 0.0),
        (5.0, 0.0, 11, 0.95),
        (5.0, 0.0, 13, 0.99),
        (5.0, -2.0, 13, 0.98),
    ],
)
def test_tracking_efficiency(pt: float, eta: float, kind: int, efficiency: float) -> None:
    found = len(tracks(pt, eta, kind).pt) / N
    assert found == pytest.approx(efficiency, abs=4 * np.sqrt(0.25 / N))


def test_efficiency_falls_with_the_production_radius() -> None:
    assert len(tracks(5.0, 0.0, 211, radius=30.0).pt) / N == pytest.approx(0.475, abs=0.01)
    assert len(tracks(5.0, 0.0, 211, radius=61.0).pt) == 0


def test_impact_parameter_errors_and_pulls() -> None:
    pt, eta = 2.0, 1.0
    result = tracks(pt, eta, 211)
    sine = 1 / np.cosh(eta)
    d0 = np.sqrt(DETECTOR.d0_constant**2 + (DETECTOR.d0_scattering / pt) ** 2 / sine)
    dz = np.sqrt(DETECTOR.dz_constant**2 + (DETECTOR.dz_scattering / pt) ** 2 / sine**3)
    np.testing.assert_allclose(result.d0_error, d0)
    np.testing.assert_allclose(result.dz_error, dz)
    assert np.std(result.d0 / result.d0_error) == pytest.approx(1.0, rel=0.02)
    assert np.std(result.dz / result.dz_error) == pytest.approx(1.0, rel=0.02)


def test_impact_parameters_of_straight_lines() -> None:
    random = np.random.default_rng(4)
    px, py, pz, along = random.normal(size=(4, 100))
    pt = np.hypot(px, py)
    # A point at distance b to the left of the flight direction, and z0 where the line passes.
    b, z0 = random.normal(size=(2, 100))
    vx = -b * py / pt + along * px
    vy = b * px / pt + along * py
    vz = z0 + along * pz
    d0, dz = impact_parameters(px, py, pz, vx, vy, vz)
    np.testing.assert_allclose(d0, b)
    np.testing.assert_allclose(dz, z0)


def test_photon_energy_resolution() -> None:
    energy = 20.0
    events = np.arange(N)
    one_each = Deposits(events, np.full(N, 0.3), np.full(N, 1.0), np.full(N, energy))
    clusters = photon_clusters(one_each, DETECTOR, np.random.default_rng(5))
    expected = np.sqrt(0.028**2 * energy + 0.12**2 + (0.01 * energy) ** 2)
    assert len(clusters.energy) == N
    assert np.std(clusters.energy) == pytest.approx(expected, rel=0.03)
    assert np.mean(clusters.eta) == pytest.approx(0.3, abs=1e-3)


def test_photons_of_a_cell_merge_and_others_do_not() -> None:
    # Across phi = pi lies a cell edge; within a cell all that matters is the cell.
    eta = np.array([0.005, 0.006, 0.5, 0.005])
    phi = np.array([0.01, 0.012, 0.01, 0.01])
    deposits = Deposits(np.array([0, 0, 0, 1]), eta, phi, np.array([30.0, 10.0, 5.0, 7.0]))
    detector = Detector(
        ecal_stochastic=(1e-9, 1e-9), ecal_noise=(1e-9, 1e-9), ecal_constant=(1e-9, 1e-9)
    )
    clusters = photon_clusters(deposits, detector, np.random.default_rng(6))
    np.testing.assert_allclose(np.sort(clusters.energy), [5.0, 7.0, 40.0], rtol=1e-6)
    np.testing.assert_allclose(clusters.event[np.argsort(clusters.energy)], [0, 1, 0])
    assert np.allclose(clusters.phi, 0.01, atol=0.05)


def test_neutral_hadrons_are_towers_without_tracks_or_with_an_excess() -> None:
    events = np.arange(N)
    eta, phi = np.full(N, 0.04), np.full(N, 1.0)
    energy = 50.0
    deposits = Deposits(events, eta, phi, np.full(N, energy))
    sigma = np.sqrt(1.10**2 * energy + (0.09 * energy) ** 2)
    neutral = hadron_clusters(deposits, np.zeros(N), DETECTOR, np.random.default_rng(7))
    assert len(neutral.energy) / N == pytest.approx(1.0, abs=0.001)
    assert np.std(neutral.energy) == pytest.approx(sigma, rel=0.03)
    # A tower with nothing but one well measured track: a fluctuation above one sigma, 15.9 %.
    charged = hadron_clusters(deposits, np.full(N, energy), DETECTOR, np.random.default_rng(8))
    assert len(charged.energy) / N == pytest.approx(0.159, abs=0.008)
    assert charged.energy.min() > sigma


def test_soft_charged_particles_curl_up_in_the_barrel_only() -> None:
    pt = np.array([0.6, 0.9, 0.6, 0.6])
    eta = np.array([0.0, 0.0, 2.0, 0.0])
    charge = np.array([1.0, 1.0, -1.0, 0.0])
    expected = [False, True, True, True]  # 0.3 * 3.8 T * 1.29 m / 2 = 0.735 GeV
    assert reaches_calorimeter(pt, eta, charge, DETECTOR).tolist() == expected
