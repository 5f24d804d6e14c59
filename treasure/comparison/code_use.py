"""How much a token says: bits of its codes, and how many of them are in use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["code_use"]


def code_use(ids: NDArray[np.integer[Any]], codes: int) -> dict[str, float | int]:
    """Use of the codes by some particles.

    Parameters
    ----------
    ids : (P,) or (P, Q)
        Tokens of the particles, of one or of Q codebooks.
    codes
        Ids in each codebook.

    Returns
    -------
    dict
        `codes`, `codebooks`; `bits` of a particle, Q log2(codes); `entropy_bits` of zeroth order:
        how long a particle is on average in the best code that knows only how often each id occurs
        (C. Shannon, 1948). Of several codebooks it is the sum of their own (marginal) entropies,
        which is never below the joint entropy; that needs far more particles than there are tuples
        of ids. `codes_used`, summed over the codebooks, and `codes_used_share` of all;
        `perplexity`, 2 to the entropy of a codebook, as the mean over the codebooks.
    """
    columns = ids[:, None] if ids.ndim == 1 else ids
    codebooks = columns.shape[1]
    used, entropies = 0, []
    for column in columns.T:
        counts = np.bincount(column, minlength=codes)
        share = counts[counts > 0] / max(len(column), 1)
        used += len(share)
        entropies.append(float(-(share * np.log2(share)).sum()) + 0.0)
    return {
        "codes": codes,
        "codebooks": codebooks,
        "bits": float(codebooks * np.log2(codes)),
        "entropy_bits": float(np.sum(entropies)),
        "codes_used": used,
        "codes_used_share": used / (codes * codebooks),
        "perplexity": float(np.mean(2.0 ** np.array(entropies))),
    }
