"""Records of the CERN Open Data portal, and the files that they list, in a folder on disk."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from treasure.errors import DataError
from treasure.fileset.portal import Missing, check_bytes, record_number

__all__ = ["RecordFolder"]

_INDEX = "_file_index.json"


class RecordFolder:
    """The same questions as to `treasure.fileset.portal.Portal`, answered from files.

    Parameters
    ----------
    folder
        Looked through with its sub-folders: ``*.json`` that hold a record, a list of records, or an
        answer of the portal's API; other files are found by their base name.

    Raises
    ------
    DataError
        If there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; check source.folder")
        self.folder = folder
        self._unreadable: list[Path] = []

    def record(self, number: int, *, anew: bool = False) -> dict[str, Any]:
        """Metadata of a record; `anew` makes no difference."""
        for metadata in self._records:
            if record_number(metadata["recid"]) == number:
                return metadata
        raise self._missing(f"no record {number}")

    def record_by_doi(self, doi: str) -> dict[str, Any]:
        """Metadata of the record with a DOI."""
        for metadata in self._records:
            if str(metadata.get("doi", "")).lower() == doi.lower():
                return metadata
        raise self._missing(f"no record with the DOI {doi}")

    def file(self, uri: str, size: int | None, adler32: int | None) -> Path:
        """A file of a record, by the base name of its URI, with the right size and checksum."""
        name = uri.rsplit("/", 1)[-1]
        reason = ""
        for path in sorted(self.folder.rglob(name)):
            wrong = check_bytes(path.read_bytes(), size, adler32)
            if wrong is None:
                return path
            reason = reason or f"{path}: {wrong}; download it again"
        if reason:
            raise DataError(reason)
        raise Missing(
            f"{name}: not in {self.folder}; download it ({uri}), or leave source.folder out to ask"
            " the portal"
        )

    def by_checksum(self, adler32: int) -> Path | None:
        """A text or JSON file with an Adler-32, whatever its name; None if there is none."""
        for path in sorted(p for p in self.folder.rglob("*") if p.suffix in (".txt", ".json")):
            if check_bytes(path.read_bytes(), None, adler32) is None:
                return path
        return None

    @cached_property
    def _records(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for path in sorted(self.folder.rglob("*.json")):
            if path.name.endswith(_INDEX):
                continue
            try:
                found += _records_in(json.loads(path.read_bytes()))
            except (ValueError, OSError):
                self._unreadable.append(path)
        return found

    def _missing(self, what: str) -> Missing:
        numbers = sorted({record_number(metadata["recid"]) for metadata in self._records})
        held = f"it holds {', '.join(map(str, numbers))}" if numbers else "it holds no record"
        if self._unreadable:
            held += f"; not valid JSON: {', '.join(path.name for path in self._unreadable)}"
        return Missing(
            f"{self.folder}: {what} ({held}); save it there from the portal, or leave"
            " source.folder out"
        )


def _records_in(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, list):
        return [record for item in content for record in _records_in(item)]
    if not isinstance(content, dict):
        return []
    if isinstance(content.get("metadata"), dict):
        return _records_in(content["metadata"])
    if isinstance(content.get("hits"), dict):
        return _records_in(content["hits"].get("hits"))
    try:
        record_number(content.get("recid"))
    except DataError:  # some other JSON
        return []
    return [content]
