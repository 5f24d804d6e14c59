"""Ids coded given the particle before: where in the pT order of codes, and then which code there.

All codes stand in the order of their pT, cut into 256 buckets that are used about equally. Of a
particle, first the step from the bucket of the one before is coded, with a table for each of 32
ranges of that bucket and a few ranges of the number of particles that are left; then the code in
the bucket, with a table for each bucket. The first codes of all jets are decoded at once, then the
second ones, and so on.

Where the order of particles need not be kept, each jet is first sorted: no step goes back, and the
log2 n! bits of the order are saved. The order that is rebuilt is the one of the pT of the codes. A
correction, if wanted, leads from it to the order that was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokens.compressed.frequencies import (
    Call,
    FrequencyTable,
    Levels,
    Symbols,
    check_levels,
    joined,
    levels,
    pack_calls,
    split,
    tables,
    unpacker,
)
from treasure.tokens.compressed.rounds import BUCKETS, RANGES, Rounds
from treasure.tokens.compressed.rows import (
    Counts,
    by_group,
    group_sizes,
    insert,
    look_up,
    paired,
    sort_jets,
)

__all__ = ["BUCKETS", "Parts", "StepCoder"]

# Particles left, this one included, from which on there is another range.
_LEFT = (5, 13, 31)
# Below, all numbers of particles left are one range: the tables would cost more than they save.
_PARTICLES_FOR_LEFT = 1_000_000
# Two digits of the correction are one symbol, so that half as many are decoded.
_LARGEST_DIGIT = 1023

Parts = Callable[[], Iterable[tuple[Symbols, Counts]]]
Bytes = NDArray[np.uint8]


class StepCoder:
    """Codes ids of one codebook.

    Parameters
    ----------
    bucket : (K,) uint8
        Of each code; rising with falling pT.
    within : (K,) unsigned integer, optional
        Place of each code in its bucket, by falling pT; None: that of its number.
    steps : (33 L, 256) uint8
        Levels of steps, modulo 256, for each range of buckets and of L ranges of particles left.
    codes : (K,) uint8
        Levels of codes.
    sort
        Whether jets are sorted.
    correction : (b², ) uint8, optional
        Levels of two digits of the order that was stored, in base b; None: it is not kept.
    """

    def __init__(
        self,
        bucket: Bytes,
        within: NDArray[np.unsignedinteger[Any]] | None,
        steps: Levels,
        codes: Levels,
        *,
        sort: bool,
        correction: Levels | None,
    ) -> None:
        self._of_code, self._within, self._steps, self._codes = bucket, within, steps, codes
        self.sort, self._correction = sort, correction
        keys = (bucket,) if within is None else (within, bucket)
        self._order = np.lexsort(keys).astype(np.int32)
        self._place = np.empty(len(bucket), dtype=np.int32)
        self._place[self._order] = np.arange(len(bucket), dtype=np.int32)
        self._bucket = bucket[self._order]
        limits = np.searchsorted(self._bucket, np.arange(BUCKETS + 1)).astype(np.int32)
        self._first = limits[:-1]
        self._step_tables = tables(steps)
        self._code_tables = [
            FrequencyTable(codes[self._order[begin:end]]) for begin, end in pairwise(limits)
        ]
        self._digit_tables = [] if correction is None else [FrequencyTable(correction)]

    # The model ------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls, parts: Parts, order: NDArray[np.uint32], *, sort: bool, keep_order: bool
    ) -> StepCoder:
        """Tables of the ids (P, 1) themselves; `parts` is called twice.

        Raises
        ------
        ValueError
            If the order is to be kept, and is so different that no correction fits.
        """
        used, particles = np.zeros(len(order), dtype=np.int64), 0
        for ids, _ in parts():
            used += np.bincount(ids[:, 0], minlength=len(order))
            particles += len(ids)
        in_order = used[order]
        # The share of what comes before a code says in which bucket it is.
        before = (np.cumsum(in_order + 1) - in_order - 1) / (in_order + 1).sum()
        of_order = np.minimum((before * BUCKETS).astype(np.int64), BUCKETS - 1)
        bucket = np.empty(len(order), dtype=np.uint8)
        bucket[order] = of_order
        within = None
        if sort:
            place = np.arange(len(order)) - np.searchsorted(of_order, of_order)
            within = np.empty(len(order), dtype=np.min_scalar_type(place.max()))
            within[order] = place
        ranges = len(_LEFT) + 1 if particles >= _PARTICLES_FOR_LEFT else 1
        blank = np.zeros((RANGES * ranges, BUCKETS), dtype=np.uint8)
        coder = cls(bucket, within, blank, levels(used), sort=sort, correction=None)
        steps = np.zeros(blank.size, dtype=np.int64)
        pairs = np.zeros((_LARGEST_DIGIT + 1) ** 2 if sort and keep_order else 0, dtype=np.int64)
        for ids, counts in parts():
            places, digits = coder._sorted(ids, counts)
            for step, context in coder._steps_of(coder._bucket[places], counts):
                steps += np.bincount(context * np.int64(BUCKETS) + step, minlength=steps.size)
            if len(pairs):
                if digits.max(initial=0) > _LARGEST_DIGIT:
                    raise ValueError(
                        f"a particle stands {digits.max()} places from where its pT belongs; up to"
                        f" {_LARGEST_DIGIT} can be kept: choose another variant, or order rebuilt"
                    )
                pairs += np.bincount(paired(digits, _LARGEST_DIGIT + 1), minlength=len(pairs))
        correction = _squeezed(pairs) if len(pairs) else None
        found = levels(steps.reshape(blank.shape))
        return cls(bucket, within, found, coder._codes, sort=sort, correction=correction)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the file keeps of the model."""
        found: dict[str, NDArray[Any]] = {
            "bucket": self._of_code,
            "steps": self._steps,
            "codes": self._codes,
        }
        if self._within is not None:
            found["within"] = self._within
        if self._correction is not None:
            found["correction"] = self._correction
        return found

    @classmethod
    def of_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], alphabet: int, *, sort: bool, keep_order: bool
    ) -> StepCoder:
        """The coder of what a file kept; ValueError where shapes or values do not fit."""
        within = arrays["within"] if sort else None
        bucket, steps, codes = (arrays[name] for name in ("bucket", "steps", "codes"))
        if bucket.dtype != np.uint8 or not all(
            array.shape == (alphabet,) for array in (bucket, codes, within) if array is not None
        ):
            raise ValueError(f"bucket, codes and within are not of {alphabet} ids")
        if steps.shape not in {(RANGES * n, BUCKETS) for n in (1, len(_LEFT) + 1)}:
            raise ValueError(f"steps have the shape {steps.shape}")
        check_levels(steps, codes)
        correction = None
        if sort and keep_order:
            correction = arrays["correction"]
            check_levels(correction)
            if correction.shape != (max(isqrt(correction.size), 1) ** 2,):
                raise ValueError(f"the correction has the shape {correction.shape}")
        return cls(bucket, within, steps, codes, sort=sort, correction=correction)

    # Coding ---------------------------------------------------------------------------------------

    def calls(self, ids: Symbols, counts: Counts) -> list[Call]:
        """Symbols and tables of the ids (P, 1) of jets with `counts` particles."""
        places, digits = self._sorted(ids, counts)
        buckets, found = self._bucket[places], []
        for step, context in self._steps_of(buckets, counts):
            found += split(*by_group(step, context, len(self._step_tables)), self._step_tables)
        codes = places - self._first[buckets]
        found += split(*by_group(codes, buckets, BUCKETS), self._code_tables)
        if self._correction is not None:
            found.append((paired(digits, isqrt(len(self._correction))), self._digit_tables[0]))
        return found

    def kept(self, ids: Symbols, counts: Counts) -> Symbols:
        """The ids (P, 1) that are decoded: these, or in each jet by falling pT."""
        if not self.sort or self._correction is not None:
            return ids
        ordered: Symbols = self._order[self._sorted(ids, counts)[0]]
        return ordered[:, None]

    def encode(self, ids: Symbols, counts: Counts) -> NDArray[np.uint32]:
        """Words of the ids (P, 1) of jets with `counts` particles."""
        return pack_calls(self.calls(ids, counts))

    def decode(self, words: NDArray[np.uint32], counts: Counts) -> Symbols:
        """The ids (P, 1) of words; ValueError for a code behind the last one."""
        decoder = unpacker(words)
        buckets = self._decoded_buckets(decoder, counts)
        used = group_sizes(buckets, BUCKETS)
        codes = joined(decoder, used, self._code_tables)
        ids = look_up(codes, buckets, used, self._first, self._order)
        if self._correction is not None:
            base = isqrt(len(self._correction))
            pairs = decoder.decode(self._digit_tables[0].coder_model, (len(ids) + 1) // 2)
            ids = insert(pairs, base, counts, ids)
        return ids[:, None]

    def _decoded_buckets(self, decoder: Any, counts: Counts) -> Bytes:
        buckets = np.empty(int(counts.sum()), dtype=np.uint8)
        rounds = self._rounds(counts)
        for context in rounds:
            used = group_sizes(context, len(self._step_tables))
            rounds.take(joined(decoder, used, self._step_tables), context, used, buckets)
        return buckets

    def _steps_of(self, buckets: Bytes, counts: Counts) -> Iterator[tuple[Symbols, Bytes]]:
        """Steps and contexts of the first particles of all jets, of the second ones, …"""
        rounds = self._rounds(counts)
        for context in rounds:
            yield rounds.steps(buckets), context

    def _rounds(self, counts: Counts) -> Rounds:
        return Rounds(counts, _LEFT[: len(self._steps) // RANGES - 1])

    def _sorted(self, ids: Symbols, counts: Counts) -> tuple[Symbols, Symbols]:
        """Places of codes in the order in which they are coded, and digits of the correction."""
        places = self._place[ids[:, 0]]
        return sort_jets(places, counts) if self.sort else (places, np.zeros(0, dtype=np.int32))


def _squeezed(pairs: NDArray[np.int64]) -> Levels:
    """Levels of pairs of digits, in the smallest base."""
    square = pairs.reshape(_LARGEST_DIGIT + 1, -1)
    base = int(max(np.flatnonzero(square.any(axis=n)).max(initial=0) for n in (0, 1))) + 1
    return levels(square[:base, :base].reshape(-1))
