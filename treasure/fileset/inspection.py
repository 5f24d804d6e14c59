"""What one ROOT file is: entries, size, checksum, UUID; or why it cannot be used."""

import os
import zlib
from pathlib import Path

import uproot

from treasure.errors import DataError
from treasure.fileset.model import FilesetFile, is_url

__all__ = ["adler32_of", "file_identity", "inspect_file"]

_BLOCK = 1 << 20
_HEADER_BYTES = 45  # of the shortest ROOT file header


def adler32_of(path: str | os.PathLike[str]) -> str:
    """Adler-32 of a file's bytes as 8 hexadecimal digits, reading it once."""
    value = 1
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.adler32(block, value)
    return f"{value:08x}"


def file_identity(location: str) -> tuple[int, str | None]:
    """Size in bytes and ``adler32:…`` of a file, which a server may not know (None).

    Raises
    ------
    DataError
        If it is not there, or not a file.
    """
    if is_url(location):
        from treasure.fileset.xrootd import remote_file

        remote = remote_file(location)
        return remote.size, None if remote.adler32 is None else f"adler32:{remote.adler32}"
    path = Path(location)
    if path.is_dir():
        raise DataError(f"{location}: a directory; a ROOT file was expected")
    try:
        return path.stat().st_size, f"adler32:{adler32_of(path)}"
    except OSError as error:
        raise DataError(
            f"{location}: cannot be read ({error.strerror}); check the name and the permissions"
        ) from error


def inspect_file(location: str, tree: str, uri: str) -> FilesetFile:
    """Open a file, check that it is whole and has events, and describe it.

    Parameters
    ----------
    location
        Path or ``root://`` URL.
    tree
        Name of the TTree.
    uri
        How the fileset names the file.

    Raises
    ------
    DataError
        If the file is missing, not ROOT, truncated, without that TTree, or without entries.
    """
    size, checksum = file_identity(location)
    try:
        with uproot.open({location: None}) as file:
            # ROOT notes the end of the file in its header; uproot does not compare.
            end = file.file.fEND
            if not _HEADER_BYTES < end <= size:
                raise DataError(
                    f"{location}: truncated or damaged ({size} bytes, its header says {end}); copy"
                    " it again"
                )
            entries = _entries(file, location, tree)
            uuid = str(file.file.uuid)
    except DataError:
        raise
    except Exception as error:  # uproot raises what the bytes lead it to
        if size == 0:
            reason = "empty (0 bytes)"
        elif _starts_as_root(location):
            reason = f"damaged ({_one_line(error)})"
        else:
            reason = "not a ROOT file"
        raise DataError(
            f"{location}: {reason}; copy or make it again, or take it off the list"
        ) from error
    return FilesetFile(uri=uri, tree=tree, entries=entries, size=size, checksum=checksum, uuid=uuid)


def _entries(file: uproot.ReadOnlyDirectory, location: str, tree: str) -> int:
    classes = file.classnames(cycle=False)
    if tree not in classes:
        found = ", ".join(sorted(classes)) or "nothing"
        raise DataError(
            f"{location}: no tree {tree!r} (found: {found}); set source.tree to the right name"
        )
    if classes[tree] != "TTree":
        raise DataError(f"{location}: {tree!r} is a {classes[tree]}; a TTree was expected")
    entries = int(file[tree].num_entries)
    if entries == 0:
        raise DataError(f"{location}: tree {tree!r} has no entries; take the file off the list")
    return entries


def _starts_as_root(location: str) -> bool:
    if is_url(location):
        return True
    with open(location, "rb") as file:
        return file.read(4) == b"root"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
