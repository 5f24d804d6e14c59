"""Generator matching: which jets hold the whole decay of a heavy particle.

A heavy particle is its last copy: generators write a particle again after each emission (t → t g,
W → W γ), and only the last one decays. What it decays to are its direct daughters; the quarks and
gluons that they become later are not looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from treasure.skim.kinematics import delta_r
from treasure.skim.record import GeneratorParticles, Jets

__all__ = ["DECAYS", "Decays", "higgs_decays", "matched", "top_decays", "w_decays", "z_decays"]

# Particle Data Group numbering, Monte Carlo Particle Numbering Scheme.
_HEAVIEST_QUARK, _TOP, _GLUON, _Z, _W, _HIGGS = 5, 6, 21, 23, 24, 25

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decays:
    """Decays of heavy particles into quarks or gluons.

    Attributes
    ----------
    event
        int64, (n_decays,), rising: position of the event.
    partons
        int64, (n_decays, n_partons): positions of the decay's partons among the particles.
    sibling
        int64, (n_decays,): position of the quark that makes, with the partons, the decay of a
        heavier particle; −1 where there is none.
    """

    event: NDArray[np.int64]
    partons: Positions
    sibling: Positions


class _Tree:
    """What is worked out once from the mothers."""

    def __init__(self, particles: GeneratorParticles) -> None:
        self.particles = particles
        self.kind = np.abs(particles.pdg_id)
        self.quark = (self.kind >= 1) & (self.kind <= _HEAVIEST_QUARK)
        mother = particles.mother
        self.n = n = len(mother)
        is_copy = (mother >= 0) & (particles.pdg_id[mother] == particles.pdg_id)
        self.last_copy = np.ones(n, bool)
        self.last_copy[mother[is_copy]] = False
        # Each step doubles how far back it leads, so that a long chain, and a damaged one that
        # bites its tail, take few.
        first_copy = np.where(is_copy, mother, np.arange(n))
        for _ in range(n.bit_length()):
            first_copy = first_copy[first_copy]
        self.origin = mother[first_copy]  # the nearest ancestor with another pdgId, −1: none

    def daughters_of(self, kind: int) -> NDArray[np.bool_]:
        """Direct daughters of particles of a kind that decay, and not only emit."""
        mother = self.particles.mother
        return (mother >= 0) & (self.kind[mother] == kind) & self.last_copy[mother]

    def count(self, daughters: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of some particles each particle is the mother of."""
        return np.bincount(self.particles.mother[daughters], minlength=self.n)


def _to_two_partons(
    tree: _Tree, boson: int, *, gluons: bool = False
) -> tuple[Positions, Positions]:
    """Bosons with exactly two quarks, or no quark and two gluons, as daughters; and these."""
    mother, of_boson = tree.particles.mother, tree.daughters_of(boson)
    quark, gluon = of_boson & tree.quark, of_boson & (tree.kind == _GLUON)
    n_quarks = tree.count(quark)
    to_quarks = n_quarks == 2
    to_gluons = (n_quarks == 0) & (tree.count(gluon) == 2) & gluons
    chosen = np.flatnonzero((quark & to_quarks[mother]) | (gluon & to_gluons[mother]))
    partons = chosen[np.argsort(mother[chosen], kind="stable")].reshape(-1, 2)
    return np.flatnonzero(to_quarks | to_gluons), partons


def _bosons(particles: GeneratorParticles, boson: int, *, gluons: bool = False) -> Decays:
    bosons, partons = _to_two_partons(_Tree(particles), boson, gluons=gluons)
    return Decays(particles.event[bosons], partons, np.full(len(bosons), -1))


def z_decays(particles: GeneratorParticles) -> Decays:
    """Z bosons with exactly two quarks (d, u, s, c, b) as daughters."""
    return _bosons(particles, _Z)


def higgs_decays(particles: GeneratorParticles) -> Decays:
    """Higgs bosons with exactly two quarks, or else two gluons, as daughters.

    H → WW and H → ZZ are none of them: four quarks are another signature.
    """
    return _bosons(particles, _HIGGS, gluons=True)


def w_decays(particles: GeneratorParticles) -> Decays:
    """W bosons with exactly two quarks as daughters.

    The sibling is the quark of t → q W, if the top is one of `top_decays`.
    """
    return _tops_and_ws(particles)[1]


def top_decays(particles: GeneratorParticles) -> Decays:
    """Tops with exactly one quark, and one W that decays to two quarks, as daughters.

    The partons are the quark of the top, then those of the W.
    """
    return _tops_and_ws(particles)[0]


def _tops_and_ws(particles: GeneratorParticles) -> tuple[Decays, Decays]:
    tree = _Tree(particles)
    w, w_partons = _to_two_partons(tree, _W)
    direct = np.flatnonzero(tree.quark & tree.daughters_of(_TOP))
    top_of_w = tree.origin[w]
    of_top = np.flatnonzero((top_of_w >= 0) & (tree.kind[top_of_w] == _TOP))
    one_quark = np.bincount(particles.mother[direct], minlength=tree.n) == 1
    one_w = np.bincount(top_of_w[of_top], minlength=tree.n) == 1
    tops = np.flatnonzero(one_quark & one_w)

    quark_of, w_of = np.full(tree.n, -1), np.full(tree.n, -1)
    quark_of[particles.mother[direct]] = direct
    w_of[top_of_w[of_top]] = of_top
    sibling = np.full(len(w), -1)
    sibling[w_of[tops]] = quark_of[tops]
    partons = np.column_stack([quark_of[tops], w_partons[w_of[tops]]])
    return (
        Decays(particles.event[tops], partons, np.full(len(tops), -1)),
        Decays(particles.event[w], w_partons, sibling),
    )


# By the name that the configuration uses (datasets.<name>.matching).
DECAYS: dict[str, Callable[[GeneratorParticles], Decays]] = {
    "top": top_decays,
    "W": w_decays,
    "Z": z_decays,
    "H": higgs_decays,
}


def matched(
    jets: Jets, particles: GeneratorParticles, decays: Decays, radius: float
) -> NDArray[np.bool_]:
    """Whether a jet has all partons of one decay, and not its sibling, inside.

    Parameters
    ----------
    jets, particles
        Of the same events.
    decays
        Of these particles.
    radius
        Inside is what is closer than this to the jet's axis, in ΔR = √(Δη² + Δφ²).

    Returns
    -------
    bool, (n_jets,).
    """
    # All pairs of a jet and a decay of the same event.
    begin = np.searchsorted(decays.event, jets.event, side="left")
    n_decays = np.searchsorted(decays.event, jets.event, side="right") - begin
    jet = np.repeat(np.arange(len(jets)), n_decays)
    number = np.arange(len(jet)) - np.repeat(np.cumsum(n_decays) - n_decays, n_decays)
    decay = begin[jet] + number

    def inside(partons: Positions) -> NDArray[np.bool_]:
        eta, phi = (jets.columns[name][jet, None] for name in ("eta", "phi"))
        return delta_r(eta, phi, particles.eta[partons], particles.phi[partons]) < radius

    sibling = decays.sibling[decay]
    whole = inside(decays.partons[decay]).all(axis=1)
    of_heavier = (sibling >= 0) & inside(sibling[:, None])[:, 0]
    found = np.zeros(len(jets), bool)
    found[jet[whole & ~of_heavier]] = True
    return found
