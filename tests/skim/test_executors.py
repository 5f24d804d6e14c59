"""Executors: the same bytes from all of them, whatever dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.fileset.http_server import http_server
from tests.skim.executor_cases import Case, damage, make_case
from tests.skim.faulty_layout import faults
from treasure.config.dataset import Dataset
from treasure.errors import ConfigError, DataError
from treasure.fileset.sources import create_fileset
from treasure.skim import dask_executor
from treasure.skim.executors import Futures, executor_named
from treasure.skim.jobs import jobs_of

HOME = Path(__file__).resolve().parents[2]


def quiet(_: str) -> None:
    pass


def dask(workers: int = 2) -> object:
    return executor_named("dask", workers=workers, tell=quiet)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return make_case(tmp_path)


def test_the_sum_of_weights_of_the_case_depends_on_the_order(case):
    of_file = {
        file.location: weights for file, weights in zip(case.files, case.weights, strict=True)
    }
    chunks = [
        of_file[job.file.location][start:stop].sum()
        for job in jobs_of(case.files, 13, stage=False)
        for start, stop in job.bounds
    ]
    assert len(chunks) == 12
    orders = np.random.default_rng(1).permuted(np.tile(chunks, (20, 1)), axis=1)
    assert len({np.cumsum(order)[-1] for order in orders}) > 2


@pytest.mark.parametrize(
    "workers",
    [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)],
)
def test_a_pool_of_processes_gives_the_same_bytes(case, workers):
    expected = case.skim("one")
    told: list[tuple[int, int]] = []
    found = case.skim("other", Futures(workers), progress=lambda *p: told.append(p))
    assert found == expected
    assert case.bytes_of("other") == case.bytes_of("one")
    assert told == [(n, 12) for n in range(1, 13)]


@pytest.mark.slow
def test_a_dask_cluster_on_this_machine_gives_the_same_bytes_and_tells_its_dashboard(case):
    expected = case.skim("one")
    lines: list[str] = []
    told: list[tuple[int, int]] = []
    executor = executor_named("dask", workers=2, tell=lines.append)
    assert case.skim("other", executor, progress=lambda *p: told.append(p)) == expected
    assert case.bytes_of("other") == case.bytes_of("one")
    assert told == [(n, 12) for n in range(1, 13)]
    assert [line.split("http://")[0] for line in lines] == ["Dask dashboard: "]
    assert not _workers_left()


def _workers_left() -> list[str]:
    """Command lines of processes that should have ended with their executor."""
    return [
        command
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
        and "tracker" not in (command := " ".join(child.cmdline()))
    ]


@pytest.mark.slow
def test_a_golden_json_reaches_the_workers(case, tmp_path):
    (tmp_path / "golden.json").write_text(json.dumps({"1": [[1, 2], [5, 5]]}))
    golden = {"golden_json": str(tmp_path / "golden.json")}
    case.dataset = case.dataset.model_copy(update={"is_mc": False})
    case.selection = case.selection.model_copy(update=golden)
    expected = case.skim("one")
    assert 0 < expected["cutflow"][1]["events"] < expected["events"]
    assert case.skim("other", Futures(2)) == expected
    assert case.bytes_of("other") == case.bytes_of("one")


def test_workers_of_a_pool_that_are_killed_lose_nothing(case):
    expected = case.skim("one")
    folder = faults(case.directory / "in", "kill-1", "kill-2")
    assert case.skim("other", Futures(2)) == expected
    assert case.bytes_of("other") == case.bytes_of("one")
    assert list(folder.iterdir()) == []
    assert not _workers_left()


@pytest.mark.slow
def test_a_chunk_that_kills_every_worker_is_one_clear_error_and_the_next_run_is_whole(case):
    expected = case.skim("one")
    folder = faults(case.directory / "in", "poison-23")  # of the second file alone
    with pytest.raises(DataError, match=r"worker processes died 4 times.*--executor-workers") as e:
        case.skim("other", Futures(2))
    assert case.files[1].location in str(e.value)
    assert not (case.directory / "other" / "cutflow.json").exists()
    assert not _workers_left()
    (folder / "poison-23").unlink()
    assert case.skim("other", Futures(2)) == expected
    assert case.bytes_of("other") == case.bytes_of("one")


def test_what_killed_workers_left_does_not_stay(case):
    expected = case.skim("one")
    directory = case.directory / "other"
    directory.mkdir()
    half = f".part_00000_0000000013.{32 * 'a'}.tmp.parquet"

    def leave(_: int, __: int) -> None:
        (directory / half).write_bytes(b"PAR1")
        (directory / "part_00007_0000000000.parquet").write_bytes(b"PAR1")

    assert case.skim("other", Futures(1), progress=leave) == expected
    assert case.bytes_of("other") == case.bytes_of("one")


@pytest.mark.slow
def test_a_part_that_is_not_seen_here_is_an_error(case):
    def lose(_: int, __: int) -> None:
        for path in (case.directory / "other").glob("part_00001*"):
            path.unlink()

    with pytest.raises(DataError, match="not seen here; workers need the same file system"):
        case.skim("other", Futures(2), progress=lose)
    assert not (case.directory / "other" / "cutflow.json").exists()


@pytest.mark.parametrize(
    "make",
    [lambda: Futures(2), pytest.param(dask, marks=pytest.mark.slow)],
    ids=["futures", "dask"],
)
def test_of_several_damaged_files_the_first_is_told_as_without_workers(case, make):
    damage(Path(case.files[1].uri), "PFCands_pt")
    damage(Path(case.files[2].uri), "PFCands_eta")
    with pytest.raises(DataError) as expected:
        case.skim("one")
    assert case.files[1].location in str(expected.value)
    with pytest.raises(DataError) as found:
        case.skim("other", make())
    assert str(found.value) == str(expected.value)
    assert not (case.directory / "other" / "cutflow.json").exists()
    assert not _workers_left()


@pytest.mark.slow
def test_a_file_that_changed_is_told_before_what_its_chunks_meet(case):
    file = case.files[2]
    case.files[2] = file.model_copy(update={"entries": 60})
    with pytest.raises(DataError, match="number of entries is 25, was 60"):
        case.skim("other", Futures(3))


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: Futures(2), dask], ids=["futures", "dask"])
def test_staged_files_are_copied_once_each_by_the_worker_that_reads_them(
    case, make, tmp_path, monkeypatch
):
    monkeypatch.setenv("TREASURE_SCRATCH", str(tmp_path / "scratch"))
    with http_server(tmp_path / "in") as server:
        urls = [f"{server.url}/{number}.root" for number in range(3)]
        source = {"kind": "local", "files": urls, "stage": True}
        case.dataset = Dataset(label=1, is_mc=True, layout="A", source=source)
        case.files = create_fileset("x", case.dataset, base=tmp_path).files
        expected = case.skim("one")
        server.sent.clear()
        told: list[tuple[int, int]] = []
        found = case.skim("other", make(), progress=lambda *p: told.append(p))
        sent = dict(server.sent)
    assert found == expected
    assert case.bytes_of("other") == case.bytes_of("one")
    assert told[-1] == (12, 12)
    for number in range(3):
        size = (tmp_path / "in" / f"{number}.root").stat().st_size
        assert size <= sent[f"/{number}.root"] < size + 100
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_a_server_that_fails_now_and_then_is_asked_again_by_workers(case, tmp_path):
    with http_server(tmp_path / "in") as server:
        source = {"kind": "local", "files": [f"{server.url}/0.root"]}
        case.dataset = Dataset(label=1, is_mc=True, layout="A", source=source)
        case.files = create_fileset("x", case.dataset, base=tmp_path).files
        expected = case.skim("one")
        server.faults["/0.root"] = [503] * 3
        assert case.skim("other", Futures(2)) == expected
        assert server.faults["/0.root"] == []
    assert case.bytes_of("other") == case.bytes_of("one")


def test_names_and_addresses_that_lead_nowhere_are_clear_errors(case, monkeypatch):
    monkeypatch.setattr(dask_executor, "_CONNECT", 1)
    with pytest.raises(ConfigError, match="expected iterative, futures or dask"):
        executor_named("parsl")
    with socket.socket() as taken:  # a port on which nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        for wrong in (address, "nonsense", "tcp://no.such.host.invalid:8786"):
            with pytest.raises(ConfigError, match="no Dask scheduler answers there") as error:
                case.skim("x", executor_named("dask", address=wrong, tell=quiet))
            assert f"--dask-address {wrong}: " in str(error.value)
            assert "dask scheduler" in str(error.value)
            assert "\n" not in str(error.value)


_SCRIPT = """
import sys
from pathlib import Path
from tests.skim.executor_cases import make_case
from treasure.skim.executors import executor_named
if __name__ == "__main__":
    make_case(Path(sys.argv[1])).skim("x", executor_named(sys.argv[2], workers=2))
"""


def _await(what, seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["futures", "dask"])
def test_workers_end_with_a_parent_that_is_killed(tmp_path, name):
    (tmp_path / "in").mkdir()
    folder = faults(tmp_path / "in", "wait")
    (tmp_path / "script.py").write_text(_SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), name]
    parent = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(HOME)})
    try:
        _await(lambda: len(list(folder.glob("waits-*"))) == 2)
        children = psutil.Process(parent.pid).children(recursive=True)
    finally:
        parent.kill()
        parent.wait()
    _await(lambda: not psutil.wait_procs(children, timeout=0.1)[1])


def test_the_files_of_a_branch_are_shared_out_by_chunk_or_by_file_where_they_are_staged(case):
    chunks = jobs_of(case.files, 13, stage=False)
    assert [len(job.bounds) for job in chunks] == [1] * 12
    assert [job.verify for job in chunks] == [True, *[False] * 3, True, *[False] * 5, True, False]
    staged = jobs_of(case.files, 13, stage=True)
    assert [len(job.bounds) for job in staged] == [4, 6, 2]
    assert all(job.verify for job in staged)
    assert [b for job in staged for b in job.bounds] == [b for job in chunks for b in job.bounds]


@pytest.mark.slow
def test_an_interrupt_of_all_processes_is_told_by_none_of_the_workers(tmp_path):
    (tmp_path / "in").mkdir()
    folder = faults(tmp_path / "in", "wait")
    (tmp_path / "script.py").write_text(_SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path), "dask"]
    with open(tmp_path / "log", "w") as log:
        parent = subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(HOME)}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        _await(lambda: len(list(folder.glob("waits-*"))) == 2)
        children = psutil.Process(parent.pid).children(recursive=True)
        os.killpg(parent.pid, signal.SIGINT)  # as Ctrl-C does
        parent.wait(300)
    finally:
        parent.kill()
    _await(lambda: not psutil.wait_procs(children, timeout=0.1)[1])
    text = (tmp_path / "log").read_text()
    assert "Dask Worker process" not in text and "_bootstrap" not in text
