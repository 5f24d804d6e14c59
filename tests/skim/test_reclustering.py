"""Clusters against the algorithm written down, and the nearest one against all distances."""

import numpy as np
import pytest

from treasure.skim.reclustering import Clusters, cluster, nearest, ranges


def anti_kt(momenta: np.ndarray, radius: float) -> set[frozenset[int]]:
    """arXiv:0802.1189, equations 1 and 2 with p = −1, as loops over all pairs."""
    jets, found = [(p, frozenset([i])) for i, p in enumerate(momenta)], set()

    def coordinates(p: np.ndarray) -> tuple[float, float, float]:
        rapidity = 0.5 * np.log((p[3] + p[2]) / (p[3] - p[2]))
        return np.hypot(p[0], p[1]), rapidity, np.arctan2(p[1], p[0])

    while jets:
        best = (np.inf, 0, 0)
        for i, (p, _) in enumerate(jets):
            pt, y, phi = coordinates(p)
            best = min(best, (pt**-2, i, i))
            for j, (q, _) in enumerate(jets[:i]):
                other_pt, other_y, other_phi = coordinates(q)
                apart = abs(phi - other_phi)
                apart = min(apart, 2 * np.pi - apart)
                distance = (y - other_y) ** 2 + apart**2
                best = min(best, (min(pt**-2, other_pt**-2) * distance / radius**2, i, j))
        _, i, j = best
        p, members = jets.pop(i)
        if i == j:
            found.add(members)
        else:
            jets[j] = (jets[j][0] + p, jets[j][1] | members)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_clusters_are_those_of_the_algorithm(seed):
    rng = np.random.default_rng(seed)
    counts = np.array([0, 14, 1, 0, 22])
    n = int(counts.sum())
    pt, eta = rng.exponential(10, n) + 0.1, rng.uniform(-2.5, 2.5, n)
    phi, mass = rng.uniform(-np.pi, np.pi, n), rng.choice([0.0, 0.13957], n)
    weight = rng.choice([0.0, 0.3, 1.0], n)
    stored = [column.astype(np.float32) for column in (pt, eta, phi, mass, weight)]
    found = cluster(*stored, counts)
    members = np.split(found.members, np.cumsum(found.counts)[:-1])
    pt, eta, phi, mass, weight = (column.astype(float) for column in stored)
    momenta = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    energy = np.sqrt((momenta**2).sum(axis=1) + mass**2)
    momenta = np.column_stack([momenta, energy]) * weight[:, None]
    start = 0
    for event, count in enumerate(counts):
        inside = np.flatnonzero(weight[start : start + count] > 0) + start
        expected = {frozenset(inside[list(jet)].tolist()) for jet in anti_kt(momenta[inside], 0.8)}
        of_event = np.flatnonzero(found.event == event)
        assert {frozenset(members[i].tolist()) for i in of_event} == expected
        for i in of_event:
            px, py, pz, _ = momenta[members[i]].sum(axis=0)
            assert found.phi[i] == pytest.approx(np.arctan2(py, px))
            assert found.eta[i] == pytest.approx(np.arcsinh(pz / np.hypot(px, py)))
        start += count


def test_no_events_and_events_without_candidates():
    nothing = np.zeros(0, np.float32)
    for counts in (np.zeros(0, np.int64), np.zeros(3, np.int64)):
        found = cluster(nothing, nothing, nothing, nothing, nothing, counts)
        assert (len(found.event), len(found.members)) == (0, 0)


def test_a_momentum_that_is_not_finite():
    one = np.ones(1, np.float32)
    bad = np.array([np.inf], np.float32)
    with pytest.raises(ValueError, match="not finite"):
        cluster(bad, one, one, one, one, np.array([1]))
    # Of weight 0, it is not looked at.
    assert len(cluster(bad, one, one, one, 0 * one, np.array([1])).event) == 0


def test_the_nearest_cluster_is_the_least_of_all_distances():
    rng = np.random.default_rng(3)
    event = np.sort(rng.integers(0, 6, 40))
    event = event[event != 4]  # an event of jets without clusters
    eta, phi = rng.uniform(-3, 3, len(event)), rng.uniform(-np.pi, np.pi, len(event))
    eta[0] = np.nan  # without transverse momentum
    one = np.ones(len(event), np.int64)
    clusters = Clusters(event, eta, phi, one, np.arange(len(event)))
    jets = np.sort(rng.integers(0, 6, 50))
    jet_eta = rng.uniform(-3, 3, 50).astype(np.float32)
    jet_phi = rng.uniform(-np.pi, np.pi, 50).astype(np.float32)
    found, distance = nearest(jets, jet_eta, jet_phi, clusters)
    for i, jet in enumerate(jets):
        apart = {}
        for c in np.flatnonzero((event == jet) & np.isfinite(eta)):
            across = abs(float(jet_phi[i]) - phi[c])
            apart[np.hypot(float(jet_eta[i]) - eta[c], min(across, 2 * np.pi - across))] = c
        assert found[i] == (apart[min(apart)] if apart else -1)
        assert distance[i] == pytest.approx(min(apart, default=np.inf))
    assert (found == -1).any()


def test_ranges():
    begin, counts = np.array([5, 0, 7, 2]), np.array([2, 0, 1, 3])
    assert ranges(begin, counts).tolist() == [5, 6, 7, 2, 3, 4]
    assert ranges(begin[:0], counts[:0]).tolist() == []
