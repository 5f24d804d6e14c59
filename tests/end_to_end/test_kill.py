"""Killed at any moment, the same command finishes, with the same data."""

import os
import random
import signal
import subprocess
import time

import pytest

from .conftest import Terminal, release_checksums

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", range(3))
def test_a_killed_run_goes_on_to_the_same_release(finished, tmp_path, number):
    terminal = Terminal(tmp_path)
    command = ["law", "run", "BenchmarkTopTagging", "--version", "v1", "--config", "test"]
    moments = random.SystemRandom()
    # One kill in each third of the chain, somewhere in it.
    wait = finished.seconds * (number + moments.random()) / 3
    process = subprocess.Popen(
        command, env=terminal.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(wait)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    again = terminal(*command)
    assert again.code == 0, f"killed after {wait:.1f} s:\n{again.text}"
    assert release_checksums(tmp_path) == release_checksums(finished.store)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and ".tmp" in p.name]
