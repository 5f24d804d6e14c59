"""The first particles of all jets, then the second ones, …: their steps and contexts. Compiled.

Jets come by falling number of particles, so that those of a round are the first of the last. Of
each jet, the bucket of its last particle is remembered, from which the next one steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokenizer.compiled import compiled
from treasure.tokens.compressed.rows import Counts, Groups, Symbols

__all__ = ["BUCKETS", "RANGES", "Rounds"]

BUCKETS = 256
"""Of the order of pT; a bucket is a byte, and so are sums of them."""
RANGES = 33
"""Contexts: 32 ranges of the bucket before, and one for the first particle."""

_FIRST = RANGES - 1
_SHIFT = 3  # eight buckets are a range


def _find_contexts(
    before: Groups, sizes: Counts, number: int, limits: Counts, found: Groups
) -> None:
    for jet in range(len(found)):
        context = before[jet] >> _SHIFT if number else _FIRST
        left = sizes[jet] - number
        for limit in limits:
            if left >= limit:
                context += RANGES
        found[jet] = context


def _find_steps(
    before: Groups, starts: Counts, number: int, buckets: Groups, found: Symbols
) -> None:
    for jet in range(len(found)):
        bucket = buckets[starts[jet] + number]
        found[jet] = (np.int32(bucket) - before[jet]) & (BUCKETS - 1)
        before[jet] = bucket


def _take_steps(
    steps: Symbols, contexts: Groups, used: Counts, before: Groups, starts: Counts, number: int,
    buckets: Groups,
) -> None:  # fmt: skip
    place = np.cumsum(used) - used
    for jet in range(len(contexts)):
        context = contexts[jet]
        bucket = (np.int32(before[jet]) + steps[place[context]]) & (BUCKETS - 1)
        place[context] += 1
        before[jet] = bucket
        buckets[starts[jet] + number] = bucket


_contexts, _steps, _take = (compiled(f) for f in (_find_contexts, _find_steps, _take_steps))


class Rounds:
    """The rounds of jets with `counts` particles; iterated once, with `contexts` for each.

    Parameters
    ----------
    counts : (N,)
        Particles of each jet.
    limits
        Numbers of particles left, the present one included, from which another 33 contexts count.
    """

    def __init__(self, counts: Counts, limits: Any) -> None:
        by_size = np.argsort(-counts, kind="stable")
        self._sizes = counts[by_size]
        self._starts = (np.cumsum(counts) - counts)[by_size]
        self._limits = np.asarray(limits, dtype=np.int64)
        self._before = np.zeros(len(counts), dtype=np.uint8)
        self._number, self._number_of_jets = 0, 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Contexts of the particles of each round."""
        ascending = self._sizes[::-1]
        for number in range(int(self._sizes[0]) if len(self._sizes) else 0):
            jets = len(self._sizes) - int(np.searchsorted(ascending, number, side="right"))
            self._number, self._number_of_jets = number, jets
            found = np.empty(jets, dtype=np.uint8)
            _contexts(self._before, self._sizes, number, self._limits, found)
            yield found

    def steps(self, buckets: Groups) -> Symbols:
        """Steps of this round to the buckets (P,) of all particles."""
        found = np.empty(self._number_of_jets, dtype=np.int32)
        _steps(self._before, self._starts, self._number, buckets, found)
        return found

    def take(self, steps: Symbols, contexts: Groups, used: Counts, buckets: Groups) -> None:
        """Write into `buckets` where the steps of this round lead, which come by context."""
        _take(steps, contexts, used, self._before, self._starts, self._number, buckets)
