"""One file of simulated events, from the generator to PFNano ROOT."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from treasure.config.simulation import Detector, SimulationSource
from treasure.simulation.candidates import particle_flow
from treasure.simulation.generator_particles import select_generator_particles
from treasure.simulation.jets import cluster_jets
from treasure.simulation.nanoaod import event_branches, events_file
from treasure.simulation.pythia import EventBatch, Generator
from treasure.store import fingerprint

__all__ = ["simulate_file"]

#: Events generated, passed through the detector and written at a time: bounds the memory. It is
#: part of what decides the random numbers.
BATCH_SIZE = 500
#: Run number of simulated events, as in CMS simulation.
RUN = 1
#: Distinguishes the random numbers of the processes.
PROCESS_NUMBERS = {"qcd": 0, "ttbar": 1}
#: Name space of the UUIDs of the files (UUID version 5).
UUID_NAMESPACE = uuid.UUID("6f0f3d0e-5a0c-5d0b-9d57-0b1c1f6f2f11")


def simulate_file(
    source: SimulationSource,
    *,
    seed: int,
    branch: int,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Simulate `source.events_per_file` events and write them to `path`.

    The same source, seed and branch give the same bytes, in any process.

    Parameters
    ----------
    branch
        Number of the file, from 0: the luminosity block is ``branch + 1``, and event numbers go on
        from file to file, so that no two events of a dataset have the same.
    path
        The final ROOT file; it appears when it is complete.
    progress
        Called with the number of events done and the total.

    Returns
    -------
    dict
        ``events``, ``jets`` (stored), ``selected_jets`` (pT > 300 GeV, abs(eta) < 2.5, jetId 6),
        ``candidates``, ``sum_of_weights``, ``cross_section_pb``, ``seconds``,
        ``events_per_second``.

    Raises
    ------
    ConfigError
        A Pythia setting is wrong.
    """
    started = time.perf_counter()
    path = Path(path)
    random = np.random.default_rng([seed, PROCESS_NUMBERS[source.process], branch])
    generator = Generator(source, int(random.integers(1 << 62)))
    total = source.events_per_file
    identity = uuid.uuid5(
        UUID_NAMESPACE, fingerprint([source.model_dump(mode="json"), seed, branch])
    )
    counts = {"events": 0, "jets": 0, "selected_jets": 0, "candidates": 0}
    sum_of_weights = 0.0
    n_batches = math.ceil(total / BATCH_SIZE)
    # A batch that Pythia leaves short is made up for by further ones.
    with events_file(path, identity, RUN, 2 * n_batches + 2) as writer:
        for batch in generator.batches(total, BATCH_SIZE):
            first_event = branch * total + counts["events"] + 1
            n_events, n_jets, n_selected, n_candidates, branches = _simulate_batch(
                batch, source, random, luminosity_block=branch + 1, first_event=first_event
            )
            writer.write(branches)
            counts["events"] += n_events
            counts["jets"] += n_jets
            counts["selected_jets"] += n_selected
            counts["candidates"] += n_candidates
            sum_of_weights += float(batch.weight.sum())
            if progress is not None:
                progress(counts["events"], total)
    seconds = time.perf_counter() - started
    return {
        **counts,
        "sum_of_weights": sum_of_weights,
        "cross_section_pb": generator.cross_section,
        "seconds": seconds,
        "events_per_second": counts["events"] / seconds,
    }


def _simulate_batch(
    batch: EventBatch,
    source: SimulationSource,
    random: np.random.Generator,
    *,
    luminosity_block: int,
    first_event: int,
) -> tuple[int, int, int, int, dict[str, Any]]:
    n = len(batch)
    interaction, vertex_error = _primary_vertices(n, source.detector, random)
    candidates = particle_flow(batch, vertex_error, source.detector, random)
    jets = cluster_jets(candidates, n, source)
    branches = event_branches(
        candidates=candidates,
        jets=jets,
        generator=select_generator_particles(batch),
        weight=batch.weight,
        pthat=batch.pthat,
        vertex=interaction + vertex_error,
        run=RUN,
        luminosity_block=luminosity_block,
        first_event=first_event,
    )
    selected = (jets.pt > 300) & (np.abs(jets.eta) < 2.5) & (jets.jet_id == 6)
    return n, len(jets.event), int(selected.sum()), len(candidates), branches


def _primary_vertices(
    n: int, detector: Detector, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Where the protons collided, and what the vertex reconstruction adds [cm], (n, 3) each."""
    spot = np.array([detector.beam_spot_sigma_xy] * 2 + [detector.beam_spot_sigma_z])
    error = np.array([detector.vertex_sigma_xy] * 2 + [detector.vertex_sigma_z])
    return spot * random.standard_normal((n, 3)), error * random.standard_normal((n, 3))
