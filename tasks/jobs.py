"""What a job of a batch system is: its name, its script, its log, and why it failed."""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import law
from law.task.proxy import ProxyCommand

from tasks.base import store_directory
from tasks.bundle import unpacked, write_bundle
from tasks.site import SiteParameters
from treasure import store
from treasure.config.site import Environment

__all__ = ["FOLDER", "command_of", "end_of_log", "hint", "job_name", "script_text", "write_script"]

FOLDER = "jobs"
_SCRIPT = "job.sh"
_NAME_LENGTH = 8

# What a job takes over from the shell of the command, where it is set.
_HANDED_ON = (
    "TREASURE_HOME", "TREASURE_CACHE", "TREASURE_XROOTD_SERVERS", "TREASURE_XROOTD_REPLACES",
    "LAW_HOME", "LAW_CONFIG_FILE", "X509_USER_PROXY", "X509_CERT_DIR", "BEARER_TOKEN_FILE",
    "KRB5CCNAME", "OMP_NUM_THREADS", "PYTHONPATH",
)  # fmt: skip

# In a container or bundle, its own installation counts.
_OF_THE_MACHINE = {"TREASURE_HOME", "LAW_HOME", "LAW_CONFIG_FILE", "PYTHONPATH"}

_LINES_SHOWN = 6
_END_OF_LOG = 1 << 14  # bytes
_NOISE = re.compile(
    r"^\s*$|^=+ Luigi|^=+$|^Scheduled \d+ tasks|^\* \d+|^This progress|^slurmstepd.*\*\*\* JOB"
    r"|^Did not run|^\s+- \d+ \w+\(|^\* .*\bdependencies\b|^# "
)
_TOO_MUCH_MEMORY = re.compile(
    r"exceeded (job )?memory limit|oom[-_ ]?kill|out[ _]of[ _]memory|memoryerror|cannot allocate"
    r"|memory usage exceeded",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"due to time limit|\btimeout\b|exceeded allowed|job_duration", re.IGNORECASE
)


def job_name(task: Any, branches: Sequence[int]) -> str:
    """The name of the job of some branches: the same each time, and of no other stage or store.

    It is how a job that was submitted is found again, whatever happened to the command.
    """
    first, last = branches[0], branches[-1]
    which = f"{first}" if first == last else f"{first}-{last}"
    identity = [str(task.directory), list(branches)]
    digest = store.fingerprint(identity)[:_NAME_LENGTH]
    return "_".join((task.get_task_family(), *task.path_parts, which, digest))


def command_of(task: Any) -> list[str]:
    """The command that runs branches of a workflow on a node, without saying which."""
    left_out = (
        set(task.exclude_params_branch)
        | set(task.exclude_params_workflow)
        | {
            "effective_workflow",
            "branch",
            "log_file",
            "clear_logs",
            *SiteParameters.site_parameters,
        }
        | {name for name, _ in task.get_params() if name.startswith(("slurm_", "htcondor_"))}
    )
    first = next(iter(task.branch_map))
    command = ProxyCommand(
        task.as_branch(first),
        exclude_task_args=left_out,
        exclude_global_args=["workers", "local-scheduler", "scheduler-*", task.task_family + "-*"],
    )
    return [*shlex.split(command.build()), "--workflow=local", "--local-scheduler=True"]


def write_script(task: Any, directory: Path) -> Path:
    """Write the script that all jobs of a workflow run, with their branches as arguments."""
    path = directory / _SCRIPT
    text = script_text(
        task.place.environment, command_of(task), task.place.scratch, label=task.label
    )
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        store.write_text(path, text)
    return path


def script_text(
    environment: Environment, command: Sequence[str], scratch: str | None, *, label: str
) -> str:
    """A script of bash that runs the branches that its first argument lists.

    Parameters
    ----------
    environment
        How the job comes to the software.
    command
        The command, without branches.
    scratch
        Where temporary files go; variables are filled in on the node.
    label
        Of the stage.
    """
    in_container = environment.kind == "container"
    own = environment.kind == "shared"
    exported = [name for name in _HANDED_ON if own or name not in _OF_THE_MACHINE]
    values = {name: os.environ[name] for name in exported if name in os.environ}
    values["TREASURE_STORE"] = str(store_directory())
    lines = [
        "#!/usr/bin/env bash",
        f"# Runs branches of {label}, as a job of a batch system: job.sh 3,4,5 [cores]",
        'echo "# $(date +%Y-%m-%dT%H:%M:%S%z) $(hostname) branches $1"',
        *map(_set_up, environment.setup),
        *(f"export {name}={shlex.quote(value)}" for name, value in values.items()),
        # A part of a run that others follow.
        "export LAW_JOB_TASK_CLASS=1 TREASURE_PROGRESS=plain PYTHONUNBUFFERED=1",
        "unset TREASURE_SITE",
    ]
    if asked := scratch or os.environ.get("TREASURE_SCRATCH"):
        lines.append(f'export TREASURE_SCRATCH="{asked}"')
    if in_container:
        command = [*_container(environment, values["TREASURE_STORE"]), *command]
    elif environment.kind == "bundle":
        setting_up, law_itself = unpacked(write_bundle(Path(values["TREASURE_STORE"])))
        lines += setting_up
        command = [*law_itself, *command[1:]]
    else:
        lines += _own_python()
    missing = 'cd "$place"' if environment.kind == "bundle" else "exit 1"
    lines += [
        f"cd {shlex.quote(str(Path.cwd()))} 2>/dev/null || {missing}",
        'case "$1" in *,*) which=--branches ;; *) which=--branch ;; esac',
        f'exec {shlex.join(command)} "$which=$1" "--workers=${{2:-1}}"',
    ]
    return "\n".join(lines) + "\n"


def _set_up(line: str) -> str:
    """A shell command of the site, without whose success the job is not to go on."""
    told = shlex.quote(f"error: environment.setup of the site: {line!r} failed")
    # on a line of its own: it may end in a comment or with &
    return f"{line}\n[ $? -eq 0 ] || {{ echo {told} >&2; exit 1; }}"


def _own_python() -> list[str]:
    """The Python of this command: its environment is not installed again by thousands of jobs."""
    folder = shlex.quote(str(Path(sys.executable).parent))
    lines = [f'export PATH={folder}:"$PATH"']
    if sys.prefix != sys.base_prefix:
        lines.append(f"export VIRTUAL_ENV={shlex.quote(sys.prefix)}; unset PYTHONHOME")
    return lines


def _container(environment: Environment, results: str) -> list[str]:
    image, options = str(environment.image), environment.options
    places = dict.fromkeys((results, str(Path.cwd())))
    if environment.runtime == "shifter":
        return ["shifter", f"--image={image}", *options]
    if environment.runtime == "podman-hpc":
        mounts = [f"--volume={place}:{place}" for place in places]
        variables = ["--env=TREASURE_*", "--env=LAW_JOB_TASK_CLASS", f"--workdir={Path.cwd()}"]
        return ["podman-hpc", "run", "--rm", *mounts, *variables, *options, image]
    binds = [f"--bind={place}" for place in places]
    return [environment.runtime, "exec", *binds, f"--pwd={Path.cwd()}", *options, image]


def end_of_log(path: Path) -> list[str]:
    """The last lines of a job's log that tell something."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _END_OF_LOG))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    lines = [line.rstrip() for line in text.splitlines() if not _NOISE.search(line)]
    return list(dict.fromkeys(lines))[-_LINES_SHOWN:]


def hint(reason: str, lines: Iterable[str], family: str) -> str:
    """What to do about a failed job, where its end tells it; empty otherwise."""
    said = "\n".join([reason, *lines])
    if _TOO_MUCH_MEMORY.search(said):
        return f"it needs more memory: raise resources.{family}.memory_gb of the site"
    if _TOO_LONG.search(said):
        return (
            f"it needs more time: --max-runtime, or resources.{family}.hours of the site; fewer"
            " --tasks-per-job"
        )
    return ""


def directory_of(task: Any) -> Path:
    """Where the files of a workflow's jobs are: beside its branches."""
    return Path(task.directory) / FOLDER


def target_of(task: Any) -> law.LocalDirectoryTarget:
    """The same, as law wants it."""
    return law.LocalDirectoryTarget(str(directory_of(task)))
