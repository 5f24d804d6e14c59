"""Layout A: PFNano as Aspen Open Jets used it, candidates and a table of links to jets.

`PFCands_*` holds every candidate of an event once; each row of `FatJetPFCands` says that candidate
`pFCandsIdx` belongs to jet `jetIdx`. Links are grouped by `jetIdx` here: that they lie
contiguously, jet after jet, is not promised by the format.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.skim.kinematics import four_momentum
from treasure.skim.layouts import SENTINEL, Layout
from treasure.skim.record import CANDIDATE_COLUMNS, Candidates, offsets_of

__all__ = ["LayoutA"]

_TRACK = ("d0", "d0Err", "dz", "dzErr")


class LayoutA(Layout, kind="A"):
    """`PFCands` with the link table `FatJetPFCands`."""

    summary = "PFCands and the link table FatJetPFCands"
    required = (
        *(f"PFCands_{name}" for name in ("pt", "eta", "phi", "mass", *CANDIDATE_COLUMNS[4:])),
        "FatJetPFCands_jetIdx",
        "FatJetPFCands_pFCandsIdx",
    )

    @cached_property
    def _link_event(self) -> NDArray[np.int64]:
        counts = self.counts("FatJetPFCands_jetIdx")
        return np.repeat(np.arange(len(counts)), counts)

    @cached_property
    def _link_jet(self) -> NDArray[np.int64]:
        """Position in `jets` of each link's jet; −1 for a link to no jet."""
        local = self.flat("FatJetPFCands_jetIdx").astype(np.int64)
        jets_of_event = np.diff(self.jet_offsets)[self._link_event]
        if (local >= jets_of_event).any():
            first = int(np.flatnonzero(local >= jets_of_event)[0])
            raise DataError(
                f"{self.where}: FatJetPFCands_jetIdx is {local[first]} in an event of"
                f" {jets_of_event[first]} jets; the file is damaged, make it again"
            )
        return np.where(local < 0, -1, local + self.jet_offsets[:-1][self._link_event])

    def computed_column(self, name: str, jets: NDArray[np.int64]) -> NDArray[Any] | None:
        if name != "nConstituents":
            return None
        linked = self._link_jet[self._link_jet >= 0]
        return np.bincount(linked, minlength=len(self.jets))[jets]

    def candidates(self, jets: NDArray[np.int64]) -> Candidates:
        row_of_jet = np.full(len(self.jets) + 1, -1)  # the last one is for links to no jet
        row_of_jet[jets] = np.arange(len(jets))
        row = row_of_jet[self._link_jet]
        links = np.flatnonzero(row >= 0)
        if (np.diff(row[links]) < 0).any():
            links = links[np.argsort(row[links], kind="stable")]
        chosen = self._candidate_positions(links)

        def read(name: str) -> NDArray[Any]:
            return self.flat(f"PFCands_{name}")[chosen]

        kinematics = [read(name).astype(np.float32) for name in ("pt", "eta", "phi", "mass")]
        columns: dict[str, NDArray[Any]] = dict(
            zip(CANDIDATE_COLUMNS[:4], four_momentum(*kinematics), strict=True)
        )
        for name in CANDIDATE_COLUMNS[:4]:
            if not np.isfinite(columns[name]).all():
                raise DataError(
                    f"{self.where}: a candidate has {name} that is not finite (PFCands_pt, eta,"
                    " phi, mass); the file is damaged, make it again or leave it out"
                )
        for name in _TRACK:
            columns[name] = read(name).astype(np.float32)
        self._flag_bad_tracks(columns)
        for name in ("charge", "pdgId"):
            columns[name] = read(name).astype(np.int32)
        columns["puppiWeight"] = self.finite("PFCands_puppiWeight", read("puppiWeight"))
        counts = np.bincount(row[links], minlength=len(jets)).astype(np.int64)
        return Candidates(counts, kinematics[0], columns)

    def _flag_bad_tracks(self, columns: dict[str, NDArray[Any]]) -> None:
        """All four −1, which means no track details, where one of them is not finite."""
        bad = ~np.logical_and.reduce([np.isfinite(columns[name]) for name in _TRACK])
        if bad.any():
            self.replaced_values["PFCands_d0, d0Err, dz, dzErr"] = int(np.count_nonzero(bad))
            for name in _TRACK:
                columns[name] = np.where(bad, SENTINEL, columns[name])

    def _candidate_positions(self, links: NDArray[np.int64]) -> NDArray[np.int64]:
        local = self.flat("FatJetPFCands_pFCandsIdx")[links].astype(np.int64)
        counts = self.counts("PFCands_pt")
        event = self._link_event[links]
        wrong = (local < 0) | (local >= counts[event])
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{self.where}: FatJetPFCands_pFCandsIdx is {local[first]} in an event of"
                f" {counts[event[first]]} candidates; the file is damaged, make it again"
            )
        return local + offsets_of(counts)[:-1][event]
