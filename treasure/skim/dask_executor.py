"""The executor that runs jobs on a Dask cluster: one that is there, or one on this machine."""

import logging
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.resource_tracker import ensure_running
from typing import Any

import cloudpickle
from distributed import Client, LocalCluster
from distributed.scheduler import KilledWorker

from treasure.errors import ConfigError, DataError
from treasure.fileset.staging import scratch_folder
from treasure.skim.executors import collect
from treasure.skim.jobs import Job

__all__ = ["Dask"]

_CONNECT = 10  # seconds
_SILENT = 30.0  # seconds without a worker before it is said
# Versions that change what a worker writes, or whether it understands what it gets.
_PACKAGES = ("treasure-workflow", "awkward", "coffea", "fastjet", "numpy", "pyarrow", "uproot")


@dataclass(frozen=True)
class Dask:
    """Workers of a Dask scheduler.

    The scheduler runs the jobs of a worker that dies again elsewhere, and gives up on a job that
    several workers died of.

    Attributes
    ----------
    address
        Of the scheduler; None starts one on this machine, which ends with the call.
    workers
        Processes of the cluster on this machine.
    tell
        Gets lines for the user.
    """

    address: str | None
    workers: int
    tell: Callable[[str], None]

    def __call__(
        self, work: Callable[[Job], Any], jobs: Sequence[Job], done: Callable[[Job], None]
    ) -> list[Any]:
        """As `Executor`.

        Raises
        ------
        ConfigError
            If no scheduler answers, or its workers lack this package.
        DataError
            If the scheduler is lost, or a job killed several workers.
        """
        with _quiet(), self._cluster() as where, self._client(where) as client:
            self.tell(f"Dask dashboard: {client.dashboard_link}")
            if other := _other_versions(client):
                self.tell(f"Dask: other versions than here, results may differ: {other}")
            return self._run(client, work, jobs, done)

    def _run(
        self,
        client: Client,
        work: Callable[[Job], Any],
        jobs: Sequence[Job],
        done: Callable[[Job], None],
    ) -> list[Any]:
        results: dict[int, Any] = {}

        def take(number: int, result: Any) -> None:
            results[number] = result
            done(jobs[number])

        calls = [cloudpickle.dumps(_Call(work, job)) for job in jobs]
        futures = dict(enumerate(client.map(cloudpickle.loads, calls, key="skim", pure=False)))
        numbers = {future.key: number for number, future in futures.items()}
        try:
            collect(futures, take, _Watch(client, self.tell))
        except KilledWorker as error:
            job = jobs[numbers[error.task]]
            raise DataError(
                f"{job.file.location}: every Dask worker that read entries {job.bounds[0][0]} to"
                f" {job.bounds[-1][1]} died; if they ran out of memory, give them more, or lower"
                " selection.events_per_chunk"
            ) from None
        except ImportError as error:
            raise ConfigError(
                f"Dask workers cannot import what they are to run ({error}); install the same"
                " versions of treasure-workflow and of your own modules in their environment"
            ) from error
        except (CancelledError, OSError) as error:
            if _is_alive(client):
                raise
            raise _lost(client) from error
        return [results[number] for number in range(len(jobs))]

    @contextmanager
    def _cluster(self) -> Iterator[Any]:
        if self.address:
            yield self.address
            return
        with ExitStack() as stack:
            place = stack.enter_context(scratch_folder())  # Dask leaves files of locks in it
            with _workers_without_interrupts():
                cluster = LocalCluster(
                    n_workers=self.workers,
                    threads_per_worker=1,
                    dashboard_address="127.0.0.1:8787",  # another port, where that is taken
                    silence_logs=logging.CRITICAL,
                    local_directory=str(place),
                )
            yield stack.enter_context(cluster)

    def _client(self, where: Any) -> Client:
        try:
            return Client(where, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:
            text = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"--dask-address {self.address}: no Dask scheduler answers there ({text}); start"
                " one with `dask scheduler` and its workers with `dask worker`, or leave the"
                " address out for a cluster on this machine"
            ) from None


class _Call:
    """Does the work when it is unpickled.

    Dask sees bytes and a function of Python's own. It unpickles what it sees in the scheduler too,
    which then would need this package, and workers that cannot unpickle a task leave the cluster
    without a word; so they fail with the name of what they lack.
    """

    def __init__(self, work: Callable[[Job], Any], job: Job) -> None:
        self._what = (work, job)

    def __reduce__(self) -> tuple[Any, ...]:
        return _call, self._what


def _call(work: Callable[[Job], Any], job: Job) -> Any:
    return work(job)


class _Watch:
    """Notices that the scheduler is gone; says that it has no worker."""

    def __init__(self, client: Client, tell: Callable[[str], None]) -> None:
        self._client = client
        self._tell = tell
        self._until = time.monotonic() + _SILENT

    def __call__(self) -> None:
        if not _is_alive(self._client):
            raise _lost(self._client)
        if time.monotonic() > self._until:
            self._until = float("inf")
            if not self._client.scheduler_info()["workers"]:
                self._tell("Dask: the scheduler has no worker; waiting for one")


def _is_alive(client: Client) -> bool:
    return bool(client.status == "running")


def _lost(client: Client) -> DataError:
    address = client.scheduler.address if client.scheduler else "the scheduler"
    return DataError(
        f"Dask: {address} was lost while it ran chunks; start it and its workers again, and run"
        " again: branches that are complete stay"
    )


def _other_versions(client: Client) -> str:
    """What workers have otherwise than this process: "pyarrow 20.0 (here 26.0)"."""
    versions: Any = client.get_versions(packages=_PACKAGES)
    here = versions["client"]["packages"]
    found = {
        f"{name} {version or 'missing'} (here {here[name] or 'missing'})"
        for worker in versions["workers"].values()
        for name, version in worker["packages"].items()
        if name in here and version != here[name]
    }
    return ", ".join(sorted(found))


@contextmanager
def _workers_without_interrupts() -> Iterator[None]:
    """Ctrl-C goes to this process, which ends its workers; they would print tracebacks.

    The thread that starts them, also again when they died, is made here, and it and they inherit
    what is held back. A Ctrl-C meanwhile comes at the end.
    """
    ensure_running()  # if it starts this process later, Python lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask speaks at length of taken ports, versions and lost connections, which are told here."""
    # It has given these two levels of their own.
    levels = {name: logging.getLogger(name).level for name in ("distributed", "distributed.client")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="distributed")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
