"""From the provenance of all stages to what readers ask: cutflow and source files of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["cutflow_table", "dataset_histories"]


def dataset_histories(provenance: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is known of each dataset: cutflow, sources, configuration.

    Parameters
    ----------
    provenance : mapping
        ``{"datasets": {name: {"cutflow", "sources", "configuration"}}, …}``; what is no mapping
        is taken for the configuration.

    Returns
    -------
    dict
        name → {"cutflow", "sources", "configuration"}, sorted by name; None where not known.
    """
    given = provenance.get("datasets")
    empty = {"cutflow": None, "sources": None, "configuration": None}
    return {
        str(name): empty
        | (dict(history) if isinstance(history, Mapping) else {"configuration": history})
        for name, history in (sorted(given.items()) if isinstance(given, Mapping) else ())
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
