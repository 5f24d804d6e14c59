"""A live table below what a run prints, drawn by a process of its own.

What this process, its workers and their libraries print goes to a file in memory instead of the
terminal; the other process (`treasure.progress.live`) copies it from there, above the table. A file
never blocks and never breaks as a pipe does: if that process dies, the run does not notice.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from tasks.progress import way_of_showing

__all__ = ["Screen", "wants_table"]

_SECONDS_TO_END = 10
_SHOW_CURSOR = b"\x1b[?25h"


def wants_table() -> bool:
    """Whether there is a terminal, with a person before it, on which a table can be drawn."""
    asked = way_of_showing()
    if not os.isatty(1) or asked in ("plain", "none"):
        return False
    if asked == "live":
        return True
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown") or os.environ.get("CI"):
        return False
    try:
        return os.tcgetpgrp(1) == os.getpgrp()  # not in the background
    except OSError:
        return False


class Screen:
    """The terminal of a run, with a table at its end, until `close`.

    Parameters
    ----------
    store, plan
        The store of the run, and the plan in it.

    Raises
    ------
    OSError
        If there is no room for the file in memory, or no process can be started.
    """

    def __init__(self, store: Path, plan: Path) -> None:
        self._pid = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        written = os.memfd_create("treasure-output")
        # A second opening has a position of its own, which the other process moves on: what it did
        # not come to show is what is left to read here.
        self._unread = os.open(f"/proc/self/fd/{written}", os.O_RDONLY)
        os.set_inheritable(self._unread, True)
        command = [sys.executable, "-m", "treasure.progress.live"]
        arguments = [str(store), str(plan), str(self._unread), str(self._pid)]
        try:
            self._drawing = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=[self._unread],
            )  # fmt: skip
        except OSError:
            os.close(self._unread)
            os.close(written)
            raise
        self._terminal = {fd: os.dup(fd) for fd in (1, 2) if os.isatty(fd)}
        for fd in self._terminal:
            os.dup2(written, fd)
        os.close(written)

    def close(self) -> None:
        """Wait until all is shown, and give the terminal back."""
        if os.getpid() != self._pid:  # a worker that ended as a whole program does
            return
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        for fd, terminal in self._terminal.items():
            os.dup2(terminal, fd)
        try:
            self._drawing.terminate()
            code = self._drawing.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._drawing.kill()
            code = self._drawing.wait()
        if code:
            with contextlib.suppress(OSError):
                os.write(1, _SHOW_CURSOR)
        while block := os.read(self._unread, 1 << 16):
            with contextlib.suppress(OSError):
                os.write(1, block)
        os.close(self._unread)
