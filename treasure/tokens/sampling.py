"""The order in which an epoch takes jets, and which of them each process takes.

All of it is arithmetic on (seed, epoch, number of processes): nobody talks to anybody. The row
groups are put in an order, which makes one sequence of all jets; each of R processes has a
consecutive part of it, equal to one jet; this part is cut in windows of whole batches; within a
window, jets are in random order. So a process reads the row groups of its part and no others, holds
one window in memory, and every jet is in exactly one batch of one process.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from treasure.errors import ConfigError

__all__ = ["Epoch", "Pieces", "process_place"]

Rows = NDArray[np.int64]
Pieces = list[tuple[int, Rows]]  # row groups, and numbers of rows in each

# What the random numbers are for.
_GROUPS, _ROWS, _WINDOW = range(3)


def process_place(rank: int | None, processes: int | None) -> tuple[int, int]:
    """Number of this process and how many there are.

    As given; else of ``torch.distributed``, once it is initialised; else ``RANK`` and
    ``WORLD_SIZE`` of the environment, which ``torchrun`` sets; else the only one.

    Raises
    ------
    ConfigError
        If one is given without the other, or they do not fit.
    """
    if (rank is None) != (processes is None):
        raise ConfigError(f"rank {rank} of world_size {processes}; give both or none")
    if rank is None or processes is None:
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            rank, processes = distributed.get_rank(), distributed.get_world_size()
        else:
            said = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
            try:
                rank, processes = int(said[0]), int(said[1])
            except ValueError:
                raise ConfigError(
                    f"RANK {said[0]!r} of WORLD_SIZE {said[1]!r} in the environment; expected whole"
                    " numbers"
                ) from None
    if not 0 <= rank < processes:
        raise ConfigError(f"rank {rank} of world_size {processes}; expected 0 to {processes - 1}")
    return rank, processes


@dataclass(frozen=True)
class Epoch:
    """Batches of one process in one epoch.

    With ``drop_last`` false every jet is in exactly one batch of one process, and all processes
    have the same number of batches, at least if there is a jet for each of them and batches have
    two jets or more: where one process would need a batch for one more jet, the others make two
    of their last one. With ``drop_last`` true all batches are full, and fewer jets than one batch
    a process are left out.

    Parameters
    ----------
    sizes
        Jets of the row groups.
    batch_size
        Jets of a batch.
    shuffle
        Whether the order is random.
    seed, epoch
        What the order depends on.
    rank, processes
        Number of this process, and how many there are.
    drop_last
        Whether only full batches are made.
    window
        Jets among which one is drawn: rounded down to whole batches, at least one.
    kinds
        What the row groups are of, such as numbers of their datasets: where each dataset has files
        of its own, a window would else have jets of one class alone now and then.
    """

    sizes: tuple[int, ...]
    batch_size: int
    shuffle: bool = False
    seed: int = 0
    epoch: int = 0
    rank: int = 0
    processes: int = 1
    drop_last: bool = False
    window: int = 400_000
    kinds: tuple[int, ...] = ()

    @cached_property
    def batches(self) -> int:
        """How many batches the process has."""
        jets = sum(self.sizes)
        if self.drop_last:
            return jets // (self.processes * self.batch_size)
        most = -(-jets // self.processes)  # rounded up
        return min(-(-most // self.batch_size), self._part[1] - self._part[0])

    @cached_property
    def _part(self) -> tuple[int, int]:
        """First jet of the process, and the one after its last, in the sequence of all."""
        if self.drop_last:
            own = sum(self.sizes) // (self.processes * self.batch_size) * self.batch_size
            return self.rank * own, (self.rank + 1) * own
        jets = sum(self.sizes)
        return jets * self.rank // self.processes, jets * (self.rank + 1) // self.processes

    def first_jet(self, batch: int) -> int:
        """Number, in the part of the process, of the first jet of a batch."""
        jets = self._part[1] - self._part[0]
        # Every batch that follows has at least one jet.
        return min(batch * self.batch_size, jets - (self.batches - batch))

    @property
    def jets(self) -> int:
        """How many jets the process has."""
        return self._part[1] - self._part[0]

    @property
    def window_batches(self) -> int:
        """Batches of a window."""
        return max(1, self.window // self.batch_size)

    def windows(self, first_batch: int = 0) -> Iterator[tuple[int, int]]:
        """First batch of each window, and the one after its last, from the one with a batch on."""
        size = self.window_batches
        for first in range(first_batch // size * size, self.batches, size):
            if first_batch < self.batches:
                yield first, min(first + size, self.batches)

    @cached_property
    def _order(self) -> tuple[Rows, Rows]:
        """Row groups in the order of the epoch, and where each begins."""
        order = np.arange(len(self.sizes))
        if self.shuffle:
            order = self._interleaved(self._generator(_GROUPS))
        return order, np.cumsum([0, *(self.sizes[number] for number in order)])

    def _interleaved(self, generator: np.random.Generator) -> Rows:
        """Row groups in random order, those of every kind spread evenly over the epoch."""
        order = generator.permutation(len(self.sizes))
        sizes = np.array(self.sizes, dtype=np.int64)[order]
        kinds = np.array(self.kinds or [0] * len(self.sizes), dtype=np.int64)[order]
        places = np.zeros(len(order))
        for kind in np.unique(kinds):
            mine = kinds == kind
            ends = np.cumsum(sizes[mine])
            places[mine] = (ends - generator.random() * sizes[mine]) / ends[-1]
        return order[np.argsort(places, kind="stable")]

    def pieces(self, window: tuple[int, int]) -> Pieces:
        """Where the jets of a window are: row groups, and the rows that are taken of each.

        Of a row group that belongs to several windows or processes each has other rows, chosen at
        random when `shuffle` is set.
        """
        order, starts = self._order
        first, stop = (self._part[0] + self.first_jet(batch) for batch in window)
        found: Pieces = []
        begin = int(np.searchsorted(starts, first, side="right")) - 1
        for place in range(begin, len(order)):
            if starts[place] >= stop:
                break
            number, size = int(order[place]), self.sizes[order[place]]
            own = slice(max(first - starts[place], 0), min(stop - starts[place], size))
            rows = np.arange(size)
            if self.shuffle and (own.start > 0 or own.stop < size):
                rows = self._generator(_ROWS, number).permutation(rows)
            if own.stop > own.start:
                found.append((number, rows[own]))
        return found

    def arrange(self, window: tuple[int, int], counts: Rows, bucket: bool) -> tuple[Rows, Rows]:
        """Which jets of a window go into each of its batches.

        Parameters
        ----------
        window
            Of `windows`.
        counts
            (n,) tokens of the jets of its pieces.
        bucket
            Whether jets of a batch are as equal in their number of tokens as they can be.

        Returns
        -------
        (n,) places in `counts`, and (batches + 1,) where in them each batch begins.
        """
        edges = np.array([self.first_jet(batch) for batch in range(window[0], window[1] + 1)])
        edges -= edges[0]
        order = np.arange(len(counts))
        generator = self._generator(_WINDOW, self.rank, window[0])
        if self.shuffle:
            order = generator.permutation(order)
        if bucket:
            # Sixteen bits are sorted in one go by their digits.
            lengths = np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)
            order = order[np.argsort(lengths[order], kind="stable")]
        if bucket and self.shuffle:
            batches = generator.permutation(len(edges) - 1)
            order = np.concatenate([order[edges[n] : edges[n + 1]] for n in batches])
            edges = np.cumsum([0, *np.diff(edges)[batches]])
        return order, edges

    def _generator(self, *purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.epoch, *purpose])
