"""Figures of the comparison: rate and distortion, resolutions, tagging, and what training costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from treasure.comparison.collect import full_entries, spread
from treasure.comparison.labels import Label, place_labels
from treasure.report.canvas import canvas, style

__all__ = ["draw"]

Entries = Mapping[str, Mapping[str, Any]]

# After M. A. Petroff, arXiv:2107.02270, darker where a label would be too pale to read, and two
# more: with the markers they can be told apart without colour vision too.
COLOURS = (
    "#3f90da", "#e08e00", "#bd1f01", "#7b8a88", "#832db6",
    "#a96b59", "#e76300", "#8f8348", "#55585f", "#3aa6ab", "#c2519b", "#2f7d32",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p", "<", ">", "h")
OBSERVABLES = {
    "pt": "jet $p_T$",
    "mass": "jet mass",
    "softdrop_mass": "soft-drop mass",
    "tau21": r"$\tau_{21}$",
    "tau32": r"$\tau_{32}$",
}
SYMBOLS = {"pt": "$p_T$", "mass": "mass"}


def draw(comparison: Mapping[str, Any]) -> dict[str, tuple[Figure, str]]:
    """Draw all figures for which there is something to show.

    Parameters
    ----------
    comparison : mapping
        What `treasure.comparison.collect.collect` returns.

    Returns
    -------
    dict of str to (Figure, str)
        Name of the file without suffix → figure and caption.
    """
    found: dict[str, tuple[Figure, str]] = {}
    full = full_entries(comparison)
    with style():
        for name, title in (("mass", "jet mass"), ("pt", "jet pT")):
            found[f"rate_distortion_{name}"] = (
                _rate_distortion(comparison, name),
                f"Resolution of the {title} against the bits that a particle takes. Families of"
                " tokenizers are joined by lines.",
            )
        found["resolutions"] = (
            _resolutions(full),
            "Interquartile range over median of decoded / original, for each tokenizer.",
        )
        if any("auc_lost" in entry for entry in full.values()):
            found["tagging"] = (
                _tagging(comparison, full),
                "What top tagging loses, against how well a classifier tells decoded from original"
                " jets; bars: trainings and test jets. Best: no AUC lost, and 0.5.",
            )
        for quantity, label, caption in (
            ("train_seconds", "Training time [s]", "time of the training"),
            ("jets_seen", "Jets seen in training", "jets that the training has seen"),
        ):
            shown = {n: e for n, e in full.items() if e.get(quantity, {"mean": 0})["mean"] > 0}
            if shown:
                found[f"cost_{quantity}"] = (
                    _cost(comparison, shown, quantity, label),
                    f"Resolution of the jet mass (filled) and pT (open) against the {caption};"
                    " what is not trained is not shown.",
                )
    return found


def _look(comparison: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each tokenizer, the same in all figures and for all of a family.

    Colours are not enough for everyone: the baseline, the chosen one and large families go first.
    """
    entries = comparison["tokenizers"]
    family = {name: entry["family"] or name for name, entry in entries.items()}
    special = [family.get(comparison["baseline"]), family.get(comparison["chosen"])]
    sizes = Counter(family.values())
    order = sorted(sizes, key=lambda key: (key not in special, -sizes[key]))
    looks = {
        key: (COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
        for number, key in enumerate(order)
    }
    return {name: looks[key] for name, key in family.items()}


def _rate_distortion(comparison: Mapping[str, Any], observable: str) -> Figure:
    figure, main, _ = canvas()
    key, looks = f"jet_{observable}_iqr", _look(comparison)
    entries: Entries = {n: e for n, e in comparison["tokenizers"].items() if e[key]["mean"] > 0}
    families: dict[str, list[str]] = {}
    for name, entry in entries.items():
        families.setdefault(entry["family"] or name, []).append(name)
    for family, names in families.items():
        names = sorted(names, key=lambda n: entries[n]["bits"]["mean"])
        x = np.array([entries[n]["bits"]["mean"] for n in names])
        y = np.array([100 * entries[n][key]["mean"] for n in names])
        if len(names) > 1:
            main.plot(x, y, color=looks[names[0]][0], lw=1.8, zorder=2)
        title = entries[names[0]]["title"] if len(names) == 1 else family
        for name, at, height in zip(names, x, y, strict=True):
            special = name in (comparison["baseline"], comparison["chosen"])
            _point(main, entries[name], at, height, key, looks[name], special, title)
            title = ""  # one line in the legend
    main.set_xlabel("Bits a particle")
    main.set_ylabel(f"IQR / median of jet {SYMBOLS[observable]} response [%]")
    bits = [entry["bits"]["mean"] for entry in entries.values()]
    if bits:
        main.set_xlim(min(bits) - 2, max(bits) + max(4, 0.12 * max(bits)))
    _log_percent(main)
    _one_percent(main)
    figure.legend(
        *main.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=14,
        handletextpad=0.2, labelspacing=0.3, columnspacing=1.0,
    )  # fmt: skip
    return figure


def _resolutions(entries: Entries) -> Figure:
    figure, main, _ = canvas()
    names = list(entries)
    rows = np.arange(len(names))[::-1]
    for row in rows:
        main.axhline(row, color="0.9", lw=1, zorder=0)
    for index, (observable, label) in enumerate(OBSERVABLES.items()):
        key = f"jet_{observable}_iqr"
        main.errorbar(
            [100 * entries[n][key]["mean"] for n in names],
            rows + 0.12 * (2 - index),
            xerr=[100 * spread(entries[n], key) for n in names],
            fmt=MARKERS[index], color=COLOURS[index], ms=9, lw=1.5, ls="none", label=label,
        )  # fmt: skip
    main.set_yticks(rows, [entries[n]["title"] for n in names], fontsize=17, parse_math=False)
    main.tick_params(axis="y", which="both", length=0)
    main.minorticks_off()
    main.set_ylim(-0.7, len(names) - 0.3)
    main.set_xscale("log")
    _plain_ticks(main.xaxis)
    main.axvline(1.0, color="0.35", ls="--", lw=1.5, zorder=1)
    main.set_xlabel("IQR / median of response [%]")
    figure.legend(
        *main.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=16,
        handletextpad=0.1, columnspacing=1.0,
    )  # fmt: skip
    return figure


def _tagging(comparison: Mapping[str, Any], entries: Entries) -> Figure:
    figure, main, _ = canvas()
    looks, avoid, labels = _look(comparison), [], []
    for name, entry in entries.items():
        if "auc_lost" not in entry:
            continue
        x, y = entry["auc_separation"]["mean"], 1000 * entry["auc_lost"]["mean"]
        special = name in (comparison["baseline"], comparison["chosen"])
        colour, marker = looks[name]
        width, height = spread(entry, "auc_separation"), 1000 * spread(entry, "auc_lost")
        main.errorbar(
            x, y, xerr=width, yerr=height,
            fmt=marker, color=colour, ms=16 if special else 10, lw=1.5,
            mec="k" if special else colour,
        )  # fmt: skip
        steps = np.linspace(-1, 1, 15)
        avoid += [(x, y + step * height) for step in steps]
        avoid += [(x + step * width, y) for step in steps]
        labels.append(Label(x, y, entry["title"], colour, special))
    main.axhline(0.0, color="0.35", ls="--", lw=1.5, zorder=1)
    main.set_xlabel("AUC of decoded against original jets")
    main.set_ylabel(r"AUC lost in top tagging [$10^{-3}$]")
    main.margins(0.12)
    main.autoscale_view()
    _write_labels(main, labels, avoid, 0.0)
    return figure


def _cost(comparison: Mapping[str, Any], entries: Entries, quantity: str, label: str) -> Figure:
    figure, main, _ = canvas(right="filled: mass, open: $p_T$")
    looks = _look(comparison)
    for name, entry in entries.items():
        x = entry[quantity]["mean"]
        colour, marker = looks[name]
        special = name in (comparison["baseline"], comparison["chosen"])
        mass, pt = (100 * entry[f"jet_{o}_iqr"]["mean"] for o in ("mass", "pt"))
        main.plot([x, x], [pt, mass], color=colour, lw=1, zorder=1)
        main.plot(x, pt, marker, mfc="w", color=colour, ms=10, mew=2)
        _point(main, entry, x, mass, "jet_mass_iqr", looks[name], special, entry["title"])
    main.set_xscale("log")
    main.set_xlabel(label)
    main.set_ylabel("IQR / median of response [%]")
    times = [entry[quantity]["mean"] for entry in entries.values()]
    main.set_xlim(min(times) / 2.5, max(times) * 2.5)
    _log_percent(main)
    _plain_ticks(main.xaxis)
    _one_percent(main)
    figure.legend(
        *main.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=14,
        handletextpad=0.1, columnspacing=1.0,
    )  # fmt: skip
    return figure


def _point(
    axes: Axes,
    entry: Mapping[str, Any],
    x: float,
    y: float,
    key: str,
    look: tuple[str, str],
    special: bool,
    title: str,
) -> None:
    """A point with its uncertainty; `title` is its line in the legend, if it has one."""
    colour, marker = look
    axes.errorbar(
        x, y, yerr=min(100 * spread(entry, key), 0.9 * y), fmt=marker, color=colour, lw=1.5,
        label=title.replace("$", r"\$") or "_nolegend_",
        ms=16 if special else 9, mec="k" if special else colour, mew=1.5,
        zorder=4 if special else 3,
    )  # fmt: skip


def _write_labels(
    axes: Axes, labels: list[Label], avoid: list[tuple[float, float]], level: float
) -> None:
    """Write labels, the important ones first, clear of the horizontal line at `level` too."""
    left_and_right = axes.transData.inverted().transform(
        axes.transAxes.transform([(share, 0.5) for share in np.linspace(0, 1, 60)])
    )
    line = [(float(x), level) for x in left_and_right[:, 0]]
    place_labels(axes, sorted(labels, key=lambda label: not label.bold), [*avoid, *line])


def _log_percent(axes: Axes) -> None:
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.7) / 1.2, max(high, 1.4) * 1.2)
    _plain_ticks(axes.yaxis)


def _one_percent(axes: Axes) -> None:
    axes.axhline(1.0, color="0.35", ls="--", lw=1.5, zorder=1)
    axes.annotate(
        "1 %", (1.0, 1.0), xycoords=("axes fraction", "data"), xytext=(-6, 4),
        textcoords="offset points", ha="right", va="bottom", fontsize=17, color="0.35",
    )  # fmt: skip


def _plain_ticks(axis: Any) -> None:
    """Numbers as they are on a logarithmic axis, few enough to be read."""
    low, high = sorted(axis.get_view_interval())
    steps = (1.0, 2.0, 5.0) if high < 100 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"
