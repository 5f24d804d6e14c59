"""How tasks speak on the terminal: short errors, progress lines, one summary line a stage."""

import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from treasure.errors import TreasureError

__all__ = ["Progress", "ShortErrors", "say", "shown_path", "summary_line"]

_SECONDS_BETWEEN_LINES = 10.0
_SHARE_TO_JUDGE_BY = 0.02

# Of an error before the first stage runs, luigi logs the text of the traceback.
_IN_TRACEBACK = re.compile(r"^Traceback .*^treasure\.errors\.\w+: (.*)\Z", re.DOTALL | re.MULTILINE)


class ShortErrors(logging.Filter):
    """Says an error that the user can mend in its own words, once, without a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            return False
        if error is None and (told := _IN_TRACEBACK.search(record.getMessage())):
            print(f"error: {told[1].strip()}", file=sys.stderr, flush=True)
            return False
        if not isinstance(error, TreasureError):
            return True
        # luigi logs a failed task with (process, worker, task)
        is_task = isinstance(record.args, tuple) and len(record.args) == 3
        where = f" in {record.args[2]}" if is_task else ""  # type: ignore[index]
        print(f"error{where}: {error}", file=sys.stderr, flush=True)
        return False


def shown_path(path: Path) -> str:
    """A path as short as it can be pasted: from the working directory, or in full."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def say(text: str) -> None:
    """One line on the terminal, at once, from any worker."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def summary_line(summary: Mapping[str, Any], seconds: float) -> str:
    """What came in, what went out, how fast."""
    numbers = {
        name: value
        for name, value in summary.items()
        if isinstance(value, (int, float, str))
        and not isinstance(value, bool)
        and name != "dataset"
    }
    shown = [
        f"{name.replace('_', ' ')} {value:,}" if isinstance(value, int) else
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else
        f"{name.replace('_', ' ')} {value}"
        for name, value in numbers.items()
    ]  # fmt: skip
    unit = next((name for name in ("events", "jets") if isinstance(summary.get(name), int)), "")
    rate = f" ({summary[unit] / seconds:,.0f} {unit}/s)" if unit and seconds >= 1 else ""
    return f"{', '.join(shown) or 'done'} in {seconds:.1f} s{rate}"


class Progress:
    """Prints how far a stage is, every few seconds: what is done, how fast, how long it takes.

    Call it with what is done and the total; a stage of a few seconds stays silent.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._start = self._last = time.monotonic()

    def __call__(self, done: float, total: float, note: str = "") -> None:
        now = time.monotonic()
        too_soon = now - self._last < _SECONDS_BETWEEN_LINES
        if too_soon or total <= 0 or done < _SHARE_TO_JUDGE_BY * total or done >= total:
            return
        self._last = now
        left = (now - self._start) * (total - done) / done
        share = f"{done:,.0f}/{total:,.0f} ({done / total:.0%})"
        say(", ".join([f"{self._label}: {share}", f"{left:.0f} s left", *([note] if note else [])]))
