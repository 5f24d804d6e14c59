"""Branches as jobs of a real Slurm: the bytes of a local run, whatever breaks on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.conftest import HOME
from tests.slurm_node import SlurmNode, missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

STAGE = "tests.tasks.batch_stages.ToldStage"


@pytest.fixture(scope="module")
def slurm():
    if reason := missing():
        pytest.skip(reason)
    # A short path: the socket of munge is in it.
    directory = Path(tempfile.mkdtemp(prefix="slurm"))
    try:
        with SlurmNode(directory) as node:
            yield node
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class Batch:
    """Runs commands as a user of a cluster does, with a store and a site of their own."""

    def __init__(self, node: SlurmNode, folder: Path) -> None:
        self.node = node
        self.store = folder / "store"
        self.told = folder / "told"
        self.told.mkdir()
        self.site = folder / "cluster.yaml"
        self.site.write_text("defaults: generic_slurm\nresources: {default: {memory_gb: 1}}\n")
        self.environment = node.environment | {
            "TREASURE_STORE": str(self.store),
            "TOLD": str(self.told),
        }
        self._output = folder / "output.txt"
        self._before = set(node.jobs())
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, task: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = ["law", "run", task, "--version", "v1", "--config", "test", *arguments]
        if "--workflow" not in arguments:
            command += ["--site", str(self.site), "--poll-interval", "1s"]
        with open(self._output, "wb") as output:
            process = subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def clean_up(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.node.heal()
        self.node("scancel", "--user=root")

    def finish(self, process: "subprocess.Popen[bytes]", seconds: float = 900) -> int:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end\n{self.output}\n{self.node.log()}") from None

    def run(self, task: str, *arguments: str) -> int:
        return self.finish(self.start(task, *arguments))

    @property
    def output(self) -> str:
        return self._output.read_text()

    def tell(self, name: str) -> None:
        (self.told / name).touch()

    @property
    def started(self) -> list[int]:
        """The branches that started, each as often as it did."""
        path = self.told / "started"
        return sorted(map(int, path.read_text().split())) if path.exists() else []

    def wait(self, condition) -> None:
        for _ in range(3000):
            if condition():
                return
            time.sleep(0.1)
        raise AssertionError(f"it does not happen\n{self.output}\n{self.node.log()}")

    def jobs(self) -> dict[int, tuple[str, str]]:
        return {n: job for n, job in self.node.jobs().items() if n not in self._before}

    def numbers(self) -> list[int]:
        """What the branches of `ToldStage` left that are done, so have a manifest; in order."""
        manifests = sorted(self.store.glob("test/ToldStage/qcd/*/*/manifest.json"))
        return [int((path.parent / "number.txt").read_text()) for path in manifests]


@pytest.fixture
def batch(slurm, tmp_path):
    made = Batch(slurm, tmp_path)
    yield made
    made.clean_up()


def results(store: Path) -> dict[str, bytes]:
    """Every file of a store by what is in it, less what it says of time."""
    found = {}
    for path in sorted((store / "test").rglob("*")):
        if path.is_dir() or path.parent.name == "jobs":
            continue
        content = path.read_bytes()
        if path.name == "manifest.json":
            manifest = json.loads(content)
            manifest = {k: v for k, v in manifest.items() if k not in ("timing", "checksum")}
            content = json.dumps(manifest).encode()
        found[str(path.relative_to(store))] = content
    return found


def test_the_chain_through_slurm_leaves_the_bytes_of_a_local_run(batch, tmp_path):
    arguments = ("WriteH5", "--dataset", "qcd")
    assert batch.run(*arguments) == 0, batch.output
    for stage in ("SimulatePFNano", "SkimJets", "WriteH5"):
        assert f"{stage} qcd: 2 jobs submitted" in batch.output
        assert f"{stage} qcd: 2 of 2 jobs done (100%)" in batch.output
    assert len(batch.jobs()) == 6
    assert {state for _, state in batch.jobs().values()} == {"COMPLETED"}

    through_slurm = results(batch.store)
    batch.environment["TREASURE_STORE"] = str(tmp_path / "local")
    assert batch.run(*arguments, "--workflow", "local") == 0, batch.output
    assert results(tmp_path / "local") == through_slurm

    batch.environment["TREASURE_STORE"] = str(batch.store)
    assert batch.run(*arguments) == 0
    assert "complete, nothing to do" in batch.output
    assert len(batch.jobs()) == 6


def test_a_cancelled_job_is_submitted_again_and_no_other(batch):
    process = batch.start(STAGE)
    batch.wait(lambda: len(batch.started) >= 2)
    running = {name: n for n, (name, state) in batch.jobs().items() if state == "RUNNING"}
    name = min(name for name in running if int(name.split("_")[2]) in batch.started)
    batch.node("scancel", str(running[name]))
    batch.wait(lambda: "failed (cancelled)" in batch.output)
    batch.tell("go")
    assert batch.finish(process) == 0, batch.output
    branch = int(name.split("_")[2])
    assert f"ToldStage qcd: branch {branch} failed (cancelled), is tried again" in batch.output
    assert batch.numbers() == [0, 1, 2]
    assert batch.started == sorted([0, 1, 2, branch])


def test_a_job_that_takes_too_much_memory_is_said_tried_again_and_given_up(batch):
    batch.tell("eat_1")
    batch.tell("go")
    assert batch.run(STAGE, "--retries", "1") != 0
    output = batch.output
    assert output.count("ToldStage qcd: branch 1 failed") == 2
    assert len(re.findall(r"branch 1 failed \(.*\), is tried again; log: ", output)) == 1
    assert "exceeded memory limit" in output
    assert "it needs more memory: raise resources.ToldStage.memory_gb of the site" in output
    assert "Traceback" not in output
    (log,) = re.findall(
        r"error in .*: 1 of 3 jobs failed for good \(branches 1\); log: (\S+);", output
    )
    assert "exceeded memory limit" in Path(log).read_text()
    batch.wait(lambda: batch.numbers() == [0, 2])  # the command gave up, the others went on
    assert len(batch.jobs()) == 4

    (batch.told / "eat_1").unlink()
    assert batch.run(STAGE) == 0, batch.output
    assert "ToldStage qcd: 1 job submitted" in batch.output
    assert batch.numbers() == [0, 1, 2]
    assert len(batch.jobs()) == 5


def test_an_error_of_a_branch_is_shown_with_its_log(batch):
    batch.tell("fail_2")
    batch.tell("go")
    assert batch.run(STAGE, "--retries", "0") != 0
    assert "branch 2 failed (exit code 30), is given up; log: " in batch.output
    assert "branch 2 was told to fail" in batch.output
    batch.wait(lambda: batch.numbers() == [0, 1])


def test_a_controller_that_is_killed_in_the_middle_doubles_no_job(batch):
    process = batch.start(STAGE)
    batch.wait(lambda: len(batch.started) == 2)
    batch.node.let_controller_save()
    batch.node.kill_controller()
    batch.wait(lambda: "the batch system does not answer" in batch.output)
    batch.tell("go")
    batch.wait(lambda: len(batch.numbers()) == 2)
    batch.node.start_controller()
    assert batch.finish(process) == 0, batch.output + batch.node.log()
    assert "the batch system answers again" in batch.output
    assert batch.numbers() == batch.started == [0, 1, 2]
    assert len(batch.jobs()) == 3


def test_a_command_that_is_killed_goes_on_with_its_jobs(batch):
    process = batch.start(STAGE)
    batch.wait(lambda: len(batch.started) == 2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process = batch.start(STAGE)
    batch.wait(lambda: "ToldStage qcd: 3 jobs of an earlier command found" in batch.output)
    batch.tell("go")
    assert batch.finish(process) == 0, batch.output
    assert batch.numbers() == batch.started == [0, 1, 2]
    assert len(batch.jobs()) == 3


def test_a_command_that_is_interrupted_says_what_becomes_of_its_jobs(batch):
    process = batch.start(STAGE)
    batch.wait(lambda: len(batch.started) == 2)
    process.send_signal(signal.SIGINT)
    assert batch.finish(process) == 130
    said = "ToldStage qcd: its jobs go on (slurm); the same command goes on with them"
    assert said in batch.output and "Traceback" not in batch.output
    assert len(batch.jobs()) == 3

    assert batch.run(STAGE, "--cancel-jobs") == 0
    assert "ToldStage qcd: 3 jobs told to end (slurm)" in batch.output
    # Jobs that are just ending are not waited for.
    batch.tell("go")
    assert batch.run(STAGE) == 0, batch.output
    assert "ToldStage qcd: 3 jobs submitted (slurm)" in batch.output
    assert batch.numbers() == [0, 1, 2]


def test_jobs_that_are_in_no_list_are_found_by_their_names(batch):
    process = batch.start(STAGE)
    batch.wait(lambda: len(batch.jobs()) == 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for path in batch.store.rglob("slurm_jobs*.json"):  # as if it had been killed while submitting
        path.unlink()
    batch.tell("go")
    assert batch.run(STAGE) == 0, batch.output
    assert len(batch.jobs()) == 3
    assert batch.started == [0, 1, 2]


def test_branches_share_jobs_and_jobs_take_turns(batch):
    batch.tell("go")
    assert batch.run(STAGE, "--tasks-per-job", "2", "--parallel-jobs", "1") == 0, batch.output
    names = sorted(name for name, _ in batch.jobs().values())
    assert [name.split("_")[2] for name in names] == ["0-1", "2"]
    assert batch.output.count("1 job submitted") == 2
    assert batch.numbers() == batch.started == [0, 1, 2]


def test_what_jobs_wait_for_is_said(batch):
    batch.site.write_text("defaults: generic_slurm\nslurm: {extra: {begin: now+1hour}}\n")
    process = batch.start(STAGE)
    batch.wait(lambda: "3 pending, waiting for: BeginTime" in batch.output)
    process.send_signal(signal.SIGINT)
    batch.finish(process)
    batch.site.write_text("defaults: generic_slurm\n")
    process = batch.start(STAGE)
    batch.wait(lambda: "3 jobs of an earlier command found, as submitted then" in batch.output)
    process.send_signal(signal.SIGINT)
    batch.finish(process)


def test_what_slurm_refuses_is_one_line(batch):
    batch.site.write_text("defaults: generic_slurm\nslurm: {partition: nowhere}\n")
    assert batch.run(STAGE) != 0
    assert "error in ToldStage" in batch.output
    assert batch.output.count("Invalid partition name") == 1, batch.output
    assert "Traceback" not in batch.output
    assert batch.jobs() == {}


def test_the_longest_run_time_and_the_resources_reach_slurm(batch):
    batch.site.write_text(
        "defaults: generic_slurm\n"
        "resources: {ToldStage: {memory_gb: 0.5, hours: 2, cpus: 2}}\n"
        "slurm: {partition: main, extra: {nice: 7, comment: two words}}\n"
    )
    process = batch.start(STAGE, "--max-runtime", "90min")
    batch.wait(lambda: len(batch.jobs()) == 3)
    shown = batch.node("scontrol", "show", "job", str(min(batch.jobs())))
    for told in ("TimeLimit=01:30:00", "NumCPUs=2", "mem=477M", "Nice=7", "Comment=two"):
        assert told in shown
    batch.tell("go")
    assert batch.finish(process) == 0, batch.output


def test_a_bundle_runs_where_the_checkout_is_not_seen(batch, tmp_path):
    batch.site.write_text(
        f"defaults: generic_slurm\nscratch: {tmp_path}/scratch\nenvironment: {{kind: bundle}}\n"
    )
    arguments = ("SimulatePFNano", "--dataset", "qcd", "--branches", "0")
    # The environment is packed: two gigabytes.
    assert batch.finish(batch.start(*arguments), seconds=1200) == 0, batch.output
    (folder,) = batch.store.glob("test/SimulatePFNano/qcd/*/qcd_0000")
    (made,) = folder.glob("*.root")
    first = made.read_bytes()
    shutil.rmtree(folder)
    hidden = f"mount -t tmpfs none {HOME} && exec bash {folder.parent}/jobs/job.sh 0"
    done = subprocess.run(
        ["unshare", "--mount", "bash", "-c", hidden],
        env={"PATH": f"{sys.base_prefix}/bin:/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd="/", capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert made.read_bytes() == first
    assert len(list((batch.store / ".bundles").iterdir())) == 1
