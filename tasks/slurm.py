"""Branches as jobs of Slurm: ``--workflow slurm``."""

import getpass
import math
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import law

from tasks import jobs
from tasks.batch import BatchJobs, BatchProxy, BatchWorkflow
from tasks.batch_commands import Refused, Silent, questions
from tasks.outputs import ListedOutputs
from treasure.config.site import Resources, Slurm
from treasure.errors import ConfigError

law.contrib.load("slurm")

__all__ = ["SlurmBranches", "SlurmJobs", "job_text"]

_SUBMITTED = re.compile(r"^Submitted batch job (\d+)", re.MULTILINE)

# What sbatch and squeue say when the controller is down, restarts, or has too much to do.
_SILENT = re.compile(
    r"unable to contact|connection refused|connect failure|timed out|zero bytes|try again"
    r"|temporarily|socket|unexpected message|communication|not responding|slurmdbd",
    re.IGNORECASE,
)
_ADVICE = re.compile(r'Try "\w+ --help"')
_ALIVE = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "REQUEUED",
          "REQUEUE_HOLD", "REQUEUE_FED", "RESIZING", "SIGNALING", "STAGE_OUT",
          "RESV_DEL_HOLD"}  # fmt: skip
# A job that waits for this reason never starts by itself: its start failed.
_HELD = "launch_failed_requeued_held"
# In the name of a log, #SBATCH lines take these for something else.
_UNSPEAKABLE = re.compile(r"""['"\\,#]""")
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD"}


class SlurmJobs(BatchJobs, law.slurm.SlurmJobManager):
    """Slurm's commands.

    Works without Slurm's accounting, too: a job that neither squeue nor sacct knows any more has
    ended, and its outputs tell how.
    """

    chunk_size_query = 500
    to_check = "SLURM_CONF and the server (scontrol ping)"

    def find_jobs(self) -> dict[str, int]:
        listed = _ask("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i %T %j")
        rows = (line.split(maxsplit=2) for line in listed.splitlines())
        return {
            row[2]: int(row[0])
            for row in rows
            if len(row) == 3 and row[1] in _ALIVE - {"COMPLETING"} and row[0].isdigit()
        }

    def submit_file(self, path: Path) -> int:
        told = _ask("sbatch", str(path))
        if found := _SUBMITTED.search(told):
            return int(found[1])
        raise Refused(f"sbatch: {_brief(told)}")

    def query(self, job_id: Any, *_: Any, **__: Any) -> Any:
        """How jobs are; law gives one number, or a list."""
        several = isinstance(job_id, (list, tuple))
        numbers = list(job_id) if several else [job_id]
        states = self._in_queue(numbers)
        if gone := [number for number in numbers if number not in states]:
            for number in gone:
                self.waits_for.pop(number, None)
            states |= _in_accounting(gone)
        told = {number: self._status(number, *states.get(number, ("", 0))) for number in numbers}
        return told if several else told[job_id]

    def _in_queue(self, numbers: Iterable[int]) -> dict[int, tuple[str, int]]:
        """Number → (state, exit code) of jobs that squeue knows, also those that ended lately."""
        listed = ",".join(map(str, numbers))
        options = ("--noheader", "--states=all", f"--jobs={listed}")
        try:
            told = _ask("squeue", *options, "--Format=JobID:24,State:24,exit_code:24,Reason:64")
        except Refused as error:
            if "invalid job id" in str(error).lower():  # of a single job, which is no more known
                return {}
            raise
        found = {}
        for row in (line.split(maxsplit=3) for line in told.splitlines()):
            if len(row) < 4:
                continue
            number, state, reason = int(row[0]), row[1], row[3].strip()
            if reason.replace(" ", "_") == _HELD:
                _ask("scancel", str(number))
                state = "LAUNCH_FAILED"
            if state in _WAITING and reason != "None":
                self.waits_for[number] = reason
            else:
                self.waits_for.pop(number, None)
            found[number] = (state, _exit_code(int(row[2])))
        return found

    def _status(self, number: int, state: str, code: int) -> dict[str, Any]:
        error = None
        if state in _WAITING:
            status = self.PENDING
        elif state in _ALIVE:
            status = self.RUNNING
        elif state in ("COMPLETED", ""):  # no more known: its outputs tell
            status = self.FINISHED
        else:
            status, error = self.FAILED, _in_words(state, code)
        told: dict[str, Any] = self.job_status_dict(
            job_id=number, status=status, code=code, error=error
        )
        return told


def _in_accounting(numbers: Iterable[int]) -> dict[int, tuple[str, int]]:
    listed = ",".join(map(str, numbers))
    options = ("--noheader", "--allocations", "--parsable2", f"--jobs={listed}")
    try:
        told = _ask("sacct", *options, "--format=JobID,State,ExitCode")
    except (Refused, Silent, ConfigError):  # many small clusters have none
        return {}
    found = {}
    for line in told.splitlines():
        number, _, rest = line.partition("|")
        state, _, code = rest.partition("|")
        if number.isdigit() and state:
            # "CANCELLED by 1000"
            found[int(number)] = (state.split()[0].rstrip("+"), int(code.partition(":")[0] or 0))
    return found


def _exit_code(status: int) -> int:
    """The exit code in what wait(2) gives; that of a signal as shells say it."""
    return status >> 8 if status >> 8 else (128 + (status & 127) if status & 127 else 0)


def _in_words(state: str, code: int) -> str:
    if state == "FAILED" and code:
        return f"exit code {code}"
    return state.lower().replace("_", " ")


def _brief(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not _ADVICE.search(line)] or lines
    last = re.sub(r"^\w+: ((error|fatal): )?", "", lines[-1]) if lines else "no answer"
    return last[:300]


_ask = questions("slurm", _SILENT, _brief)


def job_text(
    name: str, log: str, script: Path, arguments: list[str], asked: Resources, site: Slurm
) -> str:
    """The script of sbatch for one job.

    Parameters
    ----------
    name
        Of the job.
    log
        The file it prints to; ``%j`` is its number.
    script, arguments
        What it runs.
    asked
        What it needs, all of it said.
    site
        What the site wants to be told.
    """
    options: dict[str, Any] = {
        "job-name": name,
        "output": log,
        "open-mode": "append",  # a job that Slurm starts again goes on in the same log
        "ntasks": 1,
        "cpus-per-task": asked.cpus,
        "time": math.ceil((asked.hours or 0) * 60),
    }
    if site.ask_memory:
        options["mem"] = f"{math.ceil((asked.memory_gb or 0) * 1e9 / 2**20)}M"
    if asked.gpus:
        options["gpus"] = asked.gpus
    for option in ("partition", "account", "qos", "constraint", "reservation"):
        if (value := getattr(site, option)) is not None:
            options[option] = value
    options |= site.extra
    lines = [
        f"#SBATCH --{option}"
        + ("" if value is None or value is True else f"={_quoted(str(value))}")
        for option, value in options.items()
        if value is not False
    ]
    command = shlex.join(["exec", "bash", str(script), *arguments])
    return "\n".join(["#!/bin/bash", *lines, "", command]) + "\n"


def _quoted(value: str) -> str:
    return f'"{value}"' if re.search(r"\s", value) else value


class _SlurmProxy(BatchProxy, law.slurm.SlurmWorkflow.workflow_proxy_cls, ListedOutputs):
    """A workflow in Slurm."""

    suffix = ".sbatch"

    def job_text(self, name: str, script: Path, arguments: list[str]) -> str:
        log = str(self.log_path(name, "%j")).replace("%", "%%")
        log = log.removesuffix("%%j.log") + "%j.log"
        if found := _UNSPEAKABLE.search(log):
            raise ConfigError(
                f"TREASURE_STORE: {jobs.directory_of(self.task)} has a {found[0]}, which Slurm does"
                " not take in the name of a log; choose another directory"
            )
        site = self.task.place.slurm
        return job_text(name, log, script, arguments, self.task.job_resources(), site)


class SlurmBranches(BatchWorkflow, law.slurm.SlurmWorkflow):
    """A stage whose branches can be jobs of Slurm."""

    exclude_index = True
    workflow_proxy_cls = _SlurmProxy

    def slurm_output_directory(self) -> Any:
        return jobs.target_of(self)

    def slurm_job_manager_cls(self) -> Any:
        return SlurmJobs

    def slurm_post_submit_delay(self) -> float:
        return 0.0

    def slurm_dump_intermediate_job_data(self) -> bool:
        return True

    def slurm_check_job_completeness(self) -> bool:
        return True
