"""What one ROOT file is: entries, size, checksum, UUID; or why it cannot be used."""

import os
import struct
from pathlib import Path
from typing import Any

import deflate
import uproot

from treasure.errors import DataError
from treasure.fileset.known import Inspected, KnownFiles, local_state
from treasure.fileset.model import FilesetFile, is_url
from treasure.fileset.near import located
from treasure.fileset.opening import open_options
from treasure.fileset.remote import may_pass, patiently, remote_file

__all__ = ["adler32_of", "inspect_file", "same_checksum"]

_BLOCK = 1 << 20
_HEADER_BYTES = 45  # of the shortest ROOT file header

# How ROOT frames an object: its bytes after the first four, with a flag, and its class's version.
_FRAME = struct.Struct(">IH")
_IS_FRAME = 0x40000000
_TTREE_VERSIONS = range(16, 21)  # those that uproot reads
_BASES_OF_TTREE = 4  # TNamed, TAttLine, TAttFill, TAttMarker; fEntries follows
_ENTRIES = struct.Struct(">q")

_Said = tuple[int | None, str | None]  # size and checksum of a catalogue


def adler32_of(path: str | os.PathLike[str]) -> str:
    """Adler-32 of a file's bytes as 8 hexadecimal digits, reading it once."""
    value = 1
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            value = deflate.adler32(block, value)
    return f"{value:08x}"


def same_checksum(one: str, other: str) -> bool:
    """Whether two ``adler32:…`` are one number: catalogues drop leading zeros."""
    return _adler32_number(one) == _adler32_number(other)


def _adler32_number(checksum: str) -> int:
    return int(checksum.removeprefix("adler32:"), 16)


def _stat(location: str) -> os.stat_result:
    if Path(location).is_dir():
        raise DataError(f"{location}: a directory; a ROOT file was expected")
    try:
        return Path(location).stat()
    except OSError as error:
        raise _unreadable(location, error) from error


def _checksum(location: str) -> str:
    try:
        return f"adler32:{adler32_of(location)}"
    except OSError as error:
        raise _unreadable(location, error) from error


def _unreadable(location: str, error: OSError) -> DataError:
    return DataError(
        f"{location}: cannot be read ({error.strerror}); check the name and the permissions"
    )


def inspect_file(
    location: str,
    tree: str,
    uri: str,
    *,
    size: int | None = None,
    checksum: str | None = None,
    entry_start: int = 0,
    entry_stop: int | None = None,
    known: KnownFiles | None = None,
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
    known
        Earlier inspections: a file that did not change since one of them is not opened.

    Raises
    ------
    Unreachable
        If its server does not answer.
    DataError
        If the file is missing, not ROOT, truncated, without that tree, without entries, or not
        what the catalogue says.
    """
    said = (size, checksum)
    inspect = _inspect_remote if is_url(location) else _inspect_local
    found_size, found = inspect(location, tree, said, known)
    found_checksum = found.checksum
    if found_checksum is None and checksum is not None:
        found_checksum = f"adler32:{_adler32_number(checksum):08x}"
    return FilesetFile(
        uri=uri,
        tree=tree,
        entries=found.entries,
        size=found_size,
        checksum=found_checksum,
        uuid=found.uuid,
        entry_start=entry_start,
        entry_stop=entry_stop,
    )


def _inspect_local(
    location: str, tree: str, said: _Said, known: KnownFiles | None
) -> tuple[int, Inspected]:
    before = _stat(location)
    size = before.st_size
    found = known.find(location, tree, local_state(before)) if known is not None else None
    if found is not None:
        _compare_with_catalogue(location, size, found.checksum, said)
        return size, found
    checksum = _checksum(location)
    _compare_with_catalogue(location, size, checksum, said)
    found = Inspected(*_opened(location, tree, size), checksum)
    if known is not None:
        known.add_local(location, tree, before, found)
    return size, found


def _inspect_remote(
    location: str, tree: str, said: _Said, known: KnownFiles | None
) -> tuple[int, Inspected]:
    told = remote_file(location)
    checksum = None if told.adler32 is None else f"adler32:{told.adler32}"
    _compare_with_catalogue(location, told.size, checksum, said)
    content = checksum or told.etag
    if known is None or content is None:
        return told.size, Inspected(*_opened(location, tree, told.size), checksum)
    state = (told.size, content)
    found = known.find(location, tree, state)
    if found is None:
        found = Inspected(*_opened(location, tree, told.size), checksum)
        known.add(location, tree, state, found)
    return told.size, found


def _compare_with_catalogue(location: str, size: int, checksum: str | None, by: _Said) -> None:
    said_size, said = by
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
            with uproot.open({located(location): None}, **open_options(location)) as file:
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
    entries = _entries_in_header(file.key(tree))
    if entries is None:
        entries = int(file[tree].num_entries)
    if entries == 0:
        raise DataError(f"{location}: tree {tree!r} has no entries; take the file off the list")
    return entries


def _entries_in_header(key: Any) -> int | None:
    """Entries of a TTree, from the first fields of the object; None where it is framed otherwise.

    To read the whole object takes half a second for a tree of thousands of branches.
    """
    chunk, cursor = key.get_uncompressed_chunk_cursor()
    size, version = cursor.fields(chunk, _FRAME, {})
    if size != _IS_FRAME | (key.fObjlen - 4) or version not in _TTREE_VERSIONS:
        return None
    for _ in range(_BASES_OF_TTREE):
        size, _version = cursor.fields(chunk, _FRAME, {}, move=False)
        if not size & _IS_FRAME:
            return None
        cursor.skip(4 + (size ^ _IS_FRAME))
    entries = int(cursor.field(chunk, _ENTRIES, {}))
    return entries if entries >= 0 else None


def _starts_as_root(location: str) -> bool:
    if is_url(location):
        return True
    with open(location, "rb") as file:
        return file.read(4) == b"root"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
