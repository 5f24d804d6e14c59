"""Jets with unequal numbers of tokens in one array: padded, or packed; with special tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.errors import ConfigError, DataError
from treasure.tokens.gather import in_line, in_rows
from treasure.tokens.rows import TokenRows

__all__ = ["Padding", "Specials", "packed", "padded"]

Arrays = dict[str, NDArray[Any]]
Numbers = NDArray[np.int64]


_FARTHEST = 1 << 20  # a special id is from the end of the vocabulary


@dataclass(frozen=True)
class Specials:
    """Ids that are no codes: what is put around and after the tokens of a jet.

    Attributes
    ----------
    pad
        What fills up a jet that is shorter than others.
    bos, eos
        Before the first and after the last token of every jet; None: nothing.
    """

    pad: int
    bos: int | None = None
    eos: int | None = None

    @classmethod
    def of(cls, wanted: Sequence[str] | Mapping[str, int], vocabulary: int) -> "Specials":
        """From names, which get the ids after the vocabulary (pad first), or names with ids.

        Raises
        ------
        ConfigError
            For a name that is none of pad, bos and eos, and an id that is a code or there twice.
        """
        names = ("pad", "bos", "eos")
        if isinstance(wanted, str) or (unknown := [name for name in wanted if name not in names]):
            found = wanted if isinstance(wanted, str) else unknown[0]
            raise ConfigError(f"special token {found!r}; expected a list of {', '.join(names)}")
        if isinstance(wanted, Mapping):
            if odd := [number for number in wanted.values() if type(number) is not int]:
                raise ConfigError(f"special token of id {odd[0]!r}; expected a whole number")
            ids = dict(wanted)
        else:
            used = [name for name in names if name == "pad" or name in wanted]
            ids = {name: vocabulary + place for place, name in enumerate(used)}
        ids.setdefault("pad", max([vocabulary - 1, *ids.values()]) + 1)
        for name, number in ids.items():
            # below 0 is what losses leave out, which an embedding has no row for
            if number >= vocabulary + _FARTHEST or (number < 0 and name != "pad"):
                raise ConfigError(
                    f"special token {name} of id {number}; an embedding has a row for every id up"
                    f" to the largest: choose {vocabulary} or a little more"
                )
            if 0 <= number < vocabulary:
                raise ConfigError(
                    f"special token {name} of id {number}, which is a code (0 to {vocabulary - 1});"
                    f" choose {vocabulary} or more"
                )
        if len(set(ids.values())) < len(ids):
            raise ConfigError(f"two special tokens have the same id: {ids}")
        return cls(**ids)

    @property
    def ids(self) -> dict[str, int]:
        """Name → id of those in use."""
        found = {"pad": self.pad, "bos": self.bos, "eos": self.eos}
        return {name: number for name, number in found.items() if number is not None}

    @property
    def around(self) -> int:
        """How many of them every jet has."""
        return (self.bos is not None) + (self.eos is not None)


@dataclass(frozen=True)
class Padding:
    """How long padded jets are, special tokens included.

    Attributes
    ----------
    to
        Length; None: that of the longest jet of the batch.
    multiple_of
        The length of the longest is rounded up to a multiple of this.
    cut
        Whether a jet that is longer than `to` loses its last tokens; else it is an error.
    """

    to: int | None = None
    multiple_of: int = 1
    cut: bool = False

    def __post_init__(self) -> None:
        for name, value in (("pad_to", self.to), ("pad_to_multiple_of", self.multiple_of)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} {value}; expected at least 1")


def padded(rows: TokenRows, specials: Specials, padding: Padding) -> Arrays:
    """Jets of equal length.

    Returns
    -------
    dict
        ``tokens`` (n, L) int64, or (n, L, Q) with Q codebooks; ``mask`` (n, L) bool, false where
        there is padding; and the columns.

    Raises
    ------
    DataError
        If a jet is longer than it may be.
    """
    counts = rows.counts
    longest = int(counts.max(initial=0)) + specials.around
    if padding.to is None:
        length = -(-max(longest, 1) // padding.multiple_of) * padding.multiple_of
    else:
        length = padding.to
        if length < specials.around:
            raise ConfigError(f"pad_to {length}: no room for bos and eos")
        if longest > length:
            if not padding.cut:
                raise DataError(
                    f"a jet of {longest} tokens, special ones included, but pad_to is {length};"
                    " choose a larger one, or cut=True to leave out the last (softest) ones"
                )
            counts = np.minimum(counts, length - specials.around)
    books = rows.codebooks
    tokens = np.empty((len(counts), length, *rows.tokens.shape[1:]), dtype=np.int64)
    mask = np.empty((len(counts), length), dtype=np.bool_)
    in_rows(
        *_flat(rows, counts),
        *_around(specials, books),
        *(specials.pad, tokens.reshape(len(counts), length * books), mask),
    )
    return {"tokens": tokens, "mask": mask, **rows.columns}


def packed(rows: TokenRows, specials: Specials) -> Arrays:
    """Jets one after the other, without padding.

    Returns
    -------
    dict
        ``tokens`` (N,) int64, or (N, Q) with Q codebooks; ``offsets`` (n + 1,) int64, jet i being
        ``tokens[offsets[i]:offsets[i + 1]]``; and the columns.
    """
    books = rows.codebooks
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum(rows.counts + specials.around, out=offsets[1:])
    tokens = np.empty((int(offsets[-1]), *rows.tokens.shape[1:]), dtype=np.int64)
    in_line(
        *_flat(rows, rows.counts),
        *_around(specials, books),
        tokens.reshape(-1),
    )
    return {"tokens": tokens, "offsets": offsets, **rows.columns}


def _flat(rows: TokenRows, counts: Numbers) -> tuple[NDArray[Any], Numbers, Numbers]:
    """Ids one after the other, where those of a jet begin, and how many they are."""
    books = rows.codebooks
    if books == 1:
        return rows.tokens, rows.starts, counts
    return rows.tokens.reshape(-1), rows.starts * books, counts * books


@cache
def _around(specials: Specials, codebooks: int) -> tuple[Numbers, Numbers]:
    """What stands before and after every jet."""
    return (
        np.array([] if specials.bos is None else [specials.bos] * codebooks, dtype=np.int64),
        np.array([] if specials.eos is None else [specials.eos] * codebooks, dtype=np.int64),
    )
