"""Generator matching: which jets hold the decay of a heavy particle."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from treasure.skim.kinematics import delta_r
from treasure.skim.record import GeneratorParticles, Jets

__all__ = ["HadronicTops", "hadronic_tops", "matched_to_top"]

# Particle Data Group numbering, Monte Carlo Particle Numbering Scheme.
_TOP, _W, _LAST_DOWN_TYPE = 6, 24, 5


@dataclass(frozen=True, slots=True)
class HadronicTops:
    """Tops that decayed to three quarks: t → q W, W → q q.

    Attributes
    ----------
    event
        int64, (n_tops,): position of the event.
    eta, phi
        float64, (n_tops, 3): of the three quarks, that of the top's own decay first.
    """

    event: NDArray[np.int64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]


def _first_ancestor_of_another_kind(particles: GeneratorParticles) -> NDArray[np.int64]:
    """For each particle, its nearest ancestor with another pdgId; −1: none.

    Generators write a particle again after each emission (t → t g); copies are climbed over.
    """
    mother = particles.mother.copy()
    while True:
        copy = (mother >= 0) & (particles.pdg_id[mother] == particles.pdg_id)
        if not copy.any():
            return mother
        mother[copy] = particles.mother[mother[copy]]


def hadronic_tops(particles: GeneratorParticles) -> HadronicTops:
    """Find the hadronically decayed tops.

    A top counts if exactly one quark (d, u, s, c, b) is its direct daughter, and exactly two are
    daughters of its W.
    """
    kind = np.abs(particles.pdg_id)
    mother = particles.mother
    mother_kind = np.where(mother >= 0, kind[mother], 0)
    origin = _first_ancestor_of_another_kind(particles)
    quark = (kind >= 1) & (kind <= _LAST_DOWN_TYPE)

    direct = np.flatnonzero(quark & (mother_kind == _TOP))
    from_w = np.flatnonzero(quark & (mother_kind == _W))
    top_of_w = origin[mother[from_w]]
    of_top = (top_of_w >= 0) & (kind[top_of_w] == _TOP)
    from_w, top_of_w = from_w[of_top], top_of_w[of_top]

    n = len(kind)
    complete = (np.bincount(mother[direct], minlength=n) == 1) & (
        np.bincount(top_of_w, minlength=n) == 2
    )
    tops = np.flatnonzero(complete)
    first = direct[complete[mother[direct]]]
    first = first[np.argsort(mother[first], kind="stable")]
    pair_is_complete = complete[top_of_w]
    pairs, of = from_w[pair_is_complete], top_of_w[pair_is_complete]
    pairs = pairs[np.argsort(of, kind="stable")].reshape(-1, 2)
    quarks = np.column_stack([first, pairs])
    return HadronicTops(
        particles.event[tops],
        particles.eta[quarks].astype(np.float64),
        particles.phi[quarks].astype(np.float64),
    )


def matched_to_top(jets: Jets, particles: GeneratorParticles, radius: float) -> NDArray[np.bool_]:
    """Whether a jet has all three quarks of one hadronic top closer than `radius` to its axis.

    Returns
    -------
    bool, (n_jets,).
    """
    tops = hadronic_tops(particles)
    # All pairs of a jet and a top of the same event; tops are sorted by event.
    begin = np.searchsorted(tops.event, jets.event, side="left")
    n_tops = np.searchsorted(tops.event, jets.event, side="right") - begin
    jet = np.repeat(np.arange(len(jets)), n_tops)
    number = np.arange(len(jet)) - np.repeat(np.cumsum(n_tops) - n_tops, n_tops)
    top = begin[jet] + number
    distance = delta_r(
        jets.columns["eta"][jet, None], jets.columns["phi"][jet, None], tops.eta[top], tops.phi[top]
    )
    matched = np.zeros(len(jets), bool)
    matched[jet[(distance < radius).all(axis=1)]] = True
    return matched
