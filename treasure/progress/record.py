"""The record of a branch: what it is doing, how far it is, or why it failed.

A record is a small JSON file, replaced whole every few seconds while the branch runs, removed when
it is complete. What the branch counted is then one line of ``finished.<host>.jsonl``, which only
processes of one machine append to.
"""

import contextlib
import json
import math
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = [
    "FOLDER",
    "Finished",
    "Record",
    "Saved",
    "read_finished",
    "read_json",
    "read_record",
    "read_records",
    "record_path",
    "write_json",
]

FOLDER = ".progress"
_SUFFIX = ".json"
_LONGEST = 1 << 20  # no record is longer; what is was not written by us


@dataclass(frozen=True)
class Saved:
    """What is kept in a file, all but `written`, which the file itself tells."""

    def save(self, path: Path) -> None:
        """Write it.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        content = asdict(self)
        del content["written"]
        write_json(path, content)


@dataclass(frozen=True)
class Record(Saved):
    """What a branch says of itself.

    Attributes
    ----------
    label
        Its name in messages.
    state
        ``running`` or ``failed``.
    done, total
        How far it is; total is 0 until it is known.
    unit
        What `done` counts (``events``, ``jets``); empty if neither.
    elapsed
        Seconds since it began, by a clock that does not jump.
    error
        Why it failed, in one line.
    process
        Who writes this (`treasure.progress.process`).
    log
        The file that its output goes to; empty for a terminal or a pipe.
    written
        When the file was written, seconds by the clock of the file system.
    """

    label: str
    state: str
    done: float = 0
    total: float = 0
    unit: str = ""
    elapsed: float = 0
    error: str = ""
    process: dict[str, Any] = field(default_factory=dict)
    log: str = ""
    written: float = 0

    @property
    def fraction(self) -> float:
        """How far the branch is, 0 to 1; 0 where it is not known."""
        return min(self.done / self.total, 1.0) if self.total > 0 else 0.0


@dataclass(frozen=True)
class Finished:
    """What a complete branch counted, and how many seconds it took."""

    unit: str
    count: int
    seconds: float

    def append(self, folder: Path, name: str) -> None:
        """Add this branch to the list of its stage.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        line = json.dumps([name, self.unit, self.count, self.seconds]) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        # One write to a file of this machine: lines of several processes do not mix.
        path = folder / f"finished.{socket.gethostname()}.jsonl"
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


def record_path(store: Path, directory: Path) -> Path:
    """Where the record of a directory of the store is.

    Those of branches are in a folder that is called as the directory of their stage.
    """
    relative = directory.relative_to(store)
    return store / FOLDER / relative.with_name(relative.name + _SUFFIX)


def write_json(path: Path, value: Any) -> None:
    """Replace a file whole; unlike `treasure.store`, do not wait until it is on the disk.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}~{os.getpid()}")
    try:
        temporary.write_text(json.dumps(value), encoding="utf-8")
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None if there is none, or the file is damaged."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_LONGEST << 6))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def read_record(path: Path) -> Record | None:
    """The record in a file; None if there is none, or the file is damaged."""
    content = read_json(path)
    if content is None or content.get("state") not in ("running", "failed"):
        return None
    try:
        written = path.stat().st_mtime
    except OSError:
        return None
    process = content.get("process")
    return Record(
        label=_text(content, "label"),
        state=content["state"],
        done=_number(content, "done"),
        total=_number(content, "total"),
        unit=_text(content, "unit"),
        elapsed=_number(content, "elapsed"),
        error=_text(content, "error"),
        process=process if isinstance(process, dict) else {},
        log=_text(content, "log"),
        written=written,
    )


def read_records(folder: Path) -> dict[str, Record]:
    """Name of the branch → its record, of all branches of a stage that run or failed."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(_SUFFIX))
    except OSError:
        return {}
    found = {n.removesuffix(_SUFFIX): read_record(folder / n) for n in names}
    return {name: record for name, record in found.items() if record is not None}


def read_finished(folder: Path) -> dict[str, Finished]:
    """Name of the branch → what it counted, of finished branches of a stage."""
    finished: dict[str, Finished] = {}
    for path in sorted(folder.glob("finished.*.jsonl")):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            with contextlib.suppress(ValueError, TypeError, RecursionError):
                name, unit, count, seconds = json.loads(line)
                if isinstance(name, str) and math.isfinite(seconds) and isinstance(count, int):
                    finished[name] = Finished(str(unit), count, float(seconds))
    return finished


def _text(content: Mapping[str, Any], key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""


def _number(content: Mapping[str, Any], key: str) -> float:
    value = content.get(key)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # A whole number of hundreds of digits is JSON, too.
    return float(value) if is_number and abs(value) < 1e300 and value >= 0 else 0.0  # type: ignore[operator,arg-type]
