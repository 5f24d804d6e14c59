"""Files that were inspected before are not opened again, unless they changed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

from treasure.config.dataset import Dataset
from treasure.errors import DataError
from treasure.fileset.inspection import inspect_file
from treasure.fileset.known import Inspected, KnownFiles, local_state
from treasure.fileset.sources import create_fileset


def write(path: Path, entries: int, cycles: int = 1) -> Path:
    with uproot.recreate(path) as file:
        for cycle in range(cycles):
            file.mktree("Events", {"x": np.int64}).extend({"x": np.arange(entries + cycle)})
    return path


@pytest.fixture
def file(tmp_path) -> Path:
    return write(tmp_path / "a.root", 7)


def inspect(path: Path, known: KnownFiles | None = None):
    return inspect_file(str(path), "Events", str(path), known=known)


def remembered(path: Path, known: KnownFiles) -> Inspected | None:
    return known.find(str(path), "Events", local_state(path.stat()))


def test_what_is_known_is_the_same_as_what_is_found(file, tmp_path):
    known = KnownFiles(tmp_path, settled=0)
    first = inspect(file, known)
    assert first == inspect(file) and first.entries == 7
    known.save()
    again = KnownFiles(tmp_path)
    assert remembered(file, again) == Inspected(7, first.uuid, first.checksum)
    assert inspect(file, again) == first
    assert again.find(str(file), "other", local_state(file.stat())) is None


def test_a_known_file_is_not_opened(file, tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_CACHE", str(tmp_path / "cache"))
    known = KnownFiles()
    known.add(str(file), "Events", local_state(file.stat()), Inspected(1234, "u", "adler32:1"))
    known.save()
    dataset = Dataset(label=0, is_mc=True, source={"kind": "local", "files": [str(file)]})
    fileset = create_fileset("x", dataset, base=tmp_path)
    assert [(f.entries, f.uuid) for f in fileset.files] == [(1234, "u")]


@pytest.mark.parametrize("change", ["content", "replaced", "damaged"])
def test_a_file_that_changed_is_inspected_again_whatever_its_size_and_time(file, tmp_path, change):
    known = KnownFiles(tmp_path, settled=0)
    inspect(file, known)
    known.save()
    before = file.stat()
    content = bytearray(file.read_bytes())
    if change == "damaged":
        content[200:] = bytes(len(content) - 200)
    else:
        content[47:63] = bytes(range(16))  # the UUID in the header
    if change == "replaced":
        other = tmp_path / "other"
        other.write_bytes(content)
        os.replace(other, file)
    else:
        file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_size == before.st_size
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    known = KnownFiles(tmp_path)
    if change == "damaged":
        with pytest.raises(DataError):
            inspect(file, known)
    else:
        assert inspect(file, known).uuid == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_a_file_that_has_just_changed_is_not_remembered(file, tmp_path):
    known = KnownFiles(tmp_path, settled=3600)
    inspect(file, known)
    known.save()
    assert not (tmp_path / "inspections.json").exists()


@pytest.mark.parametrize("damage", ["truncated", "changed", "empty", "a list", "not UTF-8"])
def test_a_damaged_cache_is_ignored_and_written_again(file, tmp_path, damage):
    known = KnownFiles(tmp_path, settled=0)
    first = inspect(file, known)
    known.save()
    text = known.path.read_text()
    known.path.write_bytes(
        {
            "truncated": text[: len(text) // 2],
            "changed": text.replace("      7,", "      8,"),
            "empty": "",
            "a list": "[]",
        }.get(damage, text).encode()
        + (b"\xff" if damage == "not UTF-8" else b"")
    )
    assert known.path.read_bytes() != text.encode()
    again = KnownFiles(tmp_path, settled=0)
    assert remembered(file, again) is None
    assert inspect(file, again) == first
    again.save()
    assert known.path.read_text() == text


def test_a_cache_that_cannot_be_written_is_none(file, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    known = KnownFiles(tmp_path / "cache", settled=0)
    assert inspect(file, known).entries == 7
    known.save()
    assert (tmp_path / "cache").read_text() == "in the way"


def test_processes_that_write_at_once_leave_a_whole_cache(tmp_path):
    code = (
        "import sys; from pathlib import Path; from treasure.fileset.known import *\n"
        "for n in range(20):\n"
        "    known = KnownFiles(Path(sys.argv[1]))\n"
        "    known.add(f'{sys.argv[2]}-{n}', 't', [1], Inspected(n, 'u', None))\n"
        "    known.save()\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(number)])
        for number in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    known = KnownFiles(tmp_path)
    last = [known.find(f"{number}-19", "t", [1]) for number in range(4)]
    assert Inspected(19, "u", None) in last
    assert [path.name for path in tmp_path.iterdir()] == ["inspections.json"]


def test_the_oldest_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr("treasure.fileset.known._MOST", 3)
    for number in range(5):
        known = KnownFiles(tmp_path)
        known.add(str(number), "t", [1], Inspected(number, "u", None))
        known.save()
    known = KnownFiles(tmp_path)
    assert [number for number in range(5) if known.find(str(number), "t", [1])] == [2, 3, 4]
    content = json.loads(known.path.read_text())
    assert len(content["files"]) == 3


def test_entries_are_those_of_the_latest_cycle(tmp_path):
    path = write(tmp_path / "cycles.root", 3, cycles=2)
    with uproot.open(path) as file:
        assert set(file.keys()) == {"Events;2", "Events;1"}
    assert inspect(path).entries == 4


def test_entries_agree_with_uproot_for_files_of_root_itself(shared):
    for path in sorted((shared / "data" / "pfnano").glob("*.root")):
        with uproot.open(path) as file:
            assert inspect(path).entries == file["Events"].num_entries > 0


def test_a_moved_file_is_another(file, tmp_path):
    known = KnownFiles(tmp_path, settled=0)
    inspect(file, known)
    moved = Path(shutil.move(file, tmp_path / "b.root"))
    known.save()
    assert remembered(moved, KnownFiles(tmp_path)) is None
