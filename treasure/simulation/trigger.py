"""Trigger bits from jet pT and HT, and event filters."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from treasure.simulation.jets import Jets

__all__ = ["FILTERS", "HT_THRESHOLDS", "JET_THRESHOLDS", "filter_bits", "trigger_bits"]

BoolArray = npt.NDArray[np.bool_]

#: Thresholds [GeV] of `HLT_AK8PFJet<threshold>` and `HLT_PFHT<threshold>` of the 2016 menu; without
#: turn-on and prescales, as every path runs on every event of a simulation.
JET_THRESHOLDS = (140, 200, 260, 320, 400, 450, 500)
HT_THRESHOLDS = (400, 475, 600, 650, 800, 900)
#: Acceptance of the trigger jets in |eta|.
TRIGGER_ETA_MAX = 2.5

#: Noise and beam-halo filters that every simulated event passes, having neither.
FILTERS = (
    "Flag_goodVertices",
    "Flag_globalSuperTightHalo2016Filter",
    "Flag_HBHENoiseFilter",
    "Flag_HBHENoiseIsoFilter",
    "Flag_EcalDeadCellTriggerPrimitiveFilter",
    "Flag_BadPFMuonFilter",
    "Flag_eeBadScFilter",
    "Flag_CSCTightHaloFilter",
)


def trigger_bits(jets: Jets, n_events: int) -> dict[str, BoolArray]:
    """Decision of each path, shape (n_events,), from the AK8 jets after the detector.

    `HLT_PFHT` uses AK8 jets with pT > 30 GeV here; CMS sums AK4 jets.
    """
    leading = np.zeros(n_events)
    central = np.abs(jets.eta) < TRIGGER_ETA_MAX
    np.maximum.at(leading, jets.event[central], jets.pt[central])
    bits = {f"HLT_AK8PFJet{value}": leading > value for value in JET_THRESHOLDS}
    bits.update({f"HLT_PFHT{value}": jets.event_ht > value for value in HT_THRESHOLDS})
    return bits


def filter_bits(n_events: int) -> dict[str, BoolArray]:
    """The filters, all passed, shape (n_events,) each."""
    return {name: np.ones(n_events, dtype=np.bool_) for name in FILTERS}
