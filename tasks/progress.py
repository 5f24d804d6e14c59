"""How far a branch is: told on the terminal, to the scheduler's page, and in the store."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.messages import counted, say
from treasure.errors import TreasureError
from treasure.progress.process import this_process
from treasure.progress.record import Finished, Record, record_path

__all__ = ["Progress", "note_failure", "one_line", "way_of_showing"]

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_BETWEEN_RECORDS = 2.0
_SHARE_TO_JUDGE_BY = 0.02
_LONGEST_ERROR = 500


def way_of_showing() -> str:
    """``live``, ``plain`` or ``none``, as ``TREASURE_PROGRESS`` asks for; empty if it does not."""
    asked = os.environ.get("TREASURE_PROGRESS", "").strip().lower()
    return asked if asked in ("live", "plain", "none") else ""


class Progress:
    """Says how far a branch is. Call it with what is done and the total, as often as you like.

    Parameters
    ----------
    label
        How the branch is called in messages.
    store, directory
        The store, and the directory of the branch in it.
    unit
        What is counted, if that is ``events`` or ``jets``.
    publish
        Called with per cent and a text, for the page of the scheduler.
    """

    plain = True
    """Whether lines are printed; no longer when a table shows the same."""

    def __init__(
        self,
        label: str,
        store: Path,
        directory: Path,
        unit: str = "",
        publish: Callable[[float, str], None] | None = None,
    ) -> None:
        self._label = label
        self._unit = unit
        self._publish = publish
        self._path = record_path(store, directory)
        self._start = self._line = self._record = time.monotonic()
        self._done = self._total = 0.0

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Keep a record of the branch in the store while the block runs, and of its error."""
        self._start = self._line = self._record = time.monotonic()
        self._save("running")
        try:
            yield
        except BaseException as error:
            self._save("failed", one_line(error))
            raise

    def complete(self, summary: Mapping[str, Any]) -> None:
        """Turn the record into one line on what the branch counted."""
        unit, count = counted(summary)
        seconds = round(time.monotonic() - self._start, 3)
        with contextlib.suppress(OSError):
            Finished(unit, count, seconds).append(self._path.parent, self._path.stem)
        with contextlib.suppress(OSError):
            self._path.unlink()

    def __call__(self, done: float, total: float, note: str = "") -> None:
        self._done, self._total = done, total
        now = time.monotonic()
        if now - self._record < _SECONDS_BETWEEN_RECORDS or total <= 0:
            return
        self._record = now
        self._save("running")
        if done < _SHARE_TO_JUDGE_BY * total or done >= total:
            return
        left = (now - self._start) * (total - done) / done
        share = f"{done:,.0f}/{total:,.0f} ({done / total:.0%})"
        told = ", ".join([share, f"{left:.0f} s left", *([note] if note else [])])
        if self._publish is not None:
            # The page of the scheduler is a courtesy, too.
            with contextlib.suppress(Exception):
                self._publish(100 * done / total, told)
        if self.plain and now - self._line >= _SECONDS_BETWEEN_LINES:
            self._line = now
            say(f"{self._label}: {told}")

    def _save(self, state: str, error: str = "") -> None:
        record = Record(
            label=self._label,
            state=state,
            done=self._done,
            total=self._total,
            unit=self._unit,
            elapsed=round(time.monotonic() - self._start, 3),
            error=error,
            process=this_process(),
            log=_log(),
        )
        with contextlib.suppress(OSError):
            record.save(self._path)


def note_failure(label: str, store: Path, directory: Path, error: str) -> None:
    """Record why a branch failed: before or after it worked in its directory, or killed."""
    record = Record(label, "failed", error=error, process=this_process(), log=_log())
    with contextlib.suppress(OSError):
        record.save(record_path(store, directory))


def one_line(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    said = " ".join(str(error).split())
    if not isinstance(error, TreasureError):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return said[:_LONGEST_ERROR]


def _log() -> str:
    """The file that this process prints to: of a batch job, its log."""
    try:
        path = Path("/proc/self/fd/1").readlink()
        return str(path) if path.is_file() else ""
    except OSError:
        return ""
