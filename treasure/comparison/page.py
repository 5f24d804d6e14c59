"""The report of the comparison: one HTML page of tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from treasure.comparison.collect import collect, full_entries
from treasure.comparison.figures import draw
from treasure.comparison.table import CURVE, GOALS, TABLES, curve_rows, goal_rows, markdown, rows
from treasure.config.comparison import ComparisonConfig
from treasure.report.canvas import save
from treasure.report.html import Page
from treasure.store import write_json, write_text

__all__ = ["write_comparison", "write_page"]


def write_comparison(
    directory: Path,
    config: ComparisonConfig,
    measured: Mapping[str, Mapping[int, Mapping[str, Any]]],
    originals: Mapping[str, Any],
    provenance: list[dict[str, Any]],
) -> dict[str, int]:
    """Write ``comparison.json``, ``comparison.md``, figures and ``report.html``.

    Parameters
    ----------
    directory : Path
    config, measured, originals
        See `treasure.comparison.collect.collect`.
    provenance : list of dict
        Every stage that led here, with what decided its bytes.

    Returns
    -------
    dict of str to int
        How many tokenizers, trainings and goals there were, and goals met.
    """
    comparison = collect(config, measured, originals)
    write_json(directory / "comparison.json", comparison)
    write_text(directory / "comparison.md", markdown(comparison))
    figures = draw(comparison)
    for name, (figure, _) in figures.items():
        save(figure, directory / f"{name}.png")
    write_page(directory / "report.html", comparison, figures, provenance)
    goals = comparison["goals"]
    return {
        "tokenizers": len(full_entries(comparison)),
        "points_of_curves": len(config.curve),
        "trainings": sum(len(runs) for runs in measured.values()),
        "goals": len(goals),
        "goals_met": sum(goal["met"] is True for goal in goals),
    }


def write_page(
    path: Path,
    comparison: Mapping[str, Any],
    figures: Mapping[str, tuple[Figure, str]],
    provenance: list[dict[str, Any]],
) -> Path:
    """Write the report.

    Parameters
    ----------
    path : Path
        The HTML file.
    comparison : mapping
        The content of ``comparison.json``.
    figures : mapping of str to (Figure, str)
        Name → figure and caption; see `treasure.comparison.figures.draw`.
    provenance : list of dict
        Shown as it is.
    """
    seeds = len(comparison["seeds"])
    page = Page(
        "Comparison of tokenizers",
        f"{comparison['n_test']:,} test jets, {seeds} training{'s' * (seeds > 1)} of each"
        " tokenizer, each measured on the same jets of both classes",
    )
    if comparison["goals"]:
        page.heading("Goals")
        page.table(
            ["goal", "wanted", "found", "met"],
            goal_rows(comparison),
            f"What {comparison['chosen']} is to reach; {comparison['baseline']} is the baseline."
            f" {GOALS}",
        )
    for table in TABLES:
        page.heading(table.title)
        page.text(table.caption)
        headings = ["tokenizer", *(column.heading for column in table.columns)]
        page.table(headings, rows(comparison, table.columns))
    if any(found["curve"] for found in comparison["tokenizers"].values()):
        page.heading(CURVE.title)
        page.text(CURVE.caption)
        headings = ["tokenizer", *(column.heading for column in CURVE.columns)]
        page.table(headings, curve_rows(comparison))
    page.heading("Figures")
    page.figures(figures.values())
    page.heading("Tokenizers")
    page.table(
        ["tokenizer", "entry", "what it is"],
        [[f["title"], name, f["description"]] for name, f in comparison["tokenizers"].items()],
    )
    if comparison["originals"]:
        page.details("Original jets", comparison["originals"])
    page.details("All that was measured", comparison["tokenizers"])
    page.heading("Provenance")
    page.text("Every stage from the source files to this page, with what decided its bytes.")
    for number, stage in enumerate(provenance, 1):
        page.details(f"{number}. {stage.get('label', 'stage')}", stage)
    return page.write(path)
