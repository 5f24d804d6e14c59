"""A web server for tests: files of a folder, in parts if asked (Range), with faults on demand."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


class HttpServer:
    """Serves the files below `folder`; `requests` and `sent` count what was asked and given.

    Attributes
    ----------
    url
        Address, without a slash at the end.
    requests
        (method, path) -> how often it was asked for.
    sent
        path -> bytes of bodies.
    faults
        path -> HTTP statuses that the next requests for it get, instead of what they ask for.
    damage
        path -> how many of the next long bodies get one bit flipped.
    ranges
        Whether parts of files are given; else always the whole.
    content
        path -> body that is served instead of a file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[str] = Counter()
        self.faults: dict[str, list[int]] = {}
        self.content: dict[str, bytes] = {}
        self.damage: Counter[str] = Counter()
        self.ranges = True
        self._lock = threading.Lock()
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def note(self, method: str, path: str) -> int | None:
        """Count a request; the status of a fault, if one is due."""
        with self._lock:
            self.requests[method, path] += 1
            waiting = self.faults.get(path)
            return waiting.pop(0) if waiting else None

    def note_sent(self, path: str, n_bytes: int) -> None:
        with self._lock:
            self.sent[path] += n_bytes

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms
    wbufsize = -1
    server_state: HttpServer

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def _answer(self, method: str) -> None:
        state = self.server_state
        path = unquote(urlsplit(self.path).path)
        if (fault := state.note(method, path)) is not None:
            self._head(fault, 0)
            return
        data = self._data(path)
        if data is None:
            self._head(404, 0)
            return
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if state.ranges and wanted:
            start = int(wanted[1])
            stop = min(int(wanted[2] or len(data)) + 1, len(data))
            if start >= len(data):
                self._head(416, 0)
                return
            part = data[start:stop]
            self._head(206, len(part), **{"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"})
        else:
            part = data
            self._head(200, len(part), **({"Accept-Ranges": "bytes"} if state.ranges else {}))
        if method == "GET":
            if len(part) > 1000 and state.damage[path] > 0:
                state.damage[path] -= 1
                part = part[:-1] + bytes([part[-1] ^ 1])
            try:
                self.wfile.write(part)
                state.note_sent(path, len(part))
            except OSError:
                self.close_connection = True  # the client had enough

    def _data(self, path: str) -> bytes | None:
        state = self.server_state
        if path in state.content:
            return state.content[path]
        file = state.folder / path.lstrip("/")
        return file.read_bytes() if file.is_file() else None

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", "application/octet-stream")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tests are quiet."""


@contextmanager
def http_server(folder: Path) -> Iterator[HttpServer]:
    """A server of a folder's files on a free port of this host."""
    server = HttpServer(folder)
    try:
        yield server
    finally:
        server.close()
