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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokens.compressed.classes import ClassCoder, Counts, Ids
from treasure.tokens.compressed.frequencies import (
    Call,
    FrequencyTable,
    Levels,
    levels,
    pack_calls,
    tables,
    unpacker,
)

__all__ = ["StepCoder"]

BUCKETS = 256
_RANGE = 8  # buckets
_RANGES = BUCKETS // _RANGE + 1  # and one for the first particle
# Particles left, this one included, at which a range ends.
_LEFT = (5, 13, 31)
# Below, all numbers of particles left are one range: the tables would cost more than they save.
_PARTICLES_FOR_LEFT = 1_000_000
_CORRECTION_CLASSES = 8
_RANK_BITS = 16
MOST_PARTICLES = 1 << _RANK_BITS

Parts = Callable[[], Iterable[tuple[Ids, Counts]]]
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
    correction
        What codes the order that was stored; None: the order is not kept.
    """

    def __init__(
        self,
        bucket: Bytes,
        within: NDArray[np.unsignedinteger[Any]] | None,
        steps: Levels,
        codes: Levels,
        *,
        sort: bool,
        correction: ClassCoder | None,
    ) -> None:
        self._of_code, self._within, self._steps, self._codes = bucket, within, steps, codes
        self.sort, self.correction = sort, correction
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

    # The model ------------------------------------------------------------------------------------

    @classmethod
    def fit(
        cls, parts: Parts, order: NDArray[np.uint32], *, sort: bool, keep_order: bool
    ) -> StepCoder:
        """Tables of the ids (P, 1) themselves; `parts` is called two or three times."""
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
        blank = np.zeros((_RANGES * ranges, BUCKETS), dtype=np.uint8)
        coder = cls(bucket, within, blank, levels(used), sort=sort, correction=None)
        steps, highest = np.zeros(blank.size, dtype=np.int64), 0
        for ids, counts in parts():
            places, digits = coder._sorted(ids, counts, keep_order=keep_order)
            for step, context in coder._contexts(coder._bucket[places], counts):
                steps += np.bincount(context * np.int64(BUCKETS) + step, minlength=steps.size)
            highest = max(highest, int(digits.max(initial=0)))
        correction = None
        if sort and keep_order:
            digits_of_parts = (
                (coder._sorted(ids, counts, keep_order=True)[1][:, None], counts)
                for ids, counts in parts()
            )
            correction = ClassCoder.fit(digits_of_parts, highest + 1, 1, _CORRECTION_CLASSES)
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
        if self.correction is not None:
            found["correction"] = self.correction.rows
        return found

    @classmethod
    def of_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], alphabet: int, *, sort: bool, keep_order: bool
    ) -> StepCoder:
        """The coder of what a file kept; ValueError where shapes or values do not fit."""
        steps, within = arrays["steps"], arrays["within"] if sort else None
        for name in ("bucket", "codes", *(["within"] if sort else [])):
            if arrays[name].shape != (alphabet,):
                raise ValueError(f"{name} has the shape {arrays[name].shape}")
        if steps.shape not in {(_RANGES * n, BUCKETS) for n in (1, len(_LEFT) + 1)}:
            raise ValueError(f"steps have the shape {steps.shape}")
        correction = None
        if sort and keep_order:
            rows = arrays["correction"]
            correction = ClassCoder.of_arrays({"levels": rows}, rows.shape[-1], 1)
        bucket, codes = arrays["bucket"], arrays["codes"]
        return cls(bucket, within, steps, codes, sort=sort, correction=correction)

    # Coding ---------------------------------------------------------------------------------------

    def calls(self, ids: Ids, counts: Counts) -> list[Call]:
        """Symbols and tables of the ids (P, 1) of jets with `counts` particles."""
        places, digits = self._sorted(ids, counts, keep_order=self.correction is not None)
        buckets, found = self._bucket[places], []
        for step, context in self._contexts(buckets, counts):
            by_context = np.argsort(context, kind="stable")
            symbols = step[by_context].astype(np.int32)
            found += _split(symbols, context, self._step_tables)
        by_bucket = np.argsort(buckets, kind="stable")
        within = places - self._first[buckets]
        found += _split(within[by_bucket], buckets, self._code_tables)
        if self.correction is not None:
            found += self.correction.calls(digits[:, None], counts)
        return found

    def kept(self, ids: Ids, counts: Counts) -> Ids:
        """The ids (P, 1) that are decoded: these, or in each jet by falling pT."""
        if not self.sort or self.correction is not None:
            return ids
        places = self._sorted(ids, counts, keep_order=False)[0]
        ordered: Ids = self._order[places]
        return ordered[:, None]

    def encode(self, ids: Ids, counts: Counts) -> NDArray[np.uint32]:
        """Words of the ids (P, 1) of jets with `counts` particles."""
        return pack_calls(self.calls(ids, counts))

    def decode(self, words: NDArray[np.uint32], counts: Counts) -> Ids:
        """The ids (P, 1) of words; ValueError for a code behind the last of a bucket."""
        decoder = unpacker(words)
        buckets = self._decoded_buckets(decoder, counts)
        by_bucket = np.argsort(buckets, kind="stable")
        places = np.empty(len(buckets), dtype=np.int32)
        used = np.bincount(buckets, minlength=BUCKETS)
        parts = [
            decoder.decode(self._code_tables[bucket].coder_model, int(used[bucket]))
            + int(self._first[bucket])
            for bucket in np.flatnonzero(used)
        ]
        if parts:
            places[by_bucket] = np.concatenate(parts)
        if places.max(initial=0) >= len(self._order):
            raise ValueError("a code behind the last one")
        ids: Ids = self._order[places]
        if self.correction is not None:
            from treasure.tokens.compressed.permutation import places_of

            digits = self.correction.decode_from(decoder, counts)[:, 0]
            starts = np.repeat(np.cumsum(counts) - counts, counts)
            ids = ids[starts + places_of(digits, counts)]
        return ids[:, None]

    def _decoded_buckets(self, decoder: Any, counts: Counts) -> Bytes:
        buckets = np.empty(int(counts.sum()), dtype=np.uint8)
        before = np.zeros(len(counts), dtype=np.uint8)
        for number, rows, left in _rounds(counts):
            before = before[: len(rows)]
            context = self._context(number, before, left)
            by_context = np.argsort(context, kind="stable")
            used = np.bincount(context, minlength=len(self._step_tables))
            parts = [
                decoder.decode(self._step_tables[number].coder_model, int(used[number]))
                for number in np.flatnonzero(used)
            ]
            step = np.empty(len(rows), dtype=np.uint8)
            step[by_context] = np.concatenate(parts)
            before = before + step
            buckets[rows] = before
        return buckets

    def _contexts(self, buckets: Bytes, counts: Counts) -> Iterator[tuple[Bytes, Bytes]]:
        """Steps and contexts of the first particles of all jets, of the second ones, …"""
        before = np.zeros(len(counts), dtype=np.uint8)
        for number, rows, left in _rounds(counts):
            here, before = buckets[rows], before[: len(rows)]
            yield here - before, self._context(number, before, left)
            before = here

    def _context(self, number: int, before: Bytes, left: Counts) -> Bytes:
        found = before // _RANGE if number else np.full(len(before), _RANGES - 1, dtype=np.uint8)
        if len(self._steps) == _RANGES:
            return found
        return found + _LEFT_RANGES[np.minimum(left, len(_LEFT_RANGES) - 1)]

    def _sorted(
        self, ids: Ids, counts: Counts, *, keep_order: bool
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Places of codes in the order in which they are coded, and digits of the correction."""
        places = self._place[ids[:, 0]]
        nothing = np.zeros(0, dtype=np.int32)
        if not self.sort:
            return places, nothing
        jet = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        rank = np.arange(len(places)) - starts
        keys = np.sort(((jet * len(self._order) + places) << _RANK_BITS) | rank)
        ordered = ((keys >> _RANK_BITS) % len(self._order)).astype(np.int32)
        if not keep_order:
            return ordered, nothing
        from treasure.tokens.compressed.permutation import digits_of

        new_places = np.empty(len(places), dtype=np.int32)
        new_places[starts + (keys & (MOST_PARTICLES - 1))] = rank
        return ordered, digits_of(new_places, counts)


_LEFT_RANGES = (np.searchsorted(_LEFT, np.arange(max(_LEFT) + 1), side="right") * _RANGES).astype(
    np.uint8
)


def _rounds(counts: Counts) -> Iterator[tuple[int, NDArray[np.int64], Counts]]:
    """For the first particles of all jets, then the second, …: rows, and particles left.

    Jets come by falling number of particles, so that those of a round are the first of the last.
    """
    by_size = np.argsort(-counts, kind="stable")
    sizes = counts[by_size]
    starts = (np.cumsum(counts) - counts)[by_size]
    ascending = sizes[::-1]
    for number in range(int(sizes[0]) if len(sizes) else 0):
        jets = len(sizes) - int(np.searchsorted(ascending, number, side="right"))
        yield number, starts[:jets] + number, sizes[:jets] - number


def _split(symbols: NDArray[np.int32], groups: Bytes, of_groups: list[Any]) -> list[Call]:
    """Symbols, ordered by groups, as a call for each group that there is."""
    used = np.bincount(groups, minlength=len(of_groups))
    ends = np.cumsum(used)
    return [
        (symbols[ends[group] - used[group] : ends[group]], of_groups[group])
        for group in np.flatnonzero(used)
    ]
