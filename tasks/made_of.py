"""Which files results were made of: a fileset that was made again may list others.

Every branch says so in its manifest. So that thousands of manifests need not be read at each
command, a record in the directory of the stage says which list of files all its branches agree
with; where it is another list than now, or there is no record, the manifests are read.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treasure import store
from treasure.errors import DataError

__all__ = ["RECORD", "MadeOf", "note_files", "refuse_other_files", "uuids"]

RECORD = "made_of.json"


@dataclass(frozen=True, slots=True)
class MadeOf:
    """The files of a workflow: a digest of all, and what each branch says of its own."""

    digest: str
    files: Mapping[int, Any]

    @classmethod
    def of(cls, files: Mapping[int, Any]) -> "MadeOf":
        """With the digest of these."""
        return cls(store.fingerprint(sorted(files.items())), files)


def uuids(files: Iterable[Any]) -> list[str]:
    """What a branch says of the files that it was made of."""
    return [file.uuid for file in files]


def refuse_other_files(directory: Path, made_of: MadeOf, stem_of: Callable[[int], str]) -> None:
    """Refuse branches that are there, and are of other files than those listed now.

    Parameters
    ----------
    directory
        Of the workflow: its branches' are in it.
    made_of
        What is listed now.
    stem_of
        Number of a branch -> name of its directory.

    Raises
    ------
    DataError
        If a branch is of other files.
    """
    if not directory.is_dir() or _recorded(directory) == made_of.digest:
        return
    there = {path.name for path in directory.iterdir()}
    for number, files in made_of.files.items():
        branch = directory / stem_of(number)
        if branch.name not in there or not (branch / store.MANIFEST).is_file():
            continue
        said = store.read_manifest(branch)["identity"].get("files")
        if said is not None and said != files:
            raise DataError(
                f"{branch}: made of other files than the fileset of its dataset lists now; give the"
                f" new files a --version of their own, or remove {directory} and all that was made"
                " from it"
            )


def note_files(directory: Path, made_of: MadeOf, stem_of: Callable[[int], str]) -> None:
    """Record what the branches of a workflow are made of, before a new one is.

    Raises
    ------
    DataError
        If one that is there is of other files.
    """
    if _recorded(directory) != made_of.digest:
        refuse_other_files(directory, made_of, stem_of)
        store.write_json(directory / RECORD, {"files_sha256": made_of.digest})


def _recorded(directory: Path) -> str:
    try:
        content = store.read_json(directory / RECORD)
    except (DataError, OSError):  # none yet, or a damaged one
        return ""
    return str(content.get("files_sha256", "")) if isinstance(content, dict) else ""
