"""Executors: where the jobs of a skim run, in this process, in a pool of processes, or on Dask.

Coffea's own executors for several processes are not used. They add up in the order in which chunks
end, or as a tree, which gives sums of weights other last digits; a worker that is killed costs the
pool of processes all that was done; and they draw progress bars and tracebacks that cannot be
switched off. Coffea's `Runner` still reads each chunk, inside the worker.
"""

import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import loky

from treasure.errors import ConfigError, DataError
from treasure.skim.jobs import Job

__all__ = ["Executor", "Futures", "collect", "executor_named"]

_NEW_POOLS = 3  # after workers died
_PATIENCE = 1.0  # seconds between two looks at what is waited for


class Executor(Protocol):
    """Does a piece of work for each of some jobs, and returns the results in their order."""

    def __call__(
        self, work: Callable[[Job], Any], jobs: Sequence[Job], done: Callable[[Job], None]
    ) -> list[Any]:
        """Call `done` in this process whenever a job ended well."""


def executor_named(
    name: str,
    *,
    workers: int | None = None,
    address: str | None = None,
    tell: Callable[[str], None] = print,
) -> Executor | None:
    """The executor of a name.

    Parameters
    ----------
    name
        iterative (one chunk after the other in this process: None is returned), futures, or dask.
    workers
        Processes of futures, or of a Dask cluster on this machine. None: one a core.
    address
        Of a Dask scheduler that runs. None: a cluster on this machine.
    tell
        Gets the address of Dask's dashboard, and what there is to say while workers are awaited.

    Raises
    ------
    ConfigError
        For a name that is none of these.
    """
    workers = workers or loky.cpu_count()
    if name == "iterative":
        return None
    if name == "futures":
        return Futures(workers)
    if name == "dask":
        from treasure.skim.dask_executor import Dask

        return Dask(address, workers, tell)
    raise ConfigError(f"executor {name!r}: expected iterative, futures or dask")


@dataclass(frozen=True)
class Futures:
    """A pool of processes on this machine, which end with the call.

    They are started afresh, not forked: a process that has read files has threads, which a fork
    does not survive.
    """

    workers: int

    def __call__(
        self, work: Callable[[Job], Any], jobs: Sequence[Job], done: Callable[[Job], None]
    ) -> list[Any]:
        """As `Executor`.

        Raises
        ------
        DataError
            If workers died several times.
        """
        results: dict[int, Any] = {}

        def take(number: int, result: Any) -> None:
            results[number] = result
            done(jobs[number])

        for _ in range(1 + _NEW_POOLS):
            missing = [number for number in range(len(jobs)) if number not in results]
            if not missing:
                break
            pool = loky.ProcessPoolExecutor(
                min(self.workers, len(missing)), initializer=_follow, initargs=(os.getpid(),)
            )
            try:
                collect({number: pool.submit(work, jobs[number]) for number in missing}, take)
            except loky.BrokenProcessPool:
                continue
            finally:
                pool.shutdown(kill_workers=True)
        else:
            raise self._given_up(jobs, results)
        return [results[number] for number in range(len(jobs))]

    def _given_up(self, jobs: Sequence[Job], results: Mapping[int, Any]) -> DataError:
        first = jobs[min(set(range(len(jobs))) - set(results))]
        return DataError(
            f"{first.file.location}: worker processes died {1 + _NEW_POOLS} times while it or files"
            f" after it were read (from entry {first.bounds[0][0]} on); if they ran out of memory,"
            " take fewer with --executor-workers, or lower selection.events_per_chunk"
        )


def collect(
    futures: Mapping[int, Any],
    take: Callable[[int, Any], None],
    look: Callable[[], None] = lambda: None,
) -> None:
    """Take the results of numbered futures as they come; where some fail, raise the first's error.

    Parameters
    ----------
    futures
        Of `concurrent.futures` or of Dask.
    take
        Gets (number, result) of each, in the order in which they end.
    look
        Called every second without a result; may raise.
    """
    ended: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number, future in futures.items():
        future.add_done_callback(partial(_note, ended, number))
    waiting = set(futures)
    failed: dict[int, BaseException] = {}
    while waiting:
        try:
            number = ended.get(timeout=_PATIENCE)
        except queue.Empty:
            look()
            continue
        if number not in waiting:
            continue
        waiting.remove(number)
        try:
            result = futures[number].result()
        except (Exception, CancelledError) as error:
            failed[number] = error
            # The error to tell is the one that a run in order meets first.
            waiting = {earlier for earlier in waiting if earlier < number}
        else:
            take(number, result)
    if failed:
        raise failed[min(failed)]


def _note(ended: "queue.SimpleQueue[int]", number: int, _: Any) -> None:
    ended.put(number)


def _follow(parent: int) -> None:
    """In a worker: end with the process that started it, which also handles Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PATIENCE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
