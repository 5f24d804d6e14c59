"""Luminosity sections as sets: the JSON that CMS writes, and the algebra of its ranges.

A set of sections is ``{run: [[first, last], …]}`` with both ends included, runs as strings: what a
golden JSON holds, and what luminosity tools read. Sets that leave this module have their runs in
rising order and their ranges sorted, disjoint and as few as can be.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from treasure.errors import ConfigError

__all__ = ["Sections", "count", "difference", "intersection", "read_sections", "sections", "union"]

_LARGEST = 2**32 - 1  # runs and luminosity blocks are unsigned 32-bit integers

Range = list[int]
Sections = dict[str, list[Range]]


def sections(pairs: Iterable[tuple[int, int]]) -> Sections:
    """The set of some (run, luminosity block)."""
    runs: dict[str, list[Range]] = {}
    for run, block in set(pairs):
        runs.setdefault(str(run), []).append([block, block])
    return union(runs)


def union(*sets: Mapping[str, Iterable[Iterable[int]]]) -> Sections:
    """Sections that are in any of the sets, whose ranges may overlap and have any order."""
    runs: dict[str, list[Range]] = {}
    for one in sets:
        for run, ranges in one.items():
            runs.setdefault(run, []).extend([first, last] for first, last in ranges)
    return _each_run(runs, lambda _, ranges: _joined(ranges))


def difference(whole: Sections, removed: Sections) -> Sections:
    """Sections of the first set that are not in the second."""
    return _each_run(whole, lambda run, ranges: _without(ranges, removed.get(run, [])))


def intersection(one: Sections, other: Sections) -> Sections:
    """Sections that are in both."""
    return difference(one, difference(one, other))


def count(one: Sections) -> int:
    """How many sections a set has."""
    return sum(last - first + 1 for ranges in one.values() for first, last in ranges)


def read_sections(path: Path, name: str) -> Sections:
    """Read a golden JSON, or any set of sections in this format.

    Parameters
    ----------
    path
        The file.
    name
        What in the configuration names it, for messages.

    Raises
    ------
    ConfigError
        If the file is not ``{"run": [[first, last], …]}`` with sections from 1 on.
    """
    try:
        content = json.loads(path.read_bytes())
        problem = _problem(content)
    except (ValueError, OSError) as error:
        problem = str(error)
    if problem:
        raise ConfigError(
            f'{name}: {path}: not a golden JSON ({problem}); expected {{"run": [[first, last], …]}}'
        )
    return union(content)


def _problem(content: Any) -> str:
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    for run, ranges in content.items():
        is_run = run.isascii() and run.isdigit() and int(run) <= _LARGEST
        if not is_run or not isinstance(ranges, list):
            return f"run {run!r}: {str(ranges)[:40]}"
        for part in ranges:
            whole = isinstance(part, list) and [type(end) for end in part] == [int, int]
            if not whole or not 1 <= part[0] <= part[1] <= _LARGEST:
                return f"run {run}: {str(part)[:40]}"
    return ""


def _each_run(runs: Sections, change: Callable[[str, list[Range]], list[Range]]) -> Sections:
    changed = {run: change(run, runs[run]) for run in sorted(runs, key=int)}
    return {run: ranges for run, ranges in changed.items() if ranges}


def _joined(ranges: list[Range]) -> list[Range]:
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return joined


def _without(ranges: list[Range], removed: list[Range]) -> list[Range]:
    """Of joined ranges, what joined others leave."""
    left: list[Range] = []
    for first, last in ranges:
        for start, stop in removed:
            if start > last:
                break
            if stop >= first:
                if start > first:
                    left.append([first, start - 1])
                first = stop + 1
        if first <= last:
            left.append([first, last])
    return left
