"""Branches as jobs of HTCondor: ``--workflow htcondor``."""

import getpass
import math
import re
from pathlib import Path
from typing import Any

import law

from tasks import jobs
from tasks.batch import BatchJobs, BatchProxy, BatchWorkflow
from tasks.batch_commands import Refused, Silent, questions
from tasks.outputs import ListedOutputs
from treasure.config.site import HTCondor, Resources

law.contrib.load("htcondor")

__all__ = ["HTCondorBranches", "HTCondorJobs", "job_text"]

_SUBMITTED = re.compile(r"submitted to cluster (\d+)\.")
_SILENT = re.compile(
    r"failed to connect|can't connect|unable to (connect|locate)|can't find address|timed? ?out"
    r"|connection|communication|not running|fetch ads",
    re.IGNORECASE,
)


class HTCondorJobs(BatchJobs, law.htcondor.HTCondorJobManager):
    """HTCondor's commands; what they say of jobs is read by law."""

    to_check = "CONDOR_CONFIG and the server (condor_status -schedd)"
    job_grouping_submit = False
    merge_job_files = False
    chunk_size_submit = 0

    def find_jobs(self) -> dict[str, str]:
        # Held and removed ones (5, 3) do not go on by themselves.
        alive = f'Owner == "{getpass.getuser()}" && (JobStatus == 1 || JobStatus == 2)'
        told = _ask(
            "condor_q", *self._where(), "-constraint", alive,
            "-autoformat:j", "JobBatchName",
        )  # fmt: skip
        rows = (line.split(maxsplit=1) for line in told.splitlines())
        return {row[1].strip(): row[0] for row in rows if len(row) == 2}

    def submit_file(self, path: Path) -> str:
        told = _ask("condor_submit", *self._where(), str(path))
        if found := _SUBMITTED.search(told):
            return f"{found[1]}.0"
        raise Refused(f"condor_submit: {_brief(told)}")

    def query(self, job_id: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return super().query(job_id, *arguments, **options)
        except Exception as error:  # law raises nothing more special, when condor_q fails
            raise Silent(_brief(str(error))) from None

    def _where(self) -> list[str]:
        pool = ["-pool", self.pool] if self.pool else []
        return pool + (["-name", self.scheduler] if self.scheduler else [])


def _brief(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() not in ("", "Exiting.")]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no answer"])[-1][:300]


_ask = questions("htcondor", _SILENT, _brief)


def job_text(
    name: str, log: str, script: Path, arguments: list[str], asked: Resources, site: HTCondor
) -> str:
    """The submit description of one job.

    Parameters
    ----------
    name
        Of the job.
    log
        The file it prints to; ``$(ClusterId).0`` is its number.
    script, arguments
        What it runs.
    asked
        What it needs, all of it said.
    site
        What the site wants to be told.
    """
    commands: dict[str, Any] = {
        "universe": "vanilla",
        "batch_name": name,
        "executable": "/bin/bash",
        "transfer_executable": "false",
        "arguments": _quoted([str(script), *arguments]),
        # Job and store are on a file system that both machines see.
        "should_transfer_files": "IF_NEEDED",
        "transfer_output_files": '""',
        "output": log,
        "error": log,
        "stream_output": "true",
        "stream_error": "true",
        "log": str(script.with_name("htcondor.log")),
        "notification": "Never",
        # A held job is submitted again as another; this one would stay for ever.
        "periodic_remove": "JobStatus == 5 && time() - EnteredCurrentStatus > 600",
        "request_cpus": asked.cpus,
        "request_memory": f"{math.ceil((asked.memory_gb or 0) * 1e9 / 2**20)}MB",
        site.time_attribute: math.ceil((asked.hours or 0) * 3600),
    }
    if asked.gpus:
        commands["request_gpus"] = asked.gpus
    if asked.disk_gb:
        commands["request_disk"] = f"{math.ceil(asked.disk_gb * 1e9 / 2**20)}MB"
    if site.accounting_group:
        commands["accounting_group"] = site.accounting_group
    if site.requirements:
        commands["requirements"] = site.requirements
    commands |= site.extra
    lines = [f"{command} = {_written(value)}" for command, value in commands.items()]
    return "\n".join([*lines, "queue"]) + "\n"


def _quoted(arguments: list[str]) -> str:
    """Arguments in HTCondor's new syntax."""
    each = ("'" + a.replace("'", "''") + "'" if re.search(r"[\s']", a) else a for a in arguments)
    return '"' + " ".join(each).replace('"', '""') + '"'


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class _HTCondorProxy(BatchProxy, law.htcondor.HTCondorWorkflow.workflow_proxy_cls, ListedOutputs):
    """A workflow in HTCondor."""

    suffix = ".sub"

    def job_text(self, name: str, script: Path, arguments: list[str]) -> str:
        log = str(self.log_path(name, "$(ClusterId).0"))
        site = self.task.place.htcondor
        return job_text(name, log, script, arguments, self.task.job_resources(), site)


class HTCondorBranches(BatchWorkflow, law.htcondor.HTCondorWorkflow):
    """A stage whose branches can be jobs of HTCondor."""

    exclude_index = True
    workflow_proxy_cls = _HTCondorProxy

    def htcondor_output_directory(self) -> Any:
        return jobs.target_of(self)

    def htcondor_create_job_manager(self, **options: Any) -> HTCondorJobs:
        site = self.place.htcondor
        return HTCondorJobs(pool=site.pool, scheduler=site.scheduler, **options)

    def htcondor_post_submit_delay(self) -> float:
        return 0.0

    def htcondor_dump_intermediate_job_data(self) -> bool:
        return True

    def htcondor_check_job_completeness(self) -> bool:
        return True
