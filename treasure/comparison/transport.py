"""Energy-flow distance between a jet and its decoded self: the work to turn one into the other.

The energy mover's distance of P. Komiske, E. Metodiev, J. Thaler, arXiv:1902.02346: transverse
momentum is moved at a cost of pT · ΔR / R, and what one jet has more than the other costs as much
as moving it by R. Infrared- and collinear-safe observables can differ by little more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import ot
from numpy.typing import NDArray

from treasure.comparison.observables import RADIUS

__all__ = ["Distances", "energy_flow_distance", "energy_flow_distances"]

# Steps of the network simplex; 150 particles a side need some thousands.
_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Distances:
    """Distances [GeV] (n,) of some jets, and the original pT [GeV] (n,) of each."""

    distance: NDArray[np.float64]
    jet_pt: NDArray[np.float64]

    @property
    def relative(self) -> NDArray[np.float64]:
        """Distance over jet pT."""
        return self.distance / self.jet_pt

    def summary(self) -> dict[str, float]:
        """Mean and median, in GeV and relative to the jet pT; 0 without jets."""
        some = len(self.distance) > 0
        return {
            "energy_flow_distance": float(self.relative.mean()) if some else 0.0,
            "energy_flow_distance_median": float(np.median(self.relative)) if some else 0.0,
            "energy_flow_distance_gev": float(self.distance.mean()) if some else 0.0,
            "energy_flow_distance_gev_median": float(np.median(self.distance)) if some else 0.0,
        }


def energy_flow_distance(
    first: NDArray[np.floating[Any]],
    second: NDArray[np.floating[Any]],
    *,
    radius: float = RADIUS,
) -> float:
    """Energy-flow distance of two jets.

    Parameters
    ----------
    first, second : (n, 3), (m, 3)
        pT [GeV], pseudorapidity and azimuth of the particles.
    radius
        R: the distance at which moving pT costs as much as making it.

    Returns
    -------
    float
        In GeV: the least Σ f_ij ΔR_ij / R over flows f that take from no particle, and bring to
        none, more than its pT, and in all the smaller of the two total pT; plus the difference of
        the total pT.
    """
    a, b = (np.asarray(jet, dtype=np.float64) for jet in (first, second))
    total_a, total_b = float(a[:, 0].sum()), float(b[:, 0].sum())
    if min(total_a, total_b) <= 0:
        return abs(total_a - total_b)
    delta_eta = a[:, None, 1] - b[None, :, 1]
    delta_phi = np.pi - np.abs(np.pi - np.abs(a[:, None, 2] - b[None, :, 2]) % (2 * np.pi))
    cost = np.hypot(delta_eta, delta_phi) / radius
    weight_a, weight_b = a[:, 0], b[:, 0]
    # The excess goes to a particle of its own, at distance R from all: then both have the same pT.
    if total_a > total_b:
        weight_b = np.append(weight_b, total_a - total_b)
        cost = np.concatenate([cost, np.ones((len(a), 1))], axis=1)
    elif total_b > total_a:
        weight_a = np.append(weight_a, total_b - total_a)
        cost = np.concatenate([cost, np.ones((1, len(b)))], axis=0)
    total = max(total_a, total_b)
    least = ot.emd2(
        weight_a / weight_a.sum(),
        weight_b / weight_b.sum(),
        np.ascontiguousarray(cost),
        numItermax=_MOST_STEPS,
    )
    return float(least) * total


def energy_flow_distances(
    original: NDArray[np.floating[Any]],
    decoded: NDArray[np.floating[Any]],
    counts: NDArray[np.integer[Any]],
    *,
    jets: int,
) -> Distances:
    """Energy-flow distances between jets and their decoded selves.

    Parameters
    ----------
    original, decoded : (P, 4)
        Packed px, py, pz, E [GeV] before and after.
    counts : (N,)
        Particles of each jet.
    jets
        Jets to compare at most, evenly spaced; those without transverse momentum are left out.
    """
    before, after = _cylindrical(original), _cylindrical(decoded)
    ends = np.cumsum(counts)
    chosen = np.unique(np.linspace(0, len(counts) - 1, min(len(counts), jets)).astype(np.int64))
    distance, jet_pt = [], []
    for jet in chosen:  # one linear program a jet: the library solves one at a time
        rows = slice(ends[jet] - counts[jet], ends[jet])
        pt = float(np.hypot(*original[rows, :2].sum(axis=0, dtype=np.float64)))
        if pt > 0:
            distance.append(energy_flow_distance(before[rows], after[rows]))
            jet_pt.append(pt)
    return Distances(np.array(distance), np.array(jet_pt))


def _cylindrical(momenta: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """pT, pseudorapidity and azimuth (P, 3) of px, py, pz; those without pT have angles 0."""
    px, py, pz = momenta[:, :3].astype(np.float64).T
    pt = np.hypot(px, py)
    slope = np.divide(pz, pt, out=np.zeros_like(pt), where=pt > 0)
    return np.stack([pt, np.arcsinh(slope), np.arctan2(py, px)], axis=1)
