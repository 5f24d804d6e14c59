"""`treasure inspect` of HDF5: columns, ranges and sentinels of a jet table, in one pass."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from treasure.cli.h5_keys import BLOCK_ROWS, CANDIDATES, H5File
from treasure.cli.ranges import CandidateSlots, KeyRanges
from treasure.cli.terminal import aligned, console, headline, note, progress_bar, rows
from treasure.errors import DataError
from treasure.jets.splits import SPLITS
from treasure.jets.table import JetTable

__all__ = ["inspect_h5"]

_FIRST_JETS = ("run", "lumi block", "event", "pt", "eta", "phi", "msoftdrop")


def inspect_h5(path: Path, shown_rows: int) -> None:
    """Print what is in an HDF5 file; of a jet table also the ranges of its columns."""
    with H5File(path) as file:
        if not file.is_jet_table:
            headline(path, "HDF5 file", {"size in bytes": path.stat().st_size})
            for key in file.keys.values():
                console.print(
                    f"  {key.name}: shape {key.shape}, {key.dtype}, {key.filter or 'plain'}"
                )
            _attributes(file)
            return
        file.check_jet_table()
        slots = CandidateSlots(file.keys[CANDIDATES].shape[1])
        names: dict[str, NDArray[np.int64]] = {}
        ranges = _ranges(file, slots, names)
        _headline(file, slots, names)
        header = ["column", "unit", "min", "mean", "max", "none", "zero", ""]
        aligned(header, _lines(file, ranges, slots))
        _verdict(file, ranges, slots)
        _attributes(file)
        count = min(shown_rows, len(file))
        events, kinematics = (
            file.read(key, 0, count).tolist() for key in ("event_info", "jet_kinematics")
        )
        first = [[*event, *jet] for event, jet in zip(events, kinematics, strict=True)]
        rows("first jets", _FIRST_JETS, first)


def _attributes(file: H5File) -> None:
    for name, value in file.attributes().items():
        if not name.endswith(".columns"):  # they are in the table
            note("attribute", name, value)


def _absent(file: H5File) -> dict[str, str]:
    """Attribute `absent_columns`: what stands where the input had no such column."""
    try:
        found = json.loads(file.attributes().get("absent_columns", "{}"))
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _ranges(
    file: H5File, slots: CandidateSlots, names: dict[str, NDArray[np.int64]]
) -> dict[str, KeyRanges]:
    """One pass over the file; `names` gets the counts of label and split, −1 in front."""
    absent = _absent(file)
    keys = [key for key in file.keys.values() if key.is_numeric]
    ranges = {key.name: KeyRanges(key.name, key.columns, absent) for key in keys}
    with progress_bar(f"reading {file.path.name}", len(file)) as advance:
        for start in range(0, len(file), BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, len(file))
            for key in keys:
                values = file.read(key.name, start, stop)
                if key.name == CANDIDATES and {"E", "px", "py"} <= set(key.columns):
                    values = slots.add(values, key.columns)
                ranges[key.name].add(values.reshape(-1, len(key.columns)))
                if key.name in ("label", "split") and key.dtype.kind == "i" and len(values):
                    counts = np.bincount(np.clip(values.ravel(), -1, 99).astype(np.int64) + 1)
                    before = names.get(key.name, np.zeros(0, np.int64))
                    width = max(len(before), len(counts))
                    names[key.name] = np.pad(before, (0, width - len(before))) + np.pad(
                        counts, (0, width - len(counts))
                    )
            advance(stop - start)
    return ranges


def _headline(file: H5File, slots: CandidateSlots, names: Mapping[str, NDArray[np.int64]]) -> None:
    size = file.path.stat().st_size
    whole = sum(key.size for key in file.keys.values())
    about: dict[str, Any] = {
        "size in bytes": f"{size:,}, {whole / max(size, 1):.1f} × smaller than in memory",
        "jets": len(file),
    }
    attributes = file.attributes()
    for name in ("dataset", "layouts"):
        if name in attributes:
            about[name] = str(attributes[name]).translate(str.maketrans("", "", '[]"'))
    if "label" in names:
        about["label"] = _named_counts(names["label"], ())
    if "split" in names:
        about["split"] = _named_counts(names["split"], SPLITS)
    if per_jet := slots.per_jet():
        least, median, greatest = per_jet
        available = int(slots.counts.sum()) * (len(slots.counts) - 1)
        filled = int((slots.counts * np.arange(len(slots.counts))).sum())
        share = filled / available if available else 0
        about["candidates per jet"] = (
            f"{least} least, {median:g} median, {greatest} greatest; {len(slots.counts) - 1} slots,"
            f" {share:.1%} filled"
        )
    headline(file.path, "jet table (HDF5, Aspen Open Jets format)", about)


def _named_counts(counts: NDArray[np.int64], names: tuple[str, ...]) -> str:
    said = []
    for value, count in enumerate(counts.tolist(), start=-1):
        if count:
            name = names[value] if 0 <= value < len(names) else value
            said.append(f"{name} ({count:,} jets)")
    return ", ".join(said) or "no jets"


def _lines(
    file: H5File, ranges: Mapping[str, KeyRanges], slots: CandidateSlots
) -> list[Text | list[str | Text]]:
    """Lines of the table of ranges: for each key one about it, and one for each column."""
    lines: list[Text | list[str | Text]] = []
    for key in file.keys.values():
        about = Text.assemble("  ", (key.name, "bold cyan"))
        stored = key.filter or "not compressed"
        about.append(f" {key.shape}, {key.dtype}, {stored}", "dim")
        if key.name == CANDIDATES:
            about.append(f"; {ranges[key.name].columns[0].values:,} candidates, no padding", "dim")
        lines.append(about)
        if key.name not in ranges:
            continue
        for column in ranges[key.name].columns:
            faults = ", ".join(f"{count:,} {name}" for name, count in column.faults.items())
            lines.append(
                [
                    f"  {column.name}",
                    column.unit,
                    _number(column.minimum),
                    _number(column.mean),
                    _number(column.maximum),
                    _share(column.sentinels, column.values),
                    _share(column.zeros, column.values),
                    Text(faults, "bold red"),
                ]
            )
    return lines


def _number(value: float | int | None) -> str:
    if value is None:
        return "·"
    if isinstance(value, float):
        return f"{value:.5g}"
    return str(value)


def _share(count: int, of: int) -> str:
    """A count with its share; 100 % and 0 % only where that is exact."""
    if count == 0:
        return "·"
    if count == of:
        return f"{count:,} all"
    percent = min(max(100 * count / of, 0.1), 99.9)
    return f"{count:,} {percent:.1f}%"


def _verdict(file: H5File, ranges: Mapping[str, KeyRanges], slots: CandidateSlots) -> None:
    """What the format excludes and the file has, in red; or that it has none of it."""
    faults = [
        f"{key}.{column.name}: {count:,} × {name}"
        for key, known in ranges.items()
        for column in known.columns
        for name, count in column.faults.items()
    ]
    for count, what in (
        (slots.dirty_padding, "values of padding that are not exact zeros"),
        (slots.holes, "jets with a candidate behind padding"),
        (slots.unordered, "jets whose candidates do not fall in pt"),
    ):
        if count:
            faults.append(f"{count:,} {what}")
    try:
        JetTable(file.path).close()
    except DataError as error:
        faults.append(str(error).removeprefix(f"{file.path}: "))
    console.print()
    for fault in faults:
        console.print(Text(f"  {fault}", "bold red"))
    if not faults:
        console.print(
            "  no NaN, no infinity, no −0; padding is exact zeros; candidates fall in pt",
            style="green",
        )
