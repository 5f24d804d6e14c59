"""`treasure compress`, `treasure decompress`, and what `treasure inspect` says of their files."""

from __future__ import annotations

from pathlib import Path

from treasure.cli.parquet_files import of_tokens
from treasure.cli.terminal import console, headline, rows
from treasure.errors import ConfigError
from treasure.tokens.compressed import CompressedTable, decompress, write_compressed
from treasure.tokens.compressed.model import Order, Variant

__all__ = ["compress_file", "decompress_file", "inspect_compressed"]

_SUFFIX = ".compressed.parquet"


def compress_file(
    path: Path, output: Path | None, variant: Variant, order: Order, tokenizer: Path | None
) -> None:
    """Compress a token table, and say what it costs now."""
    output = output or path.with_name(path.name.removesuffix(".parquet") + _SUFFIX)
    _check_place(path, output)
    found = write_compressed(path, output, variant=variant, order=order, tokenizer=tokenizer)
    before = path.stat().st_size
    particles = max(found["particles"], 1)
    console.print(
        f"{output}\n  {found['rows']:,} jets, {found['particles']:,} particles,"
        f" {found['bytes']:,} bytes instead of {before:,} ({found['bytes'] / before:.3f})"
        f"\n  bits a particle: {8 * found['bytes_of_ids'] / particles:.3f} of ids,"
        f" {8 * found['bytes_of_model'] / particles:.3f} of the model,"
        f" {8 * found['bytes'] / particles:.3f} in all"
    )


def decompress_file(path: Path, output: Path | None) -> None:
    """Write the token table that was compressed."""
    output = output or path.with_name(path.name.removesuffix(_SUFFIX) + ".parquet")
    _check_place(path, output)
    found = decompress(path, output)
    console.print(
        f"{output}\n  {found['rows']:,} jets, {found['particles']:,} particles,"
        f" {found['bytes']:,} bytes"
    )


def inspect_compressed(path: Path, shown_rows: int) -> None:
    """Print what a compressed token table is, and its first rows, decoded."""
    with CompressedTable(path) as table:
        headline(
            path,
            "compressed token table (parquet)",
            {
                "size in bytes": path.stat().st_size,
                "rows": len(table),
                "row groups": len(table.row_groups),
                "variant": table.variant,
                "order of particles": table.order,
                **of_tokens(table.metadata, table.counts),
            },
        )
        if shown_rows and table.row_groups:
            head = table.row_group(0).slice(0, shown_rows)
            names = sorted(head.column_names, key=lambda name: name != "tokens")
            values = head.select(names).to_pydict()
            rows("first rows", names, list(zip(*values.values(), strict=True)))


def _check_place(path: Path, output: Path) -> None:
    if output.suffix != ".parquet":
        raise ConfigError(f"{output}: what is written is parquet; name it .parquet")
    if path.exists() and output.exists() and path.samefile(output):
        raise ConfigError(f"{output}: the input itself; name another file with --output")
