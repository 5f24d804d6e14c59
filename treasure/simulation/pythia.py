"""Event generation with Pythia 8 (arXiv:2203.11601), in batches of flat arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from treasure.config.simulation import SimulationSource
from treasure.errors import ConfigError, TreasureError

__all__ = ["EventBatch", "Generator"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Seeds that Pythia accepts (manual, "Random-Number Generator").
PYTHIA_SEED_MAX = 900_000_000

#: Processes: QCD 2 -> 2 scattering, and top pairs with both W bosons decaying to quarks.
PROCESSES = {
    "qcd": ("HardQCD:all = on",),
    "ttbar": (
        "Top:gg2ttbar = on",
        "Top:qqbar2ttbar = on",
        "24:onMode = off",
        "24:onIfAny = 1 2 3 4 5",
    ),
}

#: Particles with a proper lifetime above 1 m (charged pions and kaons, K0L, neutrons) do not decay
#: by Pythia's defaults; the others (K0S, hyperons) do if it happens before the calorimeter.
DECAY_SETTINGS = (
    "ParticleDecays:limitCylinder = on",
    "ParticleDecays:xyMax = 1290.",  # mm, inner radius of the ECAL barrel
    "ParticleDecays:zMax = 3000.",  # mm, front of the ECAL endcap
)

MM_TO_CM = 0.1


@dataclass(frozen=True)
class EventBatch:
    """Complete event records, flat; `offsets` says where each event starts.

    Attributes
    ----------
    offsets
        int64, shape (n_events + 1,).
    pdg_id, status, mother, daughter_1, daughter_2
        int64, shape (n,). Mother and daughters are places in these arrays, not in the event;
        0 or an event's first place where there is none.
    charge
        float64, shape (n,) [e].
    px, py, pz, energy
        float64, shape (n,) [GeV].
    vx, vy, vz
        float64, shape (n,): production vertex relative to the proton-proton interaction [cm].
    weight
        float64, shape (n_events,): generator weight, undoing the bias.
    pthat
        float64, shape (n_events,): transverse momentum of the hard process [GeV].
    """

    offsets: IntArray
    pdg_id: IntArray
    status: IntArray
    mother: IntArray
    daughter_1: IntArray
    daughter_2: IntArray
    charge: FloatArray
    px: FloatArray
    py: FloatArray
    pz: FloatArray
    energy: FloatArray
    vx: FloatArray
    vy: FloatArray
    vz: FloatArray
    weight: FloatArray
    pthat: FloatArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def event(self) -> IntArray:
        """int64, shape (n,): number of the event in the batch that each particle belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


class Generator:
    """Pythia, set up for one source and one seed.

    Raises
    ------
    ConfigError
        A setting that Pythia does not know, or a combination with which it cannot start.
    """

    def __init__(self, source: SimulationSource, seed: int) -> None:
        import pythia8mc

        self._pythia: Any = pythia8mc.Pythia("", False)
        for setting in settings(source, seed):
            if not self._pythia.readString(setting):
                raise ConfigError(
                    f"Pythia does not know the setting {setting!r}; "
                    "correct it in the source's 'settings' (see the Pythia 8.3 manual)"
                )
        if not self._pythia.init():
            raise ConfigError(
                f"Pythia could not start for process {source.process!r} with "
                f"pthat_min = {source.pthat_min} and settings {list(source.settings)}"
            )

    @property
    def cross_section(self) -> float:
        """Cross-section of the generated process within its cuts [pb], known after generation."""
        return float(self._pythia.infoPython().sigmaGen()) * 1e9

    def batches(self, n_events: int, size: int) -> Iterator[EventBatch]:
        """Generate `n_events` in batches of at most `size`.

        Raises
        ------
        TreasureError
            Pythia gave up: it could not complete most of a batch.
        """
        done = 0
        while done < n_events:
            wanted = min(size, n_events - done)
            # Pythia leaves out the few events that it cannot complete.
            records = self._pythia.nextBatch(wanted, "skip")
            if len(records) < wanted / 2:
                raise TreasureError(
                    f"Pythia completed {len(records)} of {wanted} events; expected nearly all. "
                    "Check pthat_min, pthat_max and settings of the source"
                )
            done += len(records)
            yield self._flatten(records)

    def _flatten(self, records: ak.Array) -> EventBatch:
        particles = records.prt
        offsets = np.concatenate([[0], np.cumsum(ak.num(particles).to_numpy())]).astype(np.int64)
        start = np.repeat(offsets[:-1], np.diff(offsets))
        vertex = ak.flatten(particles.vProd)

        def column(name: str) -> npt.NDArray[Any]:
            return np.asarray(ak.flatten(particles[name]))

        def coordinate(name: str) -> FloatArray:
            return np.asarray(ak.fill_none(vertex[name], 0.0), dtype=np.float64) * MM_TO_CM

        momentum = ak.flatten(particles.p)
        pdg_id = column("id").astype(np.int64)
        kinds, kind = np.unique(pdg_id, return_inverse=True)
        charges = np.array([self._pythia.particleData.charge(int(k)) for k in kinds])
        return EventBatch(
            offsets=offsets,
            pdg_id=pdg_id,
            status=column("status").astype(np.int64),
            mother=column("mother1") + start,
            daughter_1=column("daughter1") + start,
            daughter_2=column("daughter2") + start,
            charge=charges[kind],
            px=np.asarray(momentum.px),
            py=np.asarray(momentum.py),
            pz=np.asarray(momentum.pz),
            energy=np.asarray(momentum.e),
            vx=coordinate("px"),
            vy=coordinate("py"),
            vz=coordinate("pz"),
            weight=np.asarray(records.info.weights[:, 0], dtype=np.float64),
            pthat=np.sqrt(np.asarray(records.info.pT2Hat, dtype=np.float64)),
        )


def settings(source: SimulationSource, seed: int) -> list[str]:
    """The Pythia settings of a source: Monash 2013 tune (arXiv:1404.5630) and its PDF."""
    return [
        "Print:quiet = on",
        "Check:event = off",  # the conservation checks take time and change nothing
        "Random:setSeed = on",
        f"Random:seed = {1 + seed % PYTHIA_SEED_MAX}",
        f"Beams:eCM = {source.energy!r}",
        *PROCESSES[source.process],
        f"PhaseSpace:pTHatMin = {source.pthat_min!r}",
        f"PhaseSpace:pTHatMax = {-1.0 if source.pthat_max is None else source.pthat_max!r}",
        f"PhaseSpace:bias2Selection = {'on' if source.bias_power else 'off'}",
        f"PhaseSpace:bias2SelectionPow = {source.bias_power or 1.0!r}",
        f"PhaseSpace:bias2SelectionRef = {source.bias_reference!r}",
        *DECAY_SETTINGS,
        *source.settings,
    ]
