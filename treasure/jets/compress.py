"""Compressed HDF5 chunks, made on threads with libdeflate and written past HDF5's own filter.

The result is an ordinary dataset with the gzip filter, which any HDF5 opens without plug-ins.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import deflate
import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["GZIP_LEVEL", "compression_pool", "create_compressed", "write_rows"]

GZIP_LEVEL = 4  # what the dataset says, as Aspen Open Jets
# As small as zlib's level 4 on jets, and three times as fast. igzip would be faster still, but
# about one of its streams in a hundred depends on what was in the memory before.
_LIBDEFLATE_LEVEL = 1


def compression_pool() -> ThreadPoolExecutor:
    """Threads for `write_rows`; their number changes no byte."""
    return ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1))


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


def write_rows(
    dataset: h5py.Dataset, start: int, values: NDArray[np.float32], pool: ThreadPoolExecutor
) -> None:
    """Write rows from `start` on, a multiple of the chunk length.

    Only the last rows of the dataset may end inside a chunk; the rest of that chunk is zeros.
    """
    length = dataset.chunks[0]
    if start % length or (len(values) % length and start + len(values) != len(dataset)):
        raise ValueError(f"rows {start}..{start + len(values)} do not fit chunks of {length}")

    def compress(first: int) -> bytes:
        block = values[first : first + length]
        if len(block) < length:
            whole = np.zeros(dataset.chunks, np.float32)
            whole[: len(block)] = block
            block = whole
        return bytes(deflate.zlib_compress(block.tobytes(), _LIBDEFLATE_LEVEL))

    firsts = range(0, len(values), length)
    trailing = (0,) * (values.ndim - 1)
    for first, packed in zip(firsts, pool.map(compress, firsts), strict=True):
        dataset.id.write_direct_chunk((start + first, *trailing), packed)
