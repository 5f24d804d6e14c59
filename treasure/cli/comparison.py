"""`treasure diff`: two tables column by column, and a verdict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from treasure.cli.h5_keys import H5File
from treasure.cli.row_matching import MatchBy
from treasure.cli.table_comparison import TableComparison, compare_tables
from treasure.cli.terminal import aligned, console, progress_bar
from treasure.cli.ulp import NOT_COMPARABLE, ColumnDifference
from treasure.errors import DataError

__all__ = ["diff_files"]

_SHOWN_ROWS = 5
_SHOWN_COLUMNS = 6
_MISSING = object()


def diff_files(
    a: Path, b: Path, *, ulp: int, match: MatchBy, attributes: bool, order_matters: bool
) -> bool:
    """Compare two files and print how they differ.

    Parameters
    ----------
    a, b
        Two jet tables (HDF5), or two parquet tables.
    ulp, match, order_matters
        See `treasure.cli.table_comparison.compare_tables`.
    attributes
        Compare the attributes, too.

    Returns
    -------
    Whether they are equal within the tolerance.

    Raises
    ------
    DataError
        If they cannot be compared.
    """
    for path in (a, b):
        if path.is_dir():
            raise DataError(f"{path}: a folder; jet tables (.h5) and .parquet files are compared")
        if not path.is_file():
            raise DataError(f"{path}: no such file")
    kinds = [_kind(path) for path in (a, b)]
    if kinds[0] != kinds[1]:
        raise DataError(f"{a} and {b}: {kinds[0]} and {kinds[1]} cannot be compared")
    if kinds[0] == "parquet":
        if match == "event":
            raise DataError("--match event is for jet tables (HDF5); parquet is compared in order")
        found, said = _diff_parquet(a, b, ulp)
    else:
        found, said = _diff_tables(a, b, ulp, match, order_matters)
    _summary(found)
    _print_columns(found, ulp)
    _first_differences(_beyond(found))
    unlike = _unlike(*said) if attributes else {}
    if attributes:
        _print_attributes(unlike)
    equal = found.is_equal and not unlike
    _verdict(found, ulp, len(unlike), equal=equal)
    return equal


def _kind(path: Path) -> str:
    if path.suffix in (".h5", ".hdf5"):
        return "HDF5"
    if path.suffix == ".parquet":
        return "parquet"
    raise DataError(f"{path}: neither .h5 nor .parquet; jet tables and parquet tables are compared")


def _diff_tables(
    a: Path, b: Path, ulp: int, match: MatchBy, order_matters: bool
) -> tuple[TableComparison, tuple[dict[str, Any], dict[str, Any]]]:
    with H5File(a) as table_a, H5File(b) as table_b:
        for table in (table_a, table_b):
            table.check_jet_table()
        _names(a, len(table_a), b, len(table_b))
        with progress_bar("comparing", max(len(table_a), len(table_b))) as advance:
            found = compare_tables(
                table_a,
                table_b,
                ulp=ulp,
                match=match,
                order_matters=order_matters,
                advance=advance,
            )
        return found, (table_a.attributes(), table_b.attributes())


def _diff_parquet(
    a: Path, b: Path, ulp: int
) -> tuple[TableComparison, tuple[dict[str, Any], dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from treasure.cli.parquet_comparison import compare_parquet

    path = a
    try:
        with pq.ParquetFile(a, page_checksum_verification=True) as table_a:
            path = b
            with pq.ParquetFile(b, page_checksum_verification=True) as table_b:
                path = Path(f"{a} or {b}")
                rows = [int(table.metadata.num_rows) for table in (table_a, table_b)]
                _names(a, rows[0], b, rows[1])
                with progress_bar("comparing", max(rows)) as advance:
                    found = compare_parquet(table_a, table_b, ulp=ulp, advance=advance)
                metadata = [
                    {
                        key.decode(errors="replace"): value.decode(errors="replace")
                        for key, value in (table.schema_arrow.metadata or {}).items()
                    }
                    for table in (table_a, table_b)
                ]
                return found, (metadata[0], metadata[1])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: cannot be read as parquet: {error}") from None


def _names(a: Path, rows_a: int, b: Path, rows_b: int) -> None:
    for name, path, rows in (("A", a, rows_a), ("B", b, rows_b)):
        console.print(Text.assemble(f"{name}  ", (str(path), "bold"), f"  ({rows:,} rows)"))


def _summary(found: TableComparison) -> None:
    """How rows were paired, and what only one file has."""
    match = found.match
    how = "one after the other"
    if match.by == "event":
        how = "by run, luminosity block, event and number of the jet in its event"
        if match.is_reordered:
            how += "; they stand in another order"
    console.print(f"  {len(match.a):,} rows compared, {how}")
    for name, rows in (("A", match.only_a), ("B", match.only_b)):
        if len(rows):
            first = ", ".join(f"{row}" for row in rows[:_SHOWN_ROWS].tolist())
            more = ", …" if len(rows) > _SHOWN_ROWS else ""
            console.print(f"  only in {name}: {len(rows):,} rows ({first}{more})", style="red")
    for name, keys in (("A", found.only_a), ("B", found.only_b)):
        if keys:
            console.print(f"  only in {name}: {', '.join(keys)}", style="yellow")
    for key in found.keys:
        for name, columns in (("A", key.only_a), ("B", key.only_b)):
            if columns:
                console.print(f"  only in {name}: {key.name} {', '.join(columns)}", style="red")
        if key.note:
            console.print(f"  {key.name}: {key.note}", style="yellow")


def _print_columns(found: TableComparison, ulp: int) -> None:
    header = ["column", "", "rows", "values", "max |Δ|", "max rel.", "max ulp", "first row"]
    lines: list[Text | list[str | Text]] = []
    for key in found.keys:
        if key.name:
            lines.append(Text.assemble("  ", (key.name, "bold cyan")))
        lines += [_line(column, ulp) for column in key.columns]
    aligned(header, lines)


def _line(column: ColumnDifference, ulp: int) -> list[str | Text]:
    name = f"  {column.name}"
    if column.first is None and not column.note:
        return [name, Text("equal", "green"), *["·"] * 6]
    state = Text(f"≤ {ulp} ulp", "yellow")
    if column.values_beyond or column.note:
        state = Text("different", "bold red")
    if column.note:
        name += f" ({column.note})"
    ulps = f"{column.max_ulp:,}" if column.max_ulp < 1_000_000 else f"{column.max_ulp:.1e}"
    return [
        name,
        state,
        f"{column.rows_differ:,}",
        f"{column.values_differ:,}",
        f"{column.max_absolute:.3g}",
        f"{column.max_relative:.2g}",
        "∞" if column.max_ulp == NOT_COMPARABLE else ulps,
        "·" if column.first is None else str(column.first.row),
    ]


def _beyond(found: TableComparison) -> dict[str, ColumnDifference]:
    """Columns that differ by more than the tolerance, by key and name."""
    return {
        f"{key.name}.{column.name}".removeprefix("."): column
        for key in found.keys
        for column in key.columns
        if column.values_beyond
    }


def _first_differences(columns: Mapping[str, ColumnDifference]) -> None:
    """Where columns differ by more than the tolerance, and by what, bit for bit."""
    if not columns:
        return
    lines: list[Text | list[str | Text]] = []
    for name, column in columns.items():
        if (first := column.first) is not None:
            place = "·" if first.place is None else str(first.place)
            lines.append([name, str(first.row), place, _short(first.a), _short(first.b)])
    aligned(["first difference", "row", "slot", "A", "B"], lines)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Attributes that differ, with both values."""
    names = dict.fromkeys([*a, *b])
    both = {name: (a.get(name, _MISSING), b.get(name, _MISSING)) for name in names}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _print_attributes(unlike: Mapping[str, tuple[Any, Any]]) -> None:
    console.print()
    if not unlike:
        console.print("  attributes: equal")
    for name, values in unlike.items():
        console.print(Text.assemble("  attribute ", (name, "bold"), " differs"))
        texts = ["(none)" if value is _MISSING else str(value) for value in values]
        pairs = enumerate(zip(*texts, strict=False))
        agree = next((place for place, (x, y) in pairs if x != y), min(map(len, texts)))
        start = max(agree - 20, 0) if max(map(len, texts)) > 80 else 0
        for file, text in zip("AB", texts, strict=True):
            end = start + 80
            before, after = "…" * (start > 0), "…" * (len(text) > end)
            console.print(Text(f"    {file}: {before}{text[start:end]}{after}"))


def _verdict(found: TableComparison, ulp: int, unlike: int, *, equal: bool) -> None:
    """One sentence: equal, and how; or different, and in what."""
    match, rows = found.match, len(found.match.a)
    # Only to be said where they agree: elsewhere it follows from the table.
    how = "bit for bit" if found.rows_differ == 0 else f"within {ulp} ulp"
    swapped = (
        f", {found.rows_swapped:,} of them up to the order of candidates of equal pt"
        if found.rows_swapped
        else ""
    )
    console.print()
    if equal:
        order = ", in another order of the rows" if match.is_reordered else ""
        only = found.only_a + found.only_b
        optional = f"; only one of them has {', '.join(only)}" if only else ""
        console.print(
            f"equal: all {rows:,} rows agree {how}{swapped}{order}{optional}", style="green"
        )
        return
    reasons = []
    if found.rows_beyond:
        names = list(_beyond(found))
        more = f" and {len(names) - _SHOWN_COLUMNS} more" if len(names) > _SHOWN_COLUMNS else ""
        where = f", in {', '.join(names[:_SHOWN_COLUMNS])}{more}" if names else ""
        reasons.append(f"{found.rows_beyond:,} of {rows:,} rows differ{where}")
    else:
        reasons.append(f"the {rows:,} rows compared agree {how}{swapped}")
    if found.rows_longer:
        reasons.append(f"{found.rows_longer:,} rows have candidates beyond the other's slots")
    for name, alone in (("A", match.only_a), ("B", match.only_b)):
        if len(alone):
            reasons.append(f"{len(alone):,} rows only in {name}")
    for name, keys in (("A", found.only_a), ("B", found.only_b)):
        keys = keys + [
            f"{key.name}.{column}".removeprefix(".")
            for key in found.keys
            for column in (key.only_a if name == "A" else key.only_b)
        ]
        if keys:
            reasons.append(f"{', '.join(keys)} only in {name}")
    if any(column.note for key in found.keys for column in key.columns):
        reasons.append("dtypes differ")
    if unlike:
        reasons.append(f"attributes that differ: {unlike}")
    if found.rows_beyond and found.rows_swapped:
        reasons.append(f"{found.rows_swapped:,} rows only in the order of candidates of equal pt")
    console.print(f"different: {'; '.join(reasons)}", style="bold red")
