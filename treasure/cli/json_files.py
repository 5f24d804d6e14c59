"""`treasure inspect` of JSON: filesets, cutflows of branches and of datasets, manifests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treasure import store
from treasure.cli.folders import inspect_manifest
from treasure.cli.terminal import SHOWN_ITEMS, console, facts, headline, rows

__all__ = ["inspect_json"]

_FIRST_FILES = 5
_NAMES = ("record", "validated_runs")


def inspect_json(path: Path) -> None:
    """Print what a JSON file of the workflow says; of any other, its first level."""
    content = store.read_json(path)
    if not isinstance(content, dict):
        kind = type(content).__name__
        length = len(content) if isinstance(content, (list, str)) else 1
        headline(path, "JSON", {"type": kind, "length": length})
    elif {"dataset", "files", "luminosity_sections", "bad_files"} <= set(content):
        _inspect_fileset(path)
    elif isinstance(content.get("cutflow"), list):
        _inspect_cutflow(path, content)
    elif path.name == store.MANIFEST and "files" in content:
        inspect_manifest(path, content)
    else:
        headline(path, "JSON", content)


def _inspect_fileset(path: Path) -> None:
    from treasure.fileset.model import Fileset

    fileset = Fileset.load(path)
    whole = sum(file.entries for file in fileset.files)
    events = f"{fileset.entries:,}"
    if fileset.entries != whole:
        events += f" to be read of {whole:,}"
    about: dict[str, Any] = {
        "dataset": fileset.dataset,
        "files": len(fileset.files),
        "files left out": [f"{bad.uri}: {bad.reason}" for bad in fileset.bad_files] or "none",
        "events": events,
        "bytes": sum(file.size for file in fileset.files),
        "branches": f"{len(fileset.groups()):,}, files_per_branch {fileset.files_per_branch}",
    }
    if sections := fileset.luminosity_sections:
        about["luminosity sections"] = _sections(sections)
    if fileset.source:
        about["source"] = _with_names(fileset.source)
    if fileset.provenance:
        about["provenance"] = _with_names(fileset.provenance)
    headline(path, "fileset", about)
    shown = fileset.files[:_FIRST_FILES]
    columns = ["uri", "entries", "size", "checksum"]
    table = [[f.uri, f.entries, f.size, f.checksum] for f in shown]
    if any(file.selected_entries != file.entries for file in fileset.files):
        columns.insert(1, "read")
        for row, file in zip(table, shown, strict=True):
            start, stop = file.entry_range
            row.insert(1, f"{start}…{stop}" if stop > start else "nothing")
    rows("first files", columns, table)


def _with_names(about: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers that name something, such as that of a record, are not to be read as counts."""
    said: dict[str, Any] = {}
    for name, value in about.items():
        if isinstance(value, Mapping):
            said[name] = _with_names(value)
        elif name in _NAMES and value is not None:
            said[name] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        else:
            said[name] = value
    return said


def _sections(sections: Mapping[str, Any]) -> str:
    """Number of luminosity sections of ``{run: [[first, last], …]}``."""
    count = sum(last - first + 1 for spans in sections.values() for first, last in spans)
    return f"{count:,} in {len(sections):,} runs"


def _inspect_cutflow(path: Path, content: Mapping[str, Any]) -> None:
    merged = "branches" in content
    about = {k: v for k, v in content.items() if isinstance(v, (str, int, float)) and v != ""}
    about["files"] = len(content.get("files", []))
    if merged:
        about["branches"] = len(content["branches"])
    for name in ("layouts", "absent_columns", "replaced_values", "notes"):
        if content.get(name):
            about[name] = content[name]
    if lacking := content.get("missing_triggers"):
        about["triggers that files lack"] = len(lacking)
    if isinstance(content.get("luminosity_sections"), dict):
        about["luminosity sections read"] = _sections(content["luminosity_sections"])
    headline(path, "cutflow of a dataset" if merged else "cutflow of a skim", about)
    if isinstance(content.get("luminosity"), dict):
        _luminosity(content["luminosity"])
    columns = ["cut", "events", "jets", "weight"]
    rows("cutflow", columns, [[step[c] for c in columns] for step in content["cutflow"]])
    if merged:
        jets = [branch["jets"] for branch in content["branches"]]
        shares = [[number, count] for number, count in enumerate(jets[:SHOWN_ITEMS])]
        rows(f"jets of the branches ({len(jets)})", ["branch", "jets"], shares)


def _luminosity(luminosity: Mapping[str, Any]) -> None:
    """Luminosity sections processed beside those expected; those that miss, in red."""
    said: dict[str, Any] = {}
    for name in ("processed", "expected", "missing", "outside"):
        sections = luminosity.get(name)
        said[name] = "not known" if sections is None else _sections(sections)
    if luminosity.get("expected_by"):
        said["expected"] += f" ({luminosity['expected_by']})"
    console.print("  luminosity sections:")
    facts(said, "    ")
    for name in ("missing", "outside"):
        for run, spans in list((luminosity.get(name) or {}).items())[:SHOWN_ITEMS]:
            text = ", ".join(f"{first}–{last}" for first, last in spans[:SHOWN_ITEMS])
            more = ", …" if len(spans) > SHOWN_ITEMS else ""
            console.print(f"      {name}: run {run}: {text}{more}", style="red")
        if len(luminosity.get(name) or {}) > SHOWN_ITEMS:
            console.print(f"      {name}: … {len(luminosity[name]):,} runs in all", style="red")
