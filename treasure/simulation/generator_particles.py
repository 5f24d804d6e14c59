"""Generator particles for matching: the hard process, and last copies of tops and W bosons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from treasure.simulation.pythia import EventBatch

__all__ = ["GeneratorParticles", "select_generator_particles"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TOP, W_BOSON = 6, 24
#: |status| of intermediate and outgoing particles of the hard process and of resonance decays
#: (Pythia 8.3 manual, "Particle Properties"); the quarks of t -> W b, W -> q q' are such too.
HARD_INTERMEDIATE, HARD_OUTGOING = 22, 23

# Bits of `statusFlags` in NanoAOD (`reco::GenStatusFlags`).
IS_PROMPT = 1 << 0
IS_HARD_PROCESS = 1 << 7
FROM_HARD_PROCESS = 1 << 8
IS_FIRST_COPY = 1 << 12
IS_LAST_COPY = 1 << 13


@dataclass(frozen=True)
class GeneratorParticles:
    """Selected particles, flat, ordered by event and then as in the event record.

    `mother` is the place of the nearest selected ancestor among the particles of the same event,
    -1 where there is none, as `GenPart_genPartIdxMother`. `status` is positive, as in NanoAOD.
    """

    event: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    mass: FloatArray
    pdg_id: IntArray
    status: IntArray
    status_flags: IntArray
    mother: IntArray


def select_generator_particles(batch: EventBatch) -> GeneratorParticles:
    """The outgoing particles of the hard process and of the top and W decays, with their history.

    In top events: the tops and W bosons as produced and as they decay (last copies, after
    radiation), and the quarks of the decays. In dijet events: the two scattered partons.
    """
    kind, status = np.abs(batch.pdg_id), np.abs(batch.status)
    has_daughter_of_its_kind = (batch.pdg_id[batch.daughter_1] == batch.pdg_id) | (
        batch.pdg_id[batch.daughter_2] == batch.pdg_id
    )
    is_last = ~has_daughter_of_its_kind
    hard = (status == HARD_INTERMEDIATE) | (status == HARD_OUTGOING)
    keep = hard | (is_last & ((kind == TOP) | (kind == W_BOSON)))
    chosen = np.flatnonzero(keep)

    # Walk up through the copies to the nearest particle kept; an event's first entry, the event
    # as a whole, ends every walk.
    event = batch.event[chosen]
    start = batch.offsets[event]
    ancestor = batch.mother[chosen]
    while (walking := ~keep[ancestor] & (ancestor > start)).any():
        ancestor[walking] = batch.mother[ancestor[walking]]
    place = np.cumsum(keep) - 1
    first = np.searchsorted(chosen, batch.offsets[:-1])[event]
    mother = np.where(keep[ancestor], place[ancestor] - first, -1)

    px, py, pz = batch.px[chosen], batch.py[chosen], batch.pz[chosen]
    pt = np.hypot(px, py)
    is_first = batch.pdg_id[batch.mother[chosen]] != batch.pdg_id[chosen]
    flags = (
        IS_PROMPT
        + FROM_HARD_PROCESS
        + IS_HARD_PROCESS * hard[chosen].astype(np.int64)
        + IS_FIRST_COPY * is_first.astype(np.int64)
        + IS_LAST_COPY * is_last[chosen].astype(np.int64)
    )
    mass_squared = batch.energy[chosen] ** 2 - px**2 - py**2 - pz**2
    return GeneratorParticles(
        event=event,
        pt=pt,
        eta=np.arcsinh(pz / pt),
        phi=np.arctan2(py, px),
        mass=np.sqrt(np.maximum(mass_squared, 0.0)),
        pdg_id=batch.pdg_id[chosen],
        status=status[chosen],
        status_flags=flags,
        mother=mother,
    )
