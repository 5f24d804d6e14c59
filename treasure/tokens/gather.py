"""Copies of the tokens of many jets, one after the other or in rows, compiled.

With numpy alone every token costs an index of eight bytes, computed and read again.
"""

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["compiled", "gather", "in_line", "in_rows"]

Ids = NDArray[np.int32]
Numbers = NDArray[np.int64]


def compiled(function: Callable[..., Any]) -> Any:
    """A function for the machine, kept on disk where that is possible."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # no directory that may be written
        return numba.njit(function)


@compiled
def gather(tokens: Ids, starts: Numbers, counts: Numbers, out: Ids) -> None:
    """Copy `counts[i]` tokens from `starts[i]` on, one jet after the other."""
    done = np.uint64(0)
    for jet in range(len(starts)):
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
    for jet in range(len(starts)):
        first, place = np.uint64(starts[jet]), np.uint64(len(before))
        count = np.uint64(counts[jet])
        row = out[jet]
        row[: len(before)] = before
        for number in range(count):
            row[place + number] = tokens[first + number]
        length = len(before) + counts[jet]
        row[length : length + len(after)] = after
        length += len(after)
        row[length:] = pad
        particles = length // codebooks
        mask[jet, :particles] = True
        mask[jet, particles:] = False


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
    place = 0
    for jet in range(len(starts)):
        out[place : place + len(before)] = before
        place += len(before)
        first, to = np.uint64(starts[jet]), np.uint64(place)
        for number in range(np.uint64(counts[jet])):
            out[to + number] = tokens[first + number]
        place += counts[jet]
        out[place : place + len(after)] = after
        place += len(after)
