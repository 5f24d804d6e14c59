"""The report on a merged cutflow: one HTML page with a figure and tables."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from treasure.report.canvas import canvas, style
from treasure.report.html import Page
from treasure.skim.efficiency import Efficiency, cumulative, stepwise

__all__ = ["REPORT", "cut_label", "cutflow_figure", "write_page"]

REPORT = "report.html"

_QUANTITIES = {"events": "events", "jets": "jets", "weight": "sum of weights"}
_SECTIONS = {
    "n_read": "read, validated or not",
    "n_processed": "processed: read and validated",
    "n_expected": "expected",
    "n_missing": "missing: expected, not processed",
    "n_outside": "outside: read, not expected",
}


def write_page(path: Path, merged: Mapping[str, Any]) -> Path:
    """Write the report on the content of a merged ``cutflow.json``."""
    name, title = merged["dataset"], merged["title"]
    page = Page(f"Cutflow of {name}", title if title and title != name else "")
    page.heading("Cutflow")
    page.text(
        "From the first cut on jets on, events are those with a jet left. Uncertainties are"
        " statistical, of 68.3 % confidence: binomial (Clopper–Pearson) for events and jets, taking"
        " the jets of an event as independent; from the squared weights for sums of weights."
    )
    page.figure(
        cutflow_figure(merged),
        "Events and jets that pass each cut and all before it; below, the efficiency of each cut"
        " with respect to the one before.",
    )
    for quantity, called in _QUANTITIES.items():
        if quantity == "weight" and not merged["is_mc"]:
            continue
        _cutflow_table(page, merged, quantity, called)
    if merged["luminosity"] is not None:
        _luminosity(page, merged)
    _input(page, merged)
    _unusual(page, merged)
    page.heading("Configuration")
    page.details("selection", merged["selection"])
    return page.write(path)


def cut_label(cut: str, selection: Mapping[str, Any]) -> str:
    """A cut as a figure says it, with its value."""
    if cut == "softdrop_mass":
        low, high = selection["softdrop_mass_min"], selection["softdrop_mass_max"]
        if low is None or high is None:
            bound = f"> {low:g}" if high is None else f"< {high:g}"
        else:
            bound = f"{low:g}–{high:g}"
        return f"$m_{{SD}}$ {bound} GeV"
    if cut.startswith("matching_"):
        return f"{cut.removeprefix('matching_')} matched"
    return {
        "golden_json": "golden JSON",
        "jet_pt": f"$p_T$ > {selection['jet_pt_min']:g} GeV",
        "jet_eta": f"$|\\eta|$ < {selection['jet_abs_eta_max']:g}",
        "jet_id": f"jet ID {selection['jet_id']}",
    }.get(cut, cut)


def cutflow_figure(merged: Mapping[str, Any]) -> Figure:
    """Events and jets after each cut, and the efficiency of each cut."""
    cutflow = merged["cutflow"]
    labels = [cut_label(step["cut"], merged["selection"]) for step in cutflow]
    edges = np.arange(len(cutflow) + 1) - 0.5
    with style():
        figure, main, lower = canvas(
            ratio=True,
            label="simulation" if merged["is_mc"] else "collisions",
            right=merged["dataset"],
        )
        assert lower is not None
        series = (("events", "C0", "-", "o", -0.12), ("jets", "C1", "--", "s", 0.12))
        for quantity, colour, line, marker, shift in series:
            counts = np.array([step[quantity] for step in cutflow], np.float64)
            main.stairs(counts, edges, color=colour, linestyle=line, linewidth=3, label=quantity)
            if quantity == "events":
                main.stairs(counts, edges, baseline=0.1, fill=True, color=colour, alpha=0.15)
            found = [
                (x + shift, step.value, step.value - step.low, step.high - step.value)
                for x, step in enumerate(stepwise(cutflow, quantity))
                if step is not None
            ]
            if found:
                x, value, below, above = np.transpose(found)
                lower.errorbar(
                    x, value, yerr=[below, above], fmt=marker, color=colour, markersize=8,
                    linewidth=2, capsize=3,
                )  # fmt: skip
        most = max(max(step["events"], step["jets"]) for step in cutflow)
        least = [step[q] for step in cutflow for q in ("events", "jets") if step[q] > 0]
        main.set_yscale("log")
        bottom = min(least, default=1) / 3
        main.set_ylim(bottom, max(most, 1) * (max(most, 1) / bottom) ** 0.25)
        main.set_ylabel("Number that passes")
        main.legend(loc="upper right", ncols=2)
        lower.set_ylim(-0.08, 1.15)
        lower.axhline(1, color="0.5", linewidth=1)
        lower.set_ylabel("Efficiency", fontsize=20, loc="center")
        lower.set_xlim(edges[0], edges[-1])
        lower.set_xticks(range(len(labels)), labels, rotation=35, ha="right", fontsize=18)
        for axes in (main, lower):
            axes.tick_params(axis="x", which="both", top=False, bottom=axes is lower)
            axes.xaxis.set_minor_locator(NullLocator())
    return figure


def _cutflow_table(page: Page, merged: Mapping[str, Any], quantity: str, called: str) -> None:
    cutflow = merged["cutflow"]
    steps, total = stepwise(cutflow, quantity), cumulative(cutflow, quantity)
    page.table(
        ["cut", called, "of the step before [%]", "of all [%]"],
        [
            [step["cut"], step[quantity], _percent(of_step), _percent(of_all)]
            for step, of_step, of_all in zip(cutflow, steps, total, strict=True)
        ],
        f"What each cut lets through: {called}",
    )


def _percent(efficiency: Efficiency | None) -> str:
    """Per cent, to two digits of the larger uncertainty."""
    if efficiency is None:
        return "–"
    value, low, high = (100 * x for x in (efficiency.value, efficiency.low, efficiency.high))
    above, below = high - value, value - low
    largest = max(above, below)
    digits = min(max(1 - floor(log10(largest)), 0), 6) if largest > 0 else 2
    rounded = f"{above:.{digits}f}", f"{below:.{digits}f}"
    if rounded[0] == rounded[1]:
        return f"{value:.{digits}f} ± {rounded[0]}".replace("-", "−")
    return f"{value:.{digits}f} + {rounded[0]} − {rounded[1]}"


def _luminosity(page: Page, merged: Mapping[str, Any]) -> None:
    luminosity = merged["luminosity"]
    page.heading("Luminosity sections")
    unknown = luminosity["expected"] is None
    if limits := merged["limits"]:
        said = ", ".join(f"{name}: {value}" for name, value in limits.items())
        page.text(
            f"Only a part of the dataset was asked for ({said}): which sections to expect of it is"
            " not known."
        )
    elif unknown:
        page.text(
            "Which sections were expected is not known: neither the source nor a golden JSON says."
        )
    else:
        page.text(f"What was expected is said by: {luminosity['expected_by']}.")
    page.table(
        ["sections", "number"],
        [
            [meaning, luminosity[name]]
            for name, meaning in _SECTIONS.items()
            if not (unknown and name != "n_read" and name != "n_processed")
        ],
        "Luminosity sections of all files",
    )
    for name in ("missing", "outside", "processed"):
        if luminosity[name]:
            page.details(f"{name} (run: first to last)", luminosity[name])


def _input(page: Page, merged: Mapping[str, Any]) -> None:
    page.heading("Input")
    page.table(
        ["", "found"],
        [
            ["files", len(merged["files"])],
            ["files left out (unreadable or empty)", len(merged["files_left_out"])],
            ["branches", len(merged["branches"])],
            ["layouts", ", ".join(merged["layouts"])],
            ["momenta of candidates", f"PUPPI weights {merged['puppi']}"],
            ["most selected jets in an event", merged["most_jets_in_event"]],
            ["jets with more candidates than are kept", merged["jets_with_candidates_left_out"]],
        ],
    )
    if merged["files_left_out"]:
        page.details("files left out", merged["files_left_out"])


def _unusual(page: Page, merged: Mapping[str, Any]) -> None:
    """What was not as usual, each as a table, where there is something to say."""
    tables: tuple[tuple[str, str, Sequence[str], str], ...] = (
        ("Missing triggers", "missing_triggers", ("path", "files that lack it"),
         "A path that a file lacks counts as not fired there."),
        ("Absent columns", "absent_columns", ("column", "what stands there instead"), ""),
        ("Replaced values", "replaced_values", ("column", "values that were not finite"), ""),
        ("Notes", "notes", ("what", "how many"), ""),
    )  # fmt: skip
    for heading, key, columns, text in tables:
        if merged[key]:
            page.heading(heading)
            if text:
                page.text(text)
            page.table(columns, [list(item) for item in merged[key].items()])
