"""Tokenizers on a web server and on the Hub: fetched once, checked, and contained in the cache."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.fileset.http_server import HttpServer, http_server
from tests.tokenizer.test_artefact import TOKENIZER
from tests.tokenizer.toys import toy_jets
from treasure.errors import DataError
from treasure.store import fingerprint
from treasure.tokenizer import remote
from treasure.tokenizer.artefact import Tokenizer

FILES = ("tokenizer.safetensors", "codebook.npz", "encoder.onnx", "decoder.onnx", "portable.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    TOKENIZER.save(tmp_path / "web" / "a folder")
    return tmp_path / "web" / "a folder"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TREASURE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))
    return tmp_path / "cache"


@pytest.fixture
def server(folder: Path, cache: Path) -> Iterator[HttpServer]:
    with http_server(folder.parent) as server:
        yield server


def rewritten(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change tokenizer.json as someone would who means harm: with the right checksum."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_text(json.dumps({**content, "checksum": fingerprint(content)}))


def everything_below(path: Path) -> set[str]:
    return {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}


@pytest.mark.parametrize("ending", ["", "/", "/tokenizer.json"])
def test_a_tokenizer_is_loaded_from_a_web_server(server: HttpServer, ending: str):
    candidates, kinematics = toy_jets(20, 3)
    loaded = Tokenizer.load(f"{server.url}/a%20folder{ending}")
    assert loaded.fingerprint == TOKENIZER.fingerprint
    tokens = loaded.encode(candidates, kinematics)
    assert tokens.tolist() == TOKENIZER.encode(candidates, kinematics).tolist()


def test_what_is_in_the_cache_is_not_fetched_again(server: HttpServer):
    for _ in range(2):
        Tokenizer.load(f"{server.url}/a%20folder")
    asked = {Path(path).name: number for (_, path), number in server.requests.items()}
    assert asked == {"tokenizer.json": 2, **dict.fromkeys(FILES, 1)}


def test_a_damaged_copy_in_the_cache_is_fetched_again(server: HttpServer, cache: Path):
    url = f"{server.url}/a%20folder"
    directory = remote.located(url)
    (directory / "codebook.npz").write_bytes(b"damaged")
    Tokenizer.load(url)
    assert server.requests["GET", "/a folder/codebook.npz"] == 2


def test_without_the_server_the_copy_of_before_is_taken(folder: Path, cache: Path):
    with http_server(folder.parent) as server:
        url = f"{server.url}/a%20folder"
        Tokenizer.load(url)
    with pytest.warns(UserWarning, match="taking the copy of before"):
        assert Tokenizer.load(url).fingerprint == TOKENIZER.fingerprint
    with pytest.raises(DataError, match=r"other/tokenizer\.json: .*3 attempts"):
        Tokenizer.load(f"{server.url}/other")


def test_a_server_in_trouble_is_asked_again(server: HttpServer):
    server.faults["/a folder/tokenizer.json"] = [503, 500]
    server.faults["/a folder/codebook.npz"] = [503]
    server.damage["/a folder/tokenizer.safetensors"] = 1
    assert Tokenizer.load(f"{server.url}/a%20folder").fingerprint == TOKENIZER.fingerprint


def test_a_download_that_ends_early_is_tried_again_and_then_refused(
    server: HttpServer, cache: Path
):
    class Short:
        """A connection that ends after some bytes."""

        def __init__(self, answer: Any) -> None:
            self.left, self.answer = 100, answer

        def read(self, size: int) -> bytes:
            data = self.answer.read(min(size, self.left))
            self.left -= len(data)
            return data

        def __enter__(self) -> "Short":
            return self

        def __exit__(self, *_: object) -> None:
            self.answer.close()

    opened, broken = remote._opened, [True, True]

    def interrupted(address: str) -> Any:
        answer = opened(address)
        if address.endswith(".npz") and broken:
            broken.pop()
            return Short(answer)
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote, "_opened", interrupted)
        assert Tokenizer.load(f"{server.url}/a%20folder").fingerprint == TOKENIZER.fingerprint
        for path in cache.rglob("codebook.npz"):
            path.unlink()
        broken += [True] * 3
        with pytest.raises(DataError, match=r"codebook\.npz: not the file .*100 bytes.*3 attempts"):
            Tokenizer.load(f"{server.url}/a%20folder")
    assert not list(cache.rglob("codebook.npz")) and not list(cache.rglob("*.tmp*"))


def test_a_file_that_is_another_is_refused_by_its_name(
    server: HttpServer, folder: Path, cache: Path
):
    whole = (folder / "codebook.npz").read_bytes()
    for data in (whole[:-1] + b"?", whole + b"more", b""):
        (folder / "codebook.npz").write_bytes(data)
        with pytest.raises(DataError, match=r"codebook\.npz: not the file"):
            Tokenizer.load(f"{server.url}/a%20folder")
    (folder / "codebook.npz").unlink()
    with pytest.raises(DataError, match=r"codebook\.npz: HTTP 404.*check the address"):
        Tokenizer.load(f"{server.url}/a%20folder")
    assert not list(cache.rglob("codebook.npz"))


@pytest.mark.parametrize(
    "name",
    ["../outside", "sub/file", "/etc/outside", "..", ".hidden", "", "a\\b", "a\0b", "x" * 300,
     "tokenizer.json", "con trol", "%2e%2e%2foutside", "~x"],
)  # fmt: skip
def test_names_that_lead_out_of_the_folder_are_refused(
    server: HttpServer, folder: Path, cache: Path, tmp_path: Path, name: str
):
    rewritten(folder, lambda content: content["files"].update({name: content["files"][FILES[0]]}))
    before = everything_below(tmp_path)
    for source in (f"{server.url}/a%20folder", folder):
        with pytest.raises(DataError, match="no name of a file beside it"):
            Tokenizer.load(source)
    assert everything_below(tmp_path) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["files"].pop("codebook.npz"),
        lambda content: content.update(files=[1, 2]),
        lambda content: content.update(files=None),
        lambda content: content["files"].update({"codebook.npz": "a checksum"}),
        lambda content: content["files"]["codebook.npz"].pop("sha256"),
        lambda content: content["files"]["codebook.npz"].pop("adler32"),
        lambda content: content["files"]["codebook.npz"].update(size="1"),
        lambda content: content["files"]["codebook.npz"].update(size=-1),
        lambda content: content["files"]["codebook.npz"].update(size=1 << 60),
        lambda content: content["features"].update(kind="os:system"),
        lambda content: content["config"]["model"].update(kind="os:system"),
        lambda content: content.pop("config"),
        lambda content: content.update(quantizer="vq"),
        lambda content: content.update(format_version=99),
    ],
)
def test_a_hostile_description_is_refused(
    server: HttpServer, folder: Path, cache: Path, change: Callable[[dict[str, Any]], None]
):
    rewritten(folder, change)
    with pytest.raises(DataError, match=r"a%20folder/tokenizer\.json: "):
        Tokenizer.load(f"{server.url}/a%20folder")
    assert not cache.exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"<html>"])
def test_what_is_no_description_is_refused(server: HttpServer, cache: Path, data: bytes):
    server.content["/a folder/tokenizer.json"] = data
    with pytest.raises(DataError, match=r"a%20folder/tokenizer\.json: not "):
        Tokenizer.load(f"{server.url}/a%20folder")
    assert not cache.exists()


def test_a_description_that_ends_early_is_asked_for_again(server: HttpServer, monkeypatch):
    opened, broken = remote._opened, [True]

    class Short:
        def __init__(self, answer: Any) -> None:
            self.answer, self.headers = answer, answer.headers

        def read(self, size: int) -> bytes:
            return self.answer.read(size)[:-100]

        def __enter__(self) -> "Short":
            return self

        def __exit__(self, *_: object) -> None:
            self.answer.close()

    def interrupted(address: str) -> Any:
        answer = opened(address)
        return Short(answer) if address.endswith(".json") and broken and broken.pop() else answer

    monkeypatch.setattr(remote, "_opened", interrupted)
    Tokenizer.load(f"{server.url}/a%20folder")
    assert server.requests["GET", "/a folder/tokenizer.json"] == 2


def test_a_description_without_end_is_not_read_to_it(server: HttpServer, monkeypatch):
    monkeypatch.setattr(remote, "_LARGEST_DESCRIPTION", 1000)
    with pytest.raises(DataError, match="longer than 1000 bytes"):
        Tokenizer.load(f"{server.url}/a%20folder")


@pytest.mark.parametrize(
    "source", ["ftp://host/folder", "file:///folder", "hf://owner", "hf://o/n/../../x",
               "hf://o/n/a//b", "hf://", "https://", "https://host/folder?token=1"],
)  # fmt: skip
def test_other_addresses_are_refused(source: str, cache: Path):
    with pytest.raises(DataError, match=r"expected|are loaded from"):
        Tokenizer.load(source)


# The Hub ----------------------------------------------------------------------------------------

COMMIT = "0123456789abcdef0123456789abcdef01234567"

# What huggingface_hub reads of the environment, it reads when it is imported.
_LOAD = """
import sys
from treasure.errors import DataError
from treasure.tokenizer.artefact import Tokenizer
for source in sys.argv[1:]:
    try:
        print(Tokenizer.load(source).fingerprint)
    except DataError as error:
        print("DataError", error)
"""


def load_from_hub(home: Path, *sources: str, **environment: str) -> list[str]:
    """Fingerprint or error of each, loaded by a process of their own."""
    run = subprocess.run(
        [sys.executable, "-c", _LOAD, *sources], capture_output=True, text=True, timeout=120,
        env=os.environ | {"HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environment,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.fixture
def hub(folder: Path, tmp_path: Path) -> Iterator[Any]:
    """A server that answers as the Hub does when a file is asked for, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append(path)
            prefixes = {
                f"/group/jets/resolve/{revision}/": folder for revision in ("main", COMMIT, "v1")
            } | {
                f"/datasets/group/release/resolve/{revision}/some/tokenizer/": folder
                for revision in ("main", COMMIT)
            }
            prefix = next((p for p in prefixes if path.startswith(p)), None)
            file = folder / path.removeprefix(prefix) if prefix else None
            if file is None or not file.is_file():
                code = "RepoNotFound" if prefix is None else "EntryNotFound"
                self.send_response(404)
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_tokenizer_is_loaded_from_the_hub_and_then_without_it(hub: Any, tmp_path: Path):
    endpoint, asked = hub
    home = tmp_path / "home"
    sources = [
        "hf://group/jets",
        "hf://group/jets@v1",
        "hf://datasets/group/release/some/tokenizer",
    ]
    assert load_from_hub(home, *sources, HF_ENDPOINT=endpoint) == 3 * [TOKENIZER.fingerprint]
    fetched = len(asked)
    *loaded, missing = load_from_hub(
        home, *sources, f"hf://group/jets@{COMMIT}", "hf://group/others",
        HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert loaded == 4 * [TOKENIZER.fingerprint]
    assert missing.startswith("DataError hf://group/others: tokenizer.json cannot be had")
    assert len(asked) == fetched


def test_what_the_hub_does_not_have_is_said(hub: Any, folder: Path, tmp_path: Path):
    endpoint, _ = hub
    (folder / "codebook.npz").unlink()
    sources = "hf://group/nothing", "hf://group/jets"
    nothing, part = load_from_hub(tmp_path / "home", *sources, HF_ENDPOINT=endpoint)
    assert nothing.startswith("DataError hf://group/nothing: tokenizer.json cannot be had")
    assert part.startswith("DataError hf://group/jets: codebook.npz cannot be had")


@pytest.mark.slow
def test_a_damaged_copy_of_the_hub_is_fetched_again_or_refused(hub: Any, tmp_path: Path):
    endpoint, _ = hub
    home, source = tmp_path / "home", "hf://group/jets"
    load_from_hub(home, source, HF_ENDPOINT=endpoint)
    (copy,) = home.glob("hub/models--group--jets/snapshots/*/codebook.npz")
    whole = copy.read_bytes()
    copy.resolve().write_bytes(whole[:-1] + b"?")
    (answer,) = load_from_hub(home, source, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1")
    assert answer.startswith("DataError") and "codebook.npz" in answer
    assert load_from_hub(home, source, HF_ENDPOINT=endpoint) == [TOKENIZER.fingerprint]
    assert copy.read_bytes() == whole
