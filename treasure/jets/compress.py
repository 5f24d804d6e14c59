"""Compressed HDF5 chunks, made on threads with libdeflate and written past HDF5's own filter.

The result is an ordinary dataset with the gzip filter, which any HDF5 opens without plug-ins.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["GZIP_LEVEL", "ChunkWriter", "create_compressed"]

GZIP_LEVEL = 4  # what the dataset says, as Aspen Open Jets
# Smaller than zlib's level 4 on jets, in less than half the time (level 1 is slower and larger).
# igzip would be faster still, but about one of its streams in a hundred depends on what was in the
# memory before.
_LIBDEFLATE_LEVEL = 2
_MOST_THREADS = 4
_MOST_WAITING = 64  # chunks of at most 1 MB, beside the rows that they come from


def create_compressed(
    group: h5py.Group, key: str, rows: int, trailing: Sequence[int], chunk_rows: int
) -> h5py.Dataset:
    """An empty float32 dataset ``(rows, *trailing)``, gzip, in chunks of whole rows."""
    shape = (rows, *trailing)
    # An empty dataset could not have chunks if it had a fixed length.
    limits: dict[str, Any] = {} if rows else {"maxshape": (None, *trailing)}
    return group.create_dataset(
        key,
        shape=shape,
        dtype=np.float32,
        chunks=(max(1, min(chunk_rows, rows)), *trailing),
        compression="gzip",
        compression_opts=GZIP_LEVEL,
        track_times=False,
        **limits,
    )


class ChunkWriter:
    """Compresses rows on threads, and writes the chunks in the order in which they were given.

    To be used in a ``with`` statement; when it ends well, all is written.

    Parameters
    ----------
    threads
        That compress; their number changes no byte. None: as `threads_to_use`.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads or threads_to_use())
        self._waiting: deque[tuple[h5py.Dataset, tuple[int, ...], Future[bytearray]]] = deque()

    def __enter__(self) -> "ChunkWriter":
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        try:
            if failure is None:
                self._write_all_but(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, dataset: h5py.Dataset, start: int, values: NDArray[np.float32]) -> None:
        """Write rows from `start` on, a multiple of the chunk length; `values` must not change.

        Only the last rows of the dataset may end inside a chunk; the rest of that chunk is zeros.
        """
        length = dataset.chunks[0]
        if start % length or (len(values) % length and start + len(values) != len(dataset)):
            raise ValueError(f"rows {start}..{start + len(values)} do not fit chunks of {length}")
        trailing = (0,) * (values.ndim - 1)
        for first in range(0, len(values), length):
            block = values[first : first + length]
            packed = self._pool.submit(_compressed, block, dataset.chunks)
            self._waiting.append((dataset, (start + first, *trailing), packed))
        self._write_all_but(_MOST_WAITING)

    def _write_all_but(self, number: int) -> None:
        while len(self._waiting) > number:
            dataset, offset, packed = self._waiting.popleft()
            dataset.id.write_direct_chunk(offset, packed.result())


def threads_to_use(most: int = _MOST_THREADS) -> int:
    """One for each core, `most` at most; one alone in a process that is one of several."""
    if multiprocessing.parent_process() is not None:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(most, cores or 1)


def _compressed(block: NDArray[np.float32], shape: tuple[int, ...]) -> bytearray:
    if len(block) < shape[0]:
        whole = np.zeros(shape, np.float32)
        whole[: len(block)] = block
        block = whole
    return deflate.zlib_compress(block, _LIBDEFLATE_LEVEL)
