"""Candidates of equal pt have no order: recognise them where two tables order them differently."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.cli.ulp import distance

__all__ = ["SAME_PT", "pair_candidates"]

# Relative. Tables hold px and py, each rounded to single precision: pt is known to some ulp only.
SAME_PT = 4e-7
# A step of single precision is this much at most, and two candidates may take it either way.
_STEP = 2 * 2.0**-23
# Two candidates that agree so far are taken for the same one, so that their difference is shown.
_NEARLY = 8  # ulp
_PAIRS = 1 << 20  # held at a time; a jet whose candidates all have one pt has 22,500


def pair_candidates(
    a: NDArray[Any], b: NDArray[Any], px: int, py: int, ulp: int
) -> NDArray[np.intp]:
    """For each slot of `a`, the slot of `b` with the same candidate.

    Only candidates of equal pt change places: neighbours whose pt agrees to `SAME_PT` and the
    tolerance, in both tables. Within such a group as many candidates as possible are paired with
    one that agrees in every column within `ulp`; of the others those that nearly agree; what is
    left, in order.

    Parameters
    ----------
    a, b
        Shape (n, M, k), the same dtype; padding is zeros.
    px, py
        Numbers of these columns.
    ulp
        Tolerance.

    Returns
    -------
    intp, (n, M): a permutation of the slots of each row.
    """
    n, slots, width = a.shape
    paired = np.tile(np.arange(slots), (n, 1))
    if n == 0 or slots < 2:
        return paired
    same_pt = SAME_PT + ulp * _STEP
    start, size = _groups(same_pt, _squared_pt(a, px, py), _squared_pt(b, px, py))
    flat_a, flat_b = a.reshape(-1, width), b.reshape(-1, width)
    agree = (distance(flat_a, flat_b) <= ulp).all(axis=1)
    # A group whose candidates all agree where they are is left alone.
    disagreeing = np.add.reduceat(~agree, start) > 0
    start, size = start[disagreeing & (size > 1)], size[disagreeing & (size > 1)]
    result = np.arange(n * slots)
    ends = np.cumsum(size.astype(np.int64) ** 2)
    first = 0
    while first < len(start):
        taken = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, taken + _PAIRS, "right")), first + 1)
        _pair(flat_a, flat_b, start[first:last], size[first:last], ulp, result)
        first = last
    return (result.reshape(n, slots) % slots).astype(np.intp)


def _squared_pt(candidates: NDArray[Any], px: int, py: int) -> NDArray[np.float64]:
    x, y = (candidates[:, :, column].astype(np.float64) for column in (px, py))
    with np.errstate(all="ignore"):
        squared: NDArray[np.float64] = x * x + y * y
    return squared


def _groups(
    same_pt: float, *squared_pt: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First slot (counted over all rows) and length of the runs of slots with one pt.

    Neighbours belong together if they do in both tables, so that no candidate passes a harder one.
    """
    n, slots = squared_pt[0].shape
    together = np.zeros((n, slots), bool)
    together[:, 1:] = True
    for squared in squared_pt:
        before, after = squared[:, :-1], squared[:, 1:]
        with np.errstate(all="ignore"):
            near = np.abs(before - after) <= 2 * same_pt * np.maximum(before, after)
        together[:, 1:] &= near & (before > 0) & (after > 0)  # padding is no candidate
    start = np.flatnonzero(~together.ravel())
    return start, np.diff(start, append=n * slots)


def _pair(
    a: NDArray[Any],
    b: NDArray[Any],
    start: NDArray[np.intp],
    size: NDArray[np.intp],
    ulp: int,
    result: NDArray[np.intp],
) -> None:
    """Pair the slots of some groups; slots count over all rows."""
    members = np.repeat(start - np.cumsum(size) + size, size) + np.arange(size.sum())
    result[members] = -1
    left_a, left_b = members, members
    for tolerance in (ulp, max(ulp, _NEARLY)):
        found_a, found_b = _matched(a, b, start, size, tolerance, left_a, left_b)
        result[found_a] = found_b
        left_a = np.setdiff1d(left_a, found_a, assume_unique=True)
        left_b = np.setdiff1d(left_b, found_b, assume_unique=True)
    # As many of each group are left on either side, and groups are in one order.
    result[np.sort(left_a)] = np.sort(left_b)


def _matched(
    a: NDArray[Any],
    b: NDArray[Any],
    start: NDArray[np.intp],
    size: NDArray[np.intp],
    ulp: int,
    left_a: NDArray[np.intp],
    left_b: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A greatest matching of those left whose columns all agree within `ulp`."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import maximum_bipartite_matching

    squares = size.astype(np.int64) ** 2
    group = np.repeat(np.arange(len(size)), squares)
    within = np.arange(squares.sum()) - np.repeat(np.cumsum(squares) - squares, squares)
    of_a = start[group] + within // size[group]
    of_b = start[group] + within % size[group]
    free = np.isin(of_a, left_a) & np.isin(of_b, left_b)
    of_a, of_b = of_a[free], of_b[free]
    for column in range(a.shape[1]):
        agree = distance(a[of_a, column], b[of_b, column]) <= ulp
        of_a, of_b = of_a[agree], of_b[agree]
    if len(of_a) == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    rows, row = np.unique(of_a, return_inverse=True)
    columns, column_of = np.unique(of_b, return_inverse=True)
    graph = csr_matrix((np.ones(len(row), bool), (row, column_of)), shape=(len(rows), len(columns)))
    partner: NDArray[np.intp] = maximum_bipartite_matching(graph, perm_type="column")
    found = partner >= 0
    return rows[found].astype(np.intp), columns[partner[found]].astype(np.intp)
