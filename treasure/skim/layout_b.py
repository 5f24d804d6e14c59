"""Layout B: older PFNano, the candidates of each AK8 jet inline in a table of their own.

A row of `FatJetPFCands` is one candidate of jet `jetIdx`: pt, eta, phi, mass and the other columns
of layout A's `PFCands`. Made by github.com/cms-jet/PFNano until 23 April 2020
(``addPFCands_cff.py``, ``JetConstituentTableProducer.cc``), which sorts a jet's candidates by their
stored (unweighted) pt and leaves out those of PUPPI weight below 0.01.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from treasure.skim.layout_a import LayoutA

__all__ = ["LayoutB"]


class LayoutB(LayoutA, kind="B"):
    """Candidates in `FatJetPFCands` itself.

    Private variants keep fewer columns: only the momentum and `jetIdx` must be there.
    """

    summary = "candidates inline in FatJetPFCands"
    required: ClassVar[tuple[str, ...]] = (
        *(f"FatJetPFCands_{name}" for name in ("pt", "eta", "phi", "mass")),
        "FatJetPFCands_jetIdx",
    )
    collection: ClassVar[str] = "FatJetPFCands"

    def linked_candidates(self, links: NDArray[np.int64]) -> NDArray[np.int64]:
        return links
