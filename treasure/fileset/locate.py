"""From what a user writes (paths, globs, directories, lists, URLs) to the files that it means."""

import glob
import os
import re
from pathlib import Path

from treasure.errors import DataError
from treasure.fileset.model import is_url

__all__ = ["anchored", "locate"]


def locate(patterns: list[str], folder: str | os.PathLike[str] = ".") -> list[str]:
    """Absolute paths and URLs of all files that some patterns mean: sorted, each once.

    Parameters
    ----------
    patterns
        Paths, globs, directories (all ``*.root`` below), ``.txt`` lists of such, and URLs
        (``root://``, ``https://``, ``s3://``, … ) of files, globs and directories.
    folder
        What relative paths start from.

    Raises
    ------
    DataError
        If a pattern matches nothing, is of a kind that cannot be read, or its server does not
        answer.
    """
    found: set[str] = set()
    for pattern in patterns:
        found.update(_expand(pattern, str(folder), lists=()))
    for name in found:
        _refuse_undecodable(name)
    return sorted(found)


def _refuse_undecodable(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        readable = os.fsencode(name).decode(errors="backslashreplace")
        raise DataError(
            f"{readable}: its name is not UTF-8, so that no JSON can hold it; rename the file"
        ) from None


def anchored(pattern: str, folder: str | os.PathLike[str] = ".") -> str:
    """The absolute path or URL that a pattern means here, with its wildcards."""
    text = os.path.expandvars(pattern.strip())
    if is_url(text):
        return text
    return os.path.normpath(Path(folder).absolute() / Path(text).expanduser())


def _expand(pattern: str, folder: str, lists: tuple[str, ...]) -> list[str]:
    path = anchored(pattern, folder)
    if is_url(path):
        return _expand_url(path)
    if path.endswith(".txt"):
        return _expand_list(path, lists)
    if Path(path).is_dir():
        files = sorted(str(p) for p in Path(path).rglob("*.root") if not _hidden(p, path))
        if not files:
            raise DataError(f"{path}: no *.root file in this directory; check source.files")
        return files
    if glob.has_magic(path):
        matches = sorted(p for p in glob.glob(path, recursive=True) if Path(p).is_file())  # noqa: PTH207
        # A name may look like a pattern: a[1].root, which matches a1.root and not itself.
        if Path(path).exists() and path not in matches:
            return [path]
        if not matches:
            raise DataError(
                f"{path}: no file matches{_unset(path)}; check source.files (quotes, spelling, **)"
            )
        return matches
    if not Path(path).exists():
        raise DataError(f"{path}: no such file or directory{_unset(path)}; check source.files")
    return [path]


def _unset(path: str) -> str:
    """Which environment variables in a path that was not found have no value."""
    names = [name for name in re.findall(r"\$\{?(\w+)", path) if name not in os.environ]
    return f" ({', '.join('$' + name for name in names)} not set)" if names else ""


def _hidden(path: Path, top: str) -> bool:
    # Temporary files of running jobs and of version control start with a dot.
    return any(part.startswith(".") for part in path.relative_to(top).parts)


def _expand_list(path: str, lists: tuple[str, ...]) -> list[str]:
    if path in lists:
        raise DataError(f"{path}: a list that names itself; remove that line")
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file; a list of files was expected") from None
    entries = [line.split(" #")[0].strip() for line in lines if not line.lstrip().startswith("#")]
    entries = [entry for entry in entries if entry]
    if not entries:
        raise DataError(f"{path}: the list is empty; write one file, glob or URL a line")
    return [
        file for entry in entries for file in _expand(entry, str(Path(path).parent), (*lists, path))
    ]


def _expand_url(url: str) -> list[str]:
    scheme = url.split("://", 1)[0]
    if scheme in ("file", "local"):
        return _expand(url.removeprefix(f"{scheme}://"), "/", lists=())
    # Loaded only where it is needed: the clients start threads of their own.
    from treasure.fileset.remote import expand

    files = expand(url)
    if not files:
        raise DataError(f"{url}: no ROOT file matches on the server; check source.files")
    return files
