"""The manifest: the one description of a release, from which its other metadata are generated."""

import platform
import re
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from treasure import __version__
from treasure.errors import DataError
from treasure.store import MANIFEST, checksums, read_json

__all__ = [
    "Column",
    "DatasetEntry",
    "FileEntry",
    "Manifest",
    "ShardEntry",
    "TokenizerEntry",
    "software",
    "without_machine_paths",
]

# The packages that write files of a release.
_WRITERS = ("duckdb", "huggingface_hub", "pyarrow")

# "/JetHT/Run2016G-UL2016_MiniAODv2-v2/MINIAOD" starts like a path and is the name of a CMS dataset.
_CMS_DATASET = re.compile(r"/[^/\s]+/[^/\s]+/[A-Z0-9-]+")
_MACHINE_PATH = re.compile(r"(file:|~[A-Za-z0-9_.-]*/|/|[A-Za-z]:[\\/])[^\n]*")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Entry):
    """One column of the token tables."""

    name: str
    type: str = Field(description="Arrow type, as pyarrow writes it")
    description: str = ""


class FileEntry(_Entry):
    """One file of the release; the last five are null for files that are not token tables."""

    size: int = Field(description="bytes")
    sha256: str
    adler32: str = Field(description="8 hexadecimal digits, as Rucio and XRootD use them")
    rows: int | None = None
    columns: str | None = Field(default=None, alias="schema", description="key of `schemas`")
    dataset: str | None = None
    split: str | None = None
    shard: str | None = Field(default=None, description="stem of the shard")

    @classmethod
    def of(cls, path: Path) -> "FileEntry":
        """Entry of a file that is not a token table."""
        return cls.model_validate(checksums(path))


class ShardEntry(_Entry):
    """One token file that went into the release, before it was divided by split."""

    sha256: str = Field(description="of the undivided token file")
    rows: dict[str, int] = Field(description="by split; 0: no file")


class DatasetEntry(_Entry):
    """What one dataset of the release holds."""

    rows: dict[str, int] = Field(description="by split")
    labels: dict[str, dict[str, int]] = Field(description="rows by split and label")
    shards: dict[str, ShardEntry] = Field(description="by stem")


class TokenizerEntry(_Entry):
    """The tokenizer that made the tokens."""

    path: str
    fingerprint: str
    vocabulary_size: int | None
    codebooks: int
    features: list[str]


class Manifest(_Entry):
    """Everything that a release says about itself."""

    format: Literal["treasure-release"] = "treasure-release"
    format_version: Literal[1] = 1
    name: str
    version: str
    title: str
    description: str
    licence: str
    authors: list[str]
    year: int | None
    date_published: str | None
    citation: str
    url: str | None
    derived_from: list[str]
    keywords: list[str]
    row: str = Field(description="what one row is")
    datasets: dict[str, DatasetEntry]
    schemas: dict[str, list[Column]]
    tokenizer: TokenizerEntry
    readiness: dict[str, str] = Field(description="verdict of each item of the readiness report")
    provenance: dict[str, Any]
    files: dict[str, FileEntry]
    software: dict[str, str]

    def rows(self, dataset: str | None = None, split: str | None = None) -> int:
        """Number of rows, of one dataset and one split or of all."""
        return sum(
            rows
            for name, entry in self.datasets.items()
            if dataset in (None, name)
            for key, rows in entry.rows.items()
            if split in (None, key)
        )

    def token_files(self, dataset: str | None = None, split: str | None = None) -> list[str]:
        """Paths of the token files, relative to the release, sorted."""
        return sorted(
            path
            for path, file in self.files.items()
            if file.rows is not None
            and dataset in (None, file.dataset)
            and split in (None, file.split)
        )

    def content(self) -> dict[str, Any]:
        """The manifest as plain JSON values, without what does not apply to a file."""
        value = self.model_dump(mode="json", by_alias=True)
        value["files"] = {
            path: file.model_dump(mode="json", by_alias=True, exclude_none=True)
            for path, file in self.files.items()
        }
        return value

    @classmethod
    def load(cls, directory: Path) -> "Manifest":
        """Read the manifest of a release.

        Raises
        ------
        DataError
            If there is none, it is not that of a release, or it names files outside the release.
        """
        path = directory / MANIFEST
        if not path.is_file():
            raise DataError(
                f"{path}: no such file; {directory} is not a release, or its publication was not "
                "finished"
            )
        value = read_json(path)
        if not isinstance(value, dict) or value.get("format") != "treasure-release":
            raise DataError(f"{path}: not the manifest of a release")
        try:
            manifest = cls.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DataError(f"{path}: {where}: {first['msg']}") from None
        for name in manifest.files:
            pure = PurePosixPath(name)
            if pure.is_absolute() or ".." in pure.parts or not pure.parts:
                raise DataError(f"{path}: {name!r} is not a path inside the release")
        return manifest


def software() -> dict[str, str]:
    """Versions of what writes the files of a release."""
    versions = {"treasure": __version__, "python": platform.python_version()}
    return versions | {package: metadata.version(package) for package in _WRITERS}


def without_machine_paths(value: Any) -> Any:
    """Cut absolute paths of this machine down to the file name, everywhere in a JSON value.

    A path says nothing to a reader elsewhere, and much about the machine; checksums identify the
    file. URLs and names of CMS datasets (`/A/B/MINIAOD`) stay as they are.

    Raises
    ------
    DataError
        If two keys of one table become the same.
    """
    if isinstance(value, str):
        if _MACHINE_PATH.fullmatch(value) and not _CMS_DATASET.fullmatch(value):
            return re.split(r"[\\/]", value.rstrip("\\/"))[-1] or value
        return value
    if isinstance(value, dict):
        cut = {without_machine_paths(str(key)): key for key in value}
        if len(cut) < len(value):
            lost = sorted(str(key) for key in value if key not in cut.values())
            raise DataError(
                f"provenance: {lost[0]!r} and another key differ in their folder only; use names "
                "that do not depend on a machine"
            )
        return {new: without_machine_paths(value[old]) for new, old in cut.items()}
    if isinstance(value, (list, tuple)):
        return [without_machine_paths(item) for item in value]
    return value
