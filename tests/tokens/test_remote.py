"""Token files and releases behind URLs, from real servers on this host."""

import json
import logging
import multiprocessing
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest

from tests.fileset.http_server import HttpServer, http_server
from tests.fileset.test_fileset_xrootd import checks_pass, served  # noqa: F401
from tests.tokens.toys import folder, jets, metadata, write
from treasure import TokenDataset
from treasure.errors import DataError
from treasure.fileset import remote as servers
from treasure.fileset.remote import Unreachable
from treasure.store import checksums, write_json
from treasure.tokens.remote import local_copy

FILE = "part00_tokenized.parquet"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "_PAUSES", (0.01, 0.01))


@pytest.fixture
def server(tmp_path: Path):
    folder(tmp_path / "served", [40, 25], row_group=15)
    with http_server(tmp_path / "served") as running:
        yield running


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def silent(server: HttpServer) -> None:
    """Whatever it is asked for, it cannot serve now."""
    for path in server.folder.rglob("*.*"):
        server.faults[f"/{path.relative_to(server.folder)}"] = [503] * 99


def copies(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*.parquet"))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_is_copied_once(server: HttpServer, cache: Path, ranges: bool):
    server.ranges = ranges
    url = f"{server.url}/{FILE}"
    dataset = TokenDataset(url, cache=cache, columns=["event"])
    assert dataset[:]["event"].tolist() == list(range(40))
    (copy,) = copies(cache)
    assert copy.read_bytes() == (server.folder / FILE).read_bytes()
    sent = server.sent[f"/{FILE}"]
    assert len(TokenDataset([url], cache=cache)) == 40
    assert server.sent[f"/{FILE}"] == sent
    assert len(TokenDataset([url, f"{server.url}/part01_tokenized.parquet"], cache=cache)) == 65


def test_a_web_server_of_the_standard_library_will_do(tmp_path: Path, cache: Path):
    folder(tmp_path / "served", [30])

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{running.server_address[1]}/{FILE}"
        try:
            assert len(TokenDataset(url, cache=cache)) == 30
            # The same size, at another time.
            file = tmp_path / "served" / FILE
            os.utime(file, (1e9, 1e9))
            assert len(TokenDataset(url, cache=cache)) == 30
            assert len(copies(cache)) == 2
        finally:
            running.shutdown()


def test_the_cache_is_where_the_environment_says(server: HttpServer, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TREASURE_CACHE", str(tmp_path / "mine"))
    TokenDataset(f"{server.url}/{FILE}")
    assert len(copies(tmp_path / "mine" / "tokens")) == 1


def test_a_file_that_is_not_there_is_named(server: HttpServer, cache: Path):
    with pytest.raises(DataError, match=r"none\.parquet: the server has no such file"):
        TokenDataset(f"{server.url}/none.parquet", cache=cache)
    with pytest.raises(DataError, match=r"neither a token file .* nor a release"):
        TokenDataset(f"{server.url}/", cache=cache)
    with pytest.raises(DataError, match="no globs or directories"):
        TokenDataset(f"{server.url}/*.parquet", cache=cache)


def test_without_its_server_a_copy_is_used(server: HttpServer, cache: Path, caplog):
    url = f"{server.url}/{FILE}"
    TokenDataset(url, cache=cache)
    silent(server)
    with caplog.at_level(logging.WARNING):
        assert len(TokenDataset(url, cache=cache)) == 40
    assert "the server does not answer; the copy" in caplog.text
    with pytest.raises(Unreachable, match="the server does not answer"):
        TokenDataset(f"{server.url}/part01_tokenized.parquet", cache=cache)


def test_a_copy_that_is_damaged_on_the_way_is_made_again(server: HttpServer, cache: Path):
    server.damage[f"/{FILE}"] = 1
    assert len(TokenDataset(f"{server.url}/{FILE}", cache=cache)) == 40
    server.damage["/part01_tokenized.parquet"] = 9
    with pytest.raises(DataError, match=r"part01_tokenized\.parquet: the copy is damaged"):
        TokenDataset(f"{server.url}/part01_tokenized.parquet", cache=cache)
    assert len(copies(cache)) == 1


def test_a_copy_that_changed_is_made_again(server: HttpServer, cache: Path):
    url = f"{server.url}/{FILE}"
    TokenDataset(url, cache=cache)
    (copy,) = copies(cache)
    original = copy.read_bytes()
    os.utime(copy, (1e9, 1e9))  # touched, and the same
    before = server.sent[f"/{FILE}"]
    TokenDataset(url, cache=cache)
    assert server.sent[f"/{FILE}"] == before
    for wrong in (original[:-1], original[:-1] + b"x", b""):
        copy.write_bytes(wrong)
        TokenDataset(url, cache=cache)
        assert copy.read_bytes() == original
    (copy.parent / "copy.json").write_text("{")
    TokenDataset(url, cache=cache)
    assert json.loads((copy.parent / "copy.json").read_text())["url"] == url


def test_a_cache_that_others_keep_is_read(server: HttpServer, cache: Path, monkeypatch):
    TokenDataset(f"{server.url}/{FILE}", cache=cache)

    def refused(_: Path) -> None:
        raise DataError("not to be written")

    monkeypatch.setattr("treasure.tokens.remote._locked", refused)
    assert len(TokenDataset(f"{server.url}/{FILE}", cache=cache)) == 40
    with pytest.raises(DataError, match="not to be written"):
        TokenDataset(f"{server.url}/part01_tokenized.parquet", cache=cache)


def test_keys_in_a_url_are_not_written_down(server: HttpServer, cache: Path):
    address = server.url.replace("http://", "")
    path = local_copy(f"http://{address}/{FILE}?signature=secret", cache)
    note = (path.parent / "copy.json").read_text()
    assert "secret" not in note
    assert path.name == FILE


def read(url: str, cache: Path, found: "multiprocessing.Queue[int]") -> None:
    found.put(len(TokenDataset(url, cache=cache)))


def test_processes_that_want_the_same_file_copy_it_once(server: HttpServer, cache: Path):
    context = multiprocessing.get_context("fork")
    found: multiprocessing.Queue[int] = context.Queue()
    url = f"{server.url}/{FILE}"
    workers = [context.Process(target=read, args=(url, cache, found)) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [found.get(timeout=60) for _ in workers] == [40] * 4
    for worker in workers:
        worker.join()
    size = (server.folder / FILE).stat().st_size
    assert server.sent[f"/{FILE}"] < 2 * size


def test_a_cache_that_cannot_be_written_is_said(server: HttpServer, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot write"):
        TokenDataset(f"{server.url}/{FILE}", cache=tmp_path / "file")


def make_release(place: Path) -> None:
    files = {}
    for number, (dataset, split) in enumerate([("qcd", "train"), ("qcd", "test")]):
        rows = jets(8, 100 * number)
        rows = rows.set_column(5, "split", pa.array([split] * 8))
        name = f"tokens/{dataset}/{split}/a_tokenized.parquet"
        path = write(place / name, rows, metadata(dataset=dataset))
        files[name] = {**checksums(path), "rows": 8, "dataset": dataset, "split": split}
    write_json(place / "manifest.json", {"format": "treasure-release", "files": files})


def test_a_release_behind_a_url(server: HttpServer, cache: Path):
    make_release(server.folder / "v1")
    dataset = TokenDataset(f"{server.url}/v1/", split="test", columns=["event"], cache=cache)
    assert dataset[:]["event"].tolist() == list(range(100, 108))
    assert len(copies(cache)) == 1  # of the files of other splits there are none
    assert len(TokenDataset(f"{server.url}/v1", cache=cache)) == 16
    silent(server)
    assert len(TokenDataset(f"{server.url}/v1", cache=cache)) == 16


def test_a_release_whose_file_differs_from_its_manifest_is_refused(server, cache: Path):
    make_release(server.folder / "v1")
    name = "v1/tokens/qcd/test/a_tokenized.parquet"
    write(server.folder / name, jets(8, 900))
    with pytest.raises(DataError, match=r"the copy is damaged: sha256 .*, not"):
        TokenDataset(f"{server.url}/v1", split="test", cache=cache)
    write_json(server.folder / "v1" / "manifest.json", {"format": "something"})
    with pytest.raises(DataError, match="not the manifest of a release"):
        TokenDataset(f"{server.url}/v1", cache=cache)


def test_a_folder_and_a_glob_of_fsspec(tmp_path: Path, cache: Path):
    folder(tmp_path / "served", [40, 25])
    url = f"file://{tmp_path}/served"
    assert len(TokenDataset(url, cache=cache)) == 65
    assert len(TokenDataset(f"{url}/part01*", cache=cache)) == 25
    with pytest.raises(DataError, match="no release, and no token files"):
        TokenDataset(f"file://{tmp_path}/nothing", cache=cache)


@pytest.mark.slow
def test_a_real_xrootd_server(served: Path):  # noqa: F811
    folder(served / "data" / "store", [40, 25], row_group=15)
    make_release(served / "data" / "store" / "release")
    checks_pass(Path(__file__).with_name("xrootd_checks.py"), served)
