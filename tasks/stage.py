"""The directory of a stage: complete with its manifest, worked in by one process at a time."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import law

from tasks.messages import say
from tasks.progress import Progress
from treasure import store
from treasure.errors import DataError

__all__ = ["DoneByAnother", "Stage", "StageTarget", "alone_in"]

# Answers of file systems without locks, such as Lustre and NFS as they are mounted in places.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class StageTarget(law.LocalDirectoryTarget):
    """The directory of a stage: it exists when its manifest does, and is removed manifest first."""

    def exists(self, **kwargs: Any) -> bool:
        return os.path.isfile(os.path.join(self.path, store.MANIFEST))

    def complete(self, **kwargs: Any) -> bool:
        return self.exists()

    def remove(self, silent: bool = True, **kwargs: Any) -> bool:
        directory = Path(self.path)
        if not directory.is_dir():
            return False
        (directory / store.MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(directory)
        return True

    @property
    def directory(self) -> Path:
        return Path(self.path)

    @property
    def manifest(self) -> dict[str, Any]:
        return store.read_manifest(self.path)

    def verified(self, *names: str) -> Path:
        """The directory, after its files, or those named, were compared with the manifest."""
        try:
            store.verify(self.path, *names)
        except DataError as error:
            remedy = "" if "Remove" in str(error) else f". Remove {self.path} and run again"
            raise DataError(f"{error}{remedy}") from None
        return self.directory


class Stage:
    """What a stage works with while it runs.

    Attributes
    ----------
    directory
        Where its files go.
    summary
        Counts for the manifest and the summary line; set by the stage.
    progress
        Callback ``progress(done, total)``.
    """

    def __init__(self, directory: Path, progress: Progress) -> None:
        self.directory = directory
        self.summary: dict[str, Any] = {}
        self.progress = progress


class DoneByAnother(Exception):
    """Before this process had the lock, another one completed the stage."""


@contextmanager
def alone_in(directory: Path, label: str) -> Iterator[None]:
    """Hold the directory's lock, which the system takes back when the process dies.

    Raises
    ------
    DoneByAnother
        If the directory is complete by the time that the lock is held.
    """
    handle = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{label}: another process is writing {directory}; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            # Still no file is partial, and all who write it write the same bytes; but one may
            # remove what the other is writing, which then fails.
            say(
                f"{label}: no locks on this file system ({error.strerror}); start no second run of"
                " this stage meanwhile (Lustre has locks when mounted with -o flock)"
            )
        if (directory / store.MANIFEST).is_file():
            raise DoneByAnother
        yield
    finally:
        os.close(handle)
