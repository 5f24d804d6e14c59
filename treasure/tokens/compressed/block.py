"""The coded ids of one row group: words, how many ids they hold, and checksums.

All numbers are unsigned, 32 bits, little-endian::

    ids        P Q modulo 2^32
    of ids     CRC-32 of the ids that are decoded, as little-endian int32, particle by particle
    words      of the coder
    of block   CRC-32 of all before
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokens.compressed.classes import Counts, Ids
from treasure.tokens.compressed.model import Coder

__all__ = ["read_block", "write_block"]

_HEAD, _TAIL = struct.Struct("<II"), struct.Struct("<I")
_MODULUS = 1 << 32
_MOST_PARTICLES = (1 << 31) - 1  # of a row group: places in a list are int32


def write_block(coder: Coder, ids: Ids, counts: Counts) -> bytes:
    """The block of the ids (P, Q) of jets with `counts` particles."""
    words = coder.encode(ids, counts) if len(ids) else np.zeros(0, np.uint32)
    head = _HEAD.pack(ids.size % _MODULUS, _checksum(coder.kept(ids, counts)))
    content = head + words.astype("<u4").tobytes()
    return content + _TAIL.pack(zlib.crc32(content))


def read_block(coder: Coder, block: Any, counts: Counts, codebooks: int) -> Ids:
    """The ids (P, Q) of a block.

    Raises
    ------
    ValueError
        Saying what does not fit.
    """
    block = memoryview(block)
    if len(block) < _HEAD.size + _TAIL.size or len(block) % 4:
        raise ValueError(f"a block of {len(block)} bytes")
    content, (stated,) = block[: -_TAIL.size], _TAIL.unpack(block[-_TAIL.size :])
    if zlib.crc32(content) != stated:
        raise ValueError("the checksum of the block does not fit")
    number, of_ids = _HEAD.unpack(content[: _HEAD.size])
    particles = int(counts.sum())
    if particles > _MOST_PARTICLES:
        raise ValueError(f"n_constituents of {particles} particles")
    if (particles * codebooks) % _MODULUS != number:
        raise ValueError(
            f"{number} ids are coded, but n_constituents wants {particles * codebooks}"
        )
    if not particles:
        return np.zeros((0, codebooks), dtype=np.int32)
    words = np.frombuffer(content[_HEAD.size :], dtype="<u4").astype(np.uint32)
    ids = coder.decode(words, counts)
    if _checksum(ids) != of_ids:
        raise ValueError("the checksum of the decoded ids does not fit")
    return ids


def _checksum(ids: NDArray[np.int32]) -> int:
    return zlib.crc32(np.ascontiguousarray(ids, dtype="<i4").reshape(-1).view(np.uint8).data)
