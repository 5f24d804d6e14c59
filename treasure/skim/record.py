"""What a layout gives to the rest of the skim: events, jets, candidates and generator particles.

All are flat numpy arrays with counts beside them, so that selecting is indexing: no awkward
structure has to be rebuilt, and a row could be an event as well as a jet.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CANDIDATE_COLUMNS",
    "JET_COLUMNS",
    "Candidates",
    "EventRecord",
    "GeneratorParticles",
    "Jets",
    "offsets_of",
]

# Of NanoAOD's FatJet, in the order of Aspen Open Jets: `jet_kinematics`, then `jet_tagging`.
JET_COLUMNS = (
    "pt", "eta", "phi", "msoftdrop", "nConstituents", "tau1", "tau2", "tau3", "tau4",
    "particleNet_H4qvsQCD", "particleNet_HbbvsQCD", "particleNet_HccvsQCD", "particleNet_QCD",
    "particleNet_TvsQCD", "particleNet_WvsQCD", "particleNet_ZvsQCD", "particleNet_mass",
)  # fmt: skip
CANDIDATE_COLUMNS = (
    "px", "py", "pz", "E", "d0", "d0Err", "dz", "dzErr", "charge", "pdgId", "puppiWeight",
)  # fmt: skip


def offsets_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each list of a flat array begins, and the end of the last (int64, shape (n + 1,))."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


@dataclass(frozen=True, slots=True)
class EventRecord:
    """Events of a chunk.

    Attributes
    ----------
    info
        int64, (n_events, 3): run, luminosity block, event.
    weight
        float64, (n_events,): generator weight; 1 where there is none.
    """

    info: NDArray[np.int64]
    weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.info)


@dataclass(frozen=True, slots=True)
class Jets:
    """AK8 jets of a chunk, flat.

    Attributes
    ----------
    event
        int64, (n_jets,): position of the jet's event in the chunk.
    index
        int32, (n_jets,): position of the jet in its event's FatJet collection.
    columns
        `JET_COLUMNS` of NanoAOD's FatJet, float32, (n_jets,); −1 where the layout has none.
    jet_id
        int32, (n_jets,), or None where the layout has none.
    """

    event: NDArray[np.int64]
    index: NDArray[np.int32]
    columns: dict[str, NDArray[np.float32]]
    jet_id: NDArray[np.int32] | None

    def __len__(self) -> int:
        return len(self.event)


@dataclass(frozen=True, slots=True)
class Candidates:
    """Particle-flow candidates of some rows (jets here), flat, in the order of the layout.

    Attributes
    ----------
    counts
        int64, (n_rows,): candidates of each row.
    pt
        float32, (n_candidates,), GeV: as stored, what the order goes by.
    columns
        `CANDIDATE_COLUMNS`, (n_candidates,): float32, but charge and pdgId int32.
    """

    counts: NDArray[np.int64]
    pt: NDArray[np.float32]
    columns: dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class GeneratorParticles:
    """NanoAOD's GenPart, flat; `mother` is a position in these arrays, −1 for none."""

    event: NDArray[np.int64]
    pdg_id: NDArray[np.int32]
    mother: NDArray[np.int64]
    eta: NDArray[np.float32]
    phi: NDArray[np.float32]
