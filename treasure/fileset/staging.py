"""Staging: a remote file is copied to a scratch directory, verified, read, and removed.

Each copy lies in a directory of its own, which is locked as long as its process lives. What a
killed process left is not locked any more: the next one that stages on the same host removes it.
"""

import errno
import fcntl
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from treasure.errors import DataError
from treasure.fileset.model import FilesetFile, is_url
from treasure.fileset.remote import copy

__all__ = ["scratch_directory", "scratch_folder", "staged"]

_ATTEMPTS = 2  # copies of a file that arrives otherwise than it left
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def scratch_directory() -> Path:
    """Where this user's staged files lie on this host: made if need be, for this user alone.

    Below ``$TREASURE_SCRATCH``, else ``$TMPDIR``, else ``/tmp``.

    Raises
    ------
    DataError
        If it cannot be made, or belongs to somebody else.
    """
    base = os.environ.get("TREASURE_SCRATCH") or os.environ.get("TMPDIR") or "/tmp"
    directory = Path(base).absolute() / f"treasure-{os.getuid()}-{socket.gethostname()}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = directory.lstat().st_uid
    except OSError as error:
        raise _unusable(directory, error.strerror or str(error)) from error
    if owner != os.getuid() or directory.is_symlink():
        raise _unusable(directory, f"it belongs to user {owner}")
    return directory


@contextmanager
def staged(file: FilesetFile) -> Iterator[str]:
    """A path at which a file of a fileset can be read; a copy on scratch, if it is remote.

    The copy is removed at the end, also after an error.

    Raises
    ------
    Unreachable
        If the server does not answer.
    DataError
        If scratch has no room, or the copy is not what the fileset says: size and adler32.
    """
    if not is_url(file.location):
        yield file.location
        return
    with scratch_folder() as directory:
        path = directory / "file.root"
        _fetch(file, path)
        yield str(path)


def _fetch(file: FilesetFile, path: Path) -> None:
    from treasure.fileset.inspection import adler32_of, same_checksum

    free = shutil.disk_usage(path.parent).free
    if free < file.size:
        raise _no_room(file, path, free)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            copy(file.location, path)
        except (OSError, DataError) as error:
            free = shutil.disk_usage(path.parent).free
            # The XRootD client gives no error number.
            if getattr(error, "errno", None) in _NO_ROOM or free < file.size - _size(path):
                raise _no_room(file, path, free) from error
            raise
        size = _size(path)
        found = f"adler32:{adler32_of(path)}"
        whole = size == file.size and (file.checksum is None or same_checksum(found, file.checksum))
        if whole:
            return
        if attempt == _ATTEMPTS:
            raise DataError(
                f"{file.location}: the copy has {size} bytes and {found}, the fileset says"
                f" {file.size} and {file.checksum}; if the file changed, make the fileset again"
                " with CreateFileset; if a catalogue says a wrong checksum, leave the file out or"
                " correct the catalogue"
            )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _no_room(file: FilesetFile, path: Path, free: int) -> DataError:
    return DataError(
        f"{file.location}: {file.size} bytes cannot be staged, {path.parent.parent} has {free}"
        " left; make room there, set TREASURE_SCRATCH to a larger place, or source.stage to false"
    )


def _unusable(directory: Path, reason: str) -> DataError:
    return DataError(
        f"{directory}: cannot be used to stage files ({reason}); set TREASURE_SCRATCH to a"
        " directory of your own"
    )


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new directory on scratch, which is removed at the end, as is what killed processes left.

    Raises
    ------
    DataError
        If scratch cannot be used.
    """
    while True:
        scratch = scratch_directory()
        directory = scratch / uuid.uuid4().hex
        try:
            _remove_leftovers(scratch)  # first: there may be no room for more
            directory.mkdir(mode=0o700)
            handle = os.open(directory, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another process left scratch empty, or took this for a leftover
        except OSError as error:
            raise _unusable(scratch, error.strerror or str(error)) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            os.close(handle)
            shutil.rmtree(directory, ignore_errors=True)
            raise _unusable(scratch, f"no locks there: {error.strerror}") from error
        if directory.exists():
            break
        os.close(handle)  # another process took it for a leftover before it was locked
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(handle)
        with suppress(OSError):  # others stage files there
            scratch.rmdir()


def _remove_leftovers(scratch: Path) -> None:
    """Remove directories that no living process holds."""
    for directory in scratch.iterdir():
        try:
            handle = os.open(directory, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:
            continue  # gone, or none of ours
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        except OSError:
            pass  # in use
        finally:
            os.close(handle)
