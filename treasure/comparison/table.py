"""The comparison as tables: columns with units, values with their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from treasure.comparison.collect import full_entries, spread

__all__ = [
    "CURVE",
    "GOALS",
    "TABLES",
    "Column",
    "Table",
    "curve_rows",
    "goal_rows",
    "markdown",
    "rows",
]


@dataclass(frozen=True)
class Column:
    """A column: quantity, heading with unit, factor to that unit, decimal places."""

    quantity: str
    heading: str
    factor: float = 1.0
    digits: int = 2
    uncertain: bool = True


@dataclass(frozen=True)
class Table:
    """A table of the comparison."""

    title: str
    caption: str
    columns: tuple[Column, ...]


def _response(name: str, heading: str) -> Column:
    return Column(f"jet_{name}_iqr", f"{heading} [%]", 100.0, 2)


_UNCERTAINTY = (
    "±: standard deviation over trainings (of one training) and, where it is known, statistical"
    " uncertainty of the test jets, in quadrature."
)
GOALS = (
    "Met: by the value found, whatever its uncertainty; –: the baseline loses nothing that there"
    " could be a share of. ±: of the mean, so the standard deviation over N trainings counts by"
    " 1/√N; with one training, ± is of the test jets alone."
)
_COST = (
    "Training: on the machine of this comparison. Rates: one CPU thread, beside whatever else the"
    " machine did, such as other trainings (--workers). Parameters: weights of the"
    " networks and vectors of the codebooks."
)

TABLES = (
    Table(
        "Summary",
        "IQR/median of decoded / original jet pT and mass; AUC that top tagging loses; AUC of a"
        f" classifier of decoded against original jets (0.5: none). {_UNCERTAINTY}",
        (
            Column("bits", "bits a particle", 1.0, 1, False),
            Column("codes_used_share", "codes used [%]", 100.0, 1),
            _response("pt", "jet pT"),
            _response("mass", "jet mass"),
            Column("auc_lost", "AUC lost [10⁻³]", 1000.0, 1),
            Column("auc_separation", "separation AUC", 1.0, 3),
        ),
    ),
    Table(
        "Jets",
        "IQR/median of decoded / original; mean energy-flow distance between a jet and its decoded"
        f" self, relative to the jet pT. {_UNCERTAINTY}",
        (
            _response("pt", "pT"),
            _response("mass", "mass"),
            _response("softdrop_mass", "soft-drop mass"),
            _response("tau21", "τ₂₁"),
            _response("tau32", "τ₃₂"),
            Column("energy_flow_distance", "energy-flow distance [%]", 100.0, 2),
        ),
    ),
    Table(
        "Codes and tagging",
        "Entropy: of zeroth order, so many bits a particle would be enough. AUC of top tagging:"
        f" tagger trained and tested on original, and on decoded jets. {_UNCERTAINTY}",
        (
            Column("entropy_bits", "entropy [bits]", 1.0, 2),
            Column("codes_used", "codes used", 1.0, 0),
            Column("perplexity", "perplexity", 1.0, 0),
            Column("auc_original", "AUC original", 1.0, 4),
            Column("auc_decoded", "AUC decoded", 1.0, 4),
        ),
    ),
    Table(
        "Cost",
        _COST,
        (
            Column("train_seconds", "training [s]", 1.0, 0),
            Column("jets_seen", "jets seen [10³]", 1e-3, 0),
            Column("encode_jets_per_second", "encoded jets/s", 1.0, 0),
            Column("decode_jets_per_second", "decoded jets/s", 1.0, 0),
            Column("parameters", "parameters [10³]", 1e-3, 1, False),
            Column("size_bytes", "size [kB]", 1e-3, 0, False),
        ),
    ),
)


CURVE = Table(
    "Rate and distortion",
    "Every tokenizer, by the bits that a particle takes; IQR/median of the response."
    f" {_UNCERTAINTY}",
    (
        Column("bits", "bits a particle", 1.0, 1, False),
        _response("pt", "jet pT"),
        _response("mass", "jet mass"),
    ),
)


def curve_rows(comparison: Mapping[str, Any]) -> list[list[str]]:
    """A row for each tokenizer, points of a curve too: its title, then the cells of `CURVE`."""
    by_bits = sorted(comparison["tokenizers"].values(), key=lambda found: found["bits"]["mean"])
    return [[found["title"], *(_cell(found, c) for c in CURVE.columns)] for found in by_bits]


def rows(comparison: Mapping[str, Any], columns: tuple[Column, ...]) -> list[list[str]]:
    """A row for each tokenizer that is more than a point of a curve: its title, then its cells."""
    return [
        [found["title"], *(_cell(found, column) for column in columns)]
        for found in full_entries(comparison).values()
    ]


def goal_rows(comparison: Mapping[str, Any]) -> list[list[str]]:
    """Goal, wanted, found ± uncertainty, and whether it is met."""
    told = []
    for goal in comparison["goals"]:
        found = "–"
        if goal["found"] is not None:
            found = _signed(f"{goal['found']:.4f} ± {goal['uncertainty']:.4f}")
        met = {True: "yes", False: "no", None: "–"}[goal["met"]]
        told.append([goal["goal"], f"{goal['bound']} {goal['wanted']:g}", found, met])
    return told


def markdown(comparison: Mapping[str, Any]) -> str:
    """All tables in Markdown."""
    seeds = len(comparison["seeds"])
    lines = [
        "# Comparison of tokenizers",
        "",
        f"{comparison['n_test']:,} test jets, {seeds} training{'s' * (seeds > 1)} of each.",
    ]
    if comparison["goals"]:
        lines += ["", "## Goals", ""]
        lines += _markdown_table(["goal", "wanted", "found", "met"], goal_rows(comparison))
        lines += ["", GOALS]
    for table in TABLES:
        headings = ["tokenizer", *(column.heading for column in table.columns)]
        lines += ["", f"## {table.title}", "", table.caption, ""]
        lines += _markdown_table(headings, rows(comparison, table.columns))
    if any(found["curve"] for found in comparison["tokenizers"].values()):
        lines += ["", f"## {CURVE.title}", "", CURVE.caption, ""]
        lines += _markdown_table(
            ["tokenizer", *(column.heading for column in CURVE.columns)], curve_rows(comparison)
        )
    lines += ["", "## Tokenizers", ""]
    lines += [
        f"- {found['title']} (`{name}`): {found['description'] or '–'}"
        for name, found in full_entries(comparison).items()
    ]
    return "\n".join(lines) + "\n"


def _cell(found: Mapping[str, Any], column: Column) -> str:
    if column.quantity not in found:
        return "–"
    value = found[column.quantity]["mean"] * column.factor
    text = f"{value:,.{column.digits}f}"
    if value and not float(text.replace(",", "")):  # small is not nothing
        text = f"{value:.1g}"
    uncertainty = spread(found, column.quantity) * column.factor
    if column.uncertain and uncertainty > 0:
        text += f" ± {uncertainty:,.{column.digits}f}"
    return _signed(text)


def _signed(text: str) -> str:
    return text.replace("-", "−")


def _markdown_table(headings: list[str], body: list[list[str]]) -> list[str]:
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *body]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
