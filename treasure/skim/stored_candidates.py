"""Layouts whose candidates are the rows of one collection: reading their columns.

Which rows are a jet's, a layout says (`StoredCandidates.find_constituents`). Columns that the input
lacks become sentinels, noted in `absent_columns`.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.skim.kinematics import charge_of, four_momentum
from treasure.skim.layouts import SENTINEL, Layout
from treasure.skim.record import CANDIDATE_COLUMNS, Candidates

__all__ = ["StoredCandidates"]

_KINEMATICS = ("pt", "eta", "phi", "mass")
_TRACK = ("d0", "d0Err", "dz", "dzErr")


class StoredCandidates(Layout):
    """A layout that stores candidates as the rows of a collection.

    Attributes
    ----------
    collection
        The collection, by its name in PFNano.
    """

    collection: ClassVar[str] = "PFCands"

    _found_for: NDArray[np.int64] | None = None
    _constituents: tuple[NDArray[np.int64], NDArray[np.int64]]

    @abstractmethod
    def find_constituents(
        self, jets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the candidates of some jets are.

        Parameters
        ----------
        jets
            Positions in `jets`, int64, shape (n,).

        Returns
        -------
        positions
            int64: rows of the collection, over all events of the chunk, jet after jet.
        counts
            int64, shape (n,): candidates of each jet.
        """

    def constituents(self, jets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`find_constituents`, done once for the same jets."""
        if self._found_for is None or not np.array_equal(self._found_for, jets):
            self._constituents, self._found_for = self.find_constituents(jets), jets
        return self._constituents

    def computed_column(self, name: str, jets: NDArray[np.int64]) -> NDArray[Any] | None:
        return self.constituents(jets)[1] if name == "nConstituents" else None

    def candidates(self, jets: NDArray[np.int64]) -> Candidates:
        """Candidates of some jets.

        Raises
        ------
        DataError
            If a momentum is not finite.
        """
        positions, counts = self.constituents(jets)
        kinematics = [self._read(name, positions).astype(np.float32) for name in _KINEMATICS]
        columns: dict[str, NDArray[Any]] = dict(
            zip(CANDIDATE_COLUMNS[:4], four_momentum(*kinematics), strict=True)
        )
        for name in CANDIDATE_COLUMNS[:4]:
            if not np.isfinite(columns[name]).all():
                raise DataError(
                    f"{self.where}: a candidate has {name} that is not finite"
                    f" ({self.in_input(self.collection)}_pt, eta, phi, mass); the file is damaged,"
                    " make it again or leave it out"
                )
        if (empty := columns["E"] == 0).any():  # it looks like padding to whoever reads a jet table
            owner = np.repeat(np.arange(len(counts)), counts)
            self.notes["with_candidates_of_no_energy"] = len(np.unique(owner[empty]))
        columns |= self._tracks(positions)
        columns |= self._identity(positions)
        if self._has("puppiWeight"):
            weight = self._read("puppiWeight", positions).astype(np.float32)
            columns["puppiWeight"] = self.finite("PFCands_puppiWeight", weight)
        else:
            columns["puppiWeight"] = np.full(len(positions), SENTINEL)
            applied = "-1 (in the momenta already)" if self.puppi_applied else "-1"
            self.absent_columns["PFCands_puppiWeight"] = applied
        return Candidates(counts, kinematics[0], columns)

    def _has(self, name: str) -> bool:
        return self.has(f"{self.collection}_{name}")

    def _read(self, name: str, positions: NDArray[np.int64]) -> NDArray[Any]:
        return self.flat(f"{self.collection}_{name}")[positions]

    def _tracks(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """d0 and dz with their errors.

        All four are −1, which means no track details, where one of them is not finite or not there.
        """
        if not all(map(self._has, _TRACK)):
            self.absent_columns |= {f"PFCands_{name}": "-1" for name in _TRACK}
            return {name: np.full(len(positions), SENTINEL) for name in _TRACK}
        columns = {name: self._read(name, positions).astype(np.float32) for name in _TRACK}
        bad = ~np.logical_and.reduce([np.isfinite(values) for values in columns.values()])
        if bad.any():
            self.replaced_values["PFCands_d0, d0Err, dz, dzErr"] = int(np.count_nonzero(bad))
            columns = {name: np.where(bad, SENTINEL, values) for name, values in columns.items()}
        return columns

    def _identity(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """PDG id, 0 where the input has none, and charge, which follows from it."""
        if self._has("pdgId"):
            pdg_id = self._read("pdgId", positions).astype(np.int32)
        else:
            pdg_id = np.zeros(len(positions), np.int32)
            self.absent_columns["PFCands_pdgId"] = "0"
        if self._has("charge"):
            charge = self._read("charge", positions).astype(np.int32)
        else:
            charge = charge_of(pdg_id)
            computed = "computed from pdgId" if self._has("pdgId") else "0"
            self.absent_columns["PFCands_charge"] = computed
        return {"charge": charge, "pdgId": pdg_id}
