"""Clustering AK8 PUPPI jets again from candidates: where the links from jets to them are not kept.

CMS clusters AK8 jets with the anti-kt algorithm (arXiv:0802.1189), radius 0.8, from particle-flow
candidates whose four-momenta are multiplied by their PUPPI weight (arXiv:1407.6013). From the same
momenta and weights FastJet (arXiv:1111.6097) finds the same clusters; the one nearest to a stored
jet is that jet.
"""

from dataclasses import dataclass

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from treasure.skim.kinematics import Float32, Float64, cartesian, delta_r
from treasure.skim.record import offsets_of

__all__ = ["RADIUS", "Clusters", "cluster", "nearest", "ranges"]

RADIUS = 0.8


@dataclass(frozen=True, slots=True)
class Clusters:
    """Clusters of some events, flat.

    Attributes
    ----------
    event
        int64, (n_clusters,): position of the event; does not fall.
    eta, phi
        float64, (n_clusters,): axis; NaN for one without transverse momentum.
    counts
        int64, (n_clusters,): members of each.
    members
        int64, (counts.sum(),): positions of candidates, cluster after cluster.
    """

    event: NDArray[np.int64]
    eta: Float64
    phi: Float64
    counts: NDArray[np.int64]
    members: NDArray[np.int64]


def cluster(
    pt: Float32,
    eta: Float32,
    phi: Float32,
    mass: Float32,
    weight: Float32,
    counts: NDArray[np.int64],
    radius: float = RADIUS,
) -> Clusters:
    """Anti-kt clusters of candidates, their momenta multiplied by their weights.

    Parameters
    ----------
    pt, eta, phi, mass, weight
        Candidates, shape (n,), GeV; one of weight 0 is left aside.
    counts
        Candidates of each event, int64, shape (n_events,).
    radius
        Of the algorithm.

    Raises
    ------
    ValueError
        If the momentum of a candidate with weight, or its product with it, is not finite.
    """
    chosen = np.flatnonzero(weight > 0)
    factor = weight[chosen].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        unweighted = cartesian(pt[chosen], eta[chosen], phi[chosen], mass[chosen])
        momenta = [component * factor for component in unweighted]
    # FastJet crashes on what is not.
    if not all(np.isfinite(component).all() for component in momenta):
        raise ValueError("a momentum, or its product with the PUPPI weight, is not finite")
    event_of = np.repeat(np.arange(len(counts)), counts)[chosen]
    chosen_counts = np.bincount(event_of, minlength=len(counts))
    particles = ak.zip(dict(zip(("px", "py", "pz", "E"), momenta, strict=True)))
    # Here, since inputs of other layouts do without it.
    import fastjet
    import fastjet._swig

    # No banner on the standard output.
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    sequence = fastjet.ClusterSequence(ak.unflatten(particles, chosen_counts), definition)
    axes, local = sequence.inclusive_jets(0.0), sequence.constituent_index(0.0)
    event = np.repeat(np.arange(len(counts)), ak.num(local, axis=1).to_numpy())
    members_of = ak.num(ak.flatten(local, axis=1), axis=1).to_numpy().astype(np.int64)
    first = np.repeat(offsets_of(chosen_counts)[:-1][event], members_of)
    members = chosen[ak.flatten(local, axis=None).to_numpy() + first]
    px, py, pz = (ak.flatten(axes[name]).to_numpy() for name in ("px", "py", "pz"))
    p_t = np.hypot(px, py)
    with np.errstate(invalid="ignore", divide="ignore"):
        axis_eta = np.where(p_t > 0, np.arcsinh(pz / p_t), np.nan)
    return Clusters(event, axis_eta, np.arctan2(py, px), members_of, members)


def nearest(
    event: NDArray[np.int64], eta: Float32, phi: Float32, clusters: Clusters
) -> tuple[NDArray[np.int64], Float64]:
    """The cluster nearest to each jet in its event, in ``deltaR = sqrt(Δη² + Δφ²)``.

    Parameters
    ----------
    event, eta, phi
        Jets, shape (n_jets,).
    clusters
        All clusters of the events.

    Returns
    -------
    cluster
        int64, shape (n_jets,): −1 where the event has none.
    distance
        float64, shape (n_jets,): infinite where the event has none.
    """
    begin = np.searchsorted(clusters.event, event, "left")
    choices = np.searchsorted(clusters.event, event, "right") - begin
    jet = np.repeat(np.arange(len(event)), choices)
    choice = ranges(begin, choices)
    apart = delta_r(eta[jet], phi[jet], clusters.eta[choice], clusters.phi[choice])
    apart = np.nan_to_num(apart, nan=np.inf)
    best = np.lexsort((apart, jet))[offsets_of(choices)[:-1][choices > 0]]
    found, distance = np.full(len(event), -1), np.full(len(event), np.inf)
    found[jet[best]], distance[jet[best]] = choice[best], apart[best]
    return found, distance


def ranges(begin: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """``begin[i], begin[i] + 1, …``, `counts[i]` of them, one range after the other."""
    offsets = offsets_of(counts)
    return np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], counts)
