"""A local portal: real HTTP, real records, and faults on demand."""

import json
import re
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from treasure.fileset.portal import Portal
from treasure.fileset.record import Record

EOS = "root://eospublic.cern.ch/"
CERTIFICATE = "Cert_271036-284044_13TeV_Legacy2016_Collisions16_JSON.txt"
Fault = Callable[[BaseHTTPRequestHandler, bytes], None]


def entry(uri: str, data: bytes, **more: Any) -> dict[str, Any]:
    """How a record or file index lists a file."""
    checksum = f"adler32:{zlib.adler32(data):x}"  # without leading zeros, as the portal's
    return {"uri": uri, "size": len(data), "checksum": checksum, **more}


class PortalServer:
    """Records by number and files by path, served as the portal does; counts what is asked."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}  # path -> what happens to the next requests
        self.asked: Counter[str] = Counter()
        self.released = threading.Event()
        self.address = ""
        self._lock = threading.Lock()

    def add_record(self, record: dict[str, Any]) -> None:
        self.records[str(record["recid"])] = record

    def add_file(self, path: str, data: bytes, **more: Any) -> dict[str, Any]:
        """Serve a file; returns its entry."""
        self.files[path] = data
        return entry(f"{EOS}{path}", data, **more)

    def add_samples(self, folder: Path) -> None:
        """The real records, file indexes and validated runs of the sample files."""
        for path in sorted(folder.glob("records_*.json")):
            for record in json.loads(path.read_bytes()):
                self.add_record(record)
        indexes = {path.name: path.read_bytes() for path in folder.glob("file_indexes/*.json")}
        for record in self.records.values():
            for file in record["files"]:
                if (name := file["uri"].rsplit("/", 1)[-1]) in indexes:
                    self.files[file["uri"].removeprefix(EOS)] = indexes[name]
        self.add_certificate((folder / CERTIFICATE).read_bytes())

    def add_certificate(self, data: bytes) -> None:
        """A record of validated runs, of the portal's shape, as number 14220."""
        path = f"/eos/opendata/cms/validated-runs/{CERTIFICATE}"
        self.add_record(
            {
                "recid": "14220",
                "title": "CMS list of validated runs for 2016 data",
                "files": [self.add_file(path, data)],
                "license": {"attribution": "CC0-1.0"},
            }
        )

    def fail(self, path: str, *faults: Fault) -> None:
        self.faults.setdefault(path, []).extend(faults)

    def answer(self, url: str) -> bytes | None:
        parts = urlsplit(url)
        if parts.path == "/api/records":
            found = re.fullmatch('doi:"(.*)"', parse_qs(parts.query)["q"][0])
            doi = found[1] if found else ""
            # A search finds similar ones, too, and gives them without their files.
            hits = [
                {"id": number, "metadata": {**record, "files": []}}
                for number, record in self.records.items()
                if str(record.get("doi", "")).lower()[:20] == doi.lower()[:20]
            ]
            return json.dumps({"hits": {"hits": hits, "total": len(hits)}}).encode()
        if parts.path.startswith("/api/records/"):
            record = self.records.get(parts.path.rsplit("/", 1)[-1])
            if record is None:
                return None
            return json.dumps({"metadata": record, "id": record["recid"]}).encode()
        return self.files.get(unquote(parts.path))

    def handle(self, request: BaseHTTPRequestHandler, *, head: bool = False) -> None:
        path = urlsplit(request.path).path
        with self._lock:
            self.asked[path] += 1
            waiting = self.faults.get(path) or []
            fault = waiting.pop(0) if waiting else None
        body = self.answer(request.path)
        if body is None:
            request.send_error(404)
        elif fault is not None:
            fault(request, body)
        else:
            _send(request, body, head=head)

    @property
    def requests(self) -> int:
        return sum(self.asked.values())


def _send(request: BaseHTTPRequestHandler, body: bytes, *, head: bool) -> None:
    first, last, status = 0, len(body) - 1, 200
    if found := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "")):
        first, status = int(found[1]), 206
        last = min(int(found[2]), last) if found[2] else last
    request.send_response(status)
    request.send_header("Accept-Ranges", "bytes")
    request.send_header("Content-Length", str(last + 1 - first))
    if status == 206:
        request.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
    request.end_headers()
    if not head:
        request.wfile.write(body[first : last + 1])


def status(code: int) -> Fault:
    """The server answers with an error."""
    return lambda request, body: request.send_error(code)


def truncated(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """The connection breaks in the middle of the answer."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body[: len(body) // 2])
    request.close_connection = True


def altered(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """The answer has one bit flipped."""
    _send(request, bytes([body[0] ^ 1]) + body[1:], head=False)


def web_page(request: BaseHTTPRequestHandler, body: bytes) -> None:
    """A page that says that the portal is being mended, with status 200."""
    _send(request, b"<html>maintenance</html>", head=False)


def silent(server: PortalServer) -> Fault:
    """No answer, until the server is shut down."""
    return lambda request, body: server.released.wait() and None


@contextmanager
def running() -> Iterator[PortalServer]:
    """A server on a free port of this machine."""
    server = PortalServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.handle(self)

        def do_HEAD(self) -> None:
            server.handle(self, head=True)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server.address = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        http.shutdown()
        http.server_close()
        thread.join()


def files_of_30525(address: str) -> int:
    """What one of several processes does at the same time."""
    return len(Record(Portal(address), 30525).files())
