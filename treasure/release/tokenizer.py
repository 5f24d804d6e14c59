"""The tokenizer's artefact in a release: what it says of itself, and a copy of its files.

Only its JSON description is read, so that a release is built, published and checked without torch.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from treasure.errors import DataError
from treasure.release.layout import TOKENIZER, check_name
from treasure.release.manifest import TokenizerEntry
from treasure.store import MANIFEST, atomic_file, checksums, read_json

__all__ = ["copy_tokenizer", "describe_tokenizer"]

_DESCRIPTION = "tokenizer.json"

# What lies beside an artefact and does not belong to it: the state of an unfinished training, the
# record of the job that trained it (both hold paths of the machine), hidden and temporary files.
_NOT_PUBLISHED = re.compile(rf"checkpoint.*|{re.escape(MANIFEST)}|\..*|__pycache__")


def describe_tokenizer(directory: Path) -> TokenizerEntry:
    """Read and check the description of a tokenizer.

    Raises
    ------
    DataError
        If the description is missing or has no fingerprint, or a file that it lists is missing or
        damaged.
    """
    path = directory / _DESCRIPTION
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("fingerprint"), str):
        raise DataError(f"{path}: no fingerprint; expected the description of a tokenizer")
    for name, expected in (content.get("files") or {}).items():
        file = directory / name
        if not file.is_file():
            raise DataError(f"{file}: missing, but {path} lists it")
        if checksums(file) != expected:
            raise DataError(f"{file}: damaged, or not the file that {path} was written with")
    vocabulary = content.get("vocabulary") or {}
    return TokenizerEntry(
        path=TOKENIZER,
        fingerprint=content["fingerprint"],
        vocabulary_size=vocabulary.get("size"),
        codebooks=vocabulary.get("codebooks", 1),
        features=_feature_names(content.get("features")),
    )


def _feature_names(features: Any) -> list[str]:
    listed = features.get("list", []) if isinstance(features, dict) else features or []
    return [str(f["name"]) if isinstance(f, dict) else str(f) for f in listed]


def copy_tokenizer(directory: Path, release: Path) -> list[str]:
    """Copy the artefact into a release; return the paths of its files, relative to the release.

    Checkpoints, manifests of jobs and hidden files stay behind.
    """
    copied: list[str] = []
    for source in sorted(directory.rglob("*")):
        parts = source.relative_to(directory).parts
        if not source.is_file() or any(_NOT_PUBLISHED.fullmatch(part) for part in parts):
            continue
        for part in parts:
            check_name(part, f"file of the tokenizer in {directory}")
        target = release.joinpath(TOKENIZER, *parts)
        with atomic_file(target) as temporary:
            shutil.copyfile(source, temporary)
        copied.append(target.relative_to(release).as_posix())
    return copied
