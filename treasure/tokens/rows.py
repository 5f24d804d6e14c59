"""Rows of a token table as arrays: ids of jet after jet, where each begins, and numbers a jet."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.jets.splits import SPLITS
from treasure.tokens.gather import gather

__all__ = ["Room", "TokenRows"]

Numbers = NDArray[Any]


class Room:
    """Memory for ids that is used again: what is new to a process costs more than copying to it."""

    def __init__(self) -> None:
        self._ids: NDArray[Any] = np.empty(0, dtype=np.int32)

    def of(self, n: int, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Ids of any value, (n, …) with the given trailing shape."""
        size = n * math.prod(shape)
        if len(self._ids) < size or self._ids.dtype != dtype:
            self._ids = np.empty(size + size // 8, dtype=dtype)
        return self._ids[:size].reshape(n, *shape)


@dataclass(frozen=True)
class TokenRows:
    """Jets with their tokens, without padding.

    Attributes
    ----------
    tokens
        (N,) uint16, or int32 for more than 65,536 codes; (N, Q) with Q > 1 codebooks: ids of these
        jets, and of others maybe.
    starts, counts
        (n,) int64: jet i has the ``counts[i]`` tokens from ``starts[i]`` on.
    columns
        Name → (n,) numbers.
    """

    tokens: NDArray[np.integer[Any]]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    columns: Mapping[str, Numbers]

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def codebooks(self) -> int:
        """Q, the ids of a particle."""
        return 1 if self.tokens.ndim == 1 else int(self.tokens.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the arrays take."""
        columns = sum(values.nbytes for values in self.columns.values())
        return int(self.tokens.nbytes + self.starts.nbytes + self.counts.nbytes + columns)

    def take(self, rows: NDArray[np.integer[Any]]) -> "TokenRows":
        """The jets of the given numbers, in their order; tokens stay where they are."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return TokenRows(self.tokens, self.starts[rows], self.counts[rows], columns)

    def slice(self, first: int, stop: int) -> "TokenRows":
        """Consecutive jets, without a copy."""
        columns = {name: values[first:stop] for name, values in self.columns.items()}
        return TokenRows(self.tokens, self.starts[first:stop], self.counts[first:stop], columns)

    def compact(self) -> "TokenRows":
        """The same with a copy of the tokens of these jets alone, one after the other."""
        ends, books = np.cumsum(self.counts), self.codebooks
        shape = (int(ends[-1]) if len(self) else 0, *self.tokens.shape[1:])
        tokens = np.empty(shape, dtype=self.tokens.dtype)
        flat = self.tokens.reshape(-1)
        gather(flat, self.starts * books, self.counts * books, tokens.reshape(-1))
        return TokenRows(tokens, ends - self.counts, self.counts, self.columns)

    @classmethod
    def joined(cls, parts: Sequence["TokenRows"], room: "Room | None" = None) -> "TokenRows":
        """Jets of several, one after the other; there must be at least one.

        With `room` the tokens lie there until it is used again.
        """
        if len(parts) == 1:
            return parts[0]
        before = np.cumsum([0, *(len(part.tokens) for part in parts)])
        first = parts[0].tokens
        out = None if room is None else room.of(int(before[-1]), first.shape[1:], first.dtype)
        return cls(
            np.concatenate([part.tokens for part in parts], out=out),
            np.concatenate([part.starts + n for part, n in zip(parts, before, strict=False)]),
            np.concatenate([part.counts for part in parts]),
            {
                name: np.concatenate([part.columns[name] for part in parts])
                for name in parts[0].columns
            },
        )

    @classmethod
    def from_arrow(cls, table: pa.Table, columns: Iterable[str]) -> "TokenRows":
        """From a table with `tokens` and the named columns, without a Python object a jet.

        `split` becomes its number in `SPLITS` (train, val, test), -1 for any other.
        """
        tokens = _whole(table["tokens"])
        # A slice of a list array keeps what lies before and after it.
        offsets = tokens.offsets.to_numpy().astype(np.int64)
        ids = tokens.flatten()
        if pa.types.is_fixed_size_list(ids.type):
            flat = ids.flatten().to_numpy().reshape(-1, ids.type.list_size)
        else:
            flat = ids.to_numpy()
        counts = np.diff(offsets)
        return cls(flat, offsets[:-1] - offsets[0], counts, cls.numbers(table, columns))

    @staticmethod
    def numbers(table: pa.Table, columns: Iterable[str]) -> dict[str, Numbers]:
        """The named columns alone, as arrays."""
        return {
            name: _splits(table[name]) if name == "split" else table[name].to_numpy()
            for name in columns
        }


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)


def _splits(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """The splits of rows as numbers."""
    whole = _whole(column)
    names = whole.dictionary.to_pylist()
    numbers = [SPLITS.index(name) if name in SPLITS else -1 for name in names]
    return np.array([*numbers, -1], dtype=np.int32)[whole.indices.to_numpy()]
