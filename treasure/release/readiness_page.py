"""The AI-readiness report as a page for people."""

from pathlib import Path

from treasure.release.readiness_report import Item, ReadinessReport
from treasure.report.html import Page

__all__ = ["write_readiness_page"]


def write_readiness_page(report: ReadinessReport, title: str, path: Path) -> None:
    """Write the report to one self-contained HTML file."""
    failed = [item for item in report.items if item.verdict == "fail"]
    page = Page(f"AI-readiness of {title}", f"{report.rows:,} rows. {_summary(report, failed)}")
    page.heading("Verdict")
    page.table(
        ["item", "verdict", "found", "expected"],
        [[item.title, item.verdict, _value(item), item.condition] for item in report.items],
    )
    for item in failed:
        page.text(f"{item.title}: {item.explanation}")
        page.details(f"{item.title}: where", item.details)
    page.heading("Rows")
    page.table(
        ["dataset", "split", "label", "rows"],
        [
            [str(c["dataset"]), str(c["split"]), _label(c["label"]), c["rows"]]
            for c in report.counts
        ],
        "A dataset without rows in a split is not listed there.",
    )
    page.heading("Columns")
    page.table(
        ["column", "type", "missing", "smallest", "largest"],
        [
            [c["column"], c["type"], c["missing"], _bound(c["min"]), _bound(c["max"])]
            for c in report.columns
        ],
        "Missing: null, NaN or infinite.",
    )
    page.heading("What was counted")
    page.table(["item", "definition"], [[item.title, item.explanation] for item in report.items])
    page.text(
        "The thresholds are those of the configuration of this release, not of a public standard. "
        "They are choices: a release that fails an item can be right for a purpose."
    )
    page.details("Thresholds", report.thresholds)
    page.details("All details", {item.id: item.details for item in report.items if item.details})
    page.write(path)


def _summary(report: ReadinessReport, failed: list[Item]) -> str:
    measured = sum(item.verdict != "not applicable" for item in report.items)
    if not failed:
        return f"All {measured} items within their thresholds."
    return (
        f"{len(failed)} of {measured} items beyond their thresholds: "
        f"{', '.join(item.title.lower() for item in failed)}."
    )


def _value(item: Item) -> str:
    if item.value is None:
        return "–"
    if isinstance(item.value, int):
        return f"{item.value:,}"
    return f"{item.value:.4g}"


def _label(label: object) -> str:
    return "–" if label is None else str(label)


def _bound(value: object) -> str:
    # Run and event numbers are names, not amounts: no separators, every digit.
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
