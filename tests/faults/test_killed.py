"""Killed at any moment, in any stage, by any signal: nothing partial counts, the rest is made.

`TREASURE_TEST_KILLS` is how often each stage is killed (2 unless set; the acceptance test of a
release takes 20), `TREASURE_TEST_SEED` repeats the moments and signals of an earlier test.
"""

import os
import random
import signal
import time

import pytest

from tests.faults.running import (
    Started,
    check_what_counts,
    copy_of,
    data,
    leftovers,
    one_error,
    seconds_of,
)
from tests.terminal import STAGES

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("TREASURE_TEST_KILLS", "2"))
SEED = os.environ.get("TREASURE_TEST_SEED") or str(random.SystemRandom().randrange(10**6))
WORDS = {signal.SIGTERM: (143, "stopped by SIGTERM"), signal.SIGINT: (130, "stopped by SIGINT")}


def command(task, workers=1):
    return ("law", "run", task, "--version", "v1", "--config", "test", "--workers", str(workers))


@pytest.mark.parametrize("task", STAGES)
def test_a_stage_that_is_killed_again_and_again_makes_the_same_bytes(finished, tmp_path, task):
    chosen = random.Random(f"{SEED} {task}")
    print(f"TREASURE_TEST_SEED={SEED} TREASURE_TEST_KILLS={KILLS}")
    stage = seconds_of(finished.store, task)
    store = copy_of(finished.store, tmp_path / "store", without=(task,))
    before, kills = set(data(store)), 0
    branches = {
        name
        for name in data(finished.store)
        if name.startswith((f"test/{task}/v1", f"test/{task}/qcd/")) and "made_of" not in name
    }
    while kills < KILLS:
        run = Started(store, tmp_path / "scratch", *command(task, chosen.choice([1, 2])))
        if not run.wait_until(run.workers):
            # Killed so late, the last time, that all but little was done: from the start again.
            assert run.finish() == 0, run.text
            store = copy_of(finished.store, tmp_path / f"store{kills}", without=(task,))
            continue
        time.sleep(stage * chosen.random())
        number = chosen.choice([signal.SIGTERM, signal.SIGKILL])
        status = run.kill(number)
        kills += 1
        check_what_counts(store)
        if status == 0 or branches <= set(data(store)):  # it was at its end
            store = copy_of(finished.store, tmp_path / f"store{kills}", without=(task,))
        elif number == signal.SIGTERM:
            assert status == WORDS[number][0], run.text
            assert WORDS[number][1] in one_error(run.text)
        else:
            assert status == -number, run.text
    last = Started(store, tmp_path / "last", *command(task))
    assert last.finish() == 0, last.text
    wanted = data(finished.store)
    made = data(store)
    assert made == {name: wanted[name] for name in made}
    assert set(made) > before
    assert last.is_clean(), (list(last.scratch.iterdir()), leftovers(store))


@pytest.mark.parametrize("number", WORDS)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_ends_a_run_with_one_line_and_nothing_left(finished, tmp_path, number, workers):
    store = copy_of(finished.store, tmp_path / "store", without=("SimulatePFNano",))
    run = Started(store, tmp_path / "scratch", *command("SimulatePFNano", workers))
    assert run.wait_until(lambda: leftovers(store)), run.text
    if number == signal.SIGTERM:  # of a batch system: the command alone
        run.process.send_signal(number)
        status = run.finish()
    else:  # Ctrl-C: all processes of the terminal
        status = run.kill(number)
    assert (status, WORDS[number][1] in one_error(run.text)) == (WORDS[number][0], True)
    assert run.is_clean(), leftovers(store)


@pytest.mark.parametrize("workers", [1, 2])
def test_no_process_outlives_a_run_that_is_killed(finished, tmp_path, workers):
    store = copy_of(finished.store, tmp_path / "store", without=("SimulatePFNano",))
    run = Started(store, tmp_path / "scratch", *command("SimulatePFNano", workers))
    assert run.wait_until(run.workers), run.text
    run.process.kill()
    assert run.finish() == -signal.SIGKILL


def test_a_worker_that_the_system_kills_is_named_and_its_stage_made_by_the_next_run(
    finished, tmp_path
):
    store = copy_of(finished.store, tmp_path / "store", without=("SimulatePFNano",))
    run = Started(store, tmp_path / "scratch", *command("SimulatePFNano", 2))
    seen: dict[int, str] = {}

    def both() -> bool:
        seen.clear()
        seen.update(run.workers())
        return len(seen) == 2

    assert run.wait_until(both), run.text
    victim, directory = max(seen.items())
    os.kill(victim, signal.SIGKILL)
    assert run.finish() == 30, run.text
    error = one_error(run.text)
    assert "its process was killed (SIGKILL)" in error and "run the same command again" in error
    check_what_counts(store)
    assert not os.path.exists(f"{directory}/manifest.json")
    again = Started(store, tmp_path / "again", *command("SimulatePFNano", 2))
    assert again.finish() == 0 and again.is_clean(), again.text
    wanted = data(finished.store)
    assert data(store) == {name: wanted[name] for name in data(store)}
