"""What must hold while a server goes and comes; run by `test_server` in a network of its own."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.running import Started, data, one_error
from tests.fileset.test_fileset_xrootd import NOBODY, PORT
from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events

FOLDER = Path(os.environ["XROOTD_TEST_FOLDER"])


class Server:
    """The server: `start`, and `kill` as a machine that fails."""

    process: subprocess.Popen

    def start(self):
        self.process = subprocess.Popen(
            ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "xrootd", "-c",
             str(FOLDER / "xrd.cfg"), "-l", str(FOLDER / "run" / "log"), "-n", "t", "-I", "v4"]
        )  # fmt: skip
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", PORT)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("no server within 60 s")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server():
    path = write_events(FOLDER / "data" / "store" / "a.root", random_events(800, seed=1))
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o644)
    server = Server()
    server.start()
    yield server
    server.kill()


def skim(folder):
    (folder / "far.yaml").write_text(
        f"defaults: aoj\n"
        f"selection: {{triggers: [{', '.join(TRIGGERS)}], filters: [{', '.join(FILTERS)}],"
        f" events_per_chunk: 10}}\n"
        f"datasets:\n  far: {{label: 1, is_mc: true, source: {{kind: xrootd, files: "
        f"['root://localhost:{PORT}//store/*.root']}}}}\n"
    )
    return Started(
        folder / "store", folder / "scratch", "law", "run", "SkimJets", "--config",
        str(folder / "far.yaml"), "--version", "v1", "--dataset", "far", "--workers", "1",
    )  # fmt: skip


def parts(folder):
    return list((folder / "store").glob("far/SkimJets/**/part_*.parquet"))


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run = skim(folder)
    assert run.finish() == 0, run.text
    return data(folder / "store")


def test_a_server_that_is_killed_and_comes_back_while_it_is_read(server, undisturbed, tmp_path):
    run = skim(tmp_path)
    assert run.wait_until(lambda: len(parts(tmp_path)) >= 30), run.text
    server.kill()
    time.sleep(3)
    server.start()
    assert run.finish() == 0 and "Traceback" not in run.text, run.text
    assert data(tmp_path / "store") == undisturbed
    assert run.is_clean()


def test_a_server_that_stays_away_is_named_and_the_next_run_finishes(server, undisturbed, tmp_path):
    run = skim(tmp_path)
    assert run.wait_until(lambda: len(parts(tmp_path)) >= 10), run.text
    server.kill()
    start = time.monotonic()
    try:
        assert run.finish() == 30, run.text
        print(f"given up after {time.monotonic() - start:.0f} s")
        assert time.monotonic() - start < 300
    finally:
        server.start()
    assert f"{PORT}//store/a.root: " in one_error(run.text)
    assert not list((tmp_path / "store").glob("far/SkimJets/**/manifest.json"))
    again = skim(tmp_path)
    assert again.finish() == 0 and again.is_clean(), again.text
    assert data(tmp_path / "store") == undisturbed
