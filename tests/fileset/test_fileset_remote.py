"""Filesets and skims of files on web servers, and of what fsspec's memory holds."""

import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from tests.fileset.http_server import HttpServer, http_server
from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.fileset import remote, sources
from treasure.fileset.inspection import inspect_file
from treasure.fileset.model import Fileset
from treasure.fileset.sources import create_fileset
from treasure.skim import reading
from treasure.skim.run import skim_files


def dataset(*urls: str, kind: str = "fsspec", **more: object) -> Dataset:
    return Dataset(label=0, is_mc=True, source={"kind": kind, "files": list(urls), **more})


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once."""
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(reading, "_PAUSES", (0.0, 0.0))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    for number, name in enumerate(["a.root", "b.root", "odd [1] #2 50%.root"]):
        write_events(folder / name, random_events(12 + number, seed=number))
    (folder / "text.root").write_text("no ROOT file at all, but some text" * 40)
    (folder / "short.root").write_bytes((folder / "a.root").read_bytes()[:3000])
    return folder


@pytest.fixture
def server(samples: Path) -> Iterator[HttpServer]:
    with http_server(samples) as running:
        yield running


@pytest.fixture
def selection() -> Selection:
    return Selection(triggers=list(TRIGGERS), filters=list(FILTERS), events_per_chunk=5)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_file_on_a_web_server_is_described_as_on_disk(server, samples, tmp_path):
    (file,) = create_fileset("x", dataset(f"{server.url}/a.root"), base=tmp_path).files
    (here,) = create_fileset(
        "x", dataset(str(samples / "a.root"), kind="local"), base=tmp_path
    ).files
    assert file.uri == f"{server.url}/a.root"
    assert file.checksum is None  # a web server has none
    assert file.model_dump(exclude={"uri", "checksum"}) == here.model_dump(
        exclude={"uri", "checksum"}
    )


def test_a_skim_over_http_is_that_of_the_disk(server, samples, tmp_path, selection):
    found = []
    for kind, place in (("fsspec", server.url), ("local", str(samples)), ("local", server.url)):
        wanted = dataset(f"{place}/a.root", f"{place}/b.root", kind=kind)
        fileset = create_fileset("x", wanted, base=tmp_path)
        folder = tmp_path / f"{len(found)}"
        summary = skim_files(fileset.files, "x", wanted, selection, folder)
        found.append([(folder / name).read_bytes() for name in summary["parts"]])
    assert found[0]
    assert found[0] == found[1] == found[2]


def test_names_with_odd_characters_on_a_web_server(server, tmp_path, selection):
    wanted = dataset(f"{server.url}/odd%20%5B1%5D%20%232%2050%25.root")
    fileset = create_fileset("x", wanted, base=tmp_path)
    assert skim_files(fileset.files, "x", wanted, selection, tmp_path / "s")["events"] == 14


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.root", "no such file"),
        ("text.root", "not a ROOT file|damaged"),
        ("short.root", "truncated|damaged"),
        ("*.root", "no globs or directories"),
        ("", "no globs or directories"),
    ],
)
def test_what_is_missing_or_broken_is_named(server, tmp_path, name, message):
    with pytest.raises(DataError, match=message) as caught:
        create_fileset("x", dataset(f"{server.url}/{name}"), base=tmp_path)
    assert f"{server.url}/{name}" in str(caught.value)


def test_a_server_without_ranges_is_refused(server, tmp_path):
    server.ranges = False
    with pytest.raises(DataError, match="gives no parts of files"):
        create_fileset("x", dataset(f"{server.url}/a.root"), base=tmp_path)


def test_answers_that_another_attempt_may_change_are_asked_again(server, tmp_path, selection):
    wanted = dataset(f"{server.url}/a.root")
    server.faults["/a.root"] = [503, 503, 503, 503]  # HEAD and GET, two times
    fileset = create_fileset("x", wanted, base=tmp_path)
    server.faults["/a.root"] = [503, 503, 502]
    first = skim_files(fileset.files, "x", wanted, selection, tmp_path / "one")
    assert not server.faults["/a.root"]
    assert first == skim_files(fileset.files, "x", wanted, selection, tmp_path / "two")


def test_a_chunk_is_read_again_where_the_server_failed_in_the_middle(
    server, tmp_path, selection, monkeypatch
):
    wanted = dataset(f"{server.url}/a.root")
    (file,) = create_fileset("x", wanted, base=tmp_path).files
    verified = reading._verified

    def then_trouble(*arguments):
        result = verified(*arguments)
        server.faults["/a.root"] = [503, 503]
        return result

    monkeypatch.setattr(reading, "_verified", then_trouble)
    told = []
    skim_files([file], "x", wanted, selection, tmp_path / "s", lambda *p: told.append(p))
    assert told == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(
        reading,
        "_verified",
        lambda *a: (verified(*a), server.faults.update({"/a.root": [503] * 99}))[0],
    )
    with pytest.raises(DataError, match=r"a\.root: cannot be read .*503.*stage") as caught:
        skim_files([file], "x", wanted, selection, tmp_path / "t")
    assert file.uri in str(caught.value)


def test_a_server_that_keeps_failing_is_named(server, tmp_path):
    server.faults["/a.root"] = [503] * 99
    with pytest.raises(DataError, match=r"does not answer .*503.*try"):
        create_fileset("x", dataset(f"{server.url}/a.root"), base=tmp_path)
    server.faults["/a.root"] = [403] * 99
    with pytest.raises(DataError, match=r"refuses it .*403.*credentials"):
        create_fileset("x", dataset(f"{server.url}/a.root"), base=tmp_path)


def test_a_server_that_is_not_there_is_named_soon_and_not_asked_for_every_file(
    closed_port, server, tmp_path
):
    start = time.monotonic()
    dead = [f"http://127.0.0.1:{closed_port}/{n}.root" for n in range(60)]
    alive = f"{server.url}/a.root"
    fileset = create_fileset("x", dataset(alive, *dead, allowed_bad_files=60), base=tmp_path)
    assert [file.uri for file in fileset.files] == [alive]
    assert {file.uri for file in fileset.bad_files} == set(dead)
    reasons = [file.reason for file in fileset.bad_files]
    assert sum("does not answer" in reason for reason in reasons) >= sources._GIVE_UP
    assert sum("not tried" in reason for reason in reasons) > 30
    with pytest.raises(DataError, match=f"60 of 61 files .*(.|\n)*127.0.0.1:{closed_port}"):
        create_fileset("x", dataset(alive, *dead, allowed_bad_files=59), base=tmp_path)
    assert time.monotonic() - start < 120


def test_a_file_that_changed_on_the_server_is_refused(server, samples, tmp_path, selection):
    wanted = dataset(f"{server.url}/new.root")
    write_events(samples / "new.root", random_events(5, seed=90))
    fileset = create_fileset("x", wanted, base=tmp_path)
    write_events(samples / "new.root", random_events(50, seed=91))
    with pytest.raises(DataError, match="file changed since the fileset was made: size"):
        skim_files(fileset.files, "x", wanted, selection, tmp_path / "s")


def test_a_fileset_reads_little_of_a_remote_file(server, samples, tmp_path):
    write_events(samples / "large.root", random_events(3000, seed=3))
    create_fileset("x", dataset(f"{server.url}/large.root"), base=tmp_path)
    assert server.sent["/large.root"] < (samples / "large.root").stat().st_size / 4


def test_globs_and_directories_of_other_schemes(samples, tmp_path, selection):
    memory = fsspec.filesystem("memory")
    for name in ("store/a.root", "store/run1/b.root", "store/.hidden/c.root"):
        memory.pipe(
            f"/{name}", (samples / Path(name).name).read_bytes() if "c." not in name else b""
        )
    memory.pipe("/store/notes.txt", b"no data")
    try:
        for pattern, expected in {
            "memory://store": ["a.root", "b.root"],
            "memory://store/*.root": ["a.root"],
            "memory://store/**/*.root": ["a.root", "b.root"],
            "memory://store/run?/b.root": ["b.root"],
        }.items():
            wanted = dataset(pattern)
            fileset = create_fileset("x", wanted, base=tmp_path)
            assert [Path(file.uri).name for file in fileset.files] == expected
        assert all(file.uri.startswith("memory://") for file in fileset.files)
        assert skim_files(fileset.files, "x", wanted, selection, tmp_path / "s")["events"] == 13
        for pattern, message in {
            "memory://store/*.rot": "no ROOT file matches",
            "memory://nowhere": "no such file or directory",
        }.items():
            with pytest.raises(DataError, match=message):
                create_fileset("x", dataset(pattern), base=tmp_path)
    finally:
        memory.rm("/store", recursive=True)


def test_a_package_that_is_missing_is_named_with_the_remedy(tmp_path):
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from treasure.fileset.remote import expand\n"
        "expand('s3://bucket/*.root')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 's3:// needs a package that is not installed; pip install "treasure-workflow[s3]"' in (
        done.stderr
    )


def test_what_a_catalogue_says_is_compared(server, samples):
    url, path = f"{server.url}/a.root", samples / "a.root"
    size, digits = path.stat().st_size, f"{zlib.adler32(path.read_bytes()):x}"
    # Catalogues drop leading zeros, and a web server tells no checksum: theirs is used.
    file = inspect_file(url, "Events", url, size=size, checksum=f"adler32:{digits}")
    assert file.checksum == f"adler32:{int(digits, 16):08x}"
    inspect_file(str(path), "Events", "a", size=size, checksum=f"adler32:000{digits.upper()}")
    with pytest.raises(DataError, match=f"{size} bytes, the catalogue says {size + 1}"):
        inspect_file(url, "Events", url, size=size + 1)
    with pytest.raises(DataError, match=f"checksum is adler32:0*{digits}, .* says adler32:12"):
        inspect_file(str(path), "Events", "a", checksum="adler32:12")


def test_the_address_of_a_server():
    assert remote.server_of("root://a:1094//store/x.root") == "root://a:1094"
    assert remote.server_of("https://b/x.root") == "https://b"
    assert remote.server_of("s3://bucket/x.root") == "s3"


def test_run_only_options_are_not_in_the_fileset(samples, tmp_path):
    path = str(samples / "a.root")
    one = create_fileset("x", dataset(path, kind="local", stage=True), base=tmp_path)
    two = create_fileset("x", dataset(path, kind="local"), base=tmp_path)
    assert one == two
    assert "stage" not in one.source
    one.save(tmp_path / "f.json")
    assert Fileset.load(tmp_path / "f.json").source == one.source


def test_many_files_are_looked_into_quickly(tmp_path):
    for number in range(50):
        write_events(tmp_path / f"{number:02d}.root", random_events(3, seed=number))
    start = time.monotonic()
    fileset = create_fileset("x", dataset(str(tmp_path), kind="local"), base=tmp_path)
    assert len(fileset.files) == 50
    assert time.monotonic() - start < 60
