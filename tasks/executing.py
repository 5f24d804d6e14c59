"""How SkimJets reads its chunks: parameters that every stage hands to those before it."""

import mmap
import re
import zlib
from typing import Any, ClassVar

import luigi
import luigi.interface

from tasks.messages import say
from treasure.config.loading import nearest
from treasure.errors import ConfigError

__all__ = ["ExecutorParameters", "check_executor"]

_EXECUTORS = ("iterative", "futures", "dask")

# [protocol://]host:port, perhaps with a path; or inproc:// and the like, which have no port.
_ADDRESS = re.compile(r"(?:[a-z]+://)?[^\s/]+:[0-9]+(?:/\S*)?|(?!tcp:|tls:)[a-z]+://\S+")

# Shared with the worker processes that are forked later: which lines were said, by their hash.
_said = mmap.mmap(-1, 4096)


class ExecutorParameters:
    """The executor of SkimJets; changes no byte, and is in no fingerprint.

    ``law run WriteH5 --executor futures`` and ``--SkimJets-executor futures`` are the same.
    """

    executor = luigi.Parameter(
        default="iterative",
        significant=False,
        description="how SkimJets reads the chunks of a branch: iterative (one after the other), "
        "futures (on the cores of this machine), or dask; the results are the same; default: "
        "iterative",
    )
    executor_workers = luigi.IntParameter(
        default=0,
        significant=False,
        description="processes of --executor futures, or dask without --dask-address, for each "
        "branch; default: 0, the cores of this machine shared among branches that run at once",
    )
    dask_address = luigi.Parameter(
        default="",
        significant=False,
        description="address of the Dask scheduler of --executor dask, such as "
        "tcp://host:8786; default: none, a cluster on this machine",
    )

    executor_parameters: ClassVar[set[str]] = {"executor", "executor_workers", "dask_address"}

    def chosen_executor(self, branches: int) -> Any:
        """What `treasure.skim.run.skim_files` takes, in a stage of so many branches."""
        import loky

        from treasure.skim.executors import executor_named

        at_once = max(1, min(int(luigi.interface.core().workers), branches))
        workers = int(self.executor_workers) or max(1, loky.cpu_count() // at_once)
        return executor_named(
            str(self.executor), workers=workers, address=str(self.dask_address), tell=_say_once
        )


def check_executor(executor: str, workers: int, dask_address: str) -> None:
    """Refuse what cannot be meant.

    Raises
    ------
    ConfigError
        For an unknown executor, and for an option that it does not have.
    """
    if executor not in _EXECUTORS:
        raise ConfigError(
            f"--executor {executor}: no such executor" + nearest(executor, _EXECUTORS)
        )
    if workers < 0:
        raise ConfigError(f"--executor-workers {workers}: expected 1 or more, or 0: all cores")
    if workers and executor == "iterative":
        raise ConfigError(
            f"--executor-workers {workers}: --executor is iterative, which has none; add --executor"
            " futures or dask, or say with --workers how many branches run at once"
        )
    if dask_address and executor != "dask":
        raise ConfigError(
            f"--dask-address {dask_address}: --executor is {executor}; add --executor dask"
        )
    if dask_address and not _ADDRESS.fullmatch(dask_address):
        raise ConfigError(
            f"--dask-address {dask_address}: expected host and port, such as tcp://host:8786"
        )


def _say_once(text: str) -> None:
    """Say a line, unless another worker of this command did."""
    place = zlib.crc32(text.encode()) % len(_said)
    if not _said[place]:
        _said[place] = 1
        say(text)
