"""How `uproot.open` reads a path or URL."""

from typing import Any

import uproot
from uproot.source.fsspec import FSSpecSource

from treasure.fileset.model import is_url
from treasure.fileset.remote import is_xrootd

__all__ = ["open_options"]


class _FsspecSource(FSSpecSource):
    """Uproot's own, without coffea's ``timeout``, which only some file systems understand."""

    def __init__(self, file_path: str, **options: Any) -> None:
        options.pop("timeout", None)
        super().__init__(file_path, **options)


def open_options(location: str) -> dict[str, Any]:
    """Options of `uproot.open` for a path or URL, to be given as ``{location: None}``.

    A path is opened as it is written: fsspec would take a ``::`` in it for two URLs.
    """
    if not is_url(location):
        return {"handler": uproot.source.file.MultithreadedFileSource}
    if is_xrootd(location) or location.startswith("http"):
        return {}
    return {"handler": _FsspecSource}
