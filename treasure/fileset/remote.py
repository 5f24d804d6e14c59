"""Files on servers: names, sizes, checksums and copies, for every scheme that can be read.

``root://`` goes through the XRootD client (`treasure.fileset.xrootd`), everything else through
fsspec, whose options (endpoints, keys, headers) come from its own configuration: files in
``~/.config/fsspec`` and the environment, such as ``FSSPEC_S3_ENDPOINT_URL``.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from treasure.errors import DataError

__all__ = [
    "RemoteFile",
    "Unreachable",
    "copy",
    "expand",
    "forget_open",
    "is_xrootd",
    "may_pass",
    "patiently",
    "remote_file",
    "server_of",
]

XROOTD = ("root", "xroot", "roots", "xroots")
_PAUSES = (1.0, 4.0)  # seconds before the second and the third attempt
_BLOCK = 1 << 24  # bytes asked for at once while a file is copied: one request each
# Packages of fsspec's schemes that are an extra of this project.
_EXTRAS = {"s3": "s3", "s3a": "s3"}
# Answers that another attempt may change: no connection, time-outs, and a server in trouble.
_TRANSIENT = (ConnectionError, TimeoutError)
_TRANSIENT_NAMES = {
    "ClientConnectionError", "ClientPayloadError", "FSTimeoutError",  # aiohttp, fsspec
    "HTTPClientError", "IncompleteReadError",  # botocore
}  # fmt: skip
_TRANSIENT_STATUS = {408, 425, 429, 500, 502, 503, 504}
_REFUSED_STATUS = {401, 403}
# Where fsspec's file systems say when a file changed: HTTP, S3, Hugging Face, and others.
_MODIFIED = ("Last-Modified", "LastModified", "blob_id", "mtime", "modified")
# The XRootD client, in the words of its status codes 101 to 109, 206 and 207: fsspec-xrootd raises
# an OSError without number.
_XROOTD_TRANSIENT = re.compile(
    r"\[(FATAL|ERROR)\] (Connection error|Socket (error|timeout|disconnected)|Poller error"
    r"|Stream disconnect|Invalid session|Operation (expired|interrupted))"
)

T = TypeVar("T")


class Unreachable(DataError):
    """A server does not answer, or answers that it cannot serve now."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What a server says of a file.

    Attributes
    ----------
    size
        Bytes.
    adler32
        8 hexadecimal digits, or None.
    etag
        What changes with the content (a strong entity tag of HTTP or S3), or None.
    modified
        When it changed last, in the server's words, or None.
    """

    size: int
    adler32: str | None
    etag: str | None = None
    modified: str | None = None


def is_xrootd(url: str) -> bool:
    """Whether a URL is one of an XRootD server."""
    return url.split("://", 1)[0] in XROOTD


def server_of(url: str) -> str:
    """Scheme, host and port of a URL; of ``s3://`` the scheme alone: all buckets have one server.

    Examples
    --------
    >>> server_of("root://eos.example:1094//store/a.root")
    'root://eos.example:1094'
    """
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}" if is_xrootd(url) or "http" in scheme else scheme


def remote_file(url: str, *, in_parts: bool = True) -> RemoteFile:
    """Size of a file, and its adler32 where the server knows it.

    Parameters
    ----------
    url
        The file.
    in_parts
        Whether it will be read in parts, which not every web server gives.

    Raises
    ------
    Unreachable
        If the server does not answer.
    DataError
        If it has no such file, refuses it, or cannot give parts of it.
    """
    if is_xrootd(url):
        from treasure.fileset import near, xrootd

        return xrootd.remote_file(near.located(url))
    filesystem, path = _filesystem(url)
    filesystem.invalidate_cache()  # what is told is what is there now
    info = patiently(lambda: filesystem.info(path), url)
    if info.get("type") == "directory":
        raise DataError(f"{url}: a directory; a file was expected")
    if info.get("size") is None:
        raise DataError(
            f"{url}: the server does not tell its size; copy the file to a disk, and give its path"
        )
    size = int(info["size"])
    if in_parts and url.startswith("http") and not _has_ranges(filesystem, path, size, url):
        raise DataError(
            f"{url}: the server gives no parts of files (HTTP ranges); copy the file to a disk, and"
            " give its path"
        )
    tag = str(info.get("ETag") or "")
    modified = next((info[key] for key in _MODIFIED if info.get(key)), None)
    return RemoteFile(
        size,
        None,
        None if tag[:2] in ("", "W/") else tag,
        None if modified is None else str(modified),
    )


def expand(url: str) -> list[str]:
    """Files that a URL stands for: itself, a glob, or all ``*.root`` of a directory.

    ``http(s)://`` has neither globs nor directories.

    Returns
    -------
    URLs, sorted; empty if nothing matches.

    Raises
    ------
    Unreachable
        If the server does not answer.
    DataError
        If the file or directory does not exist, or the scheme cannot be read.
    """
    if is_xrootd(url):
        from treasure.fileset import xrootd

        return xrootd.expand(url)
    filesystem, path = _filesystem(url)
    if url.startswith("http"):
        if "*" in url or url.endswith("/"):
            raise DataError(
                f"{url}: a web server has no globs or directories; list its files one by one,"
                " in source.files or in a .txt list"
            )
        return [url]
    if any(character in path for character in "*?["):
        found = patiently(lambda: filesystem.glob(path, detail=True), url)
        names = [
            name
            for name, info in found.items()
            if info.get("type") != "directory" and ("/." not in name or "/." in path)
        ]
        return sorted(filesystem.unstrip_protocol(name) for name in names)
    if path.endswith(".root"):
        return [url]
    if patiently(lambda: filesystem.info(path), url).get("type") != "directory":
        return [url]
    names = [
        name
        for name in patiently(lambda: filesystem.find(path), url)
        if name.endswith(".root") and "/." not in name.removeprefix(path)
    ]
    return sorted(filesystem.unstrip_protocol(name) for name in names)


def copy(url: str, path: Path) -> None:
    """Copy a remote file to a path, over what is there; whether it came whole is not checked.

    Raises
    ------
    Unreachable
        If the server does not answer.
    DataError
        If it has no such file, or refuses it.
    OSError
        If the path cannot be written.
    """
    if is_xrootd(url):
        from treasure.fileset import near, xrootd

        xrootd.copy(near.located(url), path)
        return
    filesystem, name = _filesystem(url)
    size = remote_file(url, in_parts=False).size
    if url.startswith("http") and not _has_ranges(filesystem, name, size, url):
        patiently(lambda: filesystem.get_file(name, str(path)), url)
        return
    with open(path, "wb") as file:
        # By blocks, so that an interrupted connection costs one of them, and none is in memory
        # but that one.
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            block = patiently(partial(filesystem.cat_file, name, start=start, end=stop), url)
            file.write(block)


def patiently(action: Callable[[], T], url: str) -> T:
    """Do something with a server, again where the reason of a failure may pass.

    Raises
    ------
    Unreachable, DataError
        With the URL, what the server said, and what to do.
    """
    for pause in (*_PAUSES, None):
        try:
            return action()
        except Exception as error:
            forget_open(url)
            if pause is None or not may_pass(error):
                raise _explained(url, error) from error
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def forget_open(url: str) -> None:
    """Give up what fsspec keeps open of an XRootD file: once its server failed, it is of no use."""
    if is_xrootd(url):
        with suppress(Exception):  # it cannot be closed in good order
            filesystem, path = _filesystem(url)
            filesystem.invalidate_cache(path)


def may_pass(error: BaseException) -> bool:
    """Whether a failure, or what caused it, is one that another attempt may not meet again."""
    return any(_is_transient(cause) for cause in _causes(error))


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, Unreachable):
        return False  # it was tried again already
    names = {kind.__name__ for kind in type(error).__mro__}
    return (
        isinstance(error, _TRANSIENT)
        or bool(names & _TRANSIENT_NAMES)
        or getattr(error, "status", None) in _TRANSIENT_STATUS
        or (isinstance(error, OSError) and _XROOTD_TRANSIENT.search(str(error)) is not None)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and what it was raised from, outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _explained(url: str, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    causes = list(_causes(error))
    # fsspec says "not found" of a web server that it cannot ask.
    said = next((cause for cause in reversed(causes) if str(cause)), error)
    text = " ".join(f"{type(said).__name__}: {said}".split())[:200]
    if may_pass(error):
        return Unreachable(
            f"{url}: the server does not answer ({text}); check the address and the network, or try"
            " later"
        )
    if isinstance(error, PermissionError) or any(
        getattr(cause, "status", None) in _REFUSED_STATUS or "Credentials" in type(cause).__name__
        for cause in causes
    ):
        return DataError(
            f"{url}: the server refuses it ({text}); check your credentials, which fsspec takes"
            f" from FSSPEC_{url.split('://')[0].upper()}_… or its configuration files"
        )
    if isinstance(error, FileNotFoundError):
        return DataError(f"{url}: the server has no such file or directory; check the name")
    return DataError(f"{url}: cannot be read ({text}); check the name and the server")


def _filesystem(url: str) -> tuple[Any, str]:
    """Fsspec's file system of a URL, and what the file is called there."""
    import fsspec

    scheme = url.split("://", 1)[0]
    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        package = f'"treasure-workflow[{_EXTRAS[scheme]}]"' if scheme in _EXTRAS else ""
        remedy = f"pip install {package}" if package else str(error)
        raise DataError(
            f"{url}: {scheme}:// needs a package that is not installed; {remedy}"
        ) from None
    except ValueError as error:
        raise DataError(
            f"{url}: {scheme}:// cannot be read ({error}); a path, root://, https://, s3:// or"
            " another scheme of fsspec was expected"
        ) from None


def _has_ranges(filesystem: Any, path: str, size: int, url: str) -> bool:
    """Whether a web server gives parts of a file, and not only the whole."""

    def probe() -> int:
        try:
            with filesystem.open(path, "rb", block_size=4, cache_type="none", size=size) as file:
                file.seek(4)
                return len(file.read(4))
        except ValueError:  # fsspec got the whole file, or the server said that it would
            return 0

    return size <= 8 or patiently(probe, url) == 4
