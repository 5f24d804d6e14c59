"""Tables of frequencies: one byte a symbol in the file, exact integers in the coder.

A level L > 0 stands for the weight 2^(L/4), of which the mantissa has 8 bits, and level 0 for 0.
The frequency of a symbol is 1 + ⌊w (2^24 − n) / Σw⌋, n being the number of symbols; what is left of
2^24 goes to the first symbol of the greatest weight. All this is done in integers, so that every
machine decodes with the same table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import ConfigError

__all__ = [
    "LARGEST_ALPHABET",
    "PRECISION",
    "Call",
    "FrequencyTable",
    "Levels",
    "Symbols",
    "bits",
    "check_levels",
    "joined",
    "levels",
    "pack_calls",
    "split",
    "tables",
    "unpacker",
]

PRECISION = 24
"""Binary digits of a frequency."""
LARGEST_ALPHABET = 1 << 20
"""Symbols of a table at most: 16 steps of frequency are left for each."""

_STEPS = 4  # levels an octave; a level is off by 9 % at most, which costs 0.002 bits a symbol
_HIGHEST = 80  # twenty octaves
_MANTISSAS = np.array([256, 304, 362, 431], dtype=np.int64)

Levels = NDArray[np.uint8]
Symbols = NDArray[np.int32]


def levels(counts: NDArray[np.integer[Any]]) -> Levels:
    """Levels of counts, row by row: the greatest of a row has the highest, 0 has 0."""
    top = np.maximum(counts.max(axis=-1, keepdims=True, initial=0), 1)
    with np.errstate(divide="ignore"):
        found = np.rint(_STEPS * np.log2(counts / top)) + _HIGHEST
    return np.where(counts > 0, np.maximum(found, 1), 0).astype(np.uint8)


def check_levels(*arrays: NDArray[Any]) -> None:
    """ValueError unless they are levels of tables."""
    for array in arrays:
        if array.dtype != np.uint8 or array.max(initial=0) > _HIGHEST:
            raise ValueError("a table has levels that there are not")
        if not array.ndim or array.shape[-1] > LARGEST_ALPHABET:
            raise ValueError(f"a table has the shape {array.shape}")


@dataclass(frozen=True)
class FrequencyTable:
    """The model of one symbol.

    Attributes
    ----------
    levels : (n,) uint8
    """

    levels: Levels

    @cached_property
    def frequencies(self) -> NDArray[np.int64]:
        """Integers from 1, whose sum is 2^24, of the symbols up to the last one that occurs.

        Two symbols at least, as the coder wants; fewer are found faster.
        """
        count = int(np.flatnonzero(self.levels).max(initial=0)) + 1
        used = self.levels[:count].astype(np.int64)
        weights = np.zeros(max(count, 2), dtype=np.int64)
        weights[: len(used)] = np.where(used > 0, _MANTISSAS[used % _STEPS] << used // _STEPS, 0)
        if not weights.any():
            weights[:] = 1
        free = (1 << PRECISION) - len(weights)
        found: NDArray[np.int64] = 1 + weights * free // weights.sum()
        found[np.argmax(weights)] += (1 << PRECISION) - found.sum()
        return found

    @cached_property
    def coder_model(self) -> Any:
        """The same for constriction.

        It gives one step to each symbol and shares the rest in proportion to the probabilities.
        What is passed is that rest, as integers that float32 holds exactly and whose sum is the
        number of steps to share: nothing is rounded.
        """
        probabilities = (self.frequencies - 1).astype(np.float32)
        return _constriction().stream.model.Categorical(probabilities, perfect=False)


Call = tuple[Symbols, FrequencyTable]


def tables(rows: Levels) -> list[FrequencyTable]:
    """A table for each row of levels (m, n)."""
    return [FrequencyTable(row) for row in rows]


def bits(calls: Sequence[Call]) -> float:
    """Entropy of symbols under their tables: the sum of −log2 of frequency / 2^24."""
    return float(
        sum(PRECISION * len(s) - np.log2(t.frequencies[s]).sum() for s, t in calls if len(s))
    )


def pack_calls(calls: Sequence[Call]) -> NDArray[np.uint32]:
    """Words of symbols, to be decoded call by call from the first to the last."""
    coder = _constriction().stream.stack.AnsCoder()
    for symbols, table in reversed(calls):  # a stack: what was coded last is decoded first
        coder.encode_reverse(symbols, table.coder_model)
    words: NDArray[np.uint32] = coder.get_compressed()
    return words


def unpacker(words: NDArray[np.uint32]) -> Any:
    """The decoder of words, with ``decode(table.coder_model, number)``.

    Raises
    ------
    ValueError
        For words that no coder wrote.
    """
    return _constriction().stream.stack.AnsCoder(words)


def split(
    symbols: Symbols, sizes: NDArray[np.int64], of_groups: Sequence[FrequencyTable]
) -> list[Call]:
    """Symbols (n,), which come group by group, as a call for each group that there is."""
    ends = np.cumsum(sizes)
    return [
        (symbols[ends[group] - sizes[group] : ends[group]], of_groups[group])
        for group in np.flatnonzero(sizes).tolist()
    ]


def joined(decoder: Any, sizes: NDArray[np.int64], of_groups: Sequence[FrequencyTable]) -> Symbols:
    """The next symbols, group by group: the inverse of `split`."""
    parts = [
        decoder.decode(of_groups[group].coder_model, int(sizes[group]))
        for group in np.flatnonzero(sizes).tolist()
    ]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)


def _constriction() -> Any:
    try:
        import constriction
    except ImportError as error:
        raise ConfigError(
            "compressed token tables need the package constriction:"
            " pip install 'treasure-workflow[compression]'"
        ) from error
    return constriction
