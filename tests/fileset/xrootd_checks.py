"""What must hold with a server on this host; run by `test_fileset_xrootd` inside its network."""

import os
import time
import zlib
from pathlib import Path

import pytest

from tests.fileset.test_fileset_xrootd import PORT
from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.fileset.model import Fileset
from treasure.fileset.sources import create_fileset
from treasure.skim.run import skim_files

STORE = Path(os.environ["XROOTD_TEST_FOLDER"]) / "data" / "store"
URL = f"root://localhost:{PORT}//store"


@pytest.fixture(scope="module", autouse=True)
def files() -> None:
    for number, name in enumerate(["a.root", "b.root", "run1/c.root", "run1/deep/d.root"]):
        path = write_events(STORE / name, random_events(10 + number, seed=number))
        path.chmod(0o644)
    (STORE / "run1" / "notes.txt").write_text("no data")
    (STORE / "broken.rootx").write_bytes(b"root" + bytes(500))
    for path in STORE.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def local(*urls: str, **more: object) -> Dataset:
    return Dataset(label=0, is_mc=True, source={"kind": "local", "files": list(urls), **more})


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


def test_a_file_that_changed_on_the_server_is_refused(tmp_path):
    dataset = local(f"{URL}/b.root")
    fileset = create_fileset("x", dataset, base=tmp_path)
    write_events(STORE / "b.root", random_events(50, seed=99)).chmod(0o644)
    with pytest.raises(DataError, match=r"b\.root: file changed since the fileset was made"):
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
    with pytest.raises(DataError, match="localhost:10941"):
        create_fileset("x", local("root://localhost:10941//store/a.root"), base=tmp_path)
    assert time.monotonic() - start < 30
