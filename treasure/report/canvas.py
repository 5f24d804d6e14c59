"""The empty figure of the project: style, label, panels; and its way to a file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import mplhep
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from treasure.errors import DataError
from treasure.store import write_bytes

__all__ = ["canvas", "png_bytes", "save", "style"]

FIGURE_SIZE = (10.0, 9.0)
"""Width and height of a figure [inch]."""
RESOLUTION = 80
"""Pixels per inch of the saved image: 800 pixels wide, readable beside text."""


@contextmanager
def style() -> Iterator[None]:
    """Use the project's figure style inside the block, and leave the settings outside alone."""
    with matplotlib.rc_context():
        matplotlib.rcParams.update(mplhep.style.ROOT)
        matplotlib.rcParams.update(
            {
                "font.size": 22,
                "legend.fontsize": 18,
                "lines.linewidth": 2.0,
                "axes.linewidth": 1.5,
                # embedded fonts only: the same image whatever the machine has installed
                "font.sans-serif": ["TeX Gyre Heros", "DejaVu Sans"],
            }
        )
        yield


def canvas(
    *, ratio: bool = False, label: str = "simulation", right: str = ""
) -> tuple[Figure, Axes, Axes | None]:
    """Return an empty figure with the project's label.

    Draw on it inside ``with style():``.

    Parameters
    ----------
    ratio : bool
        Whether to add a lower panel that shares the x axis.
    label : str
        What the figure shows, in italics after the project's name, e.g. "simulation"
        or "open data".
    right : str
        Text above the right corner, e.g. "13 TeV".

    Returns
    -------
    figure, main, lower : Figure, Axes, Axes or None
        `lower` is None without a ratio panel.
    """
    with style():
        layout = ConstrainedLayoutEngine(h_pad=0.03, hspace=0.0)
        figure = Figure(figsize=FIGURE_SIZE, dpi=RESOLUTION, layout=layout)
        FigureCanvasAgg(figure)
        lower: Axes | None = None
        if ratio:
            grid = figure.add_gridspec(2, 1, height_ratios=(3, 1))
            main = figure.add_subplot(grid[0])
            lower = figure.add_subplot(grid[1], sharex=main)
            main.tick_params(labelbottom=False)
        else:
            main = figure.add_subplot()
        main.set_title(
            r"$\mathbf{TREASURE}$ " + (f"$\\it{{{_mathtext(label)}}}$" if label else ""),
            loc="left",
            fontsize=22,
        )
        if right:
            main.set_title(right, loc="right", fontsize=20)
    return figure, main, lower


def png_bytes(figure: Figure) -> bytes:
    """Return the figure as a PNG image without metadata: the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with style():
        # the version of matplotlib is the only metadata that it writes by default
        figure.savefig(buffer, format="png", dpi=RESOLUTION, metadata={"Software": None})
    return buffer.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure to a PNG file, atomically, and return its path.

    Raises
    ------
    DataError
        If the name of the file does not end in ``.png``.
    """
    path = Path(path)
    if path.suffix != ".png":
        raise DataError(f"figure {path}: found suffix {path.suffix!r}, expected '.png'")
    write_bytes(path, png_bytes(figure))
    return path


def _mathtext(text: str) -> str:
    """Escape plain text for a mathtext group; its spaces would be dropped otherwise."""
    for character in "\\{}$^_#%&~":
        text = text.replace(character, " ")
    return text.replace(" ", r"\ ")
