"""Layout A: PFNano as Aspen Open Jets used it, candidates and a table of links to jets.

`PFCands_*` holds every candidate of an event once; each row of `FatJetPFCands` says that candidate
`pFCandsIdx` belongs to jet `jetIdx`. Links are grouped by `jetIdx` here: that they lie
contiguously, jet after jet, is not promised by the format. Made by github.com/cms-jet/PFNano from
November 2020 on (``addPFCands_cff.py``), and by what CMSSW took over from it.
"""

from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.skim.record import CANDIDATE_COLUMNS, offsets_of
from treasure.skim.stored_candidates import StoredCandidates

__all__ = ["LINKS", "LayoutA"]

LINKS = ("FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx")


class LayoutA(StoredCandidates, kind="A"):
    """`PFCands` with the link table `FatJetPFCands`.

    The order of a jet's candidates is that of its links. CMS stores the constituents of the two
    soft-drop subjets first, then the others by falling PUPPI-weighted pt.
    """

    summary = "PFCands and the link table FatJetPFCands"
    required: ClassVar[tuple[str, ...]] = (
        *(f"PFCands_{name}" for name in ("pt", "eta", "phi", "mass", *CANDIDATE_COLUMNS[4:])),
        *LINKS,
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
                f"{self.where}: {self.in_input('FatJetPFCands_jetIdx')} is {local[first]} in an"
                f" event of {jets_of_event[first]} jets; the file is damaged, make it again"
            )
        return np.where(local < 0, -1, local + self.jet_offsets[:-1][self._link_event])

    def find_constituents(
        self, jets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        row_of_jet = np.full(len(self.jets) + 1, -1)  # the last one is for links to no jet
        row_of_jet[jets] = np.arange(len(jets))
        row = row_of_jet[self._link_jet]
        links = np.flatnonzero(row >= 0)
        if (np.diff(row[links]) < 0).any():
            links = links[np.argsort(row[links], kind="stable")]
        counts = np.bincount(row[links], minlength=len(jets)).astype(np.int64)
        return self.linked_candidates(links), counts

    def linked_candidates(self, links: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions in the collection of candidates that rows of the link table lead to."""
        local = self.flat("FatJetPFCands_pFCandsIdx")[links].astype(np.int64)
        counts = self.counts("PFCands_pt")
        event = self._link_event[links]
        wrong = (local < 0) | (local >= counts[event])
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"{self.where}: {self.in_input('FatJetPFCands_pFCandsIdx')} is {local[first]} in an"
                f" event of {counts[event[first]]} candidates; the file is damaged, make it again"
            )
        return local + offsets_of(counts)[:-1][event]
