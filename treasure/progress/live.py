"""The live table below what a run prints: a process of its own, which the run starts.

    python -m treasure.progress.live STORE PLAN DESCRIPTOR PARENT

It copies what it reads from a file descriptor to the terminal, above the table, until it gets
SIGTERM or its parent is gone. A thread that draws would be unsafe in the run itself, which forks
its workers; and a table in a process of its own is put away properly even when the run is killed.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from treasure.progress.overview import Reader, pause
from treasure.progress.table import RunTable

__all__ = ["follow"]

_SECONDS_BETWEEN_TABLES = 0.5
_SECONDS_BETWEEN_LOOKS = 0.05
_SHOW_CURSOR = b"\x1b[?25h"


class _Output:
    """Lines that the run has printed since the last look."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = b""

    def lines(self) -> list[str]:
        """Whole lines; what is printed without an end of line waits for it."""
        *whole, self._begun = (self._begun + self._read()).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

    def rest(self) -> list[str]:
        """All that is left, whole lines or not."""
        lines = self.lines()
        return [*lines, self._begun.decode(errors="replace")] if self._begun else lines

    def _read(self) -> bytes:
        blocks = []
        while block := os.read(self._descriptor, 1 << 16):
            blocks.append(block)
        return b"".join(blocks)


class _Run:
    """Whether the run goes on."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self.asked_to_end = False
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGHUP, self._end)
        # Ctrl-C is for the run; the table stays until the run has said its last word.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _end(self, *_: object) -> None:
        self.asked_to_end = True

    @property
    def goes_on(self) -> bool:
        return not self.asked_to_end and os.getppid() == self._parent


def follow(store: Path, plan: Path, descriptor: int, parent: int) -> None:
    """Show a run until it ends.

    Parameters
    ----------
    store, plan
        The store of the run, and the plan that it wrote there.
    descriptor
        An open file that the run prints to.
    parent
        The process of the run.
    """
    run, output = _Run(parent), _Output(descriptor)
    try:
        _show(Reader(store, plan), output, run)
    except Exception:
        # Whatever is wrong with the table: what the run prints is shown.
        while run.goes_on:
            _print_plainly(output.lines())
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        _print_plainly(output.rest())


def _show(reader: Reader, output: _Output, run: _Run) -> None:
    console = Console(highlight=False)
    next_table = time.monotonic() + _SECONDS_BETWEEN_TABLES
    live = Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop")
    with live:
        while run.goes_on:
            _print(console, output.lines())
            if time.monotonic() >= next_table:
                start = time.monotonic()
                overview = reader.read()
                if overview is not None and run.goes_on:
                    live.update(RunTable(overview), refresh=True)
                took = time.monotonic() - start
                next_table = start + pause(took, _SECONDS_BETWEEN_TABLES)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        if not run.asked_to_end:
            _leave(output)
        _print(console, output.lines())
    _print(console, output.rest())


def _leave(output: _Output) -> None:
    """The run was killed, and the shell may have printed already: the table stays as it is."""
    os.write(1, _SHOW_CURSOR)
    _print_plainly(["", *output.rest()])
    os._exit(0)


def _print(console: Console, lines: list[str]) -> None:
    if lines:
        text = Text("\n").join(Text.from_ansi(line) for line in lines)
        console.print(text, soft_wrap=True)


def _print_plainly(lines: list[str]) -> None:
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    # A terminal that cannot say all characters shows "?", and not a traceback.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        follow(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
