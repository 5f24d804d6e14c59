"""The coffea processor: a chunk of events in, a part of the skim and its cutflow out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from coffea.nanoevents import PFNanoAODSchema
from coffea.processor import ProcessorABC

from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.skim.golden import golden_mask
from treasure.skim.kinematics import pt_order
from treasure.skim.layouts import branches_of, recognise
from treasure.skim.parts import EVENT_SCALARS, write_part
from treasure.skim.puppi import weighted
from treasure.skim.selection import select

__all__ = ["SkimProcessor", "SkimSchema"]


class SkimSchema(PFNanoAODSchema):
    """PFNano; indices into collections that are not read are of no interest."""

    warn_missing_crossrefs = False
    error_missing_event_ids = False  # that a branch is missing, the layouts say
    # Plain records: vectors would refuse a collection without mass, and take tau2 for tau².
    mixins: ClassVar[dict[str, str]] = {}


class SkimProcessor(ProcessorABC):
    """Select jets and write them.

    `process` writes one part a chunk, under its final name only when whole, and returns counts and
    names, which coffea adds up. A chunk of which nothing survives has its counts and no part.

    Parameters
    ----------
    dataset, selection
        What to keep.
    directory
        Where the parts go.
    numbers
        Location of each file -> its number in the group: parts are named by it.
    done
        Called after each chunk.
    """

    def __init__(
        self,
        dataset: Dataset,
        selection: Selection,
        directory: Path,
        numbers: dict[str, int],
        done: Callable[[], None] | None = None,
    ) -> None:
        self.dataset = dataset
        self.selection = selection
        self.directory = directory
        self.numbers = numbers
        self.done = done
        self.validated = golden_mask(selection, dataset)

    def process(self, events: Any) -> dict[str, Any]:
        """Skim one chunk of NanoEvents."""
        location = events.metadata["filename"]
        branches = branches_of(events)
        layout = recognise(branches, self.dataset.layout, location)(events, branches, location)
        cutflow, missing_triggers = select(layout, self.dataset, self.selection, self.validated)
        chosen = np.flatnonzero(cutflow.jets)
        parts: dict[str, int] = {}
        truncated = 0
        if len(chosen):
            number, start = self.numbers[location], events.metadata["entrystart"]
            name = f"part_{number:05d}_{start:010d}.parquet"
            truncated = self._write(self.directory / name, layout, chosen)
            parts[name] = len(chosen)
        if self.done is not None:
            self.done()
        sections = np.unique(layout.record.info[:, :2], axis=0)
        return {
            "cutflow": cutflow.steps,
            "chunks": 1,
            "parts": parts,
            "layouts": {layout.kind or self.dataset.layout},
            "missing_triggers": {path: {location} for path in missing_triggers},
            "absent_columns": {f"{k}={v}" for k, v in layout.absent_columns.items()},
            "replaced_values": layout.replaced_values,
            "jets_with_candidates_left_out": truncated,
            "puppi": {
                "applied" if self.selection.apply_puppi or layout.puppi_applied else "stored"
            },
            "notes": dict(layout.notes),
            "sections": {(int(run), int(block)) for run, block in sections},
            # A set, since coffea adds numbers up: the largest over all chunks is wanted.
            "most_jets_in_event": {int(np.bincount(layout.jets.event[chosen]).max(initial=0))},
        }

    def _write(self, path: Path, layout: Any, chosen: np.ndarray) -> int:
        """Write the chosen jets; tells how many have more candidates than the table takes."""
        candidates = layout.candidates(chosen)
        if self.selection.apply_puppi and not layout.puppi_applied:
            if "PFCands_puppiWeight" in layout.absent_columns:
                raise DataError(
                    f"{layout.where}: no PUPPI weights, which selection.apply_puppi asks for; set"
                    " selection.apply_puppi to false"
                )
            candidates = weighted(candidates)
        most = self.selection.max_candidates
        first = most if self.selection.candidate_order == "aoj" else None
        order, counts = pt_order(candidates.counts, candidates.pt, first=first)
        jets, record = layout.jets, layout.record
        event = jets.event[chosen]
        scalars = {name: record.info[event, i] for i, name in enumerate(EVENT_SCALARS)}
        scalars["genWeight"] = record.weight[event]
        scalars["FatJet_index"] = jets.index[chosen]
        for name, values in layout.jet_columns(chosen).items():
            scalars[f"FatJet_{name}"] = values
        write_part(
            path,
            scalars,
            counts,
            {name: values[order] for name, values in candidates.columns.items()},
        )
        return int(np.count_nonzero(candidates.counts > most))

    def postprocess(self, accumulator: Any) -> Any:
        """Nothing is left to do."""
        return accumulator
