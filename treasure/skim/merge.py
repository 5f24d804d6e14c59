"""The cutflows of all branches of a dataset as one, and its luminosity sections against a plan."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from treasure.config.dataset import Dataset
from treasure.errors import DataError
from treasure.skim.luminosity import (
    Sections,
    count,
    difference,
    intersection,
    union,
)
from treasure.skim.parts import CUTFLOW
from treasure.store import MANIFEST, checksums, read_json, read_manifest, write_json

__all__ = ["MERGED", "PROCESSED", "expected_sections", "merge", "read_branch", "write_merged"]

MERGED = "cutflow.json"
PROCESSED = "luminosity_processed.json"  # of collision data

_COUNTED = ("events", "jets")
_SUMMED = ("weight", "weight2")


def read_branch(directory: Path) -> dict[str, Any]:
    """What one branch says of itself, verified; the parts of its skim are not looked at.

    Raises
    ------
    DataError
        If its cutflow is missing, or differs from what its manifest says.
    """
    path = directory / CUTFLOW
    listed = read_manifest(directory)["files"].get(CUTFLOW)
    if not path.is_file() or listed != checksums(path):
        raise DataError(
            f"{path}: missing, or not what {directory / MANIFEST} says; remove {directory} and run"
            " SkimJets again"
        )
    content = read_json(path)
    assert isinstance(content, dict)
    return content


def merge(
    branches: Sequence[Mapping[str, Any]],
    dataset_name: str,
    dataset: Dataset,
    *,
    planned: Sections | None = None,
    golden: Sections | None = None,
    limits: Mapping[str, Any] | None = None,
    files_left_out: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Add up what the branches say.

    Parameters
    ----------
    branches
        Content of each branch's ``cutflow.json``, in the order of the branches.
    dataset_name, dataset
        What they are of.
    planned
        The luminosity sections that the source says the dataset has; None where it does not know.
    golden
        The validated ones; None where every section is used.
    limits
        How the source was restricted (`limit_files`, `entry_start`, `entry_stop`).
    files_left_out
        Those that the fileset lists as bad: uri, reason.

    Returns
    -------
    The content of the merged ``cutflow.json``; see ``docs/formats/skim.md``.

    Raises
    ------
    DataError
        If there is no branch, or they are of different selections or datasets.
    """
    _must_agree(branches, dataset_name)
    first = branches[0]
    luminosity = None
    if not dataset.is_mc:
        read = union(*(branch["luminosity_sections"] for branch in branches))
        luminosity = compare_luminosity(read, planned=planned, golden=golden, limits=limits)
    return {
        "dataset": dataset_name,
        "is_mc": dataset.is_mc,
        "title": dataset.title,
        "events": sum(branch["events"] for branch in branches),
        "jets": sum(branch["jets"] for branch in branches),
        "most_jets_in_event": max(branch["most_jets_in_event"] for branch in branches),
        "cutflow": _cutflow(branches),
        "branches": [
            {"branch": number, "jets": branch["jets"]} for number, branch in enumerate(branches)
        ],
        "chunks": sum(branch["chunks"] for branch in branches),
        "files": [file for branch in branches for file in branch["files"]],
        "files_left_out": [dict(file) for file in files_left_out],
        "limits": dict(limits or {}),
        "layouts": sorted({layout for branch in branches for layout in branch["layouts"]}),
        "missing_triggers": _added(branch["missing_triggers"] for branch in branches),
        "absent_columns": _all_said(branch["absent_columns"] for branch in branches),
        "replaced_values": _added(branch["replaced_values"] for branch in branches),
        "puppi": _one_convention(branches, dataset_name),
        "notes": _added(branch["notes"] for branch in branches),
        "jets_with_candidates_left_out": sum(
            branch["jets_with_candidates_left_out"] for branch in branches
        ),
        "luminosity": luminosity,
        "selection": first["selection"],
    }


def expected_sections(
    read: Sections,
    *,
    planned: Sections | None,
    golden: Sections | None,
    limits: Mapping[str, Any] | None = None,
) -> tuple[Sections | None, str]:
    """The sections that the dataset should have, and who says so.

    What the source plans, as far as it is validated; where the source does not know, all that is
    validated of the runs that were met, since a golden JSON spans a year and a dataset less.
    Of a source with `limits`, all that it does not read would be missing: what to expect is not
    known.
    """
    if limits:
        return None, f"not known, with {' and '.join(limits)}"
    if planned is not None and golden is not None:
        return intersection(planned, golden), "source and golden JSON"
    if planned is not None:
        return planned, "source"
    if golden is not None:
        return {run: golden[run] for run in read if run in golden}, "golden JSON, of the runs read"
    return None, "not known"


def compare_luminosity(
    read: Sections,
    *,
    planned: Sections | None,
    golden: Sections | None,
    limits: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Luminosity sections processed (read and validated) beside those expected."""
    processed = read if golden is None else intersection(read, golden)
    expected, by = expected_sections(read, planned=planned, golden=golden, limits=limits)
    missing = {} if expected is None else difference(expected, processed)
    outside = {} if expected is None else difference(read, expected)
    return {
        "processed": processed,
        "expected": expected,
        "expected_by": by,
        "missing": missing,
        "outside": outside,
        "n_read": count(read),
        "n_processed": count(processed),
        "n_expected": None if expected is None else count(expected),
        "n_missing": count(missing),
        "n_outside": count(outside),
    }


def write_merged(merged: Mapping[str, Any], directory: Path) -> None:
    """Write `MERGED`, the report, and for collision data `PROCESSED`."""
    from treasure.skim.cutflow_page import REPORT, write_page

    write_json(directory / MERGED, merged)
    write_page(directory / REPORT, merged)
    if merged["luminosity"] is not None:
        write_json(directory / PROCESSED, merged["luminosity"]["processed"])


def _must_agree(branches: Sequence[Mapping[str, Any]], dataset_name: str) -> None:
    if not branches:
        raise DataError(f"{dataset_name}: no branch of a skim to merge; run SkimJets first")
    first = branches[0]
    for number, branch in enumerate(branches):
        if branch["dataset"] != dataset_name:
            raise DataError(
                f"{dataset_name}: branch {number} of the skim is of dataset {branch['dataset']!r};"
                " remove it and run SkimJets again"
            )
        names = [step["cut"] for step in branch["cutflow"]]
        if branch["selection"] != first["selection"] or names != [
            step["cut"] for step in first["cutflow"]
        ]:
            raise DataError(
                f"{dataset_name}: branch {number} of the skim was selected otherwise than branch"
                " 0; remove it and run SkimJets again"
            )


def _one_convention(branches: Sequence[Mapping[str, Any]], dataset_name: str) -> str:
    """Whether momenta are weighted by PUPPI, in all branches the same."""
    found = {part for branch in branches for part in branch["puppi"].split(", ") if part}
    if len(found) > 1:
        raise DataError(
            f"{dataset_name}: its files are of layouts whose momenta are weighted by PUPPI and of"
            " others (layout D is weighted, A to C are not); set selection.apply_puppi to true, or"
            " make datasets of their own"
        )
    return found.pop() if found else "stored"


def _cutflow(branches: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    merged = []
    for steps in zip(*(branch["cutflow"] for branch in branches), strict=True):
        total: dict[str, Any] = {"cut": steps[0]["cut"]}
        total |= {name: sum(step[name] for step in steps) for name in _COUNTED}
        # exactly rounded: the same sum however the files are shared out over branches, nearly
        total |= {name: math.fsum(step[name] for step in steps) for name in _SUMMED}
        merged.append(total)
    return merged


def _added(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))


def _all_said(parts: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Key → value; all values, with commas between, where branches differ."""
    said: dict[str, set[str]] = {}
    for part in parts:
        for key, value in part.items():
            said.setdefault(key, set()).add(value)
    return {key: ", ".join(sorted(values)) for key, values in sorted(said.items())}
