"""What earlier inspections found in files, so that a file that did not change is not read again.

One small file for all, ``inspections.json`` under ``$TREASURE_CACHE`` (else ``~/.cache/treasure``).
A local file is known by its place, size, inode and times of change, which nobody can set back; a
remote one by its URL, size, and the checksum or entity tag that its server tells. A damaged file is
ignored and written again; of processes that write at the same time, one wins, and the files of the
others are inspected once more. Remove it to inspect all files anew.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from treasure.errors import DataError
from treasure.fileset.portal import cache_directory
from treasure.store import fingerprint, read_json, write_json

__all__ = ["Inspected", "KnownFiles", "local_state"]

_NAME = "inspections.json"
_SCHEMA = 1
_MOST = 100_000  # files remembered; beyond, the oldest are forgotten
# A file can change again within the resolution of its times, unnoticed.
_SETTLED = 2.0  # seconds

State = Sequence[int | str]


class Inspected(NamedTuple):
    """What is in a file: entries of a tree, ROOT's UUID, and ``adler32:…`` where it is known."""

    entries: int
    uuid: str
    checksum: str | None


def local_state(found: os.stat_result) -> State:
    """What changes whenever the content of a local file does."""
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


class KnownFiles:
    """The inspections of earlier runs, and those to be added to them.

    Parameters
    ----------
    directory
        Of the cache; None: where the answers of the portal are, too.
    settled
        Seconds for which a local file must not have changed to be remembered.
    """

    def __init__(self, directory: Path | None = None, settled: float = _SETTLED) -> None:
        self.path = (directory or cache_directory()) / _NAME
        self._settled = settled
        self._known = self._read()
        self._new: dict[str, Any] = {}

    def find(self, location: str, tree: str, state: State) -> Inspected | None:
        """What an inspection of this very file found; None if there was none."""
        known = self._known.get(_key(location, tree))
        return Inspected(*known[1]) if known is not None and known[0] == list(state) else None

    def add(self, location: str, tree: str, state: State, found: Inspected) -> None:
        """Remember an inspection."""
        self._new[_key(location, tree)] = [list(state), list(found)]

    def add_local(self, location: str, tree: str, before: os.stat_result, found: Inspected) -> None:
        """Remember that of a local file, unless the file changed a moment ago, or meanwhile."""
        try:
            after = Path(location).stat()
        except OSError:  # gone: nothing to remember
            return
        changed = max(before.st_mtime, before.st_ctime)
        if local_state(after) == local_state(before) and changed + self._settled <= time.time():
            self.add(location, tree, local_state(before), found)

    def save(self) -> None:
        """Add what is new to what other processes have written by now.

        A cache that cannot be written is none: the next run inspects the files again.
        """
        if not self._new:
            return
        known = {k: v for k, v in self._read().items() if k not in self._new} | self._new
        kept = dict(list(known.items())[-_MOST:])
        content = {"schema": _SCHEMA, "files": [[key, *value] for key, value in kept.items()]}
        try:
            write_json(self.path, {**content, "sha256": fingerprint(content)})
        except (DataError, OSError):
            return
        self._known, self._new = kept, {}

    def _read(self) -> dict[str, Any]:
        try:
            content = read_json(self.path)
            digest = content.pop("sha256")
            if content["schema"] != _SCHEMA or digest != fingerprint(content):
                return {}
            return {key: [state, found] for key, state, found in content["files"]}
        except (DataError, OSError, AttributeError, KeyError, TypeError, ValueError):
            return {}


def _key(location: str, tree: str) -> str:
    return f"{tree} {location}"
