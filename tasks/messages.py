"""How tasks speak on the terminal: short errors, one summary line a stage."""

import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from luigi.rpc import RPCError

from tasks.interruption import was_stopped
from treasure.errors import TreasureError

__all__ = ["ShortErrors", "counted", "say", "shown_path", "summary_line"]

# Of an error before the first stage runs, luigi logs the text of the traceback.
_IN_TRACEBACK = re.compile(r"^Traceback .*^treasure\.errors\.\w+: (.*)\Z", re.DOTALL | re.MULTILINE)

# What luigi warns of when a central scheduler is gone, with every question that it asks.
_NO_SCHEDULER = ("Failed connecting to remote scheduler", "Failed pinging scheduler")


class ShortErrors(logging.Filter):
    """Says an error that the user can mend in its own words, once, without a traceback."""

    _waits_for_scheduler = False

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and was_stopped():
            return False
        if isinstance(error, BrokenPipeError):  # the reader, such as `head`, has seen enough
            return False
        if str(record.msg).startswith(_NO_SCHEDULER):
            if not self._waits_for_scheduler:
                self._waits_for_scheduler = True
                print("the scheduler does not answer; asking again", file=sys.stderr, flush=True)
            return False
        if isinstance(error, RPCError):
            print(
                "error: the scheduler does not answer any more; what is complete stays, the same"
                " command goes on from there",
                file=sys.stderr, flush=True,
            )  # fmt: skip
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
    unit, count = counted(summary)
    rate = f" ({count / seconds:,.0f} {unit}/s)" if unit and seconds >= 1 else ""
    return f"{', '.join(shown) or 'done'} in {seconds:.1f} s{rate}"


def counted(summary: Mapping[str, Any]) -> tuple[str, int]:
    """What a stage counted, ``events`` or ``jets``, and how many; empty and 0 if neither."""
    unit = next((name for name in ("events", "jets") if isinstance(summary.get(name), int)), "")
    return unit, summary[unit] if unit else 0
