"""Copies of the tokens of many jets, one after the other or in rows, compiled.

With numpy alone every token costs an index of eight bytes, computed and read again.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokenizer.compiled import compiled

__all__ = ["gather", "in_line", "in_rows"]

Ids = NDArray[np.integer[Any]]
Numbers = NDArray[np.int64]


@compiled
def gather(tokens: Ids, starts: Numbers, counts: Numbers, out: Ids) -> None:
    """Copy `counts[i]` tokens from `starts[i]` on, one jet after the other."""
    done = np.uint64(0)
    for jet in range(np.uint64(len(starts))):
        first = np.uint64(starts[jet])
        for place in range(np.uint64(counts[jet])):
            out[done + place] = tokens[first + place]
        done += np.uint64(counts[jet])


@compiled
def in_rows(
    tokens: Ids,
    starts: Numbers,
    counts: Numbers,
    before: Numbers,
    after: Numbers,
    pad: int,
    out: Numbers,
    mask: NDArray[np.bool_],
) -> None:
    """Copy jets to the rows of a rectangle, with the same before and after each, and pad the rest.

    `mask` becomes true where there is no padding; it may have fewer columns, for several ids each.
    """
    codebooks = out.shape[1] // max(mask.shape[1], 1)
    width, slots = np.uint64(out.shape[1]), np.uint64(mask.shape[1])
    for jet in range(np.uint64(len(starts))):
        first, place = np.uint64(starts[jet]), np.uint64(len(before))
        count = np.uint64(counts[jet])
        for number in range(place):
            out[jet, number] = before[number]
        for number in range(count):
            out[jet, place + number] = tokens[first + number]
        place += count
        for number in range(np.uint64(len(after))):
            out[jet, place + number] = after[number]
        place += np.uint64(len(after))
        for number in range(place, width):
            out[jet, number] = pad
        particles = place // np.uint64(codebooks)
        for number in range(slots):
            mask[jet, number] = number < particles


@compiled
def in_line(
    tokens: Ids,
    starts: Numbers,
    counts: Numbers,
    before: Numbers,
    after: Numbers,
    out: Numbers,
) -> None:
    """Copy jets one after the other, with the same before and after each."""
    to = np.uint64(0)
    for jet in range(np.uint64(len(starts))):
        for number in range(np.uint64(len(before))):
            out[to + number] = before[number]
        to += np.uint64(len(before))
        first, count = np.uint64(starts[jet]), np.uint64(counts[jet])
        for number in range(count):
            out[to + number] = tokens[first + number]
        to += count
        for number in range(np.uint64(len(after))):
            out[to + number] = after[number]
        to += np.uint64(len(after))
