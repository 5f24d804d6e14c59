"""What one ROOT file is: entries, size, checksum, UUID; or why it cannot be used."""

import os
import zlib
from pathlib import Path

import uproot

from treasure.errors import DataError
from treasure.fileset.model import FilesetFile, is_url
from treasure.fileset.opening import open_options
from treasure.fileset.remote import may_pass, patiently, remote_file

__all__ = ["adler32_of", "file_identity", "inspect_file", "same_checksum"]

_BLOCK = 1 << 20
_HEADER_BYTES = 45  # of the shortest ROOT file header


def adler32_of(path: str | os.PathLike[str]) -> str:
    """Adler-32 of a file's bytes as 8 hexadecimal digits, reading it once."""
    value = 1
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            value = zlib.adler32(block, value)
    return f"{value:08x}"


def same_checksum(one: str, other: str) -> bool:
    """Whether two ``adler32:…`` are one number: catalogues drop leading zeros."""
    return _adler32_number(one) == _adler32_number(other)


def _adler32_number(checksum: str) -> int:
    return int(checksum.removeprefix("adler32:"), 16)


def file_identity(location: str) -> tuple[int, str | None]:
    """Size in bytes and ``adler32:…`` of a file, which a server may not know (None).

    Raises
    ------
    DataError
        If it is not there, or not a file.
    """
    if is_url(location):
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


def inspect_file(
    location: str,
    tree: str,
    uri: str,
    *,
    size: int | None = None,
    checksum: str | None = None,
    entry_start: int = 0,
    entry_stop: int | None = None,
) -> FilesetFile:
    """Open a file, check that it is whole and has events, and describe it.

    Parameters
    ----------
    location
        Path or URL.
    tree
        Name of the tree.
    uri
        How the fileset names the file.
    size, checksum
        What a catalogue says of it, if one does: bytes, and ``adler32:<hexadecimal digits>``.
    entry_start, entry_stop
        Which entries are to be read.

    Raises
    ------
    Unreachable
        If its server does not answer.
    DataError
        If the file is missing, not ROOT, truncated, without that tree, without entries, or not
        what the catalogue says.
    """
    found_size, found_checksum = file_identity(location)
    _compare_with_catalogue(location, found_size, found_checksum, size, checksum)
    entries, uuid = _opened(location, tree, found_size)
    if found_checksum is None and checksum is not None:
        found_checksum = f"adler32:{_adler32_number(checksum):08x}"
    return FilesetFile(
        uri=uri,
        tree=tree,
        entries=entries,
        size=found_size,
        checksum=found_checksum,
        uuid=uuid,
        entry_start=entry_start,
        entry_stop=entry_stop,
    )


def _compare_with_catalogue(
    location: str, size: int, checksum: str | None, said_size: int | None, said: str | None
) -> None:
    remedy = "copy it again, or ask the catalogue again"
    if said_size is not None and size != said_size:
        raise DataError(f"{location}: {size} bytes, the catalogue says {said_size}; {remedy}")
    if said is not None and checksum is not None and not same_checksum(checksum, said):
        raise DataError(
            f"{location}: its checksum is {checksum}, the catalogue says {said}; {remedy}"
        )


def _opened(location: str, tree: str, size: int) -> tuple[int, str]:
    """Entries and UUID of a file that is whole."""

    def opened() -> tuple[int, str]:
        try:
            with uproot.open({location: None}, **open_options(location)) as file:
                # ROOT notes the end of the file in its header; uproot does not compare.
                end = file.file.fEND
                if not _HEADER_BYTES < end <= size:
                    raise DataError(
                        f"{location}: truncated or damaged ({size} bytes, its header says {end});"
                        " copy it again"
                    )
                return _entries(file, location, tree), str(file.file.uuid)
        except DataError:
            raise
        except Exception as error:  # uproot raises what the bytes lead it to
            if is_url(location) and may_pass(error):
                raise
            raise _unusable(location, size, error) from error

    return patiently(opened, location) if is_url(location) else opened()


def _unusable(location: str, size: int, error: Exception) -> DataError:
    if size == 0:
        reason = "empty (0 bytes)"
    elif _starts_as_root(location):
        reason = f"damaged ({_one_line(error)})"
    else:
        reason = "not a ROOT file"
    return DataError(f"{location}: {reason}; copy or make it again, or take it off the list")


def _entries(file: uproot.ReadOnlyDirectory, location: str, tree: str) -> int:
    classes = file.classnames(cycle=False)
    if tree not in classes:
        found = ", ".join(sorted(classes)) or "nothing"
        raise DataError(
            f"{location}: no tree {tree!r} (found: {found}); set source.tree to the right name"
        )
    if classes[tree] == "ROOT::RNTuple":
        # coffea builds its collections of NanoAOD from the counters of a TTree.
        raise DataError(
            f"{location}: {tree!r} is an RNTuple; a TTree was expected. Write it again as one, with"
            " ROOT's RDataFrame.Snapshot, or uproot's mktree and extend"
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
