"""Destination kind `local`: a directory of this machine or of a mounted file system."""

import errno
import os
import shutil
from pathlib import Path

from treasure.config.release import Destination
from treasure.errors import DataError
from treasure.release.destinations import Place
from treasure.store import Checksums, atomic_file, checksums, discard_leftovers

__all__ = ["LocalPlace"]

# What file systems without hard links answer.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalPlace(Place, kind="local"):
    """A directory. One publication at a time may write to it."""

    def __init__(self, destination: Destination, path: str, base: Path) -> None:
        self.directory = (base / Path(path).expanduser()).resolve()
        if self.directory.exists() and not self.directory.is_dir():
            raise DataError(f"{self.directory}: is a file; expected a directory or nothing")
        discard_leftovers(self.directory)

    @property
    def location(self) -> str:
        """Absolute path of the directory."""
        return str(self.directory)

    def names(self) -> list[str]:
        """Paths of the files there, relative to the directory."""
        return sorted(
            path.relative_to(self.directory).as_posix()
            for path in self.directory.rglob("*")
            if not path.is_dir()
        )

    def read(self, name: str) -> bytes | None:
        """Content of a file; None if there is no such file."""
        path = self.directory / name
        return path.read_bytes() if path.is_file() else None

    def checksums(self, name: str) -> Checksums | None:
        """Checksums of a file, from the disk; None if there is no such file."""
        path = self.directory / name
        if not path.is_file():
            return None
        _forget_cache(path)
        return checksums(path)

    def put(self, source: Path, name: str, expected: Checksums) -> None:
        """Create a file from a copy that was read again and found right."""
        final = self.directory / name
        with atomic_file(final) as temporary:
            shutil.copyfile(source, temporary)
            _forget_cache(temporary)
            if checksums(temporary) != expected:
                raise _damage(source, final, expected)
            # A link is never made over an existing file. The rename that follows then finds both
            # names on the same file and does nothing (POSIX).
            try:
                os.link(temporary, final)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if final.exists():
                    raise FileExistsError(errno.EEXIST, "exists", str(final)) from None


def _damage(source: Path, final: Path, expected: Checksums) -> DataError:
    if checksums(source) != expected:
        return DataError(
            f"{source}: differs from the manifest of its release; it was damaged or changed, "
            "build the release again"
        )
    return DataError(f"{final}: the bytes written there are not those of {source}; check the disk")


def _forget_cache(path: Path) -> None:
    """Have the next read come from the disk, where the system can do that."""
    if not hasattr(os, "posix_fadvise"):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
