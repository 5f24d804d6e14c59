"""The selection of events and jets: the cuts, in their order, over one chunk."""

from typing import Any

import numpy as np

from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.skim.cutflow import Cutflow
from treasure.skim.golden import EventFilter
from treasure.skim.layouts import Layout
from treasure.skim.matching import DECAYS, matched

__all__ = ["select"]


def select(
    layout: Layout, dataset: Dataset, selection: Selection, validated: EventFilter | None
) -> tuple[Cutflow, set[str]]:
    """Apply all cuts to a chunk.

    Returns
    -------
    cutflow
        With the masks of what is left.
    missing_triggers
        Trigger paths that the file does not have; they counted as not fired.

    Raises
    ------
    DataError
        If a filter or a column that a cut needs is not in the file.
    """
    record, jets = layout.record, layout.jets
    cutflow = Cutflow(record, jets)
    if validated is not None:
        cutflow.cut_events("golden_json", validated(record.info[:, 0], record.info[:, 1]))
    missing_triggers: set[str] = set()
    if selection.triggers:
        fired = np.zeros(len(record), bool)
        for path in selection.triggers:
            decision = layout.decision(path)
            if decision is None:
                missing_triggers.add(path)
            else:
                fired |= decision
        cutflow.cut_events("triggers", fired)
    if selection.filters:
        clean = np.ones(len(record), bool)
        for name in selection.filters:
            decision = layout.decision(name)
            if decision is None:
                raise DataError(
                    f"{layout.where}: no branch {name!r}, which selection.filters asks for; take"
                    " it off that list if these events need no such filter"
                )
            clean &= decision
        cutflow.cut_events("filters", clean)
    _cut_jets(cutflow, layout, selection)
    if dataset.matching != "none":
        particles = layout.generator()
        decays = DECAYS[dataset.matching](particles)
        passed = matched(layout.jets, particles, decays, selection.matching_radius)
        cutflow.cut_jets(f"matching_{dataset.matching}", passed)
    return cutflow, missing_triggers


def _cut_jets(cutflow: Cutflow, layout: Layout, selection: Selection) -> None:
    jets = layout.jets
    columns: dict[str, Any] = jets.columns
    # In single precision, as the values are stored: a jet at the edge falls on the same side as
    # in the C++ of the experiments.
    cutflow.cut_jets("jet_pt", columns["pt"] > np.float32(selection.jet_pt_min))
    cutflow.cut_jets("jet_eta", np.abs(columns["eta"]) < np.float32(selection.jet_abs_eta_max))
    if selection.jet_id is not None:
        if jets.jet_id is None:
            raise DataError(
                f"{layout.where}: no branch 'FatJet_jetId', which selection.jet_id asks for; set"
                " selection.jet_id to null"
            )
        cutflow.cut_jets("jet_id", jets.jet_id == selection.jet_id)
    low, high = selection.softdrop_mass_min, selection.softdrop_mass_max
    if low is not None or high is not None:
        mass = columns["msoftdrop"]
        passed = np.ones(len(jets), bool)
        if low is not None:
            passed &= mass > np.float32(low)
        if high is not None:
            passed &= mass < np.float32(high)
        cutflow.cut_jets("softdrop_mass", passed)
