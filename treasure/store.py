"""Where final files come from: atomic writes, checksums, fingerprints and manifests.

Every final file of the project is created here. A file is written under a sibling temporary name,
flushed to disk and renamed; the manifest of a directory is written last, and is what makes the
directory complete. A process killed at any moment leaves nothing that counts as done.
"""

import errno
import hashlib
import json
import os
import platform
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache, wraps
from importlib import metadata
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import deflate

from treasure import __version__
from treasure.errors import DataError

__all__ = [
    "MANIFEST",
    "Checksums",
    "atomic_file",
    "canonical_json",
    "checksums",
    "discard_leftovers",
    "fingerprint",
    "is_temporary",
    "make_directory",
    "read_json",
    "read_manifest",
    "remembered",
    "verify",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_text",
]

MANIFEST = "manifest.json"

# Temporary siblings are called ".<stem>.<32 hex digits>.tmp<suffix>": hidden, with the extension of
# the final file, because writers such as pyarrow, matplotlib and torch choose a format by it.
_LEFTOVER = re.compile(r"^\..*\.[0-9a-f]{32}\.tmp(\..*)?$")

_HASH_BLOCK = 1 << 20

# What the system answers when the place fails, and not the data.
_PLACE_FAILED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}

# The packages whose version can change the bytes that a stage writes.
_RECORDED_PACKAGES = (
    "awkward", "coffea", "fastjet", "h5py", "law", "luigi", "numpy", "pyarrow", "pythia8mc",
    "torch", "uproot", "vector-quantize-pytorch",
)  # fmt: skip


T = TypeVar("T")


class Checksums(TypedDict):
    """Size in bytes, and the two checksums of a file in lower-case hexadecimal digits."""

    size: int
    sha256: str
    adler32: str


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no white space, no NaN, non-ASCII kept.

    Raises
    ------
    ValueError, TypeError
        For NaN or infinity, and for what JSON cannot say.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fingerprint(value: Any) -> str:
    """SHA-256 (64 hexadecimal digits) of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Create a file whole or not at all.

    Yields a temporary path in the same directory with the same extension. When the block ends
    well, the file is flushed to disk and renamed to `path`; when it raises, the file is removed.

    Raises
    ------
    DataError
        If the block ended without writing the temporary file, or the file cannot be written there:
        a folder of that name, no room, a read-only place, no permission.
    """
    path = Path(path)
    if not path.name or path.is_dir():
        raise DataError(f"{path}: a folder; name a file to write, or remove it")
    make_directory(path.parent)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp{path.suffix}")
    try:
        yield temporary
        if not temporary.is_file():
            raise DataError(f"{path}: nothing was written; the writer left no {temporary.name}")
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except Exception as error:
        if reason := _why_not_written(temporary, error):
            raise _cannot_write(path, reason) from error
        raise
    finally:
        with suppress(OSError):  # of a place that can no longer be written: the reason was told
            temporary.unlink(missing_ok=True)


def make_directory(path: str | os.PathLike[str]) -> None:
    """Make a directory and those above it; one that exists is left as it is.

    Raises
    ------
    DataError
        If it cannot be made there: a file in the way, no permission, a read-only place.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error


def _cannot_write(path: str | os.PathLike[str], reason: str) -> DataError:
    return DataError(
        f"cannot write {path}: {reason}; mend that, or choose another place, and run again (no"
        " partial file is left)"
    )


def _why_not_written(path: Path, error: BaseException) -> str:
    """The system's words where an error comes from the place of a file, and not from the data."""
    directory = path.parent
    seen: BaseException | None = error
    while seen is not None:
        number = seen.errno if isinstance(seen, OSError) else None
        # HDF5 has exceptions of other types, with the number in their text.
        if number is None and (found := re.search(r"\berrno = (\d+)", str(seen))):
            number = int(found[1])
        if (
            number in _PLACE_FAILED
            or (number == errno.EACCES and not os.access(directory, os.W_OK | os.X_OK))
            # of a folder in which no file can be made, such as those of the system
            or (number == errno.ENOENT and path.name in str(seen))
        ):
            return os.strerror(number)
        seen = seen.__cause__ or seen.__context__
    return ""


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_temporary(path: Path) -> bool:
    """Whether a file has the name of one that is not whole yet, or never will be."""
    return bool(_LEFTOVER.match(path.name))


def discard_leftovers(directory: str | os.PathLike[str]) -> list[str]:
    """Remove the temporary files that killed runs left in a directory; return their names.

    Only for a directory that one process at a time writes, such as a branch's own.
    """
    directory = Path(directory)
    if not directory.is_dir():
        return []
    found = sorted(p for p in directory.rglob(".*") if p.is_file() and is_temporary(p))
    for path in found:
        path.unlink(missing_ok=True)
    return [p.name for p in found]


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON atomically: sorted keys, indented for people, no NaN."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises
    ------
    DataError
        If the file is missing or is not JSON.
    """
    return _read_json(Path(path), "; remove it and run again")


def _read_json(path: Path, remedy: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}){remedy}") from None


def remembered(read: Callable[[Path], T]) -> Callable[[Path], T]:
    """Decorator of a function that reads a file: the same file is read once by a process.

    A file that was written again is read again. What is returned must not be changed.
    """

    @lru_cache(maxsize=8)
    def read_once(path: Path, *_state: int) -> T:
        return read(path)

    @wraps(read)
    def read_if_new(path: Path) -> T:
        try:
            found = path.stat()
        except OSError:
            return read(path)  # which says what is wrong
        return read_once(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)

    return read_if_new


def checksums(path: str | os.PathLike[str]) -> Checksums:
    """Size, SHA-256 and Adler-32 of a file, in one streaming pass."""
    sha256, adler32, size = hashlib.sha256(), 1, 0
    with open(path, "rb") as file:
        while block := file.read(_HASH_BLOCK):
            sha256.update(block)
            adler32 = deflate.adler32(block, adler32)
            size += len(block)
    return {"size": size, "sha256": sha256.hexdigest(), "adler32": f"{adler32:08x}"}


@cache
def _software() -> dict[str, str]:
    versions = {"treasure": __version__, "python": platform.python_version()}
    for package in _RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_manifest(
    directory: str | os.PathLike[str], *, files: Iterable[str | os.PathLike[str]], **content: Any
) -> Path:
    """Write ``manifest.json`` of a directory: last, after every file that it lists.

    Parameters
    ----------
    directory
        Where the manifest goes.
    files
        The files to list (inside `directory`), with size, SHA-256 and Adler-32.
    **content
        What else to say: task, configuration, inputs, counts.

    Raises
    ------
    DataError
        If a file is missing or lies outside the directory.
    """
    directory = Path(directory)
    listed: dict[str, Checksums] = {}
    for file in files:
        path = Path(file)
        if not path.is_file():
            raise DataError(f"{path}: announced in {directory / MANIFEST}, but not there")
        if not path.is_relative_to(directory):
            raise DataError(f"{path}: outside {directory}, so its manifest cannot list it")
        listed[path.relative_to(directory).as_posix()] = checksums(path)
    manifest = directory / MANIFEST
    # As it will be read: JSON knows no tuples, and has text for keys.
    said = json.loads(canonical_json({**content, "files": listed, "software": _software()}))
    write_json(manifest, {**said, "checksum": fingerprint(said)})
    return manifest


def read_manifest(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of a directory.

    Raises
    ------
    DataError
        If there is none, or it is damaged.
    """
    path = Path(directory) / MANIFEST
    remedy = f". Remove {path.parent} and run again"
    manifest = _read_json(path, remedy)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DataError(f"{path}: not a manifest (no table of files){remedy}")
    checksum = manifest.pop("checksum", None)
    if checksum is not None and checksum != fingerprint(manifest):
        raise DataError(
            f"{path}: its checksum does not fit its content; it was damaged or changed after it was"
            f" written{remedy}"
        )
    return manifest


def verify(directory: str | os.PathLike[str], *names: str) -> None:
    """Hash every file of a directory's manifest again, or only those that are named.

    Raises
    ------
    DataError
        Naming the first file that is missing or differs.
    """
    directory = Path(directory)
    listed = read_manifest(directory)["files"]
    for name in names or listed:
        path, expected = directory / name, listed.get(name, {})
        if not path.is_file():
            raise DataError(f"{path}: listed in {directory / MANIFEST}, but missing")
        found = checksums(path)
        for key, value in found.items():
            if expected.get(key) != value:
                raise DataError(
                    f"{path}: {key} is {value}, but {directory / MANIFEST} says"
                    f" {expected.get(key)}; the file was damaged or changed after it was written"
                )
