"""Ids coded one by one, with a table for each place in the pT order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokens.compressed.frequencies import (
    Call,
    FrequencyTable,
    Levels,
    levels,
    pack_calls,
    tables,
    unpacker,
)

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
        if rows.ndim != 3 or rows.shape[::2] != (codebooks, alphabet) or not rows.shape[1]:
            raise ValueError(f"levels have the shape {rows.shape}")
        return cls(rows)

    def calls(self, ids: Ids, counts: Counts) -> list[Call]:
        """Symbols and tables of the ids (P, Q) of jets with `counts` particles."""
        order, sizes = self._grouped(counts)
        return [
            call
            for number, of_codebook in enumerate(self._tables)
            for call in _split(ids[:, number][order], sizes, of_codebook)
        ]

    def kept(self, ids: Ids, counts: Counts) -> Ids:
        """The ids (P, Q) that are decoded: these."""
        return ids

    def encode(self, ids: Ids, counts: Counts) -> NDArray[np.uint32]:
        """Words of the ids (P, Q) of jets with `counts` particles."""
        return pack_calls(self.calls(ids, counts))

    def decode(self, words: NDArray[np.uint32], counts: Counts) -> Ids:
        """The ids (P, Q) of words."""
        return self.decode_from(unpacker(words), counts)

    def decode_from(self, decoder: Any, counts: Counts) -> Ids:
        """The ids (P, Q) that come next."""
        order, sizes = self._grouped(counts)
        ids = np.zeros((int(counts.sum()), self.codebooks), dtype=np.int32)
        for number, of_codebook in enumerate(self._tables):
            parts = [
                decoder.decode(table.coder_model, int(size))
                for table, size in zip(of_codebook, sizes, strict=True)
                if size
            ]
            if parts:
                ids[order, number] = np.concatenate(parts)
        return ids

    def _grouped(self, counts: Counts) -> tuple[slice | NDArray[np.int64], NDArray[np.int64]]:
        """Particles in the order of their classes, and how many each class has."""
        if self.classes == 1:
            return slice(None), np.array([counts.sum()])
        found = classes_of(counts, self.classes)
        return np.argsort(found, kind="stable"), np.bincount(found, minlength=self.classes)


def _split(symbols: Ids, sizes: NDArray[np.int64], of_classes: list[FrequencyTable]) -> list[Call]:
    ends = np.cumsum(sizes)
    symbols = np.ascontiguousarray(symbols, dtype=np.int32)
    return [
        (symbols[end - size : end], table)
        for table, size, end in zip(of_classes, sizes, ends, strict=True)
        if size
    ]
