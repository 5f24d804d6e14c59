"""Tokens as HEPTokens reads and writes them in parquet.

A row is ``cls``, the constituents by falling pT, ``sep``, then ``pad``, all cut to 128 positions.
Special tokens are 0 to 3, and a constituent's token is 4 + its code. `mask` is true where there is
no padding; `type_ids` is 9 (``tracks``) for constituents and 0 elsewhere.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from treasure.errors import DataError
from treasure.store import read_json, write_text
from treasure.tokens.dialects.blocks import TokenBlock, TokenImport, token_blocks
from treasure.tokens.dialects.columns import kept_columns
from treasure.tokens.dialects.dialect import OF_TOKENS, Dialect, Options, Report
from treasure.tokens.dialects.heptokens_sequence import (
    POSITIONS,
    codes_of,
    matrix,
    sequences,
    size_of,
    vocabulary_of,
)
from treasure.tokens.dialects.parquet import (
    ParquetBlocks,
    columns_of,
    flat,
    parquet_writer,
    whole_numbers,
)
from treasure.tokens.dialects.vocabulary import BELIEVED, check_table, known_of, vocabulary_size
from treasure.tokens.table import TokenTable

__all__ = ["HEPTokens"]

METADATA = "heptokens_token_vocabulary"

_OWN = ("tokens", "mask", "type_ids", "event_index", "label")
_NAMES = {
    "tokens": ("tokens", "input_ids"),
    "mask": ("mask", "attention_mask"),
    "type_ids": ("type_ids", "token_type_ids"),
}


class HEPTokens(Dialect, kind="heptokens"):
    """Rows of equal length with special tokens, mask and types."""

    summary: ClassVar[str] = "HEPTokens: parquet, 128 positions with special tokens and mask"
    imports_to: ClassVar[tuple[str, ...]] = (".parquet",)
    reads: ClassVar[frozenset[str]] = OF_TOKENS | {"columns"}
    writes: ClassVar[frozenset[str]] = frozenset({"tokenizer", "codebook", "columns"})

    @classmethod
    def recognises(cls, source: Path) -> bool:
        return bool({"mask", "attention_mask"} & set(columns_of(source)))

    def write(self, source: Path, path: Path, options: Options) -> Report:
        if path.suffix != ".parquet":
            raise DataError(f"{path}: HEPTokens reads .parquet; give such a name")
        vocabulary_file = path.with_name(f"{path.stem}.vocab.json")
        report = Report(files=[path, vocabulary_file])
        no_end = jets_cut = particles_cut = 0
        with TokenTable(source) as table:
            check_table(table, known_of(options), options)
            if table.metadata.codebooks != 1:
                raise DataError(
                    f"{source}: {table.metadata.codebooks} codes a particle; this dialect is"
                    " described for one. Export to heptokens-npz"
                )
            vocabulary = vocabulary_of(table.metadata.size)
            with (
                kept_columns(options.columns, len(table), _OWN) as kept,
                parquet_writer(path, _schema(vocabulary, kept.schema)) as writer,
            ):
                for block in token_blocks(table):
                    rows = _rows(block, table.metadata.source_file, kept.take(len(block)))
                    writer.write(rows)
                    over = np.maximum(block.counts - (POSITIONS - 1), 0)
                    no_end += int((block.counts >= POSITIONS - 1).sum())
                    jets_cut += int((over > 0).sum())
                    particles_cut += int(over.sum())
                    report.jets += len(block)
                    report.particles += len(block.ids) - int(over.sum())
            write_text(vocabulary_file, json.dumps(vocabulary, indent=2) + "\n")
        report.losses.append(
            "run, section and number of each jet, its split, pT, axis and soft-drop mass"
        )
        if jets_cut:
            report.losses.append(
                f"{particles_cut:,} particles of {jets_cut:,} jets with more than {POSITIONS - 1}"
            )
        if no_end:
            report.losses.append(f"sep of {no_end:,} jets, which fill all {POSITIONS} positions")
        return report

    def read(self, source: Path, path: Path, options: Options) -> Report:
        known = known_of(options)
        with ParquetBlocks(source) as file:
            columns = {key: _found(file, key, source) for key in ("tokens", "mask")}
            if any(name in file.schema.names for name in _NAMES["type_ids"]):
                columns["type_ids"] = _found(file, "type_ids", source)
            extra = [n for n in ("label", "event_index") if n in file.schema.names]
            used = {*columns.values(), *extra}
            others = [name for name in file.schema.names if name not in used]
            size = vocabulary_size(
                source,
                {
                    "--vocabulary": options.vocabulary,
                    "tokenizer or codebook": known.sizes.get("size"),
                    **_stated(file, source),
                },
            )
            if known.sizes.get("codebooks", 1) != 1:
                raise DataError(f"{source}: one code a particle, but the tokenizer given has more")
            keeping = options.columns if others else None
            with (
                TokenImport(
                    source,
                    path,
                    options,
                    size=size,
                    features=known.features,
                    fingerprint=known.fingerprint,
                    event_known="event_index" in extra,
                ) as table,
                _keeper(keeping, file.schema, others) as keep,
            ):
                width: int | None = None
                without_end = 0
                for first, rows in file.blocks(
                    [*columns.values(), *extra, *(others if keeping else [])]
                ):
                    where = f"{source}, rows {first} and on"
                    parts: dict[str, NDArray[Any]] = {}
                    for key, name in columns.items():
                        kinds = "b" if key == "mask" else "iu"
                        parts[key] = matrix(rows[name], f"{where}, {name}", first, width, kinds)
                        width = parts[key].shape[1]
                    ids, counts, cut = codes_of(parts, size, str(source), first)
                    without_end += cut
                    keep(rows)
                    table.write(
                        TokenBlock(
                            ids,
                            counts,
                            _labels(rows, options, where),
                            whole_numbers(flat(rows["event_index"], where), f"{where}, event_index")
                            if "event_index" in extra
                            else np.arange(first, first + len(rows)),
                        )
                    )
        report = table.report
        if without_end:
            report.notes.append(f"{without_end:,} jets fill their row, and may have lost particles")
        if keeping is not None:
            report.files.append(keeping)
        elif others:
            report.losses.append(f"columns {', '.join(others)} (--columns FILE keeps them)")
        if "label" not in extra and options.label is None:
            report.notes.append("class -1: the file has no column label")
        if "label" in extra and options.label is not None:
            report.notes.append(f"class {options.label}, whatever the file says of its jets")
        if options.tokenizer is not None:
            report.notes.append(BELIEVED)
        return report


def _schema(vocabulary: dict[str, Any], kept: pa.Schema) -> pa.Schema:
    """Columns in HEPTokens's order, with those that an import kept."""
    source_file = [] if "source_file" in kept.names else [pa.field("source_file", pa.string())]
    return pa.schema(
        [
            pa.field("tokens", pa.list_(pa.int64(), POSITIONS)),
            pa.field("mask", pa.list_(pa.bool_(), POSITIONS)),
            pa.field("type_ids", pa.list_(pa.int64(), POSITIONS)),
            pa.field("event_index", pa.int64()),
            *source_file,
            *kept,
            pa.field("label", pa.int64()),
        ],
        {METADATA: json.dumps(vocabulary, sort_keys=True), **(kept.metadata or {})},
    )


def _rows(block: TokenBlock, source_file: str, kept: pa.Table) -> pa.Table:
    own = {
        **sequences(block),
        "event_index": pa.array(block.event),
        "source_file": pa.array([source_file] * len(block), pa.string()),
        "label": pa.array(block.label),
    }
    return pa.table({**own, **dict(zip(kept.column_names, kept.columns, strict=True))})


@contextmanager
def _keeper(
    path: Path | None, found: pa.Schema, names: list[str]
) -> Iterator[Callable[[pa.Table], None]]:
    """A function that writes some columns of rows into a file; or does nothing."""
    if path is None:
        yield lambda rows: None
        return
    metadata = {
        key: value for key, value in (found.metadata or {}).items() if key.startswith(b"heptokens_")
    }
    metadata.pop(METADATA.encode(), None)
    schema = pa.schema([found.field(name) for name in names], metadata)
    with parquet_writer(path, schema) as writer:
        yield writer.write


def _found(file: ParquetBlocks, key: str, source: Path) -> str:
    present = [name for name in _NAMES[key] if name in file.schema.names]
    if len(present) != 1:
        raise DataError(
            f"{source}: columns {', '.join(file.schema.names[:8]) or 'none'}; one of"
            f" {' or '.join(_NAMES[key])} was expected"
        )
    return present[0]


def _labels(rows: pa.Table, options: Options, where: str) -> NDArray[np.int64]:
    if options.label is not None:
        return np.full(len(rows), options.label, np.int64)
    if "label" in rows.column_names:
        return whole_numbers(flat(rows["label"], where), f"{where}, label", 32)
    return np.full(len(rows), -1, np.int64)


def _stated(file: ParquetBlocks, source: Path) -> dict[str, int | None]:
    """K as the metadata of the file, and the JSON beside it, say it."""
    said: dict[str, int | None] = {}
    text = (file.schema.metadata or {}).get(METADATA.encode())
    if text is not None:
        try:
            content = json.loads(text)
        except ValueError as error:
            raise DataError(f"{source}: its metadata {METADATA} is not JSON ({error})") from None
        said["metadata of the file"] = size_of(content, f"{source}, metadata {METADATA}")
    beside = source.with_name(f"{source.stem}.vocab.json")
    if beside.is_file():
        said[beside.name] = size_of(read_json(beside), str(beside))
    return said
