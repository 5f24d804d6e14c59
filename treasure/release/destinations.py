"""Publishing a release: one interface for every kind of place, verified there, manifest last.

A kind is one class, derived from `Place`, with `location`, `names`, `read`, `checksums` and `put`.
One of your own is named in the configuration as ``module:Class``. What publishing guarantees is
done here, once for all kinds.
"""

import hashlib
import os
import string
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from treasure.config.release import Destination
from treasure.errors import ConfigError, DataError
from treasure.plugins import Plugin, lookup
from treasure.release.layout import CHECKSUMS, check_name
from treasure.release.manifest import Manifest
from treasure.store import MANIFEST, Checksums, checksums

__all__ = ["Place", "publish"]


class Place(ABC, Plugin, family=True):
    """A directory somewhere, in which a release is published.

    Parameters
    ----------
    destination
        The section of the configuration.
    path
        Its path with the placeholders filled in.
    base
        Directory to which a relative local path refers.
    """

    @abstractmethod
    def __init__(self, destination: Destination, path: str, base: Path) -> None: ...

    @property
    @abstractmethod
    def location(self) -> str:
        """Where users find the release: a path or URL."""

    @abstractmethod
    def names(self) -> list[str]:
        """Paths of the files there, relative to the place, temporary ones left out."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Content of a small file; None if there is no such file."""

    @abstractmethod
    def checksums(self, name: str) -> Checksums | None:
        """Checksums of the bytes at the destination, read again; None if there is no such file."""

    @abstractmethod
    def put(self, source: Path, name: str, expected: Checksums) -> None:
        """Create a file: whole, verified, or not at all.

        The bytes are written under another name, read again and compared with `expected`, and only
        then get their name. An existing file is never replaced.

        Raises
        ------
        FileExistsError
            If there is a file of this name.
        DataError
            If the bytes that arrived are not the expected ones.
        """


def publish(
    directory: Path,
    destination: Destination,
    *,
    base: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Publish a release: every file verified at the destination, the manifest last.

    What an interrupted publication left is completed; the same release already there is verified
    and accepted; anything else there is left untouched and refused.

    Parameters
    ----------
    directory
        A complete release.
    destination
        Kind and path of the place.
    base
        Directory to which a relative local path refers; None: the working directory.
    progress
        Called with (bytes done, bytes in all).

    Returns
    -------
    Receipt: `kind`, `location`, `name`, `version`, `manifest_sha256`, `files`, `bytes`, and how
    many files were `written` now or `found` there, intact, from before.

    Raises
    ------
    DataError
        If a file of the release is damaged here or there, or the place holds another release.
    ConfigError
        For an unknown kind or placeholder.
    """
    directory = Path(directory)
    manifest = Manifest.load(directory)
    manifest_bytes = (directory / MANIFEST).read_bytes()
    place = _open(destination, manifest, manifest_bytes, Path.cwd() if base is None else base)
    _refuse_other_release(place, manifest, manifest_bytes)

    total = sum(file.size for file in manifest.files.values())
    count = {"written": 0, "found": 0}
    done = 0
    for name, file in _in_order(manifest):
        expected = Checksums(size=file.size, sha256=file.sha256, adler32=file.adler32)
        count[_put_once(place, directory / name, name, expected)] += 1
        done += file.size
        if progress:
            progress(done, total)
    count[_put_once(place, directory / MANIFEST, MANIFEST, checksums(directory / MANIFEST))] += 1
    return {
        "kind": destination.kind,
        "location": place.location,
        "name": manifest.name,
        "version": manifest.version,
        "manifest_sha256": hashlib.sha256(manifest_bytes).hexdigest(),
        "files": len(manifest.files) + 1,
        "bytes": total + len(manifest_bytes),
        **count,
    }


def _open(destination: Destination, manifest: Manifest, content: bytes, base: Path) -> Place:
    import treasure.release.local  # noqa: F401  (it joins the family)

    place = lookup(Place, destination.kind)  # type: ignore[type-abstract]
    values = {
        "name": check_name(manifest.name, "name of the release"),
        "version": check_name(manifest.version, "version of the release"),
        "fingerprint": hashlib.sha256(content).hexdigest()[:10],
    }
    for _, field, _, _ in string.Formatter().parse(destination.path):
        if field is not None and field not in values:
            raise ConfigError(
                f"destination.path: {{{field}}} in {destination.path!r} is not known; there are "
                f"{', '.join(f'{{{key}}}' for key in values)}"
            )
    path = os.path.expandvars(destination.path.format(**values))
    if "$" in path:
        raise ConfigError(f"destination.path: {path!r} names an environment variable not set")
    return place(destination, path, base)


def _refuse_other_release(place: Place, manifest: Manifest, content: bytes) -> None:
    there = place.read(MANIFEST)
    if there is not None and there != content:
        raise DataError(
            f"{place.location}: another release is published there (its {MANIFEST} differs); "
            "published releases are never changed: choose another version or path"
        )
    if strangers := sorted(set(place.names()) - {*manifest.files, MANIFEST}):
        raise DataError(
            f"{place.location}: {strangers[0]} is there and not of this release "
            f"({len(strangers)} such); choose another version or path, or empty this one"
        )


def _in_order(manifest: Manifest) -> list[tuple[str, Any]]:
    """Files with the table of checksums at the end, so that it, too, says that all is there."""
    return sorted(manifest.files.items(), key=lambda item: (item[0] == CHECKSUMS, item[0]))


def _put_once(place: Place, source: Path, name: str, expected: Checksums) -> str:
    """Put a file, or accept an identical one: `written` or `found`."""
    found = place.checksums(name)
    if found is None:
        if not source.is_file():
            raise DataError(f"{source}: listed in {MANIFEST}, but missing; build the release again")
        try:
            place.put(source, name, expected)
            return "written"
        except FileExistsError:  # another publication of this release was faster
            found = place.checksums(name)
        except OSError as error:
            raise DataError(
                f"{place.location}: cannot write {name} ({error.strerror or error}); publishing "
                "again goes on here"
            ) from None
    if found != expected:
        raise DataError(
            f"{place.location}: {name} is there with other bytes (sha256 "
            f"{found['sha256'] if found else 'unreadable'}, expected {expected['sha256']}): it was "
            "damaged, or is of another release; remove it and publish again, or choose another "
            "version or path"
        )
    return "found"
