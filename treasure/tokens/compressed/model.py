"""The variants of a compressed token table: how each is fitted, kept, and read again."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.errors import ConfigError, DataError
from treasure.tokens.compressed.classes import ClassCoder, Counts, Ids, classes_that_pay
from treasure.tokens.compressed.frequencies import LARGEST_ALPHABET, Call
from treasure.tokens.compressed.steps import Parts, StepCoder
from treasure.tokens.table import TokenMetadata

__all__ = ["Coder", "Order", "Variant", "check", "fit", "from_json", "to_json"]

Variant = Literal["static", "rank", "previous", "order_free"]
Order = Literal["stored", "rebuilt"]

_LEVEL = 19
_MOST_BYTES = 1 << 28


class Coder(Protocol):
    """Ids of jets to words and back."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What the file keeps of the model."""

    def calls(self, ids: Ids, counts: Counts) -> list[Call]:
        """Symbols and tables of the ids (P, Q) of jets with `counts` particles."""

    def kept(self, ids: Ids, counts: Counts) -> Ids:
        """The ids (P, Q) that are decoded: these, or in each jet by falling pT."""

    def encode(self, ids: Ids, counts: Counts) -> NDArray[np.uint32]:
        """Words of the ids (P, Q)."""

    def decode(self, words: NDArray[np.uint32], counts: Counts) -> Ids:
        """The ids (P, Q) of words; ValueError for words that no coder wrote."""


def check(variant: str, order: str, metadata: TokenMetadata) -> None:
    """Whether a variant can code these ids.

    Raises
    ------
    ConfigError
        For a variant or an order that there is not, or that needs one codebook.
    DataError
        For a vocabulary that does not fit the tables.
    """
    if variant not in get_args(Variant):
        raise ConfigError(f"variant {variant!r}: one of {', '.join(get_args(Variant))} is allowed")
    if order not in get_args(Order) or (order == "rebuilt" and variant != "order_free"):
        raise ConfigError(
            f"order {order!r} with variant {variant}: 'stored' is for all variants, 'rebuilt' for"
            " order_free"
        )
    if metadata.codebooks > 1 and variant in ("previous", "order_free"):
        raise ConfigError(
            f"variant {variant} needs the pT of each id, but the particles of this table have"
            f" {metadata.codebooks} ids each; choose static or rank"
        )
    if not 1 <= metadata.size <= LARGEST_ALPHABET:
        raise DataError(
            f"a vocabulary of {metadata.size} ids does not fit: 1 to {LARGEST_ALPHABET} can be"
            " coded; keep the parquet table"
        )


def fit(
    parts: Parts,
    metadata: TokenMetadata,
    variant: Variant,
    order: Order,
    codes: NDArray[np.uint32] | None,
) -> Coder:
    """The coder of a variant with the tables of the ids themselves.

    Parameters
    ----------
    parts
        Gives ids (P, Q) and particles of each jet (N,), as often as it is called.
    codes : (K,) uint32, optional
        Codes by falling pT; None: by their mean place in the jets.
    """
    check(variant, order, metadata)
    size, codebooks = metadata.size, metadata.codebooks
    if variant in ("previous", "order_free"):
        by_pt = _by_mean_rank(parts, size) if codes is None else codes
        return StepCoder.fit(
            parts, by_pt, sort=variant == "order_free", keep_order=order == "stored"
        )
    classes = 1
    if variant == "rank":
        classes = classes_that_pay(sum(len(ids) for ids, _ in parts()), size)
    return ClassCoder.fit(parts(), size, codebooks, classes)


def _by_mean_rank(parts: Parts, size: int) -> NDArray[np.uint32]:
    """Codes by the mean of their relative place in the jets, which are in the order of pT."""
    total, used = np.zeros(size), np.zeros(size, dtype=np.int64)
    for ids, counts in parts():
        ends = np.cumsum(counts)
        rank = np.arange(len(ids)) - np.repeat(ends - counts, counts)
        # From 0 to 2^20, as integers: a sum of those does not depend on the order.
        place = (rank * (1 << 20)) // np.repeat(counts, counts)
        total += np.bincount(ids[:, 0], place, minlength=size)
        used += np.bincount(ids[:, 0], minlength=size)
    return np.argsort(total / np.maximum(used, 1), kind="stable").astype(np.uint32)


def to_json(coder: Coder) -> dict[str, dict[str, Any]]:
    """The arrays of a model: little-endian bytes, zstd, base64."""
    found = {}
    for name, array in coder.arrays().items():
        data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        packed = pa.Codec("zstd", compression_level=_LEVEL).compress(data, asbytes=True)
        found[name] = {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "zstd": base64.b64encode(packed).decode(),
        }
    return found


def from_json(
    content: Mapping[str, Mapping[str, Any]], metadata: TokenMetadata, variant: str, order: str
) -> Coder:
    """The coder whose model `to_json` returned.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is not the model of this variant and vocabulary.
    """
    arrays = {name: _array(entry) for name, entry in content.items()}
    if variant in ("previous", "order_free"):
        return StepCoder.of_arrays(
            arrays, metadata.size, sort=variant == "order_free", keep_order=order == "stored"
        )
    return ClassCoder.of_arrays(arrays, metadata.size, metadata.codebooks)


def _array(entry: Mapping[str, Any]) -> NDArray[Any]:
    dtypes: dict[str, np.dtype[Any]] = {f"uint{8 * n}": np.dtype(f"<u{n}") for n in (1, 2, 4)}
    dtype = dtypes[entry["dtype"]]
    shape = [int(n) for n in entry["shape"]]
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize if shape else 0
    if min(shape, default=0) < 0 or not 0 <= size <= _MOST_BYTES:
        raise ValueError(f"an array of shape {shape}")
    packed = base64.b64decode(entry["zstd"], validate=True)
    data = pa.Codec("zstd").decompress(packed, decompressed_size=size, asbytes=True)
    return np.frombuffer(data, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))
