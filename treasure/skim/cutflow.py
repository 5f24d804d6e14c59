"""The cutflow: events, jets and weights that each cut lets through."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.skim.record import EventRecord, Jets

__all__ = ["Cutflow"]


@dataclass
class Cutflow:
    """Cuts one after the other; each is a mask over events or over jets.

    An event is in as long as it passed the cuts on events and, from the first cut on jets on, has
    a jet that passed. `weight` is the sum of the generator weights of these events, `weight2` that
    of their squares: the variance of `weight`, and what the uncertainty of an efficiency needs.

    Attributes
    ----------
    events
        bool, (n_events,): passed all cuts on events so far.
    jets
        bool, (n_jets,): passed, and its event passed.
    steps
        Name of the cut -> events, jets, weight, weight2; the first is "all". It adds up in coffea.
    """

    record: EventRecord
    all_jets: Jets
    events: NDArray[np.bool_] = field(init=False)
    jets: NDArray[np.bool_] = field(init=False)
    steps: dict[str, dict[str, Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.events = np.ones(len(self.record), bool)
        self.jets = np.ones(len(self.all_jets), bool)
        self._note("all", self.events)

    def cut_events(self, name: str, passed: NDArray[np.bool_]) -> None:
        """Apply a cut on events, bool (n_events,)."""
        self.events &= passed
        self.jets &= self.events[self.all_jets.event]
        self._note(name, self.events)

    def cut_jets(self, name: str, passed: NDArray[np.bool_]) -> None:
        """Apply a cut on jets, bool (n_jets,)."""
        self.jets &= passed
        with_jet = np.zeros(len(self.record), bool)
        with_jet[self.all_jets.event[self.jets]] = True
        self._note(name, with_jet)

    def _note(self, name: str, events: NDArray[np.bool_]) -> None:
        weight = self.record.weight[events]
        self.steps[name] = {
            "events": int(np.count_nonzero(events)),
            "jets": int(np.count_nonzero(self.jets)),
            "weight": float(np.sum(weight)),
            "weight2": float(np.sum(weight * weight)),
        }
