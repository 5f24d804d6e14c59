"""Copies of remote token files in a local cache, verified when they arrive.

Below ``$TREASURE_CACHE/tokens`` (else ``~/.cache/treasure/tokens``) each URL has a folder, and in
it each version of the file one: of another size, checksum, entity tag or time of change. A copy
appears whole or not at all, and is made once, by however many processes. Remove the folder to have
everything copied again.
"""

import fcntl
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from treasure.errors import DataError
from treasure.fileset.portal import cache_directory
from treasure.fileset.remote import RemoteFile, Unreachable, copy, remote_file
from treasure.store import (
    Checksums,
    atomic_file,
    checksums,
    fingerprint,
    make_directory,
    read_json,
    write_json,
)
from treasure.tokens.table import TokenTable

__all__ = ["local_copy"]

_NOTE = "copy.json"
_ATTEMPTS = 2  # copies of a file that arrives otherwise than it left
_LOG = logging.getLogger(__name__)


def local_copy(url: str, cache: Path | None = None, sha256: str | None = None) -> Path:
    """Path of a verified copy of a remote file, made if there is none.

    It is compared with the SHA-256 that is expected, or the Adler-32 that the server tells. Where
    neither is known, every page of a parquet file is checked.

    Parameters
    ----------
    url
        The file.
    cache
        Folder of the copies; None: ``tokens`` in the folder of the cache.
    sha256
        What the file must have, if it is known, as of the files of a release. Then a copy that is
        there is used without asking the server.

    Raises
    ------
    Unreachable
        If the server does not answer, and there is no copy. A copy that was made before is used,
        with a warning.
    DataError
        If there is no such file, it arrives damaged, or the cache cannot be written.
    """
    folder = (cache or cache_directory() / "tokens") / hashlib.sha256(url.encode()).hexdigest()[:16]
    said: RemoteFile | None = None
    if sha256 is None:
        try:
            said = remote_file(url, in_parts=False)
        except Unreachable:
            if (found := _newest(folder)) is None:
                raise
            _LOG.warning("%s: the server does not answer; the copy %s is used", url, found)
            return found
    version = fingerprint(sha256 or [said.size, said.adler32, said.etag, said.modified])[:16]  # type: ignore[union-attr]
    path = folder / version / _name(url)
    if _is_good(path):  # also in a cache that others keep
        return path
    with _locked(folder):
        if not _is_good(path):
            _make(url, path, said, sha256)
    return path


def _make(url: str, path: Path, said: RemoteFile | None, sha256: str | None) -> None:
    with atomic_file(path) as temporary:
        for _ in range(_ATTEMPTS):
            copy(url, temporary)
            found = checksums(temporary)
            if not (wrong := _wrong(temporary, found, said, sha256)):
                break
        else:
            raise DataError(f"{url}: the copy is damaged: {wrong}; try again, or ask its owner")
    _LOG.info("%s: %d bytes copied to %s", url, found["size"], path)
    write_json(path.with_name(_NOTE), {"url": _public(url), **found, "time": _time(path)})


def _wrong(path: Path, found: Checksums, said: RemoteFile | None, sha256: str | None) -> str | None:
    """What is wrong with a copy, or None."""
    if sha256 is not None:
        return None if found["sha256"] == sha256 else f"sha256 {found['sha256']}, not {sha256}"
    assert said is not None
    if found["size"] != said.size:
        return f"{found['size']} bytes, not {said.size}"
    if said.adler32 is not None:
        same = found["adler32"] == said.adler32
        return None if same else f"adler32 {found['adler32']}, not {said.adler32}"
    if path.suffix == ".parquet":
        try:
            with TokenTable(path) as table:
                for _ in table.chunks():
                    pass
        except DataError as error:
            return str(error).removeprefix(f"{path}").lstrip(", :")
    return None


def _is_good(path: Path) -> bool:
    """Whether a copy is what arrived; it is hashed again where its time says that it changed."""
    note = path.with_name(_NOTE)
    if not path.is_file() or not note.is_file():
        return False
    try:
        known = read_json(note)
        if known["size"] != path.stat().st_size:
            return False
        return known["time"] == _time(path) or known["sha256"] == checksums(path)["sha256"]
    except (DataError, KeyError, TypeError):
        return False


def _newest(folder: Path) -> Path | None:
    """The last copy of any version."""
    copies = [
        path
        for path in folder.glob("*/*")
        if path.name != _NOTE and path.name[0] != "." and _is_good(path)
    ]
    return max(copies, key=_time, default=None)


def _time(path: Path) -> int:
    return path.stat().st_mtime_ns


def _name(url: str) -> str:
    """What the copy is called: as the file, without what is not portable."""
    last = urlsplit(url).path.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._+=@-]", "_", last).lstrip(".")[-120:] or "file"


def _public(url: str) -> str:
    """A URL without user, password and query, which may hold a key."""
    scheme, _, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    return f"{scheme}://{server.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time."""
    make_directory(folder)
    try:
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise DataError(
            f"{folder}: copies cannot be kept there ({error.strerror}); set TREASURE_CACHE to a"
            " folder of your own"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
