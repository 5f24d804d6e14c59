"""From the provenance of all stages to what readers ask: cutflow and source files of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["cutflow_table", "dataset_histories"]


def dataset_histories(provenance: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is known of each dataset: cutflow, sources, configuration.

    Parameters
    ----------
    provenance : mapping
        ``{"datasets": {name: {"cutflow", "sources", "configuration"}}, "chain": [stage, …]}``.
        For a dataset that is not among "datasets", the summaries of the stages in the chain are
        searched: those that name a `dataset` and have a `cutflow` are its branches, whose cutflows
        are summed and whose `files` are its sources.

    Returns
    -------
    dict
        name → {"cutflow", "sources", "configuration"}, sorted by name; None where not known.
    """
    given = provenance.get("datasets")
    found: dict[str, dict[str, Any]] = {
        str(name): dict(history) if isinstance(history, Mapping) else {"configuration": history}
        for name, history in (given.items() if isinstance(given, Mapping) else ())
    }
    searched: dict[str, dict[str, Any]] = {}
    for summary in _skims(provenance.get("chain")):
        history = searched.setdefault(
            str(summary["dataset"]),
            {"cutflow": [], "sources": [], "configuration": summary.get("selection")},
        )
        history["cutflow"] = _sum(history["cutflow"], summary["cutflow"])
        files = summary.get("files")
        history["sources"] += files if isinstance(files, list) else []
    empty = {"cutflow": None, "sources": None, "configuration": None}
    return {
        name: empty | searched.get(name, {}) | found.get(name, {})
        for name in sorted(found | searched)
    }


def cutflow_table(cutflow: Any) -> tuple[list[str], list[list[Any]]] | None:
    """Return columns and rows of a cutflow; None where it has not the form of one.

    Understood are a list of ``{"cut": name, quantity: number, …}``, a mapping from cut to such
    quantities, and a mapping from cut to a number.
    """
    if isinstance(cutflow, Mapping):
        steps = [
            {"cut": name, **(value if isinstance(value, Mapping) else {"passed": value})}
            for name, value in cutflow.items()
        ]
    elif isinstance(cutflow, Sequence) and not isinstance(cutflow, (str, bytes)):
        if not all(isinstance(step, Mapping) for step in cutflow):
            return None
        steps = [dict(step) for step in cutflow]
    else:
        return None
    if not steps:
        return None
    columns = list(dict.fromkeys(str(name) for step in steps for name in step))
    plain = (str, int, float, type(None))
    rows = [
        [v if isinstance(v := step.get(name), plain) else str(v) for name in columns]
        for step in steps
    ]
    return columns, rows


def _skims(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping in a nested value that has a dataset and a cutflow."""
    if isinstance(value, Mapping):
        if "cutflow" in value and isinstance(value.get("dataset"), str):
            yield value
            return
        for inner in value.values():
            yield from _skims(inner)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        for inner in value:
            yield from _skims(inner)


def _sum(total: list[dict[str, Any]], part: Any) -> list[dict[str, Any]]:
    """Add two cutflows cut by cut; a cut that only one of them has stays as it is."""
    table = cutflow_table(part)
    if table is None:
        return total
    columns, rows = table
    steps = {step[columns[0]]: step for step in total}
    for row in rows:
        new = dict(zip(columns, row, strict=True))
        old = steps.get(row[0], {})
        steps[row[0]] = {
            name: old[name] + value
            if isinstance(value, (int, float)) and isinstance(old.get(name), (int, float))
            else value
            for name, value in new.items()
        }
    return list(steps.values())
