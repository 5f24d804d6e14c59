"""A clock that jumps, forwards and backwards, while stages work; files from the future."""

import itertools
import json
import os
import re
import time

import pytest

from tests.faults.running import Started, copy_of, data

pytestmark = pytest.mark.slow

# What Python calls the time of day in the run: the real one, moved by what a file says. (To set the
# clock of the machine would disturb others; with faketime, sleeping fails.)
CLOCK = """
import time
_time, _time_ns = time.time, time.time_ns
def _moved():
    try:
        with open({file!r}) as file:
            return float(file.read() or 0)
    except OSError:
        return 0.0
time.time = lambda: _time() + _moved()
time.time_ns = lambda: _time_ns() + int(_moved() * 1e9)
"""
JUMPS = (4e7, -4e7, 3e8, -3600.0)  # seconds
TASKS = ("SkimJets", "MergeCutflows", "WriteH5", "TrainTokenizer")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_clock_that_jumps_changes_no_byte(finished, tmp_path, workers):
    clock = tmp_path / "clock"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CLOCK.format(file=str(clock)))
    path = f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}"
    store = copy_of(finished.store, tmp_path / "store", without=TASKS)
    ahead = time.time() + 4e7
    for file in store.rglob("*"):
        os.utime(file, (ahead, ahead))
    command = ("law", "run", "TrainTokenizer", "--version", "v1", "--config", "test")
    run = Started(store, tmp_path / "scratch", *command, "--workers", workers, PYTHONPATH=path)
    times = 0
    for jump in itertools.cycle(JUMPS):
        if run.process.poll() is not None:
            break
        new = clock.with_suffix(".new")
        new.write_text(str(jump))
        new.replace(clock)
        times += 1
        time.sleep(0.2)
    assert run.finish() == 0 and times > len(JUMPS), run.text
    assert "Traceback" not in run.text and not re.search(r"-[0-9.]+ s\b", run.text), run.text
    wanted, made = data(finished.store), data(store)
    assert made == {name: wanted[name] for name in made}
    for task in TASKS:
        for manifest in store.glob(f"test/{task}/**/manifest.json"):
            assert 0 <= json.loads(manifest.read_text())["timing"]["seconds"] < 600
    again = Started(store, tmp_path / "again", *command)
    assert again.finish() == 0 and "complete, nothing to do" in again.text, again.text
