"""Batches of a token dataset, one after the other: shuffled, divided, and resumed in the middle."""

import warnings
from collections.abc import Iterator
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info
from torch.utils.data._utils.worker import WorkerInfo

from treasure.errors import ConfigError, DataError
from treasure.store import fingerprint
from treasure.tokens.batches import packed, padded
from treasure.tokens.rows import Room, TokenRows
from treasure.tokens.sampling import Epoch, process_place

if TYPE_CHECKING:
    from treasure.tokens.dataset import TokenDataset

__all__ = ["Batch", "TokenStream", "tensors"]

Batch = dict[str, torch.Tensor]

_LAYOUTS = ("padded", "packed")
_SEQUENTIAL_WINDOW = 50_000  # jets: in the order of the files, a window is of no use but to read
# What is in the memory that processes share.
_EPOCH, _START, _LOADED, _USED_BY = range(4)


class TokenStream(IterableDataset[Batch]):
    """Batches of the jets of a dataset, for `for` or for a loader with ``batch_size=None``.

    The batches of an epoch, and their order, depend on seed, epoch and number of processes (ranks),
    not on the number of workers: these take turns. Every process has as many batches as any other.

    Made by `TokenDataset.iterate`, which says what its options mean.

    Examples
    --------
    >>> stream = dataset.iterate(batch_size=256, shuffle=True)      # doctest: +SKIP
    >>> loader = DataLoader(stream, batch_size=None, num_workers=2)  # doctest: +SKIP
    >>> for epoch in range(10):                                      # doctest: +SKIP
    ...     stream.set_epoch(epoch)
    ...     for batch in loader:
    ...         ...
    """

    def __init__(
        self,
        dataset: "TokenDataset",
        batch_size: int,
        *,
        shuffle: bool,
        seed: int,
        epoch: int,
        bucket: bool,
        layout: str,
        drop_last: bool,
        window: int | None,
        rank: int | None,
        world_size: int | None,
    ) -> None:
        if layout not in _LAYOUTS:
            raise ConfigError(f"layout {layout!r}; expected {' or '.join(_LAYOUTS)}")
        for name, number, least in (
            *(("seed", seed, 0), ("epoch", epoch, 0)),
            *(("batch_size", batch_size, 1), ("shuffle_jets", 1 if window is None else window, 1)),
        ):
            _must_be_whole(name, number, least)
        for name, flag in (("shuffle", shuffle), ("bucket", bucket), ("drop_last", drop_last)):
            if not isinstance(flag, (bool, np.bool_)):
                raise ConfigError(f"{name} {flag!r}; expected True or False")
        process_place(rank, world_size)
        self.dataset, self.batch_size = dataset, batch_size
        self.shuffle, self.seed, self.bucket, self.layout = shuffle, seed, bucket, layout
        self.drop_last = drop_last
        self.window = window or (400_000 if shuffle or bucket else _SEQUENTIAL_WINDOW)
        self._given = rank, world_size
        # Workers that live through several epochs see what is set here.
        self._shared = torch.zeros(4, dtype=torch.int64).share_memory_()
        self._shared[_EPOCH] = epoch
        self._next: int | None = None  # where this process is
        self._own: dict[str, int] | None = None  # where this worker was, in a loaded state
        self._resumed = 0  # which of the loaded states this process has used

    @property
    def epoch(self) -> int:
        """Number of the epoch."""
        return int(self._shared[_EPOCH])

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch: another order, from its beginning, unless it is the one of now.

        Without this call every pass is in the same order.
        """
        _must_be_whole("epoch", epoch, 0)
        if epoch != self.epoch:
            self._shared[_START] = 0
            self._shared[_EPOCH] = epoch
            self._next = self._own = None

    def __len__(self) -> int:
        """Batches of this process in an epoch, over all its workers."""
        return self._order().batches

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        order = self._order()
        if not order.batches and worker == 0:
            warnings.warn(
                f"no batch in an epoch: {sum(order.sizes)} jets, batch_size {self.batch_size},"
                f" rank {order.rank} of {order.processes}, drop_last {bool(self.drop_last)}",
                stacklevel=2,
            )
        if self._own is not None:
            own, self._own = self._own, None
            if (own["worker"], own["workers"]) != (worker, workers):
                raise ConfigError(
                    f"the state of worker {own['worker']} of {own['workers']} was loaded into"
                    f" worker {worker} of {workers}; resume with as many workers as before"
                )
            first = own["next"]
        else:
            first = self._start() + worker
            self._use_start()
        self._next, room = first, Room()
        for window in order.windows(first):
            mine = range(first, window[1], workers)
            if not mine:
                continue
            rows = self._rows(order, window, room)
            places, edges = order.arrange(window, rows.counts, self.bucket)
            if self.shuffle or self.bucket:
                rows = rows.take(places)
            for number in mine:
                first = number + workers
                self._next = first
                place = number - window[0]
                yield self._batch(rows.slice(int(edges[place]), int(edges[place + 1])))

    def state_dict(self, batches: int | None = None) -> dict[str, Any]:
        """Where the stream is, for `load_state_dict`.

        Parameters
        ----------
        batches
            How many batches of the epoch were taken. Needed where workers of a plain
            ``DataLoader`` are ahead, and this process does not know; torchdata's
            ``StatefulDataLoader`` asks its workers.
        """
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        if batches is not None:
            _must_be_whole("batches", batches, 0)
            if batches > len(self):
                raise ConfigError(f"batches {batches}; the epoch has {len(self)}")
        place = self._next if batches is None else batches
        return {
            "epoch": self.epoch,
            "next": self._start() + worker if place is None else place,
            "worker": worker,
            "workers": workers,
            "order": self._fingerprint(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a stream was: the next pass has the batches that were left.

        Raises
        ------
        DataError
            If the state is that of other data, another batch size, seed or number of processes:
            the batches that are left would not be those that were not taken.
        """
        names = ("epoch", "next", "worker", "workers")
        if not isinstance(state, dict) or not all(
            type(state.get(name)) is int and state[name] >= 0 for name in names
        ):
            raise DataError(f"not the state of a token stream: {str(state)[:80]}")
        if state.get("order") != self._fingerprint():
            raise DataError(
                "the state is that of another stream: its files, filters, batch_size, seed, shuffle"
                " options or world_size differ; make the stream as it was"
            )
        self._shared[_EPOCH] = state["epoch"]
        self._next, self._own = state["next"], None
        if state["workers"] > 1:
            self._own = {name: state[name] for name in names}
            return
        self._shared[_START] = state["next"]
        self._shared[_USED_BY] = 0
        self._shared[_LOADED] += 1

    def __getstate__(self) -> dict[str, Any]:
        """For a worker that is no copy of this process, and cannot ask which one this is."""
        return {**self.__dict__, "_given": process_place(*self._given)}

    def _start(self) -> int:
        """First batch of a pass: the loaded one in the first pass after loading, else 0.

        Workers share what was loaded, and start at different times. All workers of one pass have
        the same base seed, by which a later pass is known.
        """
        if int(self._shared[_LOADED]) == self._resumed:
            return 0
        info, start = get_worker_info(), int(self._shared[_START])
        if info is None:
            return start
        return start if int(self._shared[_USED_BY]) in (0, _mark(info)) else 0

    def _use_start(self) -> None:
        """What was loaded is for this pass."""
        if int(self._shared[_LOADED]) == self._resumed:
            return
        self._resumed = int(self._shared[_LOADED])
        if (info := get_worker_info()) is None:
            self._shared[_START] = 0
        elif int(self._shared[_USED_BY]) == 0:
            self._shared[_USED_BY] = _mark(info)

    def _order(self) -> Epoch:
        rank, processes = process_place(*self._given)
        return Epoch(
            sizes=tuple(group.wanted for group in self.dataset.row_groups.groups),
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            seed=self.seed,
            epoch=self.epoch,
            rank=rank,
            processes=processes,
            drop_last=self.drop_last,
            window=self.window,
            kinds=self.dataset.row_groups.kinds,
        )

    def _fingerprint(self) -> str:
        if not hasattr(self, "_rows_fingerprint"):
            self._rows_fingerprint = self.dataset.row_groups.fingerprint
        numbers = [self.batch_size, self.seed, self.window, process_place(*self._given)[1]]
        return fingerprint(
            [self._rows_fingerprint, numbers, self.shuffle, self.bucket, self.drop_last]
        )

    def _rows(self, order: Epoch, window: tuple[int, int], room: Room) -> TokenRows:
        """The jets of a window, row group after row group."""
        parts = []
        pieces = order.pieces(window)
        for number, chosen in pieces:
            rows = self.dataset.row_groups.read(number)
            if len(chosen) < len(rows):
                rows = rows.take(chosen)
                rows = rows.compact() if len(pieces) > 1 else rows  # before it is joined
            parts.append(rows)
        return TokenRows.joined(parts, room)

    def _batch(self, rows: TokenRows) -> Batch:
        if self.layout == "packed":
            return tensors(packed(rows, self.dataset.specials))
        return tensors(padded(rows, self.dataset.specials, self.dataset.padding))


def _must_be_whole(name: str, number: Any, least: int) -> None:
    if not isinstance(number, Integral) or isinstance(number, bool) or number < least:
        raise ConfigError(f"{name} {number!r}; expected a whole number, at least {least}")


def _mark(info: WorkerInfo) -> int:
    """A number, not 0, that all workers of a pass have, and those of no other."""
    return int(info.seed - info.id) % 2**62 + 1


def tensors(arrays: dict[str, np.ndarray]) -> Batch:
    """Arrays as tensors of their own: integers as int64, which is what torch takes as an index."""
    return {name: _tensor(values) for name, values in arrays.items()}


def _tensor(values: np.ndarray) -> torch.Tensor:
    if values.dtype.kind == "i" and values.dtype != np.int64:
        values = values.astype(np.int64)
    elif values.base is not None or not values.flags.writeable:
        values = values.copy()
    return torch.from_numpy(values)
