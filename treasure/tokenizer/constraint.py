"""Codes of a jet chosen together, so that the jet keeps its four-momentum.

The nearest code of every particle is the best for that particle, and leaves the errors of a jet to
add up as they come. Among a few near codes, each hardly worse, there is nearly always one choice
whose errors cancel in the jet's pT, mass and direction. It is found particle by particle, hardest
first, in a few rounds (iterated conditional modes, J. Besag, J. R. Stat. Soc. B 48 (1986) 259):
each particle takes the code that is best given the codes of the others. Decoding knows nothing of
it: a code means the same in every jet.
"""

import numpy as np
from numpy.typing import NDArray

from treasure.tokenizer.compiled import compiled
from treasure.tokenizer.particles import owners

__all__ = ["choose", "linear_response", "mean_of_jet"]

# Of jets that are narrower, such as those of one particle, the mass is not held.
_SMALLEST_MASS_OVER_PT = 1e-3

Array = NDArray[np.float64]


def linear_response(momenta: Array, counts: NDArray[np.int64]) -> Array:
    """What a small change of the jet's four-momentum does to pT, mass, eta and phi.

    Parameters
    ----------
    momenta : (P, 4)
        px, py, pz, E of packed particles, GeV.
    counts : (N,)

    Returns
    -------
    (N, 4, 4)
        Rows: relative change of pT, relative change of the mass, change of pseudorapidity, change
        of azimuth (rad); columns: per GeV of px, py, pz, E. 0 for jets without momentum.
    """
    owner = owners(counts)
    # each jet's own sum, in its own order: no other jet changes the last bit
    px, py, pz, energy = (np.bincount(owner, values, len(counts)) for values in momenta.T)
    result = np.zeros((len(counts), 4, 4))
    pt = np.hypot(px, py)
    some = pt > 0
    px, py, pz, energy, pt = (values[some] for values in (px, py, pz, energy, pt))
    floor = (_SMALLEST_MASS_OVER_PT * pt) ** 2
    mass2 = energy**2 - px**2 - py**2 - pz**2
    held = (mass2 > floor) & (counts[some] > 1)
    by_mass = np.where(held, 1 / np.maximum(mass2, floor), 0.0)
    zero = np.zeros_like(pt)
    of_pt = np.stack([px / pt**2, py / pt**2, zero, zero], axis=1)
    momentum = np.sqrt(pt**2 + pz**2)
    of_eta = np.stack([zero, zero, 1 / momentum, zero], axis=1)
    of_eta -= of_pt * (pz / momentum)[:, None]
    result[some] = np.stack(
        [
            of_pt,
            np.stack([-px, -py, -pz, energy], axis=1) * by_mass[:, None],
            of_eta,
            np.stack([-py / pt**2, px / pt**2, zero, zero], axis=1),
        ],
        axis=1,
    )
    return result


def mean_of_jet(values: Array, counts: NDArray[np.int64]) -> Array:
    """For each packed particle the mean over the particles of its jet, (P,)."""
    owner = owners(counts)
    return (np.bincount(owner, values, len(counts)) / np.maximum(counts, 1))[owner]


def choose(
    distortion: Array,
    candidate_momenta: Array,
    momenta: Array,
    counts: NDArray[np.int64],
    *,
    sweeps: int,
    strength: float,
) -> NDArray[np.int64]:
    """Which of its candidates each particle takes.

    The sum over particles of their distortion, plus `strength` times the squared changes of
    `linear_response`, does not grow in any step.

    Parameters
    ----------
    distortion : (P, C)
        Of each candidate; the first is where every particle starts.
    candidate_momenta : (P, C, 4)
        px, py, pz, E in GeV that each candidate decodes to.
    momenta : (P, 4)
        The true ones.
    counts : (N,)
    sweeps
        Rounds over the particles of a jet.
    strength

    Returns
    -------
    (P,) int64
    """
    response = linear_response(momenta, counts)[owners(counts)]
    change = np.einsum("pij,pcj->pci", response, candidate_momenta - momenta[:, None, :])
    ends = np.cumsum(counts)
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    # hardest first in each jet, whatever the order in which they stand
    order = np.lexsort((*momenta.T[::-1], -pt, owners(counts)))
    return np.asarray(
        _sweep(distortion, change, order, ends - counts, ends, sweeps, float(strength))
    )


def _sweep_in_python(
    distortion: Array,
    change: Array,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    sweeps: int,
    strength: float,
) -> NDArray[np.int64]:
    chosen = np.zeros(len(distortion), dtype=np.int64)
    for jet in range(len(starts)):
        first, last = starts[jet], ends[jet]
        total = np.zeros(4)
        for place in range(first, last):  # hardest first, so that the sum is that of any order
            total += change[order[place], 0]
        for _ in range(sweeps):
            moved = False
            for place in range(first, last):
                row = order[place]
                rest = total - change[row, chosen[row]]
                best, best_cost = chosen[row], np.inf
                for candidate in range(distortion.shape[1]):
                    cost = distortion[row, candidate]
                    for axis in range(4):
                        cost += strength * (rest[axis] + change[row, candidate, axis]) ** 2
                    if cost < best_cost:
                        best, best_cost = candidate, cost
                moved = moved or best != chosen[row]
                chosen[row] = best
                total = rest + change[row, best]
            if not moved:
                break
    return chosen


_sweep = compiled(_sweep_in_python)
