"""`treasure export` and `treasure import`: between our tables and the formats of others."""

from collections.abc import Sequence
from pathlib import Path

from treasure.cli.terminal import console
from treasure.errors import DataError
from treasure.tokens.dialects import Options, Report, export_file, import_file

__all__ = ["export_table", "import_table", "parse_names"]


def parse_names(given: Sequence[str]) -> dict[int, str]:
    """Classes and their names, from ``0=QCD``.

    Raises
    ------
    DataError
        For text of another form, and for a class or name that comes twice.
    """
    names: dict[int, str] = {}
    for text in given:
        number, _, name = text.partition("=")
        try:
            key = int(number)
        except ValueError:
            raise DataError(f"--name {text}: N=NAME was expected, such as 0=QCD") from None
        if not name or key in names or name in names.values():
            raise DataError(f"--name {text}: a class has one name, and a name one class")
        names[key] = name
    return names


def export_table(source: Path, path: Path, dialect: str, options: Options) -> None:
    """Export, and say in a line what was written and what was lost."""
    _say(export_file(source, path, dialect, options), "exported")


def import_table(source: Path, path: Path, dialect: str | None, options: Options) -> None:
    """Import, and say in a line what was written and what was lost."""
    _say(import_file(source, path, dialect, options), "imported")


def _say(report: Report, done: str) -> None:
    where = ", ".join(map(str, report.files))
    counts = f"{report.jets:,} jets, {report.particles:,} particles " if report.jets else ""
    console.print(f"{counts}{done}: {where}", soft_wrap=True, markup=False, highlight=False)
    if report.losses:
        lost = f"lost: {'; '.join(report.losses)}"
        console.print(lost, soft_wrap=True, markup=False, highlight=False, style="bold yellow")
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False, highlight=False)
