"""How the console program prints: headlines, facts, small tables, progress."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = [
    "SHOWN_ITEMS",
    "aligned",
    "brief",
    "console",
    "facts",
    "headline",
    "note",
    "progress_bar",
    "rows",
]

SHOWN_ITEMS = 8
_SHOWN_COLUMNS = 10
_LONG_TEXT = 200
_DEEPEST = 4  # spaces of indentation
_LONG_WORK = 20_000  # rows from which on a bar shows

# Tables are made for 100 columns; what is not a terminal (a pipe, a file) has no width of its own.
_WIDTH = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 100
console = Console(highlight=False, soft_wrap=True, width=_WIDTH)


def headline(path: object, kind: str, about: Mapping[str, Any]) -> None:
    """What a file is, and the first facts about it."""
    console.print(Text.assemble((str(path), "bold"), f"\n{kind}"))
    facts(about, "  ")


def facts(about: Mapping[str, Any], indent: str) -> None:
    """One line a fact; a table of facts goes below its name, two levels deep."""
    for name, value in about.items():
        if isinstance(value, Mapping) and value and len(indent) <= _DEEPEST:
            console.print(f"{indent}{name}:")
            facts(value, indent + "  ")
        else:
            console.print(Text.assemble(f"{indent}{name}: ", (brief(value), "bold")))


def brief(value: Any) -> str:
    """A value in a few words; of long lists and texts the beginning."""
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)) and len(value) > SHOWN_ITEMS:
        return f"{', '.join(map(str, value[:SHOWN_ITEMS]))}, … ({len(value)} in all)"
    if isinstance(value, (list, tuple)):
        return ", ".join(brief(v) if not isinstance(v, str) else v for v in value)
    if isinstance(value, Mapping):
        simple = all(isinstance(v, (str, int, float)) or v is None for v in value.values())
        parts = [f"{k}={brief(v)}" if simple else str(k) for k, v in value.items()]
        return f"{{{', '.join(parts[:SHOWN_ITEMS])}}}"
    return str(value)


def note(kind: str, name: str, value: Any) -> None:
    """An attribute or a piece of metadata, one line, cut where it gets long."""
    text = brief(value)
    shown = text if len(text) < _LONG_TEXT else f"{text[:_LONG_TEXT]}…"
    console.print(Text.assemble(f"  {kind} {name}: ", shown), soft_wrap=True)


def rows(title: str, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> None:
    """A table of rows: as many columns as fit, one at least."""
    if not values:
        return
    cells = [[_cell(value) for value in row] for row in values]
    used, fitting = 0, 0
    for number, column in enumerate(columns):
        used += max(cell_len(text) for text in [column, *(row[number] for row in cells)]) + 3
        if used <= console.width:
            fitting = number + 1
    shown = columns[: max(min(fitting, _SHOWN_COLUMNS), 1)]
    table = Table(title=title, title_justify="left", show_edge=False)
    for column in shown:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*row[: len(shown)])
    console.print()
    console.print(table)
    if len(columns) > len(shown):
        console.print(f"  and {len(columns) - len(shown)} more columns")


def _cell(value: Any) -> str:
    values = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(values, tuple):
        return " to ".join(_cell(item) for item in values)
    if isinstance(values, list):
        head = ", ".join(_cell(item) for item in values[:4])
        return f"[{head}{', …' if len(values) > 4 else ''}] ({len(values)})"
    if isinstance(values, float):
        return f"{values:.5g}"
    return str(values)


def aligned(header: Sequence[str], lines: Sequence[Text | Sequence[str | Text]]) -> None:
    """Lines of cells in columns; the first column is aligned left, numbers right.

    Parameters
    ----------
    header
        Names of the columns.
    lines
        A sequence of cells each, or a text that takes the whole line.
    """
    cells = [line for line in lines if not isinstance(line, Text)]
    widths = [
        max(cell_len(str(row[column])) for row in [header, *cells]) for column in range(len(header))
    ]

    def joined(row: Sequence[str | Text]) -> Text:
        line = Text("  ")
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - cell_len(str(cell)))
            line.append("" if number == 0 else gap).append(cell)
            line.append(gap if number == 0 else "").append("  ")
        line.rstrip()
        return line

    first = joined(header)
    first.stylize("bold")
    console.print()
    console.print(first)
    console.print(Text("  " + "─" * (len(first) - 2), "dim"))
    for line in lines:
        console.print(line if isinstance(line, Text) else joined(line))


class Advance(Protocol):
    """Called with the number of rows just done."""

    def __call__(self, rows: int) -> None: ...


@contextmanager
def progress_bar(doing: str, total: int) -> Iterator[Advance]:
    """A bar on the terminal (stderr) while long work runs; gone when it ends."""
    from rich.progress import Progress

    errors = Console(stderr=True)
    quiet = not errors.is_terminal or total < _LONG_WORK
    with Progress(console=errors, transient=True, disable=quiet) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda rows: progress.advance(task, rows)
