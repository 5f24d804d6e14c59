"""`treasure inspect` of parquet: skims, token tables and others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.text import Text

from treasure.cli.terminal import aligned, headline, note, rows
from treasure.errors import DataError
from treasure.tokens.table import KEY, TokenMetadata, TokenTable

__all__ = ["inspect_parquet", "of_tokens"]


def inspect_parquet(path: Path, shown_rows: int) -> None:
    """Print schema, ranges (from the statistics of the file), metadata and the first rows."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if b"treasure_compressed_tokens" not in (file.metadata.metadata or {}):
                _inspect(path, file, shown_rows)
                return
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from None
    from treasure.cli.compression import inspect_compressed

    inspect_compressed(path, shown_rows)


def _inspect(path: Path, file: Any, shown_rows: int) -> None:
    columns = file.schema_arrow.names
    metadata = dict(file.schema_arrow.metadata or {})
    kind = "token table (parquet)" if "tokens" in columns else "parquet table"
    if metadata.get(b"treasure_format") == b"skim":
        kind = "part of a skim (parquet table)"
    about: dict[str, Any] = {
        "size in bytes": path.stat().st_size,
        "rows": file.metadata.num_rows,
        "row groups": file.metadata.num_row_groups,
        "columns": len(columns),
    }
    if metadata.pop(KEY.encode(), None) is not None:
        with TokenTable(path) as table:
            about |= of_tokens(table.metadata, table.counts)
    headline(path, kind, about)
    lines: list[Text | list[str | Text]] = [*_ranges(file)]
    aligned(["column", "type", "values", "min", "max", "null or empty"], lines)
    for key, value in metadata.items():
        note("metadata", key.decode(), value.decode(errors="replace"))
    if shown_rows and file.metadata.num_rows:
        head = next(file.iter_batches(batch_size=shown_rows)).to_pydict()
        order = sorted(columns, key=lambda name: name != "tokens")
        values = [[head[name][row] for name in order] for row in range(len(head[order[0]]))]
        rows("first rows", order, values)


def of_tokens(metadata: TokenMetadata, counts: Mapping[str, int]) -> dict[str, Any]:
    """How the tokens of a table were made, by the names that are shown."""
    named = ("particles", "clipped_particles", "cut_particles")
    return {
        **{name.replace("_", " "): counts[name] for name in named if name in counts},
        "dataset": metadata.dataset,
        "ids": metadata.size,
        "codebooks": metadata.codebooks,
        "special ids": dict(metadata.vocabulary["specials"]) or "none",
        "features": ", ".join(metadata.features),
        "tokenizer": metadata.tokenizer_fingerprint,
        "jets of": metadata.source_file,
        "with sha256": metadata.source_checksum,
    }


def _ranges(file: Any) -> list[list[str | Text]]:
    """A line for each leaf; of lists, the range is that of their values."""
    footer = file.metadata
    lines: list[list[str | Text]] = []
    for number in range(footer.num_columns):
        leaf = footer.schema.column(number)
        chunks = [_chunk(file, group, number) for group in range(footer.num_row_groups)]
        known = [chunk.statistics for chunk in chunks]
        with_range = [one for one in known if one is not None and one.has_min_max]
        nulls = sum(one.null_count or 0 for one in known if one is not None)
        name = leaf.path.split(".")[0]
        arrow = file.schema_arrow.field(name).type
        kind = f"{arrow.value_type}, coded" if pa.types.is_dictionary(arrow) else str(arrow)
        lines.append(
            [
                name,
                kind.replace("element: ", "").replace(" not null", ""),
                f"{sum(chunk.num_values for chunk in chunks) - nulls:,}",
                _value(min((one.min for one in with_range), default=None)),
                _value(max((one.max for one in with_range), default=None)),
                f"{nulls:,}" if nulls else "·",
            ]
        )
    return lines


def _chunk(file: Any, group: int, number: int) -> Any:
    """What the footer says of a column of a row group.

    Where it is damaged, Arrow ends the process, unless it has met the damage in reading: it reads.
    """
    name = file.schema.column(number).path
    next(file.iter_batches(1, [group], [name], use_threads=False), None)
    return file.metadata.row_group(group).column(number)


def _value(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, float):
        return f"{value + 0.0:.6g}"  # the footer says −0 for a least value of 0
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text if len(text) <= 20 else f"{text[:19]}…"
