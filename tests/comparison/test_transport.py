import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linprog

from tests.tokenizer.toys import toy_jets
from treasure.comparison.transport import energy_flow_distance, energy_flow_distances
from treasure.tokenizer.particles import pack


def by_linear_program(
    first: NDArray[np.float64], second: NDArray[np.float64], radius: float
) -> float:
    """The definition of arXiv:1902.02346, eq. 1, word for word."""
    n, m = len(first), len(second)
    cost = np.zeros((n, m))
    for i in range(n):
        for j in range(m):
            phi = abs(first[i, 2] - second[j, 2])
            phi = min(phi, 2 * np.pi - phi)
            cost[i, j] = np.sqrt((first[i, 1] - second[j, 1]) ** 2 + phi**2) / radius
    from_first = np.kron(np.eye(n), np.ones(m))
    to_second = np.kron(np.ones(n), np.eye(m))
    total, other = first[:, 0].sum(), second[:, 0].sum()
    found = linprog(
        cost.ravel(),
        A_ub=np.concatenate([from_first, to_second]),
        b_ub=np.concatenate([first[:, 0], second[:, 0]]),
        A_eq=np.ones((1, n * m)),
        b_eq=[min(total, other)],
    )
    assert found.status == 0
    return float(found.fun + abs(total - other))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius", [0.4, 0.8])
def test_it_is_the_linear_program_of_the_paper(seed: int, radius: float):
    rng = np.random.default_rng(seed)

    def jet() -> NDArray[np.float64]:
        n = rng.integers(1, 9)
        angles = rng.uniform(-0.8, 0.8, (n, 2)) + np.array(
            [0.0, np.pi]
        )  # across the seam of the azimuth
        angles[:, 1] = np.arctan2(np.sin(angles[:, 1]), np.cos(angles[:, 1]))
        return np.column_stack([rng.exponential(10.0, n), angles])

    first, second = jet(), jet()
    found = energy_flow_distance(first, second, radius=radius)
    assert found == pytest.approx(by_linear_program(first, second, radius), rel=1e-6)
    assert found == pytest.approx(energy_flow_distance(second, first, radius=radius), rel=1e-9)
    assert energy_flow_distance(first, first, radius=radius) == pytest.approx(0.0, abs=1e-9)


def test_by_hand():
    one = np.array([[10.0, 0.0, 0.0]])
    assert energy_flow_distance(one, np.array([[10.0, 0.3, 0.4]])) == pytest.approx(10 * 0.5 / 0.8)
    assert energy_flow_distance(one, np.array([[7.0, 0.0, 0.0]])) == pytest.approx(3.0)
    assert energy_flow_distance(one, one[:0]) == pytest.approx(10.0)
    # a collinear splitting costs nothing
    split = np.array([[4.0, 0.0, 0.0], [6.0, 0.0, 0.0]])
    assert energy_flow_distance(one, split) == pytest.approx(0.0, abs=1e-9)
    seam = np.array([[10.0, 0.0, np.pi - 0.1]]), np.array([[10.0, 0.0, -np.pi + 0.1]])
    assert energy_flow_distance(*seam) == pytest.approx(10 * 0.2 / 0.8)


def test_jets_that_shrink_by_a_factor():
    jets = pack(*toy_jets(30, 2, np.r_[0, np.full(29, 12)]))
    found = energy_flow_distances(jets.momenta, 0.9 * jets.momenta, jets.counts, jets=10)
    pt = np.hypot(jets.momenta[:, 0], jets.momenta[:, 1])
    assert len(found.distance) == 9  # of ten, the first is empty
    # nothing is nearer than where it is: only the lost tenth costs
    scalar = np.bincount(np.repeat(np.arange(30), jets.counts), pt, minlength=30)
    last = found.distance[-1]
    assert last == pytest.approx(0.1 * scalar[29], rel=1e-5)
    summary = found.summary()
    assert summary["energy_flow_distance"] == pytest.approx(0.1, rel=0.1)
    assert summary["energy_flow_distance_gev"] == pytest.approx(found.distance.mean())
    assert summary["energy_flow_distance_gev_median"] == pytest.approx(np.median(found.distance))


def test_no_jet_has_no_distance():
    found = energy_flow_distances(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(3, int), jets=2)
    assert set(found.summary().values()) == {0.0}
