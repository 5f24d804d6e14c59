"""Rows of HEPTokens: codes of jets as sequences of equal length, and back."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.tokens.dialects.blocks import TokenBlock
from treasure.tokens.dialects.parquet import flat_lists

__all__ = [
    "POSITIONS",
    "codes_of",
    "matrix",
    "sequences",
    "size_of",
    "vocabulary_of",
]

POSITIONS = 128
PAD, CLS, SEP, MASK = range(4)
BASE = 4
TRACKS, OTHER = 9, 0

_EVENT_TYPE = 10


def vocabulary_of(size: int) -> dict[str, Any]:
    """What HEPTokens says of a vocabulary with `size` codes of particles."""
    return {
        "version": 1,
        "special_tokens": {"pad": PAD, "cls": CLS, "sep": SEP, "mask": MASK},
        "event": {"type_id": _EVENT_TYPE, "inputs": [], "tokens": []},
        "event_tokens": [],
        "object_order": ["tracks"],
        "objects": {
            "tracks": {
                "type_id": TRACKS,
                "codebook_size": size,
                "num_quantizers": 1,
                "quantizers": [{"index": 0, "base": BASE, "size": size}],
            }
        },
        "vocab_size": BASE + size,
    }


def size_of(content: Any, where: str) -> int:
    """Codes of particles in a vocabulary that is like that of `vocabulary_of`."""
    try:
        size = content["objects"]["tracks"]["codebook_size"]
        if not isinstance(size, int) or isinstance(size, bool):
            raise TypeError("codebook_size is no whole number")
        expected = vocabulary_of(size)
        for key in ("special_tokens", "objects", "vocab_size"):
            if content[key] != expected[key]:
                raise ValueError(f"{key} is {content[key]}, expected {expected[key]}")
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: not a vocabulary of pad 0, cls 1, sep 2, mask 3 and one codebook of tracks"
            f" ({type(error).__name__}: {error})"
        ) from None
    return size


def sequences(block: TokenBlock) -> dict[str, pa.Array]:
    """`tokens`, `mask` and `type_ids` of jets, as lists of `POSITIONS`.

    What does not fit is cut: particles beyond `POSITIONS` - 1, and the sep of jets with so many.
    """
    n = len(block)
    tokens = np.full((n, POSITIONS), PAD, np.int64)
    position = np.arange(POSITIONS)
    particle = (position > 0) & (position <= block.counts[:, None])
    slot = np.arange(len(block.ids)) - np.repeat(
        np.cumsum(block.counts) - block.counts, block.counts
    )
    tokens[particle] = BASE + block.ids[slot < POSITIONS - 1]
    tokens[:, 0] = CLS
    ending = block.counts < POSITIONS - 1
    tokens[np.flatnonzero(ending), block.counts[ending] + 1] = SEP
    mask = position < block.counts[:, None] + 2
    types = np.where(particle, TRACKS, OTHER)

    def lists(values: NDArray[Any]) -> pa.Array:
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), POSITIONS)

    return {
        "tokens": lists(tokens),
        "mask": lists(mask),
        "type_ids": lists(types.astype(np.int64)),
    }


def matrix(
    column: pa.ChunkedArray, where: str, first: int, width: int | None, kinds: str
) -> NDArray[Any]:
    """(n, width) of lists of equal length."""
    values, lengths = flat_lists(column, where, kinds)
    if width is None:
        width = int(lengths[0]) if len(lengths) else 0
    if (lengths != width).any():
        row = int(np.argmax(lengths != width))
        raise DataError(
            f"{where}: row {first + row} has {lengths[row]} positions, the others {width}; all rows"
            " of a file have the same number"
        )
    if values.dtype == np.uint64 and (values > 2**62).any():
        raise DataError(f"{where}: a token of {values.max()}, which no vocabulary has")
    rows = values.reshape(len(lengths), width)
    return rows if kinds == "b" else rows.astype(np.int64)


def codes_of(
    parts: dict[str, NDArray[Any]], size: int, where: str, first: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Codes of the constituents, their numbers, and how many rows have no sep."""
    tokens, mask = parts["tokens"], parts["mask"]

    def refuse(bad: NDArray[np.bool_], found: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(f"{where}, row {first + row}: {found}")

    if mask.shape != tokens.shape:
        raise DataError(f"{where}: rows of {tokens.shape[1]} tokens, but masks of {mask.shape[1]}")
    rows, width = tokens.shape
    length = mask.sum(axis=1)
    position = np.arange(width)
    refuse((mask != (position < length[:, None])).any(axis=1), "its mask has a hole")
    refuse((~mask & (tokens != PAD)).any(axis=1), f"tokens other than {PAD} (pad) behind its mask")
    refuse(length == 0, "no token at all")
    if not rows:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), 0
    refuse(tokens[:, 0] != CLS, f"does not begin with {CLS} (cls)")
    ends = (tokens[np.arange(rows), length - 1] == SEP) & (length > 1)
    refuse(~ends & (length < width), f"does not end with {SEP} (sep), though there is room for it")
    counts = length - 1 - ends
    particle = (position > 0) & (position <= counts[:, None])
    wrong = particle & ((tokens < BASE) | (tokens >= BASE + size))
    refuse(
        wrong.any(axis=1),
        f"token {tokens[wrong][0] if wrong.any() else ''} among the constituents; a vocabulary of"
        f" {size} codes has {BASE} to {BASE + size - 1} there",
    )
    if "type_ids" in parts:
        types = parts["type_ids"]
        if types.shape != tokens.shape:
            raise DataError(f"{where}: rows of {width} tokens, but {types.shape[1]} type_ids")
        refuse(
            (types != np.where(particle, TRACKS, OTHER)).any(axis=1),
            f"type_ids other than {TRACKS} (tracks) for constituents and {OTHER} elsewhere; other"
            " objects have no place in a token table",
        )
    return tokens[particle] - BASE, counts.astype(np.int64), int((~ends).sum())
