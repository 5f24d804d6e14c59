"""Names, sizes and checksums on XRootD servers (``root://`` URLs), asked of the server itself.

Nothing is cached, so that what is told is what is there now. Opening and reading is uproot's.
"""

import os
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from XRootD import client
from XRootD.client.flags import DirListFlags, QueryCode, StatInfoFlags

from treasure.errors import DataError
from treasure.fileset.remote import RemoteFile, Unreachable

__all__ = ["copy", "expand", "is_pattern", "remote_file", "require"]

# Unless the user's environment says otherwise: the client's own defaults wait for a dead server
# for some minutes. Seconds, except the number of retries.
_PATIENCE = {
    "ConnectionWindow": 10,
    "ConnectionRetry": 2,
    "StreamErrorWindow": 10,
    "RequestTimeout": 60,
}
for _name, _value in _PATIENCE.items():
    if f"XRD_{_name.upper()}" not in os.environ:
        client.EnvPutInt(_name, _value)

# XrdCl: sockets and connections (101 to 199), and requests that were not answered in time.
_CONNECTION_CODES = {*range(101, 200), 206}
_SERVER_ERROR = 3012  # kXR_ServerError of the protocol
_CHECKSUM_PAUSES = (0.5, 2.0, 5.0)  # seconds before a checksum is asked for again


def is_pattern(name: str) -> bool:
    """Whether a name has glob characters."""
    return any(character in name for character in "*?[")


def _split(url: str) -> tuple[str, str]:
    # Not urlsplit: a "?" belongs to a glob here.
    host, _, path = url.split("://", 1)[1].partition("/")
    path = "/" + path.strip("/")
    if not host or path == "/":
        raise DataError(f"{url}: not a root:// URL; root://host[:port]//path was expected")
    return f"root://{host}/", path


def _failure(url: str, what: str, status: Any) -> DataError:
    message = str(status.message).strip()
    if status.fatal or status.code in _CONNECTION_CODES:
        return Unreachable(
            f"{url}: the server does not answer ({message}); check the address and the network, or"
            " try later"
        )
    return DataError(f"{url}: {what}: {message}; check the name, the server and your credentials")


def _stat(url: str) -> Any:
    server, path = _split(url)
    status, info = client.FileSystem(server).stat(path)
    if not status.ok:
        raise _failure(url, "the server cannot find it", status)
    return info


def _is_directory(url: str) -> bool:
    return bool(_stat(url).flags & StatInfoFlags.IS_DIR)


def _entries(server: str, path: str) -> list[tuple[str, bool]]:
    """Names in a directory, sorted, each with whether it is a directory."""
    status, listing = client.FileSystem(server).dirlist(path, DirListFlags.STAT)
    if not status.ok:
        raise _failure(server + path, "the server cannot list it", status)
    return sorted(
        (entry.name, bool(entry.statinfo and entry.statinfo.flags & StatInfoFlags.IS_DIR))
        for entry in listing
        if not entry.name.startswith(".")
    )


def _files_below(server: str, path: str) -> list[str]:
    found: list[str] = []
    for name, is_directory in _entries(server, path):
        child = f"{path.rstrip('/')}/{name}"
        if is_directory:
            found += _files_below(server, child)
        else:
            found.append(child)
    return found


def _directories_below(server: str, path: str) -> list[str]:
    found = [path]
    for name, is_directory in _entries(server, path):
        if is_directory:
            found += _directories_below(server, f"{path.rstrip('/')}/{name}")
    return found


def _glob(server: str, base: str, parts: list[str]) -> list[str]:
    """Files and directories under `base` that match the remaining parts of a pattern."""
    if not parts:
        return [base or "/"]
    part, rest = parts[0], parts[1:]
    if part == "**":
        return [
            match
            for directory in _directories_below(server, base or "/")
            for match in _glob(server, directory.rstrip("/"), rest or ["*"])
        ]
    return [
        match
        for name, is_directory in _entries(server, base or "/")
        if fnmatchcase(name, part) and (is_directory or not rest)
        for match in _glob(server, f"{base}/{name}", rest)
    ]


def expand(url: str) -> list[str]:
    """Files that a ``root://`` URL stands for: itself, a glob, or all ``*.root`` of a directory.

    Returns
    -------
    URLs, sorted; empty if nothing matches.

    Raises
    ------
    DataError
        If the server does not answer, or the file or directory does not exist.
    """
    server, path = _split(url)
    if is_pattern(path):
        # Directories that match are no files: only what is inside them could be asked for.
        parts = path.strip("/").split("/")
        fixed = next(number for number, part in enumerate(parts) if is_pattern(part))
        base = "".join(f"/{part}" for part in parts[:fixed])
        matches = sorted(set(_glob(server, base, parts[fixed:])))
        paths = [
            match
            for match in matches
            if match.endswith(".root") or not _is_directory(server + match)
        ]
    elif path.endswith(".root"):
        paths = [path]
    elif _is_directory(server + path):
        paths = [name for name in _files_below(server, path) if name.endswith(".root")]
    else:
        paths = [path]
    return sorted(server + name for name in paths)


def require(url: str) -> None:
    """Ask a server whether it has a file.

    Raises
    ------
    Unreachable
        If the server does not answer.
    DataError
        If it has no such file.
    """
    _stat(url)


def remote_file(url: str) -> RemoteFile:
    """Size of a file, and its adler32 where the server knows it.

    Raises
    ------
    DataError
        If the server does not answer, or has no such file.
    """
    info = _stat(url)
    if info.flags & StatInfoFlags.IS_DIR:
        raise DataError(f"{url}: a directory; a file was expected")
    return RemoteFile(int(info.size), _adler32(url), modified=str(info.modtime))


def _adler32(url: str) -> str | None:
    """What the server says, or None where it has no checksums; not because it was busy just now.

    A server computes few checksums at once. One more waits, expires, or fails inside the server.
    """
    server, path = _split(url)
    filesystem = client.FileSystem(server)
    for pause in (*_CHECKSUM_PAUSES, None):
        status, answer = filesystem.query(QueryCode.CHECKSUM, path)
        is_busy = status.code in _CONNECTION_CODES or status.errno == _SERVER_ERROR
        if status.ok or not is_busy or pause is None:
            break
        time.sleep(pause)
    if status.fatal or status.code in _CONNECTION_CODES:
        raise _failure(url, "no checksum", status)
    if status.ok and answer:
        kind, _, digits = answer.decode().strip("\0 \n").partition(" ")
        if kind == "adler32" and digits:
            return f"{int(digits.split()[0], 16):08x}"
    return None


def copy(url: str, path: Path) -> None:
    """Copy a file to a path, over what is there; whether it came whole is not checked.

    Raises
    ------
    Unreachable
        If the server does not answer.
    DataError
        If it has no such file, or the copy ended early.
    """
    process = client.CopyProcess()
    process.add_job(url, str(path), force=True)
    status = process.prepare()
    if status.ok:
        status, _ = process.run()
    if not status.ok:
        raise _failure(url, "it cannot be copied", status)
