"""A Dask scheduler and its workers as a facility runs them: processes of their own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.skim.executor_cases import Case, make_case
from tests.skim.faulty_layout import faults
from treasure.errors import ConfigError, DataError
from treasure.skim.executors import Executor, executor_named

pytestmark = pytest.mark.slow

HOME = Path(__file__).resolve().parents[2]
DASK = Path(sys.executable).with_name("dask")


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Cluster:
    """`dask scheduler` and `dask worker`, started by the command line."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._file = folder / "scheduler.json"
        self.lines: list[str] = []
        self.start_scheduler()

    def start_scheduler(self, path: Path = HOME) -> None:
        self._file.unlink(missing_ok=True)
        self.scheduler = self._start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--dashboard-address",
            "127.0.0.1:0",
            path=path,
        )
        wait_for(self._is_written)

    def start_worker(self, path: Path = HOME, threads: int = 1) -> "subprocess.Popen[bytes]":
        return self._start(
            "worker", "--nthreads", str(threads), "--no-dashboard", "--local-directory",
            str(self.folder / "scratch"), path=path,
        )  # fmt: skip

    @property
    def address(self) -> str:
        return str(json.loads(self._file.read_text())["address"])

    def _is_written(self) -> bool:
        try:
            return bool(self.address)
        except (OSError, ValueError, KeyError):  # no file yet, or half of one
            return False

    def executor(self) -> Executor | None:
        return executor_named("dask", address=self.address, tell=self.lines.append)

    def _start(self, kind: str, *options: str, path: Path = HOME) -> "subprocess.Popen[bytes]":
        command = [str(DASK), kind, "--scheduler-file", str(self._file), *options]
        with open(self.folder / f"{kind}.log", "ab") as log:
            process = subprocess.Popen(
                command, env=os.environ | {"PYTHONPATH": str(path)}, stdout=log, stderr=log
            )
        self._stack.callback(_end, process)
        return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    folder.mkdir()
    with ExitStack() as stack:
        yield Cluster(folder, stack)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with running(tmp_path / "dask") as cluster:
        yield cluster


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return make_case(tmp_path)


@contextmanager
def meanwhile(action: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=action)
    thread.start()
    yield
    thread.join()


@pytest.mark.parametrize("threads", [1, 3])
def test_workers_of_a_scheduler_give_the_same_bytes_killed_or_not(
    cluster, case, threads, monkeypatch
):
    monkeypatch.setattr("treasure.skim.dask_executor._SILENT", 1e9)
    expected = case.skim("one")
    for _ in range(2):
        cluster.start_worker(threads=threads)
    assert case.skim("two", cluster.executor()) == expected
    folder = faults(case.directory / "in", "kill-1", "kill-2")
    assert case.skim("three", cluster.executor()) == expected
    assert list(folder.iterdir()) == []
    assert case.bytes_of("one") == case.bytes_of("two") == case.bytes_of("three")
    assert {line.split("http://")[0] for line in cluster.lines} == {"Dask dashboard: "}


def test_a_worker_that_is_killed_with_its_nanny_leaves_its_chunks_to_others(cluster, case):
    expected = case.skim("one")
    folder = faults(case.directory / "in", "wait")
    first = cluster.start_worker()

    def kill() -> None:
        wait_for(lambda: bool(list(folder.glob("waits-*"))))
        worker = int(next(folder.glob("waits-*")).name.removeprefix("waits-"))
        os.kill(first.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # it ends by itself, too, when its nanny is gone
            os.kill(worker, signal.SIGKILL)
        (folder / "wait").unlink()
        cluster.start_worker()

    with meanwhile(kill):
        assert case.skim("two", cluster.executor()) == expected
    assert case.bytes_of("two") == case.bytes_of("one")


def test_a_chunk_that_kills_every_worker_is_one_clear_error(cluster, case):
    cluster.start_worker()
    faults(case.directory / "in", "poison-23")
    with pytest.raises(DataError, match="every Dask worker that read entries 23 to 35 died") as e:
        case.skim("two", cluster.executor())
    assert str(e.value).startswith(case.files[1].location)
    assert not (case.directory / "two" / "cutflow.json").exists()


def test_a_scheduler_that_dies_is_one_clear_error_and_the_next_run_is_whole(cluster, case, capfd):
    expected = case.skim("one")
    folder = faults(case.directory / "in", "wait")
    cluster.start_worker()

    def kill() -> None:
        wait_for(lambda: bool(list(folder.glob("waits-*"))))
        cluster.scheduler.kill()

    address = cluster.address
    capfd.readouterr()
    with meanwhile(kill), pytest.raises(DataError, match="was lost while it ran chunks") as error:
        case.skim("two", cluster.executor())
    assert address in str(error.value)
    assert capfd.readouterr() == ("", "")  # no word of Dask's own
    (folder / "wait").unlink()
    cluster.start_scheduler()
    cluster.start_worker()
    assert case.skim("two", cluster.executor()) == expected
    assert case.bytes_of("two") == case.bytes_of("one")


def test_workers_that_join_late_are_waited_for_and_that_is_said(cluster, case, monkeypatch):
    monkeypatch.setattr("treasure.skim.dask_executor._SILENT", 0.5)
    expected = case.skim("one")

    def join() -> None:
        wait_for(lambda: len(cluster.lines) == 2)
        cluster.start_worker()

    with meanwhile(join):
        assert case.skim("two", cluster.executor()) == expected
    assert cluster.lines[1] == "Dask: the scheduler has no worker; waiting for one"


def test_workers_without_the_package_are_one_clear_error(cluster, case, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "treasure.py").write_text("raise ImportError('no such package here')")
    cluster.start_worker(path=tmp_path / "other")
    with pytest.raises(
        ConfigError, match=r"Dask workers cannot import .*no such package here.*treasure-workflow"
    ):
        case.skim("two", cluster.executor())


def test_the_scheduler_needs_no_such_package(cluster, case, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "treasure.py").write_text("raise ImportError('no such package here')")
    cluster.scheduler.kill()
    cluster.start_scheduler(path=tmp_path / "other")
    cluster.start_worker()
    assert case.skim("two", cluster.executor()) == case.skim("one")


def test_other_versions_of_workers_are_said_in_a_line(cluster, case, tmp_path):
    # What importlib.metadata finds first of a package.
    metadata = tmp_path / "path" / "uproot-1.2.3.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: uproot\nVersion: 1.2.3\n")
    worker = cluster.start_worker(path=Path(f"{tmp_path / 'path'}{os.pathsep}{HOME}"))
    expected = case.skim("one")
    log = cluster.folder / "worker.log"
    wait_for(lambda: "Registered to" in log.read_text())
    assert worker.poll() is None
    assert case.skim("two", cluster.executor()) == expected
    assert len(cluster.lines) == 2
    assert cluster.lines[1].startswith(
        "Dask: other versions than here, results may differ: uproot 1.2.3 (here "
    )
