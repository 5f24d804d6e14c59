"""Which rows of a dataset's skims go into which jet table, so that no event is divided.

A plan is made of numbers alone: jets in all, the most in one event, and how many a table may hold.
It gives nominal boundaries, so far apart that each can move back to the first row of the event
that it falls into: no table is too long, and no row is lost or doubled.
Importing this module loads nothing heavy: branch maps make the plan.
"""

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


def overlapping(rows: tuple[int, int], jets: Sequence[int]) -> tuple[range, int]:
    """The branches of a skim that a range of rows needs.

    Parameters
    ----------
    rows
        Nominal range, from `plan_shards`.
    jets
        Rows of each branch, in order.

    Returns
    -------
    branches
        Those with a row in the range. One without rows goes with the rows after it, so that each
        is needed by a table; after the last row, with the last.
    first
        The row at which the first of them starts.
    """
    start, stop = rows
    starts = list(accumulate(jets, initial=0))
    total = starts.pop()
    needed = [
        number
        for number, (first, count) in enumerate(zip(starts, jets, strict=True))
        if (first < stop or stop == total) and first + max(count, 1) > start
    ]
    return range(needed[0], needed[-1] + 1), starts[needed[0]]
