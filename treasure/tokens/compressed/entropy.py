"""Entropies of ids, estimated without fooling oneself.

A table of 8,192 × 8,192 conditional frequencies, filled with the ids that it is then judged on,
finds hardly any entropy: it remembers them. Here tables are filled with half of the jets, how much
they are smoothed is chosen on a quarter, and the mean of −log2 p is taken on the last quarter. It
is an upper bound of the entropy, which falls as tables are filled with more jets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Folds", "folds", "plug_in", "smoothed"]

_STRENGTHS = 10.0 ** np.arange(-1, 5, 0.5)

Integers = NDArray[np.integer[Any]]


class Folds:
    """Which symbols fill tables, which choose the smoothing, and which are judged: masks (P,)."""

    def __init__(self, number: Integers) -> None:
        self.fill, self.choose, self.judge = number < 2, number == 2, number == 3

    def bits(self, probability: NDArray[np.float64]) -> float:
        """Mean of −log2 of the probabilities (P,) of the symbols that are judged."""
        return float(-np.log2(probability[self.judge]).mean())


def folds(counts: Integers) -> Folds:
    """Folds of the particles of jets with `counts` particles: jets go to them in turn."""
    return Folds(np.repeat(np.arange(len(counts)) % 4, counts))


def plug_in(symbols: Integers) -> dict[str, float]:
    """Entropy (bits) of the frequencies of symbols, and with the correction of Miller and Madow.

    The correction, (symbols that occur − 1) / (2 n ln 2), is the first term of the bias (G. Miller,
    in: Information Theory in Psychology (1955) 95).
    """
    _, used = np.unique(symbols, return_counts=True)
    share = used / used.sum()
    entropy = float(-(share * np.log2(share)).sum())
    return {
        "plug_in": entropy,
        "miller_madow": entropy + (len(used) - 1) / (2 * used.sum() * np.log(2)),
    }


def smoothed(
    symbols: Integers,
    contexts: Sequence[Integers],
    of: Folds,
    base: NDArray[np.float64] | float,
) -> NDArray[np.float64]:
    """Probability (P,) of each symbol, given contexts from the coarsest to the finest.

    In each context the frequencies are mixed with what the coarser one says: (n + α p) / (N + α),
    with the α of `_STRENGTHS` that is best for the symbols that choose.

    Parameters
    ----------
    symbols : (P,)
        From 0.
    contexts
        Each (P,): the context of each symbol.
    base
        What to mix the coarsest with: a probability for each symbol (P,), or one for all.
    """
    probability = np.broadcast_to(np.asarray(base, dtype=np.float64), symbols.shape)
    alphabet = np.int64(symbols.max(initial=0)) + 1
    for context in contexts:
        both = _occurrences(context * alphabet + symbols, of.fill)
        alone = _occurrences(context.astype(np.int64), of.fill)

        def mixed(strength: float, rows: NDArray[np.bool_] | slice) -> NDArray[np.float64]:
            found: NDArray[np.float64] = (both[rows] + strength * probability[rows]) / (  # noqa: B023
                alone[rows] + strength  # noqa: B023
            )
            return found

        costs = [-np.log2(mixed(strength, of.choose)).sum() for strength in _STRENGTHS]
        probability = mixed(float(_STRENGTHS[np.argmin(costs)]), slice(None))
    return probability


def _occurrences(keys: NDArray[np.int64], fill: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How often the key of each row (P,) occurs among the rows that fill tables."""
    known, used = np.unique(keys[fill], return_counts=True)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, used[place], 0)
