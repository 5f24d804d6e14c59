"""Ids coded one by one, with a table for each place in the pT order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokens.compressed.frequencies import (
    Call,
    Levels,
    check_levels,
    joined,
    levels,
    pack_calls,
    split,
    tables,
    unpacker,
)
from treasure.tokens.compressed.rows import by_group, from_groups, group_sizes

__all__ = ["ClassCoder", "classes_of", "classes_that_pay"]

MOST_CLASSES = 16
# Particles for each entry of the tables: with fewer, a table costs more bits than it saves.
_PARTICLES_AN_ENTRY = 6

Ids = NDArray[np.int32]
Counts = NDArray[np.int64]


def classes_of(counts: Counts, number: int) -> NDArray[np.uint8]:
    """Class of each particle: ⌊rank · number / n⌋, its rank in the jet being 0 … n − 1."""
    if number == 1:
        return np.zeros(int(counts.sum()), dtype=np.uint8)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    size = np.repeat(counts.astype(np.int32), counts)
    rank = np.arange(total, dtype=np.int32) - np.repeat((ends - counts).astype(np.int32), counts)
    return (rank * np.int32(number) // size).astype(np.uint8)


def classes_that_pay(particles: int, alphabet: int) -> int:
    """How many classes to make for so many particles."""
    return int(np.clip(particles // (_PARTICLES_AN_ENTRY * alphabet), 1, MOST_CLASSES))


class ClassCoder:
    """Codes ids of Q codebooks, each with a table for each class of `classes_of`.

    Parameters
    ----------
    rows : (Q, classes, K) uint8
        Levels of the tables.
    """

    def __init__(self, rows: Levels) -> None:
        self.rows = rows
        self.codebooks, self.classes, self.alphabet = rows.shape
        self._tables = [tables(of_codebook) for of_codebook in rows]

    @classmethod
    def fit(
        cls, parts: Iterable[tuple[Ids, Counts]], alphabet: int, codebooks: int, classes: int
    ) -> ClassCoder:
        """Tables of the ids (P, Q) themselves, part by part."""
        found = np.zeros((codebooks, classes * alphabet), dtype=np.int64)
        for ids, counts in parts:
            first = classes_of(counts, classes).astype(np.int64) * alphabet
            for number in range(codebooks):
                found[number] += np.bincount(first + ids[:, number], minlength=classes * alphabet)
        return cls(levels(found.reshape(codebooks, classes, alphabet)))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the file keeps of the model."""
        return {"levels": self.rows}

    @classmethod
    def of_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], alphabet: int, codebooks: int
    ) -> ClassCoder:
        """The coder of what a file kept; ValueError where shapes do not fit."""
        rows = arrays["levels"]
        check_levels(rows)
        if rows.shape not in {(codebooks, n + 1, alphabet) for n in range(MOST_CLASSES)}:
            raise ValueError(f"levels have the shape {rows.shape}")
        return cls(rows)

    def calls(self, ids: Ids, counts: Counts) -> list[Call]:
        """Symbols and tables of the ids (P, Q) of jets with `counts` particles."""
        classes, found = classes_of(counts, self.classes), []
        for number, of_codebook in enumerate(self._tables):
            symbols, sizes = by_group(ids[:, number], classes, self.classes)
            found += split(symbols, sizes, of_codebook)
        return found

    def kept(self, ids: Ids, counts: Counts) -> Ids:
        """The ids (P, Q) that are decoded: these."""
        return ids

    def encode(self, ids: Ids, counts: Counts) -> NDArray[np.uint32]:
        """Words of the ids (P, Q) of jets with `counts` particles."""
        return pack_calls(self.calls(ids, counts))

    def decode(self, words: NDArray[np.uint32], counts: Counts) -> Ids:
        """The ids (P, Q) of words."""
        decoder = unpacker(words)
        classes = classes_of(counts, self.classes)
        sizes = group_sizes(classes, self.classes)
        return np.stack(
            [from_groups(joined(decoder, sizes, t), classes, sizes) for t in self._tables], axis=1
        )
