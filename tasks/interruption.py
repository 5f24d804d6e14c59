"""Ctrl-C and SIGTERM: a run ends with one line, without its processes and temporary files.

Luigi runs stages in forked processes, and law keeps one for what they share. By themselves these
outlive a run that is killed, and SIGTERM ends a process on the spot, with what it was writing.
"""

import ctypes
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Worker", "end_well", "was_stopped", "why_dead"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

_main_process = 0  # once `end_well` was called
_forking = 0  # the process that forks
_stopped = -math.inf  # when a signal came
_last: "_Stopped | None" = None

# SIGTERM may come from the system and from the parent: the second shall not disturb the clean-up.
_TO_CLEAN_UP = 5.0  # seconds

# Modules in which a signal waits a little: where logging has just taken its lock, an exception
# would leave it taken, and no thread that logs would end; what runs at a fork loses exceptions.
_NOT_NOW = ("logging", __name__)
_A_LITTLE = 0.01  # seconds


class _Stopped(KeyboardInterrupt):
    """A signal that ends the run; luigi, law and libraries let it pass as they do Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.status = 128 + number  # as shells give it


def end_well() -> None:
    """From now on, signals end this run of law and all its processes well. Repeating is free."""
    global _main_process
    if _main_process or not sys.argv[0].endswith(" run"):  # so law calls the program, to run tasks
        return
    if threading.current_thread() is not threading.main_thread():
        return  # Python takes signals there alone
    _main_process = os.getpid()
    for number in _SIGNALS:
        # What is ignored stays so: nohup, and jobs in the background of scripts.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _stop)
    sys.excepthook = _in_one_line
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        os.register_at_fork(before=_remember, after_in_child=lambda: _end_with_parent(libc))


def was_stopped() -> bool:
    """Whether a signal came to this process: what fails after it, fails because of it."""
    return _last is not None


def _comes_again(number: int, frame: FrameType | None, handler: Callable[..., None]) -> bool:
    """Whether a signal comes at a wrong moment, and was told to come again a little later."""
    if frame is None or frame.f_globals.get("__name__") not in _NOT_NOW:
        return False
    signal.signal(signal.SIGALRM, lambda _, later: handler(number, later))
    signal.setitimer(signal.ITIMER_REAL, _A_LITTLE)
    return True


def _stop(number: int, frame: FrameType | None) -> None:
    global _stopped, _last
    if _comes_again(number, frame, _stop):
        return
    now = time.monotonic()
    if number == signal.SIGTERM and now < _stopped + _TO_CLEAN_UP:
        return
    _stopped = now
    _last = _Stopped(number)
    raise _last


def _leave(number: int, frame: FrameType | None) -> None:
    if _comes_again(number, frame, _leave):
        return
    raise SystemExit(128 + number)


def _in_one_line(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if "File.close" in str(error) and "[FATAL]" in str(error):
        return  # at the end, XRootD's client closes files of a server that is gone
    if not isinstance(error, _Stopped):
        sys.__excepthook__(kind, error, traceback)
        return
    if os.getpid() == _main_process:
        print(
            f"error: {error}; what is complete stays, the same command goes on from there",
            file=sys.stderr,
            flush=True,
        )
    raise SystemExit(error.status)


def _remember() -> None:
    global _forking
    _forking = os.getpid() if threading.current_thread() is threading.main_thread() else 0


def _end_with_parent(libc: ctypes.CDLL) -> None:
    """In a forked process: SIGTERM when its parent is no more, or rather the thread that forked."""
    if not _forking:
        return
    signal.signal(signal.SIGTERM, _leave)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != _forking:  # it was killed just before
        os._exit(128 + signal.SIGTERM)


class Worker:
    """What luigi puts around each stage that it runs (`task_process_context` in law.cfg)."""

    def __init__(self, process: Any) -> None:
        pass

    def __enter__(self) -> None:
        if _forking and os.getpid() != _main_process:
            signal.signal(signal.SIGTERM, _stop)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Libraries swallow exceptions in places, such as while they import others.
        stopped = error if isinstance(error, _Stopped) else _last
        if not _forking or os.getpid() == _main_process:
            if error is None and stopped is not None:
                raise stopped
            return
        signal.signal(signal.SIGINT, _leave)
        signal.signal(signal.SIGTERM, _leave)
        # The process that waits for this one tells why.
        if stopped is not None:
            raise SystemExit(stopped.status) from None


def why_dead(status: str) -> str:
    """What to say of a dead worker's exit status; negative: the number of a signal."""
    try:
        name = signal.Signals(-int(status)).name
    except ValueError:
        return f"its process ended early, with status {status}; run the same command again"
    if name == "SIGKILL":
        return (
            "its process was killed (SIGKILL): by hand, or by the system for want of memory; take"
            " fewer --workers if so, and run the same command again"
        )
    return f"its process was killed ({name}); run the same command again"
