"""From a token table to a compressed one, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from treasure.errors import ConfigError, DataError
from treasure.store import atomic_file, canonical_json, fingerprint
from treasure.tokens.compressed.block import read_block, write_block
from treasure.tokens.compressed.classes import Counts, Ids
from treasure.tokens.compressed.model import Coder, Order, Variant, check, fit, to_json
from treasure.tokens.compressed.table import (
    CODED,
    FORMAT_VERSION,
    KEY,
    CompressedTable,
    compressed_schema,
)
from treasure.tokens.table import (
    COMPRESSION_LEVEL,
    ENCODINGS,
    TokenMetadata,
    TokenTable,
    TokenWriter,
)

__all__ = ["decompress", "ids_and_counts", "pt_order", "write_compressed"]

_COLUMNS = ["n_constituents", "tokens"]


def write_compressed(
    token_table: str | Path,
    path: str | Path,
    *,
    variant: Variant = "previous",
    order: Order = "stored",
    tokenizer: str | Path | None = None,
) -> dict[str, Any]:
    """Compress a token table with an entropy coder, row group by row group.

    The tables of the model are those of the file itself, and kept in it. Every row group is decoded
    again and compared before it is written.

    Parameters
    ----------
    token_table
        The parquet file.
    path
        The file to write, as a rule ``<stem>.compressed.parquet``.
    variant
        What the probability of an id depends on: ``static``: nothing; ``rank``: the place of the
        particle in its jet, in up to 16 bins; ``previous``: the place of the id before it in the
        order of pT; ``order_free``: the same, of the particles of a jet as a set.
    order
        ``stored``: every jet has its particles in the order of the token table, for which
        ``order_free`` keeps a correction. ``rebuilt`` (``order_free`` only): they are in the order
        of the pT of their ids, whatever it was; lossless up to this order.
    tokenizer
        The artefact of the tokenizer, which says the pT of each id; needed for ``order_free``.
        ``previous`` without it takes the mean place of each id in the jets of the file.

    Returns
    -------
    dict
        ``rows``, ``particles``, ``bytes`` of the file, ``bytes_of_ids`` (the coded ids), and
        ``bytes_of_model``.

    Raises
    ------
    ConfigError
        For a variant that there is not, that needs one codebook or a tokenizer, or without the
        package constriction.
    DataError
        If the table is damaged, the vocabulary does not fit, or the tokenizer is another one.
    """
    with TokenTable(token_table) as table:
        metadata = table.metadata
        try:
            check(variant, order, metadata)
        except (ConfigError, DataError) as error:
            raise type(error)(f"{table.path}: {error}") from None
        if tokenizer is None and variant == "order_free":
            raise ConfigError(
                f"{table.path}: order_free needs the artefact of the tokenizer, which says the pT"
                " of each id; name its directory"
            )
        codes = None
        if tokenizer is not None and metadata.codebooks == 1:
            codes = pt_order(tokenizer, metadata)
        try:
            coder = fit(lambda: _parts(table), metadata, variant, order, codes)
        except ValueError as error:
            raise DataError(f"{table.path}: {error}") from error
        model = to_json(coder)
        content = {
            "format_version": FORMAT_VERSION,
            "variant": variant,
            "order": order,
            "tokens": asdict(metadata),
            "counts": table.counts,
            "model": model,
        }
        text = canonical_json({**content, "checksum": fingerprint(content)})
        of_ids = 0
        with (
            atomic_file(path) as temporary,
            _writer(temporary) as writer,
        ):
            for chunk in table.chunks():
                ids, counts = ids_and_counts(chunk, metadata)
                block = write_block(coder, ids, counts)
                _verify(coder, block, ids, counts, f"{path}: rows of {table.path}")
                of_ids += len(block)
                rows = pa.array([block, *[None] * (len(chunk) - 1)], pa.binary())
                rest = chunk.drop_columns(["tokens"]).append_column(CODED, rows)
                writer.write_table(rest.cast(writer.schema), row_group_size=max(len(rest), 1))
            # Not with the schema, of which pyarrow keeps a second copy.
            writer.add_key_value_metadata({KEY: text})
        particles = table.counts["particles"]
    return {
        "rows": len(table),
        "particles": particles,
        "bytes": Path(path).stat().st_size,
        "bytes_of_ids": of_ids,
        "bytes_of_model": len(canonical_json(model)),
    }


def decompress(path: str | Path, token_table: str | Path) -> dict[str, int]:
    """Write the token table that was compressed: ``rows``, ``particles`` and ``bytes`` of it.

    Its bytes are those of the original, if the order was stored and this version of the packages
    wrote it.
    """
    with CompressedTable(path) as table:
        with TokenWriter(Path(token_table), table.metadata) as writer:
            for chunk in table.chunks():
                writer.write(chunk)
            writer.clipped_particles = table.counts.get("clipped_particles")
            writer.cut_particles = table.counts.get("cut_particles")
        return {
            "rows": writer.rows,
            "particles": writer.particles,
            "bytes": Path(token_table).stat().st_size,
        }


def pt_order(tokenizer: str | Path, metadata: TokenMetadata) -> NDArray[np.uint32]:
    """Ids (K,) by the falling pT to which each decodes as the only particle of a jet.

    Raises
    ------
    DataError
        If the artefact is damaged, or not the tokenizer of the table.
    """
    from treasure.tokenizer.artefact import Tokenizer  # torch takes seconds to import

    found = Tokenizer.load(tokenizer)
    if found.fingerprint != metadata.tokenizer_fingerprint:
        raise DataError(
            f"{tokenizer}: tokenizer {found.fingerprint[:10]}, but the tokens are of"
            f" {metadata.tokenizer_fingerprint[:10]}; name the artefact that made them"
        )
    ids = np.arange(metadata.size)
    axes = np.zeros((metadata.size, 2), dtype=np.float32)
    momenta = found.decode_packed(ids, np.ones(metadata.size, dtype=np.int64), axes)
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    return np.lexsort((ids, -pt)).astype(np.uint32)


def ids_and_counts(chunk: pa.Table, metadata: TokenMetadata) -> tuple[Ids, Counts]:
    """Ids (P, Q) and particles of each jet (N,) of rows of a token table."""
    counts = chunk["n_constituents"].to_numpy().astype(np.int64)
    flat = pc.list_flatten(chunk["tokens"])
    if metadata.codebooks > 1:
        flat = pc.list_flatten(flat)
    ids: Ids = flat.to_numpy().astype(np.int32, copy=False)
    return ids.reshape(-1, metadata.codebooks), counts


def _parts(table: TokenTable) -> Iterator[tuple[Ids, Counts]]:
    for chunk in table.chunks(_COLUMNS):
        yield ids_and_counts(chunk, table.metadata)


def _verify(coder: Coder, block: bytes, ids: Ids, counts: Counts, where: str) -> None:
    """Blocks are read back before they are written, whatever package decodes them."""
    try:
        found = read_block(coder, block, counts, ids.shape[1])
    except ValueError as error:
        raise DataError(f"{where} cannot be decoded again ({error})") from error
    if not np.array_equal(found, coder.kept(ids, counts)):
        raise DataError(f"{where} differ after decoding")


def _writer(path: Path) -> pq.ParquetWriter:
    columns = compressed_schema()
    others = [name for name in columns.names if name != CODED]
    return pq.ParquetWriter(
        path,
        columns,
        # What is coded cannot be compressed any further.
        compression={**dict.fromkeys(others, "zstd"), CODED: "none"},
        compression_level=dict.fromkeys(others, COMPRESSION_LEVEL),
        use_dictionary=["split"],
        column_encoding=ENCODINGS,
        write_statistics=others,
        write_page_checksum=True,
        version="2.6",
    )
