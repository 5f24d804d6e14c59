"""Runs as they are followed: in a terminal, from the store, on the page of the scheduler."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
import urllib.parse
import urllib.request

import pytest

from .conftest import Terminal

COMMAND = ("law", "run", "CreateFileset", "--version", "v1", "--config", "test")
SUMMARIES = (
    r"^SimulatePFNano qcd 0: .* in [0-9.]+ s.* → ",
    r"^SimulatePFNano qcd 1: .* in [0-9.]+ s.* → ",
    r"^CreateFileset qcd: files 2, .* in [0-9.]+ s.* → ",
)
SHOW_CURSOR = "\x1b[?25h"
HIDE_CURSOR = "\x1b[?25l"
AT_WORK = "▸ SimulatePFNano qcd"


@pytest.fixture
def terminal(tmp_path):
    return Terminal(tmp_path)


def status(terminal, *arguments):
    run = terminal("treasure", "status", "--json", *arguments)
    return json.loads(run.text) if run.code == 0 else None


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def on_a_terminal(terminal, *command, act=lambda so_far, process: None, **environment):
    """Run a command as on a terminal of 400 columns; its exit status, and all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 400, 0, 0))
    variables = {k: v for k, v in terminal.environment.items() if k not in ("CI", "COLUMNS")}
    code = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    code += "os.execvp(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command],
        env=variables | {"TERM": "xterm-256color"} | environment,
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # so the end of a terminal is told
        while block := os.read(ours, 1 << 16):
            written += block
            act(uncoloured(written.decode(errors="replace")), process)
    os.close(ours)
    return process.wait(60), written.decode()


def uncoloured(written):
    return re.sub(r"\x1b\[[0-9;]*m", "", written)


def left_on(written):
    """What a person sees at the end, colours aside: lines that were drawn over are gone."""
    lines, row = [""], 0
    for part in re.split(r"(\x1b\[[0-9;?]*[A-Za-z]|\r|\n)", written):
        if part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\r" or part.endswith("m"):
            continue
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] += part
    return "\n".join(lines)


def test_a_terminal_shows_a_table_while_a_run_goes_on_and_its_lines_afterwards(terminal):
    # so much work that it is seen on any machine
    command = (*COMMAND, "--set", "datasets.qcd.source.events_per_file=600")
    code, written = on_a_terminal(terminal, *command)
    assert code == 0, written
    left = left_on(written)
    for summary in SUMMARIES:
        assert re.search(summary, left, re.MULTILINE), left
    assert len(left.strip().splitlines()) == 3, left
    assert AT_WORK in uncoloured(written) and "branches" in written
    assert written.rfind(SHOW_CURSOR) > written.rfind(HIDE_CURSOR) >= 0

    code, again = on_a_terminal(terminal, *command)
    assert code == 0 and "nothing to do" in again and "\x1b" not in again


@pytest.mark.parametrize("how", [{"TREASURE_PROGRESS": "plain"}, {"TERM": "dumb"}, {"CI": "1"}])
def test_a_terminal_without_a_table_has_plain_lines(terminal, how):
    code, written = on_a_terminal(terminal, *COMMAND, **how)
    assert code == 0 and "\x1b" not in written
    assert all(re.search(summary, written, re.MULTILINE) for summary in SUMMARIES)


def results_in(text):
    """Lines, less those that a slow machine writes of how far it is."""
    return [line for line in text.splitlines() if not re.search(r"\(\d+%\), .+ left$", line)]


def test_what_is_not_a_terminal_has_plain_lines_and_nothing_else(terminal):
    run = terminal(*COMMAND)
    assert run.code == 0
    assert len(results_in(run.text)) == 3 and "\x1b" not in run.text
    assert all(re.search(summary, run.text, re.MULTILINE) for summary in SUMMARIES)


def test_no_progress_record_is_in_a_manifest_and_none_is_left_of_complete_branches(terminal):
    assert terminal(*COMMAND).code == 0
    for manifest in terminal.store.glob("test/**/manifest.json"):
        directory = manifest.parent
        listed = json.loads(manifest.read_text())["files"]
        assert sorted(listed) == sorted(
            p.name for p in directory.iterdir() if p.name != "manifest.json"
        )
    records = [p for p in (terminal.store / ".progress" / "test").rglob("*") if p.is_file()]
    assert records and all(p.name.startswith("finished.") for p in records)
    shutil.rmtree(terminal.store / ".progress")
    again = terminal(*COMMAND)
    assert again.code == 0 and "nothing to do" in again.text


def test_a_place_where_no_record_can_be_written_changes_nothing(terminal):
    (terminal.store / ".progress").write_text("in the way")
    run = terminal(*COMMAND)
    assert run.code == 0 and len(results_in(run.text)) == 3, run.text
    asked = terminal("treasure", "status")
    assert asked.code == 1 and "no run is recorded" in asked.text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_the_terminal_clean_and_a_status(terminal, number):
    sent = []
    # so much work that it is seen on any machine
    command = (*COMMAND, "--set", "datasets.qcd.source.events_per_file=1000")

    def act(so_far, process):
        if AT_WORK in so_far and not sent:
            sent.append(number)
            os.kill(process.pid, number)

    code, written = on_a_terminal(terminal, *command, act=act)
    assert sent and code != 0
    assert written.rfind(SHOW_CURSOR) > written.rfind(HIDE_CURSOR) >= 0 or number == signal.SIGKILL
    assert status(terminal)["state"] in ("killed", "failed")
    assert terminal(*command).code == 0
    assert status(terminal)["state"] == "complete"


def test_status_of_a_run_that_goes_on_that_was_killed_and_that_is_complete(terminal):
    none = terminal("treasure", "status")
    assert none.code == 1 and "no run is recorded" in none.text and "Traceback" not in none.text

    longer = ("--set", "datasets.qcd.source.events_per_file=3000")  # seen on any machine
    process = subprocess.Popen(
        [*COMMAND, *longer], env=terminal.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def at_work():
        now = status(terminal)
        return now if now and now["stages"][0]["running"] else None

    try:
        now = wait_for(at_work)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert now["state"] == "running" and now["version"] == "v1" and now["config"] == "test"
    simulation, fileset = now["stages"]
    assert (simulation["task"], simulation["branches"]) == ("SimulatePFNano", 2)
    assert (fileset["task"], fileset["done"]) == ("CreateFileset", 0)
    assert simulation["running"][0]["label"].startswith("SimulatePFNano qcd ")

    after = status(terminal)
    assert after["state"] == "killed" and not after["stages"][0]["running"]
    assert "killed" in terminal("treasure", "status", "v1").text

    assert terminal(*COMMAND).code == 0
    done = status(terminal, "v1", "--config", "test")
    assert done["state"] == "complete"
    assert [(s["done"], s["count"], s["unit"]) for s in done["stages"]] == [
        (2, 200, "events"),
        (1, 200, "events"),
    ]
    assert [s["failed"] for s in done["stages"]] == [[], []]
    watched = terminal("treasure", "status", "--watch")
    assert watched.code == 0 and "complete" in watched.text
    other = terminal("treasure", "status", "v7")
    assert other.code == 1 and "v1 (--config test)" in other.text


def test_status_of_a_run_that_failed_names_the_error_and_the_log(terminal, tmp_path):
    (tmp_path / "broken.root").write_bytes(b"root, but not really" * 100)
    config = tmp_path / "mine.yaml"
    config.write_text(
        "defaults: test\ndatasets:\n"
        f"  qcd: {{source: {{kind: local, files: ['{tmp_path}/*.root']}}, is_mc: true}}\n"
    )
    log = tmp_path / "log.txt"
    command = [*COMMAND[:-1], str(config)]
    with log.open("w") as file:
        code = subprocess.run(
            command, env=terminal.environment, stdout=file, stderr=subprocess.STDOUT
        ).returncode
    assert code != 0 and "broken.root" in log.read_text(), log.read_text()
    now = status(terminal)
    assert now["state"] == "failed"
    (failed,) = now["stages"][-1]["failed"]
    assert "broken.root" in failed["error"] and failed["log"] == str(log)
    shown = terminal("treasure", "status").text
    assert "broken.root" in shown and str(log) in shown


# the central scheduler


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def running_scheduler(terminal, tmp_path):
    """A central scheduler, started as a user starts it: its address and process."""
    port = free_port()
    with (tmp_path / "luigid.log").open("w") as log:
        process = subprocess.Popen(
            ["law", "luigid", "--address", "127.0.0.1", "--port", str(port),
             "--state-path", str(tmp_path / "luigid.state")],
            env=terminal.environment, cwd=tmp_path, stdout=log, stderr=log,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"

    def answers():
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{address}/static/visualiser/index.html", timeout=5)

    try:
        wait_for(answers, 60).close()
        yield address, process
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture
def scheduler(terminal, tmp_path):
    with running_scheduler(terminal, tmp_path) as (address, _):
        yield address


def task_list(address):
    query = urllib.parse.urlencode({"data": json.dumps({"status": "", "upstream_status": ""})})
    with urllib.request.urlopen(f"{address}/api/task_list?{query}", timeout=30) as answer:
        return json.load(answer)["response"]


@pytest.mark.slow
def test_the_central_scheduler_knows_the_run_and_its_page_shows_it(terminal, scheduler, tmp_path):
    assert task_list(scheduler) == {}
    port = scheduler.rpartition(":")[2]
    longer = "datasets.qcd.source.events_per_file=1500"
    process = subprocess.Popen(
        [*COMMAND, "--set", longer, "--scheduler-host", "127.0.0.1", "--scheduler-port", port],
        env=terminal.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    halfway = wait_for(
        lambda: [
            task
            for task in task_list(scheduler).values()
            if task.get("progress_percentage") and task.get("status_message")
        ],
        600,
    )
    assert halfway[0]["status"] == "RUNNING" and 0 < halfway[0]["progress_percentage"] < 100
    assert re.match(r"[\d,]+/1,500 \(\d+%\), \d+ s left", halfway[0]["status_message"])
    assert set(halfway[0]["params"]) >= {"version", "config", "dataset", "branch"}
    assert "log_file" not in halfway[0]["params"]
    text, _ = process.communicate(timeout=1200)
    assert process.returncode == 0, text
    tasks = task_list(scheduler)
    assert {t["status"] for t in tasks.values()} == {"DONE"}
    assert sorted(t["name"] for t in tasks.values()) == ["CreateFileset", *["SimulatePFNano"] * 3]

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    page = subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000", "--dump-dom",
         f"{scheduler}/static/visualiser/index.html"],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    assert "SimulatePFNano" in page and "CreateFileset" in page


@pytest.mark.slow
def test_commands_that_share_a_scheduler_do_not_disturb_each_other(terminal, scheduler, tmp_path):
    command = [*COMMAND, "--scheduler-host", "127.0.0.1"]
    command += ["--scheduler-port", scheduler.rpartition(":")[2]]

    def run_in(*stores):
        processes = [
            subprocess.Popen(
                command, env=terminal.environment | {"TREASURE_STORE": str(store)},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for store in stores
        ]  # fmt: skip
        told = [process.communicate(timeout=1200)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * len(stores), told
        return told

    stores = [tmp_path / name for name in ("one", "two", "three")]
    run_in(stores[0], stores[0], stores[1])
    # What one store has, another one has not, whatever the scheduler heard of it.
    (told,) = run_in(stores[2])
    assert re.search(SUMMARIES[2], told, re.MULTILINE), told
    files = [
        {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*.root")}
        for store in stores
    ]
    assert len(files[0]) == 2 and files[0] == files[1] == files[2]


@pytest.mark.slow
def test_a_scheduler_that_dies_is_one_clear_error(terminal, tmp_path):
    with running_scheduler(terminal, tmp_path) as (address, scheduler_process):
        longer = "datasets.qcd.source.events_per_file=600"
        process = subprocess.Popen(
            [*COMMAND, "--set", longer, "--scheduler-port", address.rpartition(":")[2]],
            env=terminal.environment | {"LAW__luigi_core__rpc_retry_wait": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        wait_for(lambda: any(t["status"] == "RUNNING" for t in task_list(address).values()))
        scheduler_process.kill()
        text, _ = process.communicate(timeout=1200)
    assert process.returncode == 40
    assert "Traceback" not in text and "NoneType" not in text
    assert text.count("the scheduler does not answer; asking again") <= 3  # of each process
    assert text.rstrip().endswith("the same command goes on from there"), text
    assert terminal(*COMMAND, "--set", longer).code == 0


def test_a_scheduler_that_is_not_there_is_one_clear_error(terminal):
    run = terminal(*COMMAND, "--scheduler-port", str(free_port()))
    assert run.code == 1 and "law luigid" in run.text and "Traceback" not in run.text
    assert not list(terminal.store.iterdir())
