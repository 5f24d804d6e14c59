"""Rows put into another order, and back: by groups, and within jets. Compiled.

The order of particles in a jet becomes small numbers, the inversions of a permutation: particles
are put one after the other, as they are stored, among those that came before, by falling pT. The
digit of a particle is how many of these end up behind it: 0 throughout where both orders are one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokenizer.compiled import compiled

__all__ = [
    "Counts",
    "Groups",
    "Symbols",
    "by_group",
    "from_groups",
    "group_sizes",
    "insert",
    "look_up",
    "paired",
    "sort_jets",
]

Symbols = NDArray[np.int32]
Groups = NDArray[np.uint8]
Counts = NDArray[np.int64]


def _count(groups: Groups, sizes: Counts) -> None:
    for group in groups:
        sizes[group] += 1


def _by_group(values: Any, groups: Groups, sizes: Counts, found: Symbols) -> None:
    place = np.cumsum(sizes) - sizes
    for row in range(len(groups)):
        group = groups[row]
        found[place[group]] = values[row]
        place[group] += 1


def _from_groups(values: Symbols, groups: Groups, sizes: Counts, found: Symbols) -> None:
    place = np.cumsum(sizes) - sizes
    for row in range(len(groups)):
        group = groups[row]
        found[row] = values[place[group]]
        place[group] += 1


def _look_up(
    codes: Symbols, groups: Groups, sizes: Counts, first: Symbols, order: Symbols, found: Symbols
) -> bool:
    place = np.cumsum(sizes) - sizes
    fits = True
    for row in range(len(groups)):
        group = groups[row]
        entry = first[group] + codes[place[group]]
        place[group] += 1
        if entry >= len(order):
            entry, fits = 0, False
        found[row] = order[entry]
    return fits


def _sort_jets(places: Symbols, counts: Counts, digits: Symbols) -> None:
    first = 0
    for count in counts:
        for row in range(1, count):
            place, digit = places[first + row], 0
            while digit < row and places[first + row - digit - 1] > place:
                places[first + row - digit] = places[first + row - digit - 1]
                digit += 1
            places[first + row - digit] = place
            digits[first + row] = digit
        first += count


def _insert(pairs: Symbols, base: int, counts: Counts, ordered: Symbols, found: Symbols) -> None:
    queue = np.empty(counts.max(), dtype=np.int32)
    first = 0
    for count in counts:
        for row in range(count):
            pair = pairs[(first + row) // 2]
            digit = pair % base if (first + row) % 2 else pair // base
            digit = min(digit, row)  # those of a damaged file may point before the jet
            for step in range(digit):
                queue[row - step] = queue[row - step - 1]
            queue[row - digit] = row
        for place in range(count):
            found[first + queue[place]] = ordered[first + place]
        first += count


_compiled_look_up = compiled(_look_up)
_compiled_count = compiled(_count)
_compiled_by_group, _compiled_from_groups = compiled(_by_group), compiled(_from_groups)
_compiled_sort_jets, _compiled_insert = compiled(_sort_jets), compiled(_insert)


def group_sizes(groups: Groups, number: int) -> Counts:
    """How many rows each group has, (number,)."""
    sizes = np.zeros(number, dtype=np.int64)
    _compiled_count(groups, sizes)
    return sizes


def by_group(
    values: NDArray[Any], groups: Groups, number: int
) -> tuple[Symbols, NDArray[np.int64]]:
    """Values (n,) group by group, each in its order; and the sizes of the groups (number,)."""
    sizes, found = group_sizes(groups, number), np.empty(len(values), dtype=np.int32)
    _compiled_by_group(values, groups, sizes, found)
    return found, sizes


def from_groups(values: Symbols, groups: Groups, sizes: Counts) -> Symbols:
    """The inverse of `by_group`."""
    found = np.empty(len(values), dtype=np.int32)
    _compiled_from_groups(values, groups, sizes, found)
    return found


def look_up(
    codes: Symbols, groups: Groups, sizes: Counts, first: Symbols, order: Symbols
) -> Symbols:
    """Of codes, which come group by group: ``order[first[group] + code]`` for each row.

    Raises
    ------
    ValueError
        If this is behind the end of `order`.
    """
    found = np.empty(len(groups), dtype=np.int32)
    if not _compiled_look_up(codes, groups, sizes, first, order, found):
        raise ValueError("a code behind the last one")
    return found


def sort_jets(places: Symbols, counts: Counts) -> tuple[Symbols, Symbols]:
    """Places in the order of pT (P,), rising in each jet, and the digits (P,) of the old order."""
    found, digits = places.copy(), np.zeros(len(places), dtype=np.int32)
    _compiled_sort_jets(found, counts, digits)
    return found, digits


def paired(digits: Symbols, base: int) -> Symbols:
    """Two digits as one symbol, (P + 1) // 2 of them; the last digit may stand alone."""
    even = np.zeros(len(digits) + len(digits) % 2, dtype=np.int32)
    even[: len(digits)] = digits
    return even[0::2] * np.int32(base) + even[1::2]


def insert(pairs: Symbols, base: int, counts: Counts, ordered: Symbols) -> Symbols:
    """What was `ordered` (P,) in each jet, in the order that paired digits tell."""
    found = np.empty(len(ordered), dtype=np.int32)
    if len(counts):
        _compiled_insert(pairs, np.int32(base), counts, ordered, found)
    return found
