"""The token files that a path, a folder, a release, a glob or a URL stands for."""

import glob
from collections.abc import Sequence
from os import PathLike
from pathlib import Path, PurePosixPath
from typing import Any

from treasure.errors import ConfigError, DataError
from treasure.fileset.model import is_url
from treasure.fileset.remote import Unreachable, expand
from treasure.store import MANIFEST, read_json
from treasure.tokens.remote import local_copy

__all__ = ["token_files"]

_SUFFIX = ".parquet"

Source = str | PathLike[str]


def token_files(
    source: Source | Sequence[Source],
    split: str | None = None,
    datasets: Sequence[str] | None = None,
    cache: Path | None = None,
) -> list[Path]:
    """Token files on this machine, sorted in each place; remote ones are copied into the cache.

    Parameters
    ----------
    source
        A file, a folder (all ``*.parquet`` below it), a release (the token files of its manifest),
        a glob, a URL of these, or several of them.
    split, datasets
        Of a release, only the files with these rows; of files without a manifest, all.
    cache
        Folder of the copies.

    Raises
    ------
    DataError
        If nothing is there, a file is there twice, or a release is not whole.
    """
    sources = [source] if isinstance(source, (str, PathLike)) else list(source)
    if not all(isinstance(each, (str, PathLike)) and str(each) for each in sources):
        raise ConfigError(f"{source!r}; expected a path, a URL, or a list of them")
    found: list[Path] = []
    for each in sources:
        if is_url(str(each)):
            found += _remote(str(each), split, datasets, cache)
        else:
            found += _local(Path(each).expanduser(), split, datasets)
    seen: set[Path] = set()
    for path in found:
        if (whole := path.resolve()) in seen:
            raise DataError(f"{path}: there twice; its jets would be taken twice")
        seen.add(whole)
    return found


def _local(path: Path, split: str | None, datasets: Sequence[str] | None) -> list[Path]:
    if path.is_dir():
        if (listed := _listed(path / MANIFEST)) is not None:
            chosen = _chosen(str(path), listed, split, datasets)
            for name, entry in chosen.items():
                _require(path / name, entry)
            return [path / name for name in chosen]
        found = sorted(
            file
            for file in path.rglob(f"*{_SUFFIX}")
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        if not found:
            raise DataError(f"{path}: no token files (*{_SUFFIX}) in this folder or below it")
        return found
    if not path.exists() and glob.has_magic(str(path)):
        matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207
        found = [match for match in matches if match.is_file()]
        if not found:
            raise DataError(f"{path}: no file matches")
        return found
    return [path]  # whether it is a token table, or there at all, is told when it is opened


def _remote(
    url: str, split: str | None, datasets: Sequence[str] | None, cache: Path | None
) -> list[Path]:
    if url.partition("?")[0].endswith(_SUFFIX) and "*" not in url:
        return [local_copy(url, cache)]
    if "*" in url:
        names = expand(url)
        if not names:
            raise DataError(f"{url}: no file matches")
        return [local_copy(name, cache) for name in names]
    base = url.rstrip("/")
    try:
        manifest = local_copy(f"{base}/{MANIFEST}", cache)
    except Unreachable:
        raise
    except DataError as error:
        if url.startswith("http"):
            raise DataError(
                f"{url}: neither a token file (*{_SUFFIX}) nor a release ({error})"
            ) from error
        names = expand(f"{base}/**/*{_SUFFIX}")
        if not names:
            raise DataError(
                f"{url}: no release, and no token files (*{_SUFFIX}) below it"
            ) from None
        return [local_copy(name, cache) for name in names]
    listed = _listed(manifest)
    if listed is None:
        raise DataError(f"{base}/{MANIFEST}: not the manifest of a release")
    chosen = _chosen(url, listed, split, datasets)
    return [
        local_copy(f"{base}/{name}", cache, sha256=str(entry.get("sha256")))
        for name, entry in chosen.items()
    ]


def _listed(path: Path) -> dict[str, dict[str, Any]] | None:
    """The token files that the manifest of a release lists; None if there is no such manifest."""
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != "treasure-release":
        return None
    files = content.get("files")
    if not isinstance(files, dict) or not all(isinstance(e, dict) for e in files.values()):
        raise DataError(f"{path}: no table of files; get the release again")
    for name in files:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise DataError(f"{path}: {name!r} is not a path inside the release")
    return {name: files[name] for name in sorted(files) if files[name].get("rows") is not None}


def _chosen(
    place: str,
    listed: dict[str, dict[str, Any]],
    split: str | None,
    datasets: Sequence[str] | None,
) -> dict[str, dict[str, Any]]:
    known = sorted({str(entry.get("dataset")) for entry in listed.values()})
    if unknown := [name for name in datasets or () if name not in known]:
        raise DataError(f"{place}: no dataset {unknown[0]!r}; there are {', '.join(known)}")
    chosen = {
        name: entry
        for name, entry in listed.items()
        if (split is None or entry.get("split") == split)
        and (datasets is None or entry.get("dataset") in datasets)
    }
    if not chosen:
        splits = sorted({str(entry.get("split")) for entry in listed.values()})
        raise DataError(f"{place}: no rows of split {split!r}; there are {', '.join(splits)}")
    return chosen


def _require(path: Path, entry: dict[str, Any]) -> None:
    if not path.is_file():
        raise DataError(f"{path}: missing, but the manifest of its release lists it")
    if (size := path.stat().st_size) != entry.get("size"):
        raise DataError(
            f"{path}: {size} bytes, but the manifest of its release says {entry.get('size')}; get"
            " the file again"
        )
