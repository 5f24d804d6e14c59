"""Clustering, substructure and jet identification in cases that can be calculated."""

import awkward as ak
import numpy as np
import pytest

from treasure.config.simulation import SimulationSource
from treasure.simulation.candidates import Candidates
from treasure.simulation.jets import cluster_jets, jet_identification

SOURCE = SimulationSource(process="qcd")


def candidates(rows: list[tuple[int, float, float, float]]) -> Candidates:
    """Photons from (event, pt, eta, phi)."""
    event, pt, eta, phi = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    n = len(event)
    none, zero = np.full(n, -1.0), np.zeros(n, dtype=np.int64)
    return Candidates(
        event.astype(np.int64), pt, eta, phi, np.zeros(n), zero, zero + 22, none, none, none, none
    )


def test_jets_are_ordered_and_keep_their_constituents() -> None:
    rows = [(0, 200.0, 0.0, 0.0), (0, 300.0, 0.5, 2.0), (0, 40.0, 0.4, 2.1), (2, 500.0, -1.0, 3.1)]
    jets = cluster_jets(candidates(rows), 4, SOURCE)
    assert jets.event.tolist() == [0, 0, 2]
    assert jets.pt[0] == pytest.approx(340, rel=0.01) and jets.pt[1] == pytest.approx(200)
    assert [sorted(c) for c in jets.constituents.tolist()] == [[1, 2], [0], [3]]
    np.testing.assert_allclose(jets.event_ht, [jets.pt[0] + 200, 0, 500, 0])


def test_events_without_jets() -> None:
    jets = cluster_jets(candidates([(1, 50.0, 0.0, 0.0)]), 3, SOURCE)
    assert len(jets.pt) == 0 and jets.tau.shape == (0, 4)


@pytest.mark.parametrize(("soft", "kept"), [(60.0, True), (20.0, False)])
def test_two_prongs(soft: float, kept: bool) -> None:
    hard, distance = 300.0, 0.4
    jets = cluster_jets(candidates([(0, hard, 0.0, 0.0), (0, soft, 0.0, distance)]), 1, SOURCE)
    # Soft drop keeps the pair where the softer carries more than a tenth of the sum of pT.
    mass = np.sqrt(2 * hard * soft * (1 - np.cos(distance)))
    assert jets.mass[0] == pytest.approx(mass)
    assert jets.softdrop_mass[0] == pytest.approx(mass if kept else 0.0, abs=1e-3)
    # With one axis the sum is least along the harder one; with two it vanishes (arXiv:1011.2268).
    assert jets.tau[0, 0] == pytest.approx(soft * distance / ((hard + soft) * 0.8), rel=1e-3)
    np.testing.assert_allclose(jets.tau[0, 1:], 0.0, atol=1e-6)


@pytest.mark.parametrize(
    ("kinds", "energies", "eta", "expected"),
    [
        ([211, 22, 130], [60.0, 30.0, 10.0], 0.0, 6),
        ([211, 130], [5.0, 95.0], 0.0, 0),
        ([22, 211], [95.0, 5.0], 0.0, 0),
        ([22, 130], [50.0, 50.0], 0.0, 0),
        ([211], [100.0], 0.0, 0),
        ([13, 211], [90.0, 10.0], 1.0, 2),
        ([11, 211], [90.0, 10.0], -1.0, 2),
        ([130, 22], [50.0, 50.0], 2.5, 6),
        ([22], [50.0], 2.5, 0),
        ([1, 2, 1], [40.0, 5.0, 5.0], 3.5, 6),
    ],
)
def test_jet_identification(
    kinds: list[int], energies: list[float], eta: float, expected: int
) -> None:
    result = jet_identification(
        ak.Array([kinds]), ak.Array([energies]), np.array([eta]), np.array([sum(energies)])
    )
    assert result.tolist() == [expected]
