"""A destination of one's own: every file system that fsspec knows, by URL.

``memory://``, ``file://`` and, with the package that fsspec asks for, ``s3://``, ``gs://``,
``webdav://``, ``root://``, … Named in a configuration (see own_classes.yaml)::

    destination:
      kind: examples.own_destination:UrlPlace
      path: s3://my-bucket/{name}/{version}
      options: {anon: false}            # handed to the file system
"""

import tempfile
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from treasure.config.release import Destination
from treasure.errors import DataError
from treasure.release.destinations import Place
from treasure.store import Checksums, checksums

__all__ = ["UrlPlace"]

_TEMPORARY = ".part"


class UrlPlace(Place):
    """A folder of a file system; one publication at a time may write to it.

    That every file is verified, the manifest comes last and another release is never touched is
    done by `treasure.release.destinations.publish`, the same for all kinds. A kind says how the
    files of one place are listed, read and created.
    """

    def __init__(self, destination: Destination, path: str, base: Path) -> None:
        # `path` has its placeholders filled in; `base` is for kinds whose paths may be relative.
        self.url = path.rstrip("/")
        self.files, self.root = fsspec.core.url_to_fs(self.url, **destination.options)
        self.root = self.root.rstrip("/")

    @property
    def location(self) -> str:
        """Where users find the release."""
        return self.root if isinstance(self.files, LocalFileSystem) else self.url

    def names(self) -> list[str]:
        self.files.invalidate_cache()  # what others wrote meanwhile counts
        if not self.files.exists(self.root):
            return []
        found = [path.removeprefix(f"{self.root}/") for path in self.files.find(self.root)]
        return sorted(name for name in found if not name.endswith(_TEMPORARY))

    def read(self, name: str) -> bytes | None:
        try:
            return bytes(self.files.cat_file(f"{self.root}/{name}"))
        except FileNotFoundError:
            return None

    def checksums(self, name: str) -> Checksums | None:
        # Of the bytes that come back: what the other side says of itself proves less.
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "copy"
            try:
                self.files.get_file(f"{self.root}/{name}", str(copy))
            except FileNotFoundError:
                return None
            return checksums(copy)

    def put(self, source: Path, name: str, expected: Checksums) -> None:
        final = f"{self.root}/{name}"
        if self.files.exists(final):
            raise FileExistsError(final)
        self.files.makedirs(final.rpartition("/")[0], exist_ok=True)
        self.files.put_file(str(source), final + _TEMPORARY)
        if self.checksums(name + _TEMPORARY) != expected:
            self.files.rm_file(final + _TEMPORARY)
            raise DataError(f"{self.url}/{name}: the bytes that arrived are not those of {source}")
        self.files.mv(final + _TEMPORARY, final)
