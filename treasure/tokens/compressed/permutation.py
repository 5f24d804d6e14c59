"""The order of particles in a jet, as small numbers (the Lehmer code of a permutation).

Particles leave a queue, in which they stand in the order that can be rebuilt, in the order in which
they are stored. The digit of a particle is its place in the queue when it leaves: 0 throughout
where both orders are one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["digits_of", "places_of"]


def _digits(places: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.int32]:
    digits = np.empty_like(places)
    queue = np.empty(counts.max() if len(counts) else 0, dtype=np.int32)
    first = 0
    for count in counts:
        for place in range(count):
            queue[place] = place
        for row in range(count):
            wanted, digit = places[first + row], 0
            while queue[row + digit] != wanted:
                digit += 1
            digits[first + row] = digit
            # What stands before it moves up; rows behind `row` are those still in the queue.
            for step in range(digit, 0, -1):
                queue[row + step] = queue[row + step - 1]
        first += count
    return digits


def _places(digits: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.int32]:
    places = np.empty_like(digits)
    queue = np.empty(counts.max() if len(counts) else 0, dtype=np.int32)
    first = 0
    for count in counts:
        for place in range(count):
            queue[place] = place
        for row in range(count):
            # Digits of a damaged file may point behind the queue.
            digit = min(digits[first + row], count - 1 - row)
            places[first + row] = queue[row + digit]
            for step in range(digit, 0, -1):
                queue[row + step] = queue[row + step - 1]
        first += count
    return places


def _compiled(function: Callable[..., Any]) -> Any:
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # no directory that may be written
        return numba.njit(function)


_compiled_digits, _compiled_places = _compiled(_digits), _compiled(_places)


def digits_of(places: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Digits (P,) of particles that stand at these places (P,) of the rebuilt order of their jet.

    Parameters
    ----------
    places
        For each particle, as stored, its place 0 … n − 1.
    counts : (N,)
        Particles of each jet.
    """
    found: NDArray[np.int32] = _compiled_digits(places, counts)
    return found


def places_of(digits: NDArray[np.int32], counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """Places (P,) of digits: the inverse of `digits_of`."""
    found: NDArray[np.int32] = _compiled_places(digits, counts)
    return found
