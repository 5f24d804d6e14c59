"""Work on several threads, results in order: reading, computing and writing overlap."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["pipelined"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def pipelined(
    items: Iterable[Item], work: Callable[[Item], Result], *, threads: int
) -> Iterator[Result]:
    """Results of `work`, in the order of the items, with the work on `threads` threads.

    Items are read, and results are used, in the thread of the caller, while the others work; at
    most ``threads + 2`` items are in memory. Arrays of torch, numpy and scipy let other threads
    run while they compute. Torch uses one thread in each: many small arrays do not wait for each
    other.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(threads, "tokenize", initializer=torch.set_num_threads, initargs=(1,))
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
