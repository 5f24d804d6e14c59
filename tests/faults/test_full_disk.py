"""A store without room, or that cannot be written: one line; with room again, the same bytes."""

import shutil
import subprocess

import pytest

from tests.faults.running import Started, copy_of, data, one_error, remount, small_disk

pytestmark = pytest.mark.slow


def law(store, tmp_path, task, workers="1"):
    command = ("law", "run", task, "--version", "v1", "--config", "test", "--workers", workers)
    return Started(store, tmp_path / "scratch", *command)


def assert_same(store, finished):
    wanted, made = data(finished.store), data(store)
    assert made == {name: wanted[name] for name in made}


@pytest.mark.parametrize(
    "task", ["SkimJets", "WriteH5", "TrainTokenizer", "TokenizeShards", "PublishFDP"]
)
def test_a_disk_that_is_full_and_then_has_room(finished, tmp_path, task):
    with small_disk(tmp_path / "disk", "100m") as disk:
        store = copy_of(finished.store, disk / "store", without=(task,))
        used = shutil.disk_usage(disk).used
        remount(disk, f"size={used + 40_000}")  # for records and directories, and no data
        full = law(store, tmp_path, task)
        assert full.finish() == 30, full.text
        errors = [line for line in full.text.splitlines() if line.startswith("error")]
        assert errors and "Traceback" not in full.text, full.text
        assert all(f"{disk}" in e and "No space left on device" in e for e in errors), full.text
        assert full.is_clean()
        remount(disk, "size=100m")
        again = law(store, tmp_path, task)
        assert again.finish() == 0 and again.is_clean(), again.text
        assert_same(store, finished)


def test_a_store_that_cannot_be_written(finished, tmp_path):
    with small_disk(tmp_path / "disk", "100m") as disk:
        store = copy_of(finished.store, disk / "store", without=("WriteH5",))
        remount(disk, "ro")
        run = law(store, tmp_path, "WriteH5")
        assert run.finish() == 30, run.text
        assert "Read-only file system" in run.text and "Traceback" not in run.text, run.text
        remount(disk, "rw")
        again = law(store, tmp_path, "WriteH5")
        assert again.finish() == 0 and again.is_clean(), again.text
        assert_same(store, finished)


def test_a_store_that_can_no_longer_be_written(finished, tmp_path):
    with small_disk(tmp_path / "disk", "100m") as disk:
        store = copy_of(finished.store, disk / "store", without=("TrainTokenizer",))
        run = law(store, tmp_path, "TrainTokenizer")
        assert run.wait_until(run.workers), run.text
        change = ["mount", "-o", "remount,ro", str(disk)]  # refused while a file is being written
        assert run.wait_until(
            lambda: subprocess.run(change, stderr=subprocess.DEVNULL).returncode == 0
        )
        assert run.finish() == 30, run.text
        assert "Read-only file system" in one_error(run.text)
        remount(disk, "rw")
        again = law(store, tmp_path, "TrainTokenizer")
        assert again.finish() == 0 and again.is_clean(), again.text
        assert_same(store, finished)
