"""Remote files are copied to scratch once, verified, read, and removed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fileset.http_server import HttpServer, http_server
from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.fileset import remote
from treasure.fileset.inspection import inspect_file
from treasure.fileset.sources import create_fileset
from treasure.fileset.staging import scratch_directory, staged
from treasure.skim.run import skim_files
from treasure.store import checksums


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    monkeypatch.setenv("TREASURE_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpServer]:
    for number, name in enumerate("ab"):
        write_events(tmp_path / "served" / f"{name}.root", random_events(15, seed=number))
    with http_server(tmp_path / "served") as running:
        yield running


def dataset(*urls: str, **more: object) -> Dataset:
    return Dataset(label=0, is_mc=True, source={"kind": "local", "files": list(urls), **more})


def left_on(scratch: Path) -> list[Path]:
    return sorted(scratch.rglob("*"))


def test_a_staged_skim_is_that_of_the_remote_file_and_each_file_is_copied_once(
    server, tmp_path, scratch
):
    selection = Selection(triggers=list(TRIGGERS), filters=list(FILTERS), events_per_chunk=5)
    urls = [f"{server.url}/{name}.root" for name in "ab"]
    summaries = []
    for stage in (False, True):
        wanted = dataset(*urls, stage=stage)
        fileset = create_fileset("x", wanted, base=tmp_path)
        server.sent.clear()
        summaries.append(skim_files(fileset.files, "x", wanted, selection, tmp_path / str(stage)))
    assert summaries[0] == summaries[1]
    assert [file["uri"] for file in summaries[1]["files"]] == urls
    for name in (*summaries[0]["parts"], "cutflow.json"):
        assert checksums(tmp_path / "False" / name) == checksums(tmp_path / "True" / name)
    for name in "ab":
        size = (tmp_path / "served" / f"{name}.root").stat().st_size
        assert size <= server.sent[f"/{name}.root"] < size + 100
    assert left_on(scratch) == []
    assert scratch_directory().stat().st_mode & 0o777 == 0o700


def test_a_staged_copy_is_removed_after_an_error_which_speaks_of_the_remote_file(
    server, tmp_path, scratch
):
    wanted = dataset(f"{server.url}/a.root", stage=True)
    fileset = create_fileset("x", wanted, base=tmp_path)
    with pytest.raises(DataError, match="Flag_none") as caught:
        skim_files(fileset.files, "x", wanted, Selection(filters=["Flag_none"]), tmp_path / "s")
    assert f"{server.url}/a.root" in str(caught.value)
    assert str(scratch) not in str(caught.value)
    assert left_on(scratch) == []


def test_local_files_are_not_copied(tmp_path, scratch):
    path = write_events(tmp_path / "a.root", random_events(3))
    with staged(inspect_file(str(path), "Events", str(path))) as name:
        assert name == str(path)
    assert not scratch.exists()


def test_a_copy_that_is_not_what_the_fileset_says_is_refused(server, tmp_path, scratch):
    url, path = f"{server.url}/a.root", tmp_path / "served" / "a.root"
    file = inspect_file(url, "Events", url, checksum=f"adler32:{checksums(path)['adler32']}")
    with staged(file) as name:
        assert Path(name).read_bytes() == path.read_bytes()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    server.content["/a.root"] = bytes(data)
    message = rf"the copy has {file.size} bytes and .* {file.checksum}"
    with pytest.raises(DataError, match=message), staged(file):
        raise AssertionError("it was given out")
    server.content["/a.root"] = bytes(data[:-1])
    with pytest.raises(DataError, match=rf"the copy has {file.size - 1} bytes"), staged(file):
        raise AssertionError("it was given out")
    assert left_on(scratch) == []


def test_a_copy_that_was_damaged_on_the_way_is_made_again(server, tmp_path):
    url, path = f"{server.url}/a.root", tmp_path / "served" / "a.root"
    file = inspect_file(url, "Events", url, checksum=f"adler32:{checksums(path)['adler32']}")
    server.damage["/a.root"] = 1
    with staged(file) as name:
        assert server.damage["/a.root"] == 0
        assert Path(name).read_bytes() == path.read_bytes()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root to mount")
def test_a_full_scratch_is_said(server, tmp_path, scratch, monkeypatch):
    from treasure.fileset import staging

    url = f"{server.url}/a.root"
    file = inspect_file(url, "Events", url)
    scratch.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(scratch)])
    if mounted.returncode:
        pytest.skip("may not mount a small file system")
    try:
        with (
            pytest.raises(DataError, match=rf"{file.size} bytes cannot be staged, .* TREASURE_SCR"),
            staged(file),
        ):
            pass
        # The room may be gone by the time of the copy.
        real = shutil.disk_usage(scratch)
        asked = iter([real._replace(free=10**9)])
        monkeypatch.setattr(staging.shutil, "disk_usage", lambda _: next(asked, real))
        with pytest.raises(DataError, match="cannot be staged"), staged(file):
            pass
        assert left_on(scratch) == []
    finally:
        subprocess.run(["umount", str(scratch)], check=True)


def test_a_scratch_that_cannot_be_used_is_said(server, tmp_path, monkeypatch):
    url = f"{server.url}/a.root"
    file = inspect_file(url, "Events", url)
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("TREASURE_SCRATCH", str(tmp_path / "file"))
    message = r"cannot be used to stage files .*TREASURE_SCRATCH"
    with pytest.raises(DataError, match=message), staged(file):
        pass
    monkeypatch.setenv("TREASURE_SCRATCH", str(tmp_path / "linked"))
    name = scratch_directory()
    name.rmdir()
    name.symlink_to(tmp_path)
    with pytest.raises(DataError, match="cannot be used to stage files"), staged(file):
        pass


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(
    server, tmp_path, scratch
):
    url = f"{server.url}/a.root"
    file = inspect_file(url, "Events", url)
    code = (
        "import sys, time\n"
        "from treasure.fileset.model import FilesetFile\n"
        "from treasure.fileset.staging import staged\n"
        f"file = FilesetFile.model_validate_json({file.model_dump_json()!r})\n"
        "with staged(file) as path:\n"
        "    print(path, flush=True)\n"
        "    time.sleep(100)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, living = [Path(process.stdout.readline().strip()) for process in processes]
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        assert killed.is_file()
        with staged(file) as path:
            assert not killed.exists()
            assert living.is_file()
            assert {p for p in left_on(scratch) if p.is_file()} == {living, Path(path)}
        processes[1].terminate()
        processes[1].wait()
        time.sleep(0.1)
        with staged(file):
            assert not living.exists()
    finally:
        for process in processes:
            process.kill()
            process.wait()
            process.stdout.close()
