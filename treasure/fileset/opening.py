"""How `uproot.open` reads a path or URL."""

import os
import threading
from pathlib import Path
from typing import Any

import uproot
from uproot.source.file import MultithreadedFileSource
from uproot.source.fsspec import FSSpecSource

from treasure.fileset.model import is_url

__all__ = ["close_kept", "open_options", "options_for_chunks"]


class _FsspecSource(FSSpecSource):
    """Uproot's own, without coffea's ``timeout``, which only some file systems understand.

    Without options, it is also the file system that `treasure.fileset.remote` uses.
    """

    def __init__(self, file_path: str, **options: Any) -> None:
        options.pop("timeout", None)
        super().__init__(file_path, **options)


class _KeptSource(MultithreadedFileSource):
    """A file that stays open until its thread opens another one.

    Coffea opens a file anew for each chunk, and what uproot knows of a tree, which takes a second
    to read where it has thousands of branches, is of use for as long as the file is open.
    """

    def __new__(cls, file_path: str, **_: Any) -> "_KeptSource":
        kept: _KeptSource | None = getattr(_kept, "source", None)
        if kept is not None and kept.identity == _identity(file_path):
            return kept
        close_kept()
        return super().__new__(cls)

    def __init__(self, file_path: str, **options: Any) -> None:
        if getattr(_kept, "source", None) is not self:
            self.identity = _identity(file_path)
            super().__init__(file_path, **options)
            _kept.source = self

    def __exit__(self, *_: Any) -> None:
        pass

    def let_go(self) -> None:
        """Close it."""
        super().__exit__(None, None, None)


_kept = threading.local()


def close_kept() -> None:
    """Close the file that `options_for_chunks` kept open in this thread."""
    kept: _KeptSource | None = _kept.__dict__.pop("source", None)
    if kept is not None:
        kept.let_go()


def _identity(path: str) -> tuple[str | int, ...]:
    """What is another when a file was replaced or written to, and in a process that was forked."""
    status = Path(path).stat()
    of_file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return path, *of_file, os.getpid()


def options_for_chunks(location: str) -> dict[str, Any]:
    """Options of `uproot.open` for a file that is opened for one chunk after the other.

    Arrays are not kept: no chunk is read twice.
    """
    options = {**open_options(location), "array_cache": None}
    if not is_url(location):
        if not hasattr(_kept, "objects"):
            _kept.objects = uproot.cache.LRUCache(2)
        options |= {"handler": _KeptSource, "object_cache": _kept.objects}
    return options


def open_options(location: str) -> dict[str, Any]:
    """Options of `uproot.open` for a path or URL, to be given as ``{location: None}``.

    A path is opened as it is written: fsspec would take a ``::`` in it for two URLs.
    """
    if not is_url(location):
        return {"handler": MultithreadedFileSource}
    if location.startswith("http"):
        return {}
    return {"handler": _FsspecSource}
