"""Whether the process that left a record is still there."""

import os
import socket
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["is_alive", "this_process"]


def this_process() -> dict[str, Any]:
    """What tells this process from every other one: host, pid, and where and when it began."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "birth": f"{_machine()} {_began(pid)}"}


def is_alive(process: dict[str, Any]) -> bool | None:
    """Whether a process is there; None where that cannot be seen: on another machine."""
    machine, _, began = str(process.get("birth", "")).rpartition(" ")
    pid = process.get("pid")
    if not machine or machine != _machine() or not isinstance(pid, int):
        return None
    return _began(pid) == began != ""


@cache
def _machine() -> str:
    """The machine since its start, and which processes are seen there; host names may repeat."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _began(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty if it is no more.

    Pids are used again, and the clock of the machine may jump; these ticks do neither.
    """
    try:
        # The name of the program, in brackets, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    state, began = fields[0], fields[19]
    return "" if state in "ZX" else began
