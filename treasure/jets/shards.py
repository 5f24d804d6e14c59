"""Which rows of a dataset's skims go into which jet table, so that no event is divided.

A plan is made of numbers alone: jets in all, the most in one event, and how many a table may hold.
It gives nominal boundaries, so far apart that each can move back to the first row of the event
that it falls into: no table is too long, and no row is lost or doubled.
Importing this module loads nothing heavy: branch maps make the plan.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise

from treasure.errors import ConfigError

__all__ = ["overlapping", "plan_shards"]


def plan_shards(jets: int, most_jets_in_event: int, jets_per_shard: int) -> list[tuple[int, int]]:
    """Nominal ranges of rows, one for each jet table, that follow each other from 0 to `jets`.

    The first table is full; the boundaries after it are ``jets_per_shard - most_jets_in_event + 1``
    apart. Tables of few events can be empty, so `jets_per_shard` should be much more than an event
    has.

    Parameters
    ----------
    jets
        Selected jets of the dataset.
    most_jets_in_event
        Selected jets of the event that has most.
    jets_per_shard
        Jets that a table may have at most (`jet_table.jets_per_shard`).

    Returns
    -------
    At least one range (start, stop); one of no rows if there are no jets.

    Raises
    ------
    ConfigError
        If a table could not hold the event with most jets.

    Examples
    --------
    >>> plan_shards(250, 3, 100)
    [(0, 100), (100, 198), (198, 250)]
    """
    if jets_per_shard < most_jets_in_event:
        raise ConfigError(
            f"jet_table.jets_per_shard is {jets_per_shard}, but an event has {most_jets_in_event}"
            f" selected jets, and no event is divided; set it to {most_jets_in_event} or more"
        )
    spacing = jets_per_shard - max(most_jets_in_event, 1) + 1
    boundaries = [0, *range(jets_per_shard, jets, spacing), jets]
    return list(pairwise(boundaries))


def overlapping(plan: Sequence[tuple[int, int]], jets: Sequence[int]) -> list[tuple[range, int]]:
    """The branches of a skim that each range of rows needs.

    Parameters
    ----------
    plan
        Nominal ranges, from `plan_shards`.
    jets
        Rows of each branch, in order.

    Returns
    -------
    For each range its branches, and the row at which the first of them starts. Branches are those
    with a row in the range. One without rows goes with the rows after it, so that each is needed
    by a table; after the last row, with the last.
    """
    starts = list(accumulate(jets, initial=0))
    total = starts.pop()
    ends = [start + max(count, 1) for start, count in zip(starts, jets, strict=True)]
    needed = []
    for start, stop in plan:
        first = bisect_right(ends, start)
        last = len(jets) if stop == total else bisect_left(starts, stop)
        needed.append((range(first, last), starts[first]))
    return needed
