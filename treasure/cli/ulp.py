"""Distance of two numbers in units in the last place (ulp), and what a column's differences are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOT_COMPARABLE", "ColumnDifference", "Difference", "distance", "same_bits"]

NOT_COMPARABLE = np.uint64(2**64 - 1)  # the distance to something that is not finite


def distance(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.uint64]:
    """Distance of numbers in ulp: how many steps to the next representable number lead there.

    It is 0 for the same bits only: −0 and 0 are one step apart, and so is NaN from a NaN of other
    bits. From a number that is not finite to any other it is `NOT_COMPARABLE`. Of integers, it is
    the difference.

    Parameters
    ----------
    a, b
        The same dtype (floating point, integer or boolean) and shape.

    Returns
    -------
    uint64, of that shape.
    """
    if a.dtype.kind != "f":
        greater = a > b
        # Modulo 2**64 the difference of integers is right even where it does not fit an int64.
        whole_a, whole_b = (x.astype(np.int64).view(np.uint64) for x in (a, b))
        return np.where(greater, whole_a - whole_b, whole_b - whole_a)
    steps_a, steps_b = _steps(a), _steps(b)
    apart = np.where(
        steps_a > steps_b, _difference(steps_a, steps_b), _difference(steps_b, steps_a)
    )
    finite = np.isfinite(a) & np.isfinite(b)
    if not finite.all():
        both_nan = np.isnan(a) & np.isnan(b)
        apart[~finite & (apart > 0)] = NOT_COMPARABLE
        apart[both_nan & (apart > 0)] = 1
    return apart


def _steps(values: NDArray[Any]) -> NDArray[np.int64]:
    """Number each floating-point value in ascending order: 0 → 0, −0 → −1."""
    bits = np.ascontiguousarray(values).view(f"i{values.dtype.itemsize}").astype(np.int64)
    lowest = np.int64(np.iinfo(f"i{values.dtype.itemsize}").min)
    return np.where(bits < 0, ~(bits - lowest), bits)


def _difference(greater: NDArray[np.int64], less: NDArray[np.int64]) -> NDArray[np.uint64]:
    # Modulo 2**64 this is right even where it does not fit an int64.
    difference: NDArray[np.uint64] = greater.view(np.uint64) - less.view(np.uint64)
    return difference


def same_bits(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Where values agree bit for bit, so that −0 is not 0, and NaN is the same NaN.

    Of two dtypes, or of objects, where they are equal.
    """
    if a.dtype == b.dtype and a.dtype.kind == "f":
        bits = f"u{a.dtype.itemsize}"
        same: NDArray[np.bool_] = a.view(bits) == b.view(bits)
        return same
    return np.asarray(a == b, bool)


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two columns differ first: row (of the first table), place in it, and the values."""

    row: int
    place: int | None
    a: Any
    b: Any


@dataclass(slots=True)
class ColumnDifference:
    """How two columns differ.

    Attributes
    ----------
    name
        Of the column.
    tolerance
        Ulp up to which numbers count as equal.
    values
        How many were compared, padding aside.
    values_differ, rows_differ
        Values whose bits differ, and rows with such a value.
    values_beyond, rows_beyond
        Those that differ by more than the tolerance.
    max_absolute, max_relative, max_ulp
        Greatest difference: in the column's unit, relative to the greater of both magnitudes, in
        ulp. Infinite, or `NOT_COMPARABLE`, if one of them is not finite.
    first
        The first value that differs.
    note
        What else is to be said, such as two dtypes.
    """

    name: str
    tolerance: int = 0
    values: int = 0
    values_differ: int = 0
    rows_differ: int = 0
    values_beyond: int = 0
    rows_beyond: int = 0
    max_absolute: float = 0.0
    max_relative: float = 0.0
    max_ulp: int = 0
    first: Difference | None = None
    note: str = ""

    def add(
        self,
        rows: NDArray[np.intp],
        places: NDArray[np.intp] | None,
        a: NDArray[Any],
        b: NDArray[Any],
    ) -> NDArray[np.intp]:
        """Count values whose bits differ.

        Parameters
        ----------
        rows
            Row of each value, ascending; shape (n,).
        places
            Place in the row (slot of a candidate); None where a row has one value.
        a, b
            The values, shape (n,).

        Returns
        -------
        Rows with a value beyond the tolerance, ascending, each once.
        """
        if len(rows) == 0:
            return rows
        if self.first is None or rows[0] < self.first.row:
            place = None if places is None else int(places[0])
            self.first = Difference(int(rows[0]), place, a[0], b[0])
        numeric = a.dtype.kind in "biuf"
        ulp = distance(a, b) if numeric else np.full(len(rows), NOT_COMPARABLE)
        beyond = np.unique(rows[ulp > self.tolerance])
        self.values_differ += len(rows)
        self.rows_differ += len(np.unique(rows))
        self.values_beyond += int(np.count_nonzero(ulp > self.tolerance))
        self.rows_beyond += len(beyond)
        self.max_ulp = max(self.max_ulp, int(ulp.max()))
        if not numeric:
            return beyond
        with np.errstate(all="ignore"):
            wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
            absolute = np.abs(wide_a - wide_b)
            relative = absolute / np.maximum(np.abs(wide_a), np.abs(wide_b))
        relative[absolute == 0] = 0  # −0 and 0
        for name, found in (("max_absolute", absolute), ("max_relative", relative)):
            greatest = float(np.where(np.isfinite(found), found, np.inf).max())
            setattr(self, name, max(getattr(self, name), greatest))
        return beyond
