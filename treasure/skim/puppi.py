"""PUPPI weights on the momenta of candidates (D. Bertolini et al., JHEP 10 (2014) 059)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.skim.record import CANDIDATE_COLUMNS, Candidates

__all__ = ["weighted"]

_MOMENTUM = CANDIDATE_COLUMNS[:4]


def weighted(candidates: Candidates) -> Candidates:
    """Candidates with px, py, pz, E and pt multiplied by their weight; those of weight 0 dropped.

    The products of what is stored are made in double precision and rounded once: to the bit what
    multiplying the columns of a table without weights applied gives. Candidates whose weight is not
    known (−1) are dropped, too. Nothing else changes.

    Parameters
    ----------
    candidates
        As stored, with `puppiWeight`.
    """
    kept = candidates.columns["puppiWeight"] > 0
    weight = candidates.columns["puppiWeight"][kept].astype(np.float64)
    columns: dict[str, NDArray[Any]] = {}
    for name, values in candidates.columns.items():
        columns[name] = values[kept]
        if name in _MOMENTUM:
            columns[name] = (columns[name].astype(np.float64) * weight).astype(np.float32)
    row = np.repeat(np.arange(len(candidates.counts)), candidates.counts)
    counts = np.bincount(row[kept], minlength=len(candidates.counts)).astype(np.int64)
    pt: Any = candidates.pt[kept].astype(np.float64) * weight  # not rounded: only for the order
    return Candidates(counts, pt, columns)
