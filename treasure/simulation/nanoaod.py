"""The file: a TTree `Events` in PFNano layout A, with NanoAOD names, types and counters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import awkward as ak
import numpy as np
import numpy.typing as npt
import uproot

from treasure.simulation.candidates import Candidates
from treasure.simulation.generator_particles import GeneratorParticles
from treasure.simulation.jets import Jets
from treasure.simulation.reproducible import fix_times
from treasure.simulation.trigger import filter_bits, trigger_bits
from treasure.store import atomic_file

__all__ = ["EventsWriter", "event_branches", "events_file"]

#: Tagger scores of NanoAOD, which would need CMS's own training: -1, unknown.
UNKNOWN_SCORES = tuple(
    f"particleNet_{name}"
    for name in (
        "H4qvsQCD", "HbbvsQCD", "HccvsQCD", "QCD", "TvsQCD", "WvsQCD", "ZvsQCD", "mass",
    )
)  # fmt: skip

#: A branch, or the branches of a collection: flat numpy, or jagged awkward records.
Branch: TypeAlias = Any


def _jagged(counts: npt.NDArray[np.int64], **columns: npt.NDArray[np.generic]) -> ak.Array:
    return ak.zip({name: ak.unflatten(values, counts) for name, values in columns.items()})


def event_branches(
    *,
    candidates: Candidates,
    jets: Jets,
    generator: GeneratorParticles,
    weight: npt.NDArray[np.float64],
    pthat: npt.NDArray[np.float64],
    vertex: npt.NDArray[np.float64],
    run: int,
    luminosity_block: int,
    first_event: int,
) -> dict[str, Branch]:
    """The branches of a batch of events.

    `PFCands` are the constituents of the stored jets, in the order of reconstruction;
    `FatJetPFCands` links them to their jets, jet by jet.

    Parameters
    ----------
    weight, pthat
        Shape (n_events,).
    vertex
        Shape (n_events, 3): reconstructed primary vertex [cm].
    """
    f4, i4 = np.float32, np.int32
    n = len(weight)
    per_jet = ak.num(jets.constituents).to_numpy()
    linked = ak.flatten(jets.constituents).to_numpy()
    used = np.zeros(len(candidates), dtype=np.bool_)
    used[linked] = True
    stored = candidates[used]
    stored_counts = np.bincount(stored.event, minlength=n)
    place = np.cumsum(used) - 1
    starts = np.cumsum(stored_counts) - stored_counts
    jet_counts = np.bincount(jets.event, minlength=n)
    jet_index = np.arange(len(jets.event)) - np.repeat(
        np.cumsum(jet_counts) - jet_counts, jet_counts
    )
    link_event = np.repeat(jets.event, per_jet)

    scores = {name: np.full(len(jets.event), -1.0, dtype=f4) for name in UNKNOWN_SCORES}
    return {
        "run": np.full(n, run, dtype=np.uint32),
        "luminosityBlock": np.full(n, luminosity_block, dtype=np.uint32),
        "event": np.arange(first_event, first_event + n, dtype=np.uint64),
        "genWeight": weight.astype(f4),
        "Generator_binvar": pthat.astype(f4),
        "PV_x": vertex[:, 0].astype(f4),
        "PV_y": vertex[:, 1].astype(f4),
        "PV_z": vertex[:, 2].astype(f4),
        "PV_npvs": np.ones(n, dtype=i4),
        "PV_npvsGood": np.ones(n, dtype=i4),
        **trigger_bits(jets, n),
        **filter_bits(n),
        "FatJet": _jagged(
            jet_counts,
            pt=jets.pt.astype(f4),
            eta=jets.eta.astype(f4),
            phi=jets.phi.astype(f4),
            mass=jets.mass.astype(f4),
            msoftdrop=jets.softdrop_mass.astype(f4),
            rawFactor=np.zeros(len(jets.event), dtype=f4),
            tau1=jets.tau[:, 0].astype(f4),
            tau2=jets.tau[:, 1].astype(f4),
            tau3=jets.tau[:, 2].astype(f4),
            tau4=jets.tau[:, 3].astype(f4),
            jetId=jets.jet_id.astype(i4),
            nConstituents=jets.n_constituents.astype(i4),
            **scores,
        ),
        "PFCands": _jagged(
            stored_counts,
            pt=stored.pt.astype(f4),
            eta=stored.eta.astype(f4),
            phi=stored.phi.astype(f4),
            mass=stored.mass.astype(f4),
            d0=stored.d0.astype(f4),
            d0Err=stored.d0_error.astype(f4),
            dz=stored.dz.astype(f4),
            dzErr=stored.dz_error.astype(f4),
            charge=stored.charge.astype(i4),
            pdgId=stored.pdg_id.astype(i4),
            puppiWeight=np.ones(len(stored), dtype=f4),
            puppiWeightNoLep=np.ones(len(stored), dtype=f4),
        ),
        "FatJetPFCands": _jagged(
            np.bincount(link_event, minlength=n),
            pt=candidates.pt[linked].astype(f4),
            jetIdx=np.repeat(jet_index, per_jet).astype(i4),
            pFCandsIdx=(place[linked] - starts[link_event]).astype(i4),
        ),
        "GenPart": _jagged(
            np.bincount(generator.event, minlength=n),
            pt=generator.pt.astype(f4),
            eta=generator.eta.astype(f4),
            phi=generator.phi.astype(f4),
            mass=generator.mass.astype(f4),
            pdgId=generator.pdg_id.astype(i4),
            status=generator.status.astype(i4),
            statusFlags=generator.status_flags.astype(i4),
            genPartIdxMother=generator.mother.astype(i4),
        ),
    }


class EventsWriter:
    """Writes batches into the tree `Events`, and the sums of weights into `Runs`."""

    def __init__(self, file: uproot.WritableDirectory, n_batches: int) -> None:
        self._file = file
        self._n_batches = n_batches
        self._tree: uproot.WritableTree | None = None
        self._count = 0
        self._sum_of_weights = np.zeros(2)

    def write(self, branches: dict[str, Branch]) -> None:
        """Append a batch."""
        if self._tree is None:
            types = {
                name: values.dtype if isinstance(values, np.ndarray) else values.type.content
                for name, values in branches.items()
            }
            self._tree = self._file.mktree(
                "Events",
                types,
                counter_name=lambda collection: "n" + collection,
                initial_basket_capacity=self._n_batches,
            )
        self._tree.extend(branches)
        weight = np.asarray(branches["genWeight"], dtype=np.float64)
        self._count += len(weight)
        self._sum_of_weights += [weight.sum(), (weight**2).sum()]

    def finish(self, run: int) -> None:
        """Write `Runs`: number of generated events, sum of weights and of their squares."""
        tree = self._file.mktree(
            "Runs",
            {
                "run": np.uint32,
                "genEventCount": np.int64,
                "genEventSumw": np.float64,
                "genEventSumw2": np.float64,
            },
        )
        tree.extend(
            {
                "run": np.array([run], dtype=np.uint32),
                "genEventCount": np.array([self._count], dtype=np.int64),
                "genEventSumw": self._sum_of_weights[:1],
                "genEventSumw2": self._sum_of_weights[1:],
            }
        )


@contextmanager
def events_file(path: Path, identity: UUID, run: int, n_batches: int) -> Iterator[EventsWriter]:
    """A ROOT file that depends on its content and `identity` alone, and appears when complete.

    Parameters
    ----------
    identity
        Written as the UUID of the file.
    n_batches
        At least the number of batches that will be written.
    """
    with atomic_file(path) as temporary:
        # Opened here, so that uproot does not write the temporary name into the file. Room is
        # reserved for all that grows, so that nothing is moved and leaves a gap behind.
        with (
            temporary.open("w+b") as stream,
            uproot.recreate(
                stream,
                uuid_function=lambda: identity,
                initial_directory_bytes=1024,
                initial_streamers_bytes=16384,
            ) as file,
        ):
            writer = EventsWriter(file, n_batches)
            yield writer
            writer.finish(run)
        fix_times(temporary)
