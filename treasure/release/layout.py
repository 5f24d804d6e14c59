"""Where each file of a release lies, and which names a release can carry to every destination."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from treasure.errors import DataError

__all__ = [
    "CARD",
    "CHECKSUMS",
    "CROISSANT",
    "DEFAULT_CONFIGURATION",
    "PARQUET_MEDIA_TYPE",
    "READINESS_JSON",
    "READINESS_PAGE",
    "TOKENIZER",
    "TOKENS",
    "check_name",
    "check_stems",
    "shard_stem",
    "token_file",
]

CARD = "README.md"
CHECKSUMS = "checksums.sha256"
CROISSANT = "croissant.json"
READINESS_JSON = "readiness.json"
READINESS_PAGE = "readiness.html"
TOKENIZER = "tokenizer"
TOKENS = "tokens"

# All datasets together: what Hugging Face `datasets` loads when no configuration is named.
DEFAULT_CONFIGURATION = "default"

# The registered name application/vnd.apache.parquet passes validation by mlcroissant 1.1.1, which
# then finds no reader for it.
PARQUET_MEDIA_TYPE = "application/x-parquet"

_SUFFIX = "_tokenized.parquet"

# What POSIX calls portable, and '+', '=', '@': safe in a path, a URL, an S3 key, a Croissant @id
# and a shell, on file systems that know no other letters.
_PORTABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=@-]{0,159}")


def check_name(name: str, what: str) -> str:
    """Return a name that is portable to every destination.

    Raises
    ------
    DataError
        Naming the first character that is not portable.
    """
    if _PORTABLE.fullmatch(name):
        return name
    if not name or len(name) > 160:
        raise DataError(f"{what} {name[:40]!r}: {len(name)} characters; expected 1 to 160")
    wrong = next(
        (c for c in name if not re.fullmatch(r"[A-Za-z0-9._+=@-]", c)), name[0]
    )  # a leading dot, dash or sign is the only other reason
    raise DataError(
        f"{what} {name!r}: {wrong!r} is not portable to every destination; rename it with letters, "
        "digits and '._+=@-' (a letter or digit first)"
    )


def shard_stem(path: Path) -> str:
    """Stem of the jet file from which a token file was made: its name less `_tokenized.parquet`.

    Raises
    ------
    DataError
        If the file is not named so, or its name is not portable.
    """
    if not path.name.endswith(_SUFFIX) or path.name == _SUFFIX:
        raise DataError(f"{path}: a token file is named <stem of the jet file>{_SUFFIX}")
    return check_name(path.name.removesuffix(_SUFFIX), f"stem of the token file in {path.parent}")


def check_stems(dataset: str, paths: Iterable[Path]) -> dict[str, Path]:
    """Token files of one dataset by stem, in the order of their stems.

    Raises
    ------
    DataError
        If a file is missing, or two have the same stem; stems that differ only in upper and lower
        case count as the same, since they are on some file systems.
    """
    by_stem: dict[str, Path] = {}
    seen: dict[str, Path] = {}
    for path in map(Path, paths):
        stem = shard_stem(path)
        if not path.is_file():
            raise DataError(f"{path}: no such token file, expected a shard of dataset {dataset}")
        if other := seen.get(stem.casefold()):
            raise DataError(
                f"dataset {dataset}: {other} and {path} would both be {stem}{_SUFFIX}; rename one"
            )
        seen[stem.casefold()] = by_stem[stem] = path
    return dict(sorted(by_stem.items()))


def token_file(dataset: str, split: str, stem: str) -> str:
    """Path of a token file in a release, relative to it."""
    return str(PurePosixPath(TOKENS, dataset, split, stem + _SUFFIX))
