"""Self-contained HTML pages: one file, no network, for phone, dark screen and paper."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from treasure.errors import DataError
from treasure.report.figures import png_bytes
from treasure.store import write_text

__all__ = ["Page"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A second line of defence after escaping: a browser loads and runs nothing, whatever the text is.
CONTENT_SECURITY_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
LONG = 32
"""Characters from which on the text in a table cell wraps."""
STYLE_SHEET = """
:root { color-scheme: light dark; --text: #1c2126; --muted: #5d6770; --rule: #d9dee2;
  --back: #ffffff; --panel: #f5f7f8; --accent: #1f5fbf; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8eb; --muted: #a0aab2; --rule: #3a4249;
  --back: #16191c; --panel: #1f2428; --accent: #86b4f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--back);
  color: var(--text); font: 1rem/1.55 system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .8rem; padding-top: .9rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.08rem; margin: 1.8rem 0 .5rem; }
p { margin: .6rem 0; max-width: 46rem; }
.subtitle, figcaption, caption { color: var(--muted); }
nav { margin: 1.2rem 0; padding: .7rem 1rem; background: var(--panel); border-radius: .4rem;
  font-size: .95rem; }
nav a { color: var(--accent); text-decoration: none; margin-right: 1.1rem; white-space: nowrap; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; font-size: .93rem; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--rule); text-align: left;
  vertical-align: top; }
th { background: var(--panel); font-weight: 600; }
td.number, th.number { text-align: right; }
th, td { white-space: nowrap; }
td.long { white-space: normal; min-width: 18rem; }
.figures { display: grid; gap: 1.2rem; margin: 1.2rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 1.2rem 0; max-width: 42rem; }
.figures figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; background: #fff; border-radius: .4rem;
  border: 1px solid var(--rule); }
figcaption { font-size: .9rem; margin-top: .35rem; }
details { margin: .5rem 0; border: 1px solid var(--rule); border-radius: .4rem; }
summary { cursor: pointer; padding: .45rem .8rem; background: var(--panel); border-radius: .4rem; }
pre { margin: 0; padding: .8rem; overflow-x: auto; max-height: 32rem;
  font: .82rem/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  pre { max-height: none; white-space: pre-wrap; } .scroll { overflow: visible; } }
"""

Cell = str | int | float | bool | None


class Page:
    """A report that is built from top to bottom and written to one HTML file.

    All text is escaped: names and descriptions of any origin can be put in. The page loads nothing
    from anywhere and runs no script.

    Parameters
    ----------
    title : str
        Title of the document and its first heading.
    subtitle : str
        One line below the title.

    Examples
    --------
    >>> page = Page("Top tagging", "demo")
    >>> page.heading("Result")
    >>> page.table(["input", "AUC"], [["continuous", 0.951], ["tokens", 0.940]])
    >>> page.details("configuration", {"epochs": 12})
    >>> _ = page.write("report.html")  # doctest: +SKIP
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._body: list[str] = []
        self._contents: list[tuple[str, str]] = []

    def heading(self, text: str, level: int = 2) -> None:
        """Add a heading; those of level 2 make the table of contents, level 3 divides them."""
        if level not in (2, 3):
            raise DataError(f"heading {text!r}: found level {level}, expected 2 or 3")
        anchor = ""
        if level == 2:
            identifier = f"section-{len(self._contents) + 1}"
            self._contents.append((identifier, text))
            anchor = f' id="{identifier}"'
        self._body.append(f"<h{level}{anchor}>{_escape(text)}</h{level}>")

    def text(self, text: str) -> None:
        """Add paragraphs; an empty line divides them."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            self._body.append(f"<p>{_escape(paragraph)}</p>")

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = ""
    ) -> None:
        """Add a table; it scrolls sideways where the screen is narrow.

        Parameters
        ----------
        columns : sequence of str
        rows : iterable of sequences
            Strings are written as they are, integers with a thin space every three digits, other
            numbers with four significant digits, None as a dash. Columns of numbers are aligned to
            the right.
        caption : str

        Raises
        ------
        DataError
            If a row has not as many cells as there are columns.
        """
        body = [list(row) for row in rows]
        for index, row in enumerate(body):
            if len(row) != len(columns):
                raise DataError(
                    f"table {caption!r}: row {index} has {len(row)} cells, expected "
                    f"{len(columns)} ({', '.join(columns)})"
                )
        numeric = [
            bool(body) and all(_is_number(row[i]) for row in body) for i in range(len(columns))
        ]
        classes = [' class="number"' if number else "" for number in numeric]
        head = "".join(
            f'<th scope="col"{kind}>{_escape(name)}</th>'
            for name, kind in zip(columns, classes, strict=True)
        )
        lines = [
            "<tr>"
            + "".join(
                f"<td{_long(cell) or kind}>{_escape(_cell(cell))}</td>"
                for cell, kind in zip(row, classes, strict=True)
            )
            + "</tr>"
            for row in body
        ]
        title = f"<caption>{_escape(caption)}</caption>" if caption else ""
        self._body.append(
            f'<div class="scroll"><table>{title}<thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div>"
        )

    def figure(self, figure: Figure | Path | str, caption: str = "") -> None:
        """Embed one figure, or the PNG file at a path.

        Raises
        ------
        DataError
            If the file does not exist or is not a PNG image.
        """
        self._body.append(_figure(figure, caption))

    def figures(self, figures: Iterable[tuple[Figure | Path | str, str]]) -> None:
        """Embed several (figure, caption) side by side, as many in a row as there is room for."""
        inner = "".join(_figure(figure, caption) for figure, caption in figures)
        self._body.append(f'<div class="figures">{inner}</div>')

    def details(self, summary: str, value: Any) -> None:
        """Add a collapsed block that shows `value` as indented JSON, keys in the order given."""
        text = json.dumps(value, indent=2, ensure_ascii=False, default=_plain)
        self._body.append(
            f"<details><summary>{_escape(summary)}</summary><pre>{_escape(text)}</pre></details>"
        )

    def html(self) -> str:
        """Return the whole document."""
        navigation = ""
        if len(self._contents) > 1:
            links = " ".join(f'<a href="#{i}">{_escape(text)}</a>' for i, text in self._contents)
            navigation = f'<nav aria-label="Contents">{links}</nav>\n'
        subtitle = f'<p class="subtitle">{_escape(self.subtitle)}</p>\n' if self.subtitle else ""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_escape(self.title)}</title>\n<style>{STYLE_SHEET}</style>\n</head>\n<body>\n"
            f"<header><h1>{_escape(self.title)}</h1>\n{subtitle}</header>\n{navigation}<main>\n"
            + "\n".join(self._body)
            + "\n</main>\n</body>\n</html>\n"
        )

    def write(self, path: str | Path) -> Path:
        """Write the document to `path`, atomically, and return the path."""
        path = Path(path)
        write_text(path, self.html())
        return path


def _escape(text: str) -> str:
    """Escape for text and attributes; what HTML cannot hold becomes the replacement character."""
    clean = str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return html.escape(
        re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff]", "\ufffd", clean)
    )


def _is_number(cell: Any) -> bool:
    return cell is None or (
        isinstance(cell, (int, float, np.number)) and not isinstance(cell, (bool, np.bool_))
    )


def _long(cell: Any) -> str:
    """Let the text of a cell wrap where it is longer than a number or a name."""
    return ' class="long"' if isinstance(cell, str) and len(cell) > LONG else ""


def _cell(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, (bool, np.bool_)):
        return "yes" if cell else "no"
    if isinstance(cell, (int, np.integer)):
        return f"{int(cell):,}".replace(",", "\u202f")
    if isinstance(cell, (float, np.floating)):
        return f"{float(cell):.4g}" if math.isfinite(cell) else str(float(cell))
    return str(cell)


def _figure(figure: Figure | Path | str, caption: str) -> str:
    if isinstance(figure, Figure):
        data = png_bytes(figure)
    else:
        path = Path(figure)
        if not path.is_file():
            raise DataError(f"figure {path}: no such file, expected a PNG image")
        data = path.read_bytes()
        if not data.startswith(PNG_SIGNATURE):
            raise DataError(f"figure {path}: is not a PNG image")
    encoded = base64.b64encode(data).decode("ascii")
    text = f"<figcaption>{_escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img alt="{_escape(caption)}" src="data:image/png;base64,{encoded}">'
        f"{text}</figure>"
    )


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)
