"""What must hold with a server on this host; run by `test_fileset_xrootd` inside its network."""

import os
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from tests.fileset.test_fileset_xrootd import NOBODY, PORT
from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.fileset.inspection import inspect_file
from treasure.fileset.model import Fileset
from treasure.fileset.sources import create_fileset
from treasure.fileset.staging import staged
from treasure.skim.run import skim_files

STORE = Path(os.environ["XROOTD_TEST_FOLDER"]) / "data" / "store"
URL = f"root://localhost:{PORT}//store"


def serve(path: Path) -> None:
    """Give a file to the server, which keeps a checksum beside it once it has computed it."""
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture(scope="module", autouse=True)
def files() -> None:
    for number, name in enumerate(["a.root", "b.root", "run1/c.root", "run1/deep/d.root"]):
        write_events(STORE / name, random_events(10 + number, seed=number))
    (STORE / "run1" / "notes.txt").write_text("no data")
    (STORE / "broken.rootx").write_bytes(b"root" + bytes(500))
    for path in STORE.rglob("*"):
        serve(path)


def local(*urls: str, kind: str = "local", **more: object) -> Dataset:
    return Dataset(label=0, is_mc=True, source={"kind": kind, "files": list(urls), **more})


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/a.root", ["a.root"]),
        ("/*.root", ["a.root", "b.root"]),
        ("", ["a.root", "b.root", "c.root", "d.root"]),
        ("/run1", ["c.root", "d.root"]),
        ("/run?/*.root", ["c.root"]),
        ("/**/*.root", ["a.root", "b.root", "c.root", "d.root"]),
        ("/*/deep/*", ["d.root"]),
    ],
)
def test_files_directories_and_globs(tmp_path, pattern, expected):
    fileset = create_fileset("x", local(URL + pattern), base=tmp_path)
    assert [Path(file.uri).name for file in fileset.files] == expected
    assert all(file.uri.startswith(URL) for file in fileset.files)


def test_size_and_checksum_come_from_the_server(tmp_path):
    (file,) = create_fileset("x", local(f"{URL}/a.root"), base=tmp_path).files
    data = (STORE / "a.root").read_bytes()
    assert file.size == len(data)
    assert file.checksum == f"adler32:{zlib.adler32(data):08x}"
    (here,) = create_fileset("x", local(str(STORE / "a.root")), base=tmp_path).files
    assert (file.entries, file.uuid, file.checksum) == (here.entries, here.uuid, here.checksum)


def test_a_skim_over_the_network_is_that_of_the_disk(tmp_path):
    selection = Selection(triggers=list(TRIGGERS), filters=list(FILTERS), events_per_chunk=6)
    found = []
    for place in (URL, str(STORE)):
        dataset = local(f"{place}/?.root")
        path = tmp_path / place.replace("/", "_") / "fileset.json"
        create_fileset("x", dataset, base=path.parent).save(path)
        fileset = Fileset.load(path)
        summary = skim_files(fileset.files, "x", dataset, selection, path.parent)
        found.append([(path.parent / name).read_bytes() for name in summary["parts"]])
    assert found[0]
    assert found[0] == found[1]


def test_a_staged_skim_is_that_of_the_server_and_leaves_nothing(tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    monkeypatch.setenv("TREASURE_SCRATCH", str(scratch))
    selection = Selection(triggers=list(TRIGGERS), filters=list(FILTERS), events_per_chunk=6)
    found = []
    for stage in (False, True):
        dataset = local(f"{URL}/run1", kind="xrootd", stage=stage)
        fileset = create_fileset("x", dataset, base=tmp_path)
        folder = tmp_path / str(stage)
        summary = skim_files(fileset.files, "x", dataset, selection, folder)
        found.append((summary, [(folder / name).read_bytes() for name in summary["parts"]]))
    assert found[0][1]
    assert found[0] == found[1]
    assert [path for path in scratch.rglob("*") if path.is_file()] == []
    (file, _) = fileset.files
    with staged(file) as path:
        assert Path(path).read_bytes() == (STORE / "run1" / "c.root").read_bytes()
    wrong = file.model_copy(update={"checksum": "adler32:00000001"})
    with pytest.raises(DataError, match=r"the copy has .* the fileset says"), staged(wrong):
        raise AssertionError("it was given out")


def test_a_scratch_without_room_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_SCRATCH", "/dev/shm/treasure_test_full")
    Path("/dev/shm/treasure_test_full").mkdir(exist_ok=True)
    size = "size=8k"
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", "/dev/shm/treasure_test_full"]
    ).returncode:
        pytest.skip("may not mount a small file system")
    try:
        (file,) = create_fileset("x", local(f"{URL}/a.root"), base=tmp_path).files
        with pytest.raises(DataError, match="cannot be staged"), staged(file):
            raise AssertionError("it was given out")
    finally:
        subprocess.run(["umount", "/dev/shm/treasure_test_full"], check=True)
        Path("/dev/shm/treasure_test_full").rmdir()


def test_what_a_catalogue_says_is_compared_with_the_server():
    url = f"{URL}/a.root"
    data = (STORE / "a.root").read_bytes()
    inspect_file(url, "Events", url, size=len(data), checksum=f"adler32:{zlib.adler32(data):X}")
    with pytest.raises(
        DataError, match=r"its checksum is adler32:.*, the catalogue says adler32:1"
    ):
        inspect_file(url, "Events", url, checksum="adler32:1")
    with pytest.raises(DataError, match="the catalogue says 7"):
        inspect_file(url, "Events", url, size=7)


def test_a_file_that_changed_on_the_server_is_refused(tmp_path):
    dataset = local(f"{URL}/b.root")
    fileset = create_fileset("x", dataset, base=tmp_path)
    serve(write_events(STORE / "b.root", random_events(50, seed=99)))
    with pytest.raises(DataError, match=r"b\.root: .*changed since the fileset was made"):
        skim_files(fileset.files, "x", dataset, Selection(), tmp_path)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("/none.root", "cannot find it"),
        ("/nowhere", "cannot find it"),
        ("/none*.root", "no ROOT file matches"),
        ("/broken.rootx", "damaged"),
    ],
)
def test_what_is_missing_or_broken_is_named(tmp_path, pattern, message):
    with pytest.raises(DataError, match=message) as caught:
        create_fileset("x", local(URL + pattern), base=tmp_path)
    assert pattern in str(caught.value)


def test_bad_files_are_listed(tmp_path):
    urls = (f"{URL}/a.root", f"{URL}/none.root")
    fileset = create_fileset("x", local(*urls, allowed_bad_files=1), base=tmp_path)
    assert [file.uri for file in fileset.bad_files] == [urls[1]]


def test_a_server_that_is_not_there_is_named_soon(tmp_path):
    start = time.monotonic()
    dead = [f"root://localhost:10941//store/{n}.root" for n in range(40)]
    with pytest.raises(DataError, match=r"localhost:10941//store/0\.root: the server does not ans"):
        create_fileset("x", local(*dead), base=tmp_path)
    fileset = create_fileset(
        "x", local(f"{URL}/a.root", *dead, allowed_bad_files=40), base=tmp_path
    )
    assert [file.uri for file in fileset.files] == [f"{URL}/a.root"]
    assert sum("not tried" in file.reason for file in fileset.bad_files) >= 24
    assert time.monotonic() - start < 120
