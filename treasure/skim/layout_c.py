"""Layout C: candidates without links to jets, as the CERN Open Data portal publishes PFNano.

`PFCands_*` holds every candidate of an event (records 31300 to 31316, 2016 data); which of them are
a jet's is found by clustering again: see `treasure.skim.reclustering`.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.skim.layout_a import LINKS
from treasure.skim.reclustering import RADIUS, cluster, nearest, ranges
from treasure.skim.record import CANDIDATE_COLUMNS, offsets_of
from treasure.skim.stored_candidates import StoredCandidates

__all__ = ["LayoutC"]

FARTHEST = RADIUS / 2  # a cluster farther from the jet than this is not the jet
_BLOCK = 500_000  # candidates clustered at once: bounds the memory


class LayoutC(StoredCandidates, kind="C"):
    """`PFCands` alone; jets are clustered again.

    A FatJet has the candidates of the nearest cluster of its event, by falling PUPPI-weighted pt.
    It has none where that cluster is farther away than half the radius (noted as
    ``far_from_cluster``) or is still nearer to another FatJet (``shared_cluster``). Only events of
    which candidates are asked for are clustered.
    """

    summary = "PFCands, whose links to jets are found by clustering"
    required: ClassVar[tuple[str, ...]] = tuple(
        f"PFCands_{name}" for name in ("pt", "eta", "phi", "mass", *CANDIDATE_COLUMNS[4:])
    )

    @classmethod
    def contradicted(cls, branches: set[str]) -> bool:
        # a table of links that lacks a branch is a loss that clustering again would hide
        return not branches.isdisjoint(LINKS)

    def find_constituents(
        self, jets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        events = np.unique(self.jets.event[jets])
        held = np.cumsum(self.counts("PFCands_pt")[events])
        blocks = np.split(events, np.flatnonzero(np.diff(held // _BLOCK)) + 1)
        found = [self._cluster(block, jets) for block in blocks if len(block)]
        positions = [np.zeros(0, np.int64), *(members for members, _, _ in found)]
        row = [np.zeros(0, np.int64), *(rows for _, rows, _ in found)]
        weighted = [np.zeros(0), *(pt for _, _, pt in found)]
        order = np.lexsort((-np.concatenate(weighted), np.concatenate(row)))
        self._note("reclustered", len(jets))
        counts = np.bincount(np.concatenate(row), minlength=len(jets)).astype(np.int64)
        return np.concatenate(positions)[order], counts

    def _cluster(
        self, events: NDArray[np.int64], wanted: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Candidates of the wanted jets of some events.

        Returns
        -------
        positions, rows, pt: int64, int64, float64, all of one length: where a candidate is, the
        row of `wanted` that it belongs to, and its weighted pt, in the order of the file in a row.
        """
        counts = self.counts("PFCands_pt")
        candidates = ranges(offsets_of(counts)[events], counts[events])
        pt, eta, phi, mass, weight = (
            self._read(name, candidates) for name in ("pt", "eta", "phi", "mass", "puppiWeight")
        )
        try:
            clusters = cluster(pt, eta, phi, mass, weight, counts[events])
        except ValueError as error:
            raise DataError(
                f"{self.where}: candidates cannot be clustered: {error} (PFCands_pt, eta, phi,"
                " mass, puppiWeight); the file is damaged, make it again or leave it out"
            ) from error
        # All jets of the events: which jet a cluster is, does not depend on the selection.
        jets = ranges(self.jet_offsets[events], np.diff(self.jet_offsets)[events])
        event = np.searchsorted(events, self.jets.event[jets])
        columns = self.jets.columns
        which, distance = nearest(event, columns["eta"][jets], columns["phi"][jets], clusters)
        near = distance <= FARTHEST
        # The nearest jet comes first, and takes it.
        by_distance = np.lexsort((distance, which))
        first = np.ones(len(jets), bool)
        first[by_distance[1:]] = which[by_distance[1:]] != which[by_distance[:-1]]
        row_of_jet = np.full(len(self.jets), -1)
        row_of_jet[wanted] = np.arange(len(wanted))
        row = row_of_jet[jets]
        self._note("far_from_cluster", int((~near & (row >= 0)).sum()))
        self._note("shared_cluster", int((near & ~first & (row >= 0)).sum()))
        taken = near & first & (row >= 0)
        which, row = which[taken], row[taken]
        members = clusters.members[
            ranges(offsets_of(clusters.counts)[which], clusters.counts[which])
        ]
        rows = np.repeat(row, clusters.counts[which])
        order = np.lexsort((members, rows))
        members, rows = members[order], rows[order]
        return candidates[members], rows, (pt.astype(np.float64) * weight)[members]

    def _note(self, what: str, jets: int) -> None:
        if jets:
            self.notes[what] = self.notes.get(what, 0) + jets
