"""Which row of one jet table is which of another: by order, or by event and number of the jet."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["MatchBy", "RowMatch", "match_rows"]

MatchBy = Literal["auto", "order", "event"]


@dataclass(frozen=True, slots=True)
class RowMatch:
    """Rows that belong together.

    Attributes
    ----------
    by
        "order" or "event".
    a, b
        intp, (n,): rows of the first table, ascending, and those of the second that belong to them.
    only_a, only_b
        intp: rows without one in the other table.
    """

    by: str
    a: NDArray[np.intp]
    b: NDArray[np.intp]
    only_a: NDArray[np.intp]
    only_b: NDArray[np.intp]

    @property
    def is_reordered(self) -> bool:
        """Whether the rows stand in another order."""
        return bool((np.diff(self.b) < 0).any())


def match_rows(
    events_a: NDArray[np.int64], events_b: NDArray[np.int64], by: MatchBy = "auto"
) -> RowMatch:
    """Find the rows that belong together.

    Parameters
    ----------
    events_a, events_b
        Run, luminosity block and event of each row, shapes (n, 3) and (m, 3).
    by
        "order": the first with the first, and so on. "event": by run, luminosity block, event, and
        which of the event's rows it is. "auto": by event if that pairs more rows of one event than
        the order does.
    """
    ordered = _in_order(events_a, events_b)
    if by == "order":
        return ordered
    if by == "auto":
        agreeing = (events_a[ordered.a] == events_b[ordered.b]).all(axis=1).sum()
        if agreeing == max(len(events_a), len(events_b)):
            return ordered
    by_event = _by_event(events_a, events_b)
    return ordered if by == "auto" and len(by_event.a) <= agreeing else by_event


def _in_order(events_a: NDArray[np.int64], events_b: NDArray[np.int64]) -> RowMatch:
    both = np.arange(min(len(events_a), len(events_b)))
    return RowMatch(
        "order",
        both,
        both,
        np.arange(len(both), len(events_a)),
        np.arange(len(both), len(events_b)),
    )


def _by_event(events_a: NDArray[np.int64], events_b: NDArray[np.int64]) -> RowMatch:
    n = len(events_a)
    numbered = np.concatenate(
        [
            np.column_stack([events, _number_in_event(events), np.full(len(events), table)])
            for table, events in enumerate((events_a, events_b))
        ]
    )
    order = np.lexsort(numbered.T[::-1])
    arranged = numbered[order]
    same = np.flatnonzero((arranged[:-1, :4] == arranged[1:, :4]).all(axis=1))
    a, b = order[same], order[same + 1] - n
    ascending = np.argsort(a)
    a, b = a[ascending], b[ascending]
    return RowMatch(
        "event",
        a,
        b,
        np.setdiff1d(np.arange(n), a, assume_unique=True),
        np.setdiff1d(np.arange(len(events_b)), b, assume_unique=True),
    )


def _number_in_event(events: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the rows of its event a row is, in the order of the table (int64, (n,)).

    Unlike `treasure.jets.table.jet_index`, the rows of an event need not be adjacent.
    """
    order = np.lexsort(events.T)  # stable
    arranged = events[order]
    first = np.ones(len(events), bool)
    first[1:] = (arranged[1:] != arranged[:-1]).any(axis=1)
    position = np.arange(len(events))
    number = np.empty(len(events), np.int64)
    number[order] = position - np.maximum.accumulate(np.where(first, position, 0))
    return number
