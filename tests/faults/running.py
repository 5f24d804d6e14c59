"""Runs that can be killed, stores that can be compared, and small file systems."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from treasure import store as files

# What says when a file was made, how long it took, or where.
_NOT_DATA = {"manifest.json", "receipt.json", "report.html"}
_LEFTOVER = re.compile(r"\.[0-9a-f]{32}\.tmp(\.|$)")


def data(store: Path) -> dict[str, str]:
    """SHA-256 of all data files of a store, by name."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.name not in _NOT_DATA
        if not (name := path.relative_to(store).as_posix()).startswith(".progress")
    }


def leftovers(*folders: Path) -> list[str]:
    """Temporary files below some folders."""
    return [str(p) for folder in folders for p in folder.rglob(".*") if _LEFTOVER.search(p.name)]


def check_what_counts(store: Path) -> None:
    """Every directory with a manifest has the files that it lists, whole."""
    for manifest in store.rglob("manifest.json"):
        if isinstance(json.loads(manifest.read_text())["files"], dict):
            files.verify(manifest.parent)


def seconds_of(store: Path, task: str) -> float:
    """The longest that a branch of a task took."""
    found = store.glob(f"*/{task}/**/manifest.json")
    manifests = [json.loads(path.read_text()) for path in found]
    return max(m["timing"]["seconds"] for m in manifests if "timing" in m)


def copy_of(store: Path, to: Path, *, without: tuple[str, ...] = ()) -> Path:
    """A store of one's own, without the outputs of some tasks."""
    shutil.copytree(store, to)
    for task in without:
        for folder in to.glob(f"*/{task}"):
            shutil.rmtree(folder)
        if task == "PublishFDP":
            shutil.rmtree(to / "published")
    return to


class Started:
    """A command in a session of its own, with `scratch` as its folder for temporary files."""

    def __init__(self, store: Path, scratch: Path, *command: str, **environment: str) -> None:
        scratch.mkdir(exist_ok=True)
        self.store, self.scratch = store, scratch
        self._output = scratch.with_name(f"{scratch.name}.{time.monotonic_ns()}.txt")
        with open(self._output, "w") as output:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ
                | {"TREASURE_STORE": str(store), "TMPDIR": str(scratch), "COLUMNS": "120"}
                | {"TREASURE_SCRATCH": str(scratch)} | environment,
            )  # fmt: skip

    @property
    def text(self) -> str:
        """What it has said."""
        return self._output.read_text()

    def wait_until(self, what: Callable[[], object], seconds: float = 400.0) -> bool:
        """Whether something came true before the command ended."""
        limit = time.monotonic() + seconds
        while not what():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < limit, f"nothing in {seconds} s:\n{self.text}"
            time.sleep(0.005)
        return True

    def finish(self, seconds: float = 900.0) -> int:
        """Its exit status; all of its processes are gone by then, or soon after."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"no end in {seconds} s:\n{self.text}") from None
        limit = time.monotonic() + 120
        while self.processes():
            assert time.monotonic() < limit, f"left behind: {self.processes()}\n{self.text}"
            time.sleep(0.02)
        return status

    def kill(self, number: int) -> int:
        """Send a signal to all its processes, and see how it ends."""
        os.killpg(self.process.pid, number)
        return self.finish()

    def processes(self) -> dict[int, list[str]]:
        """Its living processes, with what each has open."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid and fields[0] not in "ZX":
                    links = [os.readlink(link) for link in (entry / "fd").iterdir()]
                    found[int(entry.name)] = links
            except (OSError, ValueError):  # no process, or gone meanwhile
                continue
        return found

    def workers(self) -> dict[int, str]:
        """Its processes that work on a stage now, with the directory that each has locked."""
        return {
            pid: link
            for pid, links in self.processes().items()
            for link in links
            if link.startswith(str(self.store)) and is_locked(Path(link))
        }

    def is_clean(self) -> bool:
        """Nothing temporary is left; torch keeps an empty folder."""
        mine = [p.name for p in self.scratch.iterdir() if not p.name.startswith("torchinductor")]
        return not mine and not leftovers(self.store)


def is_locked(directory: Path) -> bool:
    """Whether a process works in a directory."""
    if not directory.is_dir():
        return False
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def one_error(text: str) -> str:
    """The one error of a run, which is told in one line."""
    assert "Traceback" not in text, text
    lines = [line for line in text.splitlines() if line.startswith("error")]
    assert len(lines) == 1, text
    return lines[0]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own with little room; skips where none may be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount).returncode:
        pytest.skip("may not mount a small file system (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, option: str) -> None:
    """Change a mounted file system: ``size=…``, ``ro``, ``rw``."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)
