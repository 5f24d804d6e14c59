"""What the batch systems have in common: how jobs are submitted, found again, and told of.

Law does the work: it submits a job for each group of branches, keeps a list of the jobs, asks how
they are, and submits again what failed. This adds that no job is submitted that is in the batch
system already, that the list of jobs survives any end of the command, and plain words.
"""

import re
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from law.util import uncolored
from law.workflow.remote import BaseRemoteWorkflow, BaseRemoteWorkflowProxy

from tasks import jobs
from tasks.batch_commands import Refused, Silent
from tasks.messages import say, shown_path
from treasure import store
from treasure.errors import DataError, TreasureError

__all__ = ["BatchJobs", "BatchProxy", "BatchWorkflow"]

# Between two attempts to submit while the batch system does not answer, seconds.
_PAUSES = (2.0, 5.0, 10.0, 30.0)
_BETWEEN_QUESTIONS = 5.0
_REMINDED_EVERY = 300.0
_STATUS_EVERY = 600.0
_LAWS_OWN_WORDS = re.compile(
    r"^(going to (submit|cancel)|submitted \d+|polling took|first log file)"
)


class BatchJobs:
    """Submission that never doubles a job: a mix-in for law's job managers.

    Subclasses say how one job is submitted, and which jobs are in the batch system.
    """

    in_queue: Mapping[str, Any] = {}
    refusal = ""
    to_check = ""  # what may be wrong where the batch system does not answer
    _has_answered = False

    @cached_property
    def waits_for(self) -> dict[Any, str]:
        """Job → why it waits, where the batch system says it."""
        return {}

    def find_jobs(self) -> dict[str, Any]:
        """Name → id of this user's jobs that wait or run.

        Raises
        ------
        Silent
            If the batch system does not answer.
        """
        raise NotImplementedError

    def submit_file(self, path: Path) -> Any:
        """Submit a job; returns its id.

        Raises
        ------
        Silent, Refused
        """
        raise NotImplementedError

    def submit(self, job_file: Any, *_: Any, **__: Any) -> Any:
        """Submit a job, or find that it was submitted; law calls this from several threads."""
        path = Path(str(job_file))
        if path.stem in self.in_queue:
            return self.in_queue[path.stem]
        if self.refusal:
            raise Refused(self.refusal)
        for pause in (*_PAUSES, None):
            try:
                return self.submit_file(path)
            except Refused as error:
                self.refusal = str(error)
                raise
            except Silent:
                if pause is None:
                    raise
            time.sleep(pause)
            # It may have taken the job, and not come to say so.
            if (found := self.patiently_found().get(path.stem)) is not None:
                return found
        raise AssertionError("the last attempt returns or raises")

    def patiently_found(self) -> dict[str, Any]:
        """`find_jobs`, as soon as the batch system answers."""
        return self._patiently(self.find_jobs)

    def query_batch(self, job_ids: Any, *arguments: Any, **options: Any) -> dict[Any, Any]:
        """How jobs are, as soon as the batch system answers."""

        def answered() -> dict[Any, Any]:
            told: dict[Any, Any] = super(BatchJobs, self).query_batch(  # type: ignore[misc]
                job_ids, *arguments, **options
            )
            for answer in told.values():
                if isinstance(answer, Silent):
                    raise answer
            return told

        return self._patiently(answered)

    def _patiently(self, ask: Callable[[], dict[Any, Any]]) -> dict[Any, Any]:
        since = reminded = 0.0
        while True:
            try:
                answer = ask()
            except Silent as error:
                now = time.monotonic()
                if not since:
                    since = reminded = now
                    say(
                        f"the batch system does not answer ({error}); waiting for it"
                        + ("" if self._has_answered else f"; {self._how_to_end()}")
                    )
                elif now - reminded >= _REMINDED_EVERY:
                    reminded = now
                    say(
                        f"no answer of the batch system for {(now - since) / 60:.0f} min ({error});"
                        f" {self._how_to_end()}"
                    )
                time.sleep(_BETWEEN_QUESTIONS)
                continue
            if since:
                say("the batch system answers" + (" again" if self._has_answered else ""))
            self._has_answered = True
            return answer

    def _how_to_end(self) -> str:
        if self._has_answered:
            return f"Ctrl-C ends the waiting, the jobs go on; check {self.to_check}"
        return (
            "this command has not submitted anything here yet, Ctrl-C ends it; check"
            f" {self.to_check}"
        )


class BatchProxy(BaseRemoteWorkflowProxy):
    """How a workflow is run as jobs: a mix-in for law's proxies, to be named before them."""

    def process_resources(self, force: bool = False) -> dict[str, int]:
        # Luigi asks before earlier stages are done, and law would remember branches of that time.
        return {}

    def create_job_file_factory(self, **_: Any) -> None:
        return None  # `create_job_file` writes what is needed

    def create_job_file(self, job_num: int, branches: list[int]) -> dict[str, Any]:
        directory = jobs.directory_of(self.task)
        script = jobs.write_script(self.task, directory)
        name = jobs.job_name(self.task, branches)
        cores = self.task.job_resources().cpus if len(branches) > 1 else 1
        arguments = [",".join(map(str, branches)), str(cores)]
        path = directory / f"{name}{self.suffix}"
        store.write_text(path, self.job_text(name, script, arguments))
        return {"job": str(path), "config": None, "log": None}

    suffix = ""

    def job_text(self, name: str, script: Path, arguments: list[str]) -> str:
        """What is handed to the batch system."""
        raise NotImplementedError

    def log_path(self, name: str, job_id: Any) -> Path:
        """The file that a job prints to."""
        return jobs.directory_of(self.task) / f"{name}.{job_id}.log"

    def get_extra_submission_data(
        self, job_file: str, job_id: Any, config: Any, log: Any = None
    ) -> dict[str, str]:
        if self.job_manager.refusal:  # before law tells of it in its way
            self._give_up_refused()
        return {"log": str(self.log_path(Path(job_file).stem, job_id))}

    def dump_job_data(self) -> None:
        # law's own is not atomic
        store.write_json(self.list_path, self.job_data)

    @property
    def list_path(self) -> Path:
        """The list of the jobs, by which another command goes on with them."""
        path: str = BaseRemoteWorkflowProxy.output(self)["jobs"].abspath
        return Path(path)

    def submit(self, retry_jobs: Any = None) -> Any:
        # Jobs that were submitted, and are in no list: the command was killed just then.
        self.job_manager.in_queue = self.job_manager.patiently_found()
        # Law hands over all jobs that failed just now, those that are given up included.
        listed = self.job_data.jobs
        again = {
            number: branches
            for number, branches in (retry_jobs or {}).items()
            if listed[number]["status"] == self.job_manager.RETRY
        }
        submitted = super().submit(again)
        if submitted:
            found = sum(
                d["job_id"] in self.job_manager.in_queue.values() for d in submitted.values()
            )
            new = [f"{_jobs(len(submitted) - found)} submitted"] if found < len(submitted) else []
            told = f"{_jobs(found)} of an earlier command found, as submitted then"
            old = [told] if found else []
            say(
                f"{self.task.label}: {', '.join(new + old)} ({self.workflow_type}) →"
                f" {shown_path(jobs.directory_of(self.task))}"
            )
        return submitted

    def _give_up_refused(self) -> None:
        # What was taken stays in the list, so that it can be cancelled.
        for job in self.job_data.jobs.values():
            if isinstance(job["job_id"], Exception):
                job["job_id"] = self.job_data.dummy_job_id
        self.dump_job_data()
        raise DataError(
            f"{self.workflow_type} refuses the jobs ({self.job_manager.refusal}); mend that,"
            " perhaps in the site, and run again"
        )

    def cancel(self) -> None:
        none = (self.job_data.dummy_job_id, None)
        there = sum(job["job_id"] not in none for job in self.job_data.jobs.values())
        if there:
            super().cancel()
            say(f"{self.task.label}: {_jobs(there)} told to end ({self.workflow_type})")
        else:
            say(f"{self.task.label}: no jobs to cancel")

    def run(self) -> Any:
        try:
            if not self.task.is_controlling_remote_jobs():
                self.task.check_site_is_filled_in()
                self._start_afresh()
            elif self.task.cancel_jobs and not self.list_path.is_file():
                say(f"{self.task.label}: no jobs to cancel")
            return super().run()
        except TreasureError:
            raise
        except KeyboardInterrupt:
            if not self.task.is_controlling_remote_jobs() and self.job_data.jobs:
                say(
                    f"{self.task.label}: its jobs go on ({self.workflow_type}); the same command"
                    " goes on with them, with --cancel-jobs it ends them"
                )
            raise
        except Refused as error:
            raise DataError(
                f"{self.workflow_type} does not take questions ({error}); check"
                f" {self.job_manager.to_check}, or run with --workflow local"
            ) from None
        except Exception as error:
            if type(error) is not Exception:  # law raises nothing more special
                raise
            raise DataError(self._what_failed(error)) from None

    def _start_afresh(self) -> None:
        """Trust what is in the store and in the batch system, not the list of an earlier command.

        Branches that are complete need no job, jobs that wait or run are found by their names, and
        all others are to be submitted. The list only tells how branches were grouped into jobs.
        """
        try:
            listed = store.read_json(self.list_path)
            grouped = [job["branches"] for job in listed["jobs"].values()]
            per_job = int(listed["tasks_per_job"])
        except (DataError, LookupError, TypeError, ValueError):
            grouped, per_job = [], 1
        in_queue = self.job_manager.patiently_found()
        if any(jobs.job_name(self.task, branches) in in_queue for branches in grouped):
            self.task.tasks_per_job = self.job_data.tasks_per_job = per_job
        self.list_path.unlink(missing_ok=True)

    def _what_failed(self, error: Exception) -> str:
        failed = [j for j in self.job_data.jobs.values() if j["status"] == self.job_manager.FAILED]
        if not failed:
            return f"{error}; its jobs go on, run again to go on with them"
        branches = sorted(branch for job in failed for branch in job["branches"])
        shown = ", ".join(map(str, branches[:10])) + (", …" if len(branches) > 10 else "")
        log = _shown_log(Path(failed[0]["extra"].get("log", "")))
        return (
            f"{len(failed)} of {len(self.job_data)} jobs failed for good (branches {shown}); log:"
            f" {log}; mend the cause and run again: only these are submitted"
        )

    def _print_status_errors(self, failed_jobs: Any) -> None:
        # There is no public way to keep law from printing what `forward_dashboard_event` says.
        return


def _shown_log(path: Path) -> str:
    return shown_path(path) + ("" if path.is_file() else " (never written)")


def _jobs(number: int) -> str:
    return f"{number:,} job{'' if number == 1 else 's'}"


class BatchWorkflow(BaseRemoteWorkflow):
    """A workflow in a batch system: what law asks its task."""

    exclude_index = True

    _status = ""
    _status_said = 0.0

    def forward_dashboard_event(self, dashboard: Any, job: Any, event: str, number: int) -> None:
        """Say why a job failed; law tells it of every job that it asked about."""
        if event not in ("status.retry", "status.failed"):
            return
        log = Path(job["extra"].get("log", ""))
        lines = jobs.end_of_log(log)
        reason = str(job["error"] or f"exit code {job['code']}")
        again = "is tried again" if event == "status.retry" else "is given up"
        branches = ", ".join(map(str, job["branches"][:10]))
        which = f"branch {branches}" if len(job["branches"]) == 1 else f"branches {branches}"
        told = [f"{self.label}: {which} failed ({reason}), {again}; log: {_shown_log(log)}"]
        told += [f"    | {line}" for line in lines]
        if what_to_do := jobs.hint(reason, lines, self.get_task_family()):
            told.append(f"    {what_to_do}")
        say("\n".join(told))

    def modify_polling_status_line(self, status_line: str) -> str:
        """Say in law's place how many jobs are where; nothing where nothing changed."""
        counts = {k: int(v) for k, v in re.findall(r"(\w+): (\d+)", uncolored(status_line))}
        total, done = counts.pop("all"), counts.pop("finished")
        others = [f"{count} {name}" for name, count in counts.items() if count]
        if counts.get("pending") and not counts.get("running"):
            waits_for = sorted(set(self.workflow_proxy.job_manager.waits_for.values()))
            others += [f"waiting for: {', '.join(waits_for)}"] if waits_for else []
        share = f"{done} of {total} jobs done ({done / max(1, total):.0%})"
        told = ", ".join([share, *others])
        now = time.monotonic()
        if told == self._status and now - self._status_said < _STATUS_EVERY:
            return ""
        self._status, self._status_said = told, now
        return f"{self.label}: {told}"

    def publish_message(self, msg: str, *args: Any, **options: Any) -> None:
        if msg and not _LAWS_OWN_WORDS.search(msg):
            super().publish_message(msg, *args, **options)
