"""How far a run is: once, again and again, or as JSON."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from treasure.progress.overview import Overview, Reader, pause
from treasure.progress.plan import find_plan
from treasure.progress.table import RunTable, failed_lines

__all__ = ["show_status"]

_SECONDS_BETWEEN_TABLES = 1.0


def show_status(
    version: str | None,
    config: str | None,
    store: Path | None,
    *,
    watch: bool = False,
    as_json: bool = False,
) -> None:
    """Print how far a run is.

    Parameters
    ----------
    version, config
        Of the run; None for the latest one.
    store
        Where results are; None for ``$TREASURE_STORE``, or ``./data``.
    watch
        Go on until the run is over.
    as_json
        Print JSON for programs instead of a table.

    Raises
    ------
    DataError
        If no such run is recorded.
    """
    place = store or Path(os.path.expandvars(os.environ.get("TREASURE_STORE") or "data"))
    place = place.expanduser().resolve()
    reader = Reader(place, find_plan(place, version, config))
    # Where not all characters can be said, a "?" is better than an error.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    # What is not a terminal (a pipe, a file) has no width of its own.
    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=120)
    if as_json:
        print(json.dumps(_as_json(_read(reader)), indent=2))
    elif watch:
        _watch(reader, console)
    else:
        overview = _read(reader)
        console.print(RunTable(overview, failures=False))
        _print_failures(overview, console)


def _read(reader: Reader) -> Overview:
    overview = reader.read()
    assert overview is not None  # the plan was just found
    return overview


def _watch(reader: Reader, console: Console) -> None:
    overview = _read(reader)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            while overview.state in ("running", "silent"):
                start = time.monotonic()
                live.update(RunTable(overview), refresh=True)
                _wait(start)
                overview = _read(reader)
    else:
        last: list[str] = []
        while overview.state in ("running", "silent"):
            start = time.monotonic()
            lines = _lines(overview)
            for line in lines:
                if line not in last:
                    print(line, flush=True)
            last = lines
            _wait(start)
            overview = _read(reader)
    console.print(RunTable(overview, failures=False))
    _print_failures(overview, console)


def _wait(start: float) -> None:
    took = time.monotonic() - start
    time.sleep(pause(took, _SECONDS_BETWEEN_TABLES))


def _lines(overview: Overview) -> list[str]:
    """One line for each stage at work, the same as long as nothing was completed."""
    return [
        f"{stage.stage.task} {stage.stage.dataset}: {stage.done:,}/{stage.total:,} branches"
        + (f", {len(stage.failed):,} failed" if stage.failed else "")
        for stage in overview.stages
        if stage.total is not None and (stage.running or stage.failed or stage.done)
    ]


def _print_failures(overview: Overview, console: Console) -> None:
    """All that failed, in full: the table shows the first ones, cut to its width."""
    failed = [(stage, branch) for stage in overview.stages for branch in stage.failed]
    if failed:
        console.print(Text(f"\nfailed: {len(failed):,}", "bold"))
    for stage, branch in failed:
        for line in failed_lines(stage, branch, console.options.ascii_only):
            console.print(line, soft_wrap=True)


def _as_json(overview: Overview) -> dict[str, Any]:
    plan = overview.plan
    return {
        "task": plan.task,
        "version": plan.version,
        "config": plan.config,
        "state": overview.state,
        "seconds_silent": round(overview.silent, 1),
        "started": plan.started,
        "process": plan.process,
        "stages": [
            {
                "task": stage.stage.task,
                "dataset": stage.stage.dataset,
                "directory": stage.stage.directory,
                "branches": stage.total,
                "done": stage.done,
                "running": [
                    {"branch": b.name, "seconds_left": b.left, **asdict(b.record)}
                    for b in stage.running
                ],
                "failed": [{"branch": b.name, **asdict(b.record)} for b in stage.failed],
                "unit": stage.unit,
                "count": stage.count,
                "count_is_partial": stage.partial,
                "rate": stage.rate,
                "seconds_left": stage.left,
            }
            for stage in overview.stages
        ],
    }
