"""The fileset: which files a dataset has, and how to know them again.

The JSON is canonical (sorted keys, sorted files) and the same on every machine: a file that lies in
the same store is named relative to the folder of the JSON, so that a store can be moved.
Importing this module loads nothing heavy: branch maps read filesets.
"""

import os
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from treasure.errors import DataError
from treasure.store import read_json, write_json

__all__ = ["RUN_ONLY", "BadFile", "Fileset", "FilesetFile", "is_url"]

SCHEMA_VERSION = 2

# Options of sources that say how files are found and read, and change no byte of what is made.
RUN_ONLY = ("folder", "offline", "portal", "stage", "verify")


def is_url(uri: str) -> bool:
    """Whether a name is a URL (``root://…``) rather than a path."""
    return "://" in uri


class FilesetFile(BaseModel):
    """One ROOT file with the events of one tree."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str = Field(description="URL, absolute path, or path relative to the fileset's folder.")
    tree: str = Field(description="Name of the TTree.")
    entries: int = Field(ge=0, description="Entries of the tree.")
    size: int = Field(ge=0, description="Bytes.")
    checksum: str | None = Field(description="adler32:<8 hex digits>; null: the server has none.")
    uuid: str = Field(description="UUID that ROOT gave the file when it was made.")
    entry_start: int = Field(default=0, ge=0, description="First entry to read.")
    entry_stop: int | None = Field(
        default=None, ge=0, description="Entry to stop before; null: the end of the tree."
    )
    folder: str = Field(
        default="", exclude=True, repr=False, description="What a relative uri starts at."
    )

    @property
    def entry_range(self) -> tuple[int, int]:
        """First entry to read, and the one to stop before; equal where nothing is to be read."""
        stop = self.entries if self.entry_stop is None else min(self.entry_stop, self.entries)
        return min(self.entry_start, stop), stop

    @property
    def selected_entries(self) -> int:
        """Entries to be read."""
        start, stop = self.entry_range
        return stop - start

    @property
    def location(self) -> str:
        """What to open: the URL, or the absolute path."""
        if is_url(self.uri):
            return self.uri
        return os.path.normpath(Path(self.folder).absolute() / self.uri)


class BadFile(BaseModel):
    """A file that was left out, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str
    reason: str


class Fileset(BaseModel):
    """The files of one dataset, in a fixed order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    dataset: str = Field(description="Name of the dataset.")
    files: list[FilesetFile] = Field(min_length=1)
    source: dict[str, Any] = Field(default_factory=dict, description="Configuration of the source.")
    provenance: dict[str, Any] = Field(
        default_factory=dict, description="Where the files are from."
    )
    luminosity_sections: dict[str, list[list[int]]] | None = Field(
        None, description="Run -> [[first, last], …], where the source knows them."
    )
    bad_files: list[BadFile] = Field(default_factory=list, description="Left out, with the reason.")
    files_per_branch: int = Field(1, ge=1, description="Consecutive files that a branch reads.")

    @property
    def entries(self) -> int:
        """Events to be read from all files."""
        return sum(file.selected_entries for file in self.files)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON atomically; the same fileset gives the same bytes."""
        write_json(path, self.model_dump(mode="json"))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a fileset; relative names are understood from the folder of the JSON.

        Raises
        ------
        DataError
            If the file is missing, is not JSON, or is not a fileset of this schema version.
        """
        content = read_json(path)
        try:
            fileset = cls.model_validate(content)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise DataError(
                f"{path}: not a fileset ({where}: {first['msg']}); make it again with CreateFileset"
            ) from None
        if fileset.schema_version != SCHEMA_VERSION:
            raise DataError(
                f"{path}: fileset of schema version {fileset.schema_version}, this is version"
                f" {SCHEMA_VERSION}; make it again with CreateFileset"
            )
        folder = str(Path(path).absolute().parent)
        files = [file.model_copy(update={"folder": folder}) for file in fileset.files]
        return fileset.model_copy(update={"files": files})

    def groups(self) -> list[list[FilesetFile]]:
        """Consecutive files, `files_per_branch` at a time: what one branch of a workflow reads.

        A file that the range of entries leaves nothing of is in no group.
        """
        files = [file for file in self.files if file.selected_entries]
        starts = range(0, len(files), self.files_per_branch)
        return [files[start : start + self.files_per_branch] for start in starts]

    def to_coffea(self) -> dict[str, Any]:
        """The fileset as coffea reads it, with the ranges of entries as its steps.

        It validates as `coffea.dataset_tools` `DataGroupSpec`, which knows a ROOT file by
        ``.root`` in its name. Files of which nothing is to be read are left out.
        """
        return {
            self.dataset: {
                "files": {
                    file.location: {
                        "object_path": file.tree,
                        "steps": [list(file.entry_range)],
                        "num_entries": file.entries,
                        "uuid": file.uuid,
                    }
                    for file in self.files
                    if file.selected_entries
                },
                "metadata": {"source": self.source},
            }
        }
