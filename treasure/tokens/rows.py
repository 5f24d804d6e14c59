"""Rows of a token table as arrays: ids of jet after jet, where each begins, and numbers a jet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.jets.splits import SPLITS
from treasure.tokens.gather import gather

__all__ = ["TokenRows", "offsets_of"]

Numbers = NDArray[Any]


@dataclass(frozen=True)
class TokenRows:
    """Jets with their tokens, without padding.

    Attributes
    ----------
    tokens
        (N,) int32, or (N, Q) with Q > 1 codebooks: the ids of all particles, jet after jet.
    offsets
        (n + 1,) int64: jet i has the tokens from ``offsets[i]`` up to ``offsets[i + 1]``.
    columns
        Name → (n,) numbers.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    columns: Mapping[str, Numbers]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """(n,) int64: tokens of each jet."""
        return np.diff(self.offsets)

    @property
    def codebooks(self) -> int:
        """Q, the ids of a particle."""
        return 1 if self.tokens.ndim == 1 else int(self.tokens.shape[1])

    @property
    def bytes(self) -> int:
        """Memory that the arrays take."""
        columns = sum(values.nbytes for values in self.columns.values())
        return int(self.tokens.nbytes + self.offsets.nbytes + columns)

    def take(self, rows: NDArray[np.integer[Any]]) -> "TokenRows":
        """The jets of the given numbers, in their order."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        starts, counts = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        offsets = offsets_of(counts)
        tokens = np.empty((int(offsets[-1]), *self.tokens.shape[1:]), dtype=np.int32)
        books = self.codebooks
        gather(self.tokens.reshape(-1), starts * books, counts * books, tokens.reshape(-1))
        return TokenRows(tokens, offsets, columns)

    def slice(self, first: int, stop: int) -> "TokenRows":
        """Consecutive jets, without a copy."""
        offsets = self.offsets[first : stop + 1]
        return TokenRows(
            self.tokens[offsets[0] : offsets[-1]],
            offsets - offsets[0],
            {name: values[first:stop] for name, values in self.columns.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence["TokenRows"]) -> "TokenRows":
        """Jets of several, one after the other; there must be at least one."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.tokens for part in parts]),
            offsets_of(np.concatenate([part.counts for part in parts])),
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
        return cls(flat, offsets - offsets[0], cls.numbers(table, columns))

    @staticmethod
    def numbers(table: pa.Table, columns: Iterable[str]) -> dict[str, Numbers]:
        """The named columns alone, as arrays."""
        return {
            name: _splits(table[name]) if name == "split" else table[name].to_numpy()
            for name in columns
        }


def offsets_of(counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where each jet begins, and where the last one ends: (n + 1,)."""
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _whole(column: pa.ChunkedArray) -> pa.Array:
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return whole if isinstance(whole, pa.Array) else pa.concat_arrays(whole.chunks)


def _splits(column: pa.ChunkedArray) -> NDArray[np.int32]:
    """The splits of rows as numbers."""
    whole = _whole(column)
    names = whole.dictionary.to_pylist()
    numbers = [SPLITS.index(name) if name in SPLITS else -1 for name in names]
    return np.array([*numbers, -1], dtype=np.int32)[whole.indices.to_numpy()]
