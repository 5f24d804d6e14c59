"""ROOT files without the time of writing, so that the same content is the same bytes.

Every record of a ROOT file starts with a key that holds the time at which it was written, and so do
the directories and their lists of keys. ROOT can leave the time out (its option `reproducible`);
uproot writes the clock. This sets those fields to one value, walking the file record by record
(layout: TFile, TKey and TDirectory class reference of ROOT).
"""

from __future__ import annotations

import struct
from pathlib import Path

from treasure.errors import TreasureError

__all__ = ["fix_times"]

#: 1 January 1995, the first time that TDatime can say: year - 1995 in the bits from 26, month from
#: 22, day from 17.
EPOCH = struct.pack(">I", 1 << 22 | 1 << 17)

# Offsets in bytes of the fields used here; big-endian, files below 2 GB.
_HEADER = struct.Struct(">4siiiiiii")  # root, version, begin, end, seek free, n free, free, n name
_KEY = struct.Struct(">ihiIhhi")  # bytes, version, length, time, key length, cycle, place
_LARGE_KEY = struct.Struct(">ihiIhhq")  # the same with version above 1000
_KEY_TIME = 10
_DIRECTORY = struct.Struct(">hIIiiiii")  # version, created, modified, n keys, n name, seeks
_DIRECTORY_TIMES = (2, 6)
_LONGEST_REST = 40  # two free segments of the long form; uproot keeps one or two


def fix_times(path: Path) -> None:
    """Overwrite the time stamps of a ROOT file that has only its top directory.

    Raises
    ------
    TreasureError
        The records do not tile the file, or it is of 2 GB or more: nothing is changed then.
    """
    data = path.read_bytes()
    magic, _, begin, end, _, _, _, n_name = _HEADER.unpack_from(data)
    if magic != b"root" or end != len(data) or len(data) >= 1 << 31:
        raise TreasureError(
            f"{path}: not a complete ROOT file below 2 GB; write fewer events into one file"
        )
    directory = begin + n_name
    seek_list = _DIRECTORY.unpack_from(data, directory)[7]
    places = [directory + offset for offset in _DIRECTORY_TIMES]
    places += [seek + _KEY_TIME for seek in _records(path, data, begin, end)]
    places += _listed_keys(data, seek_list)
    with path.open("r+b") as file:
        for place in places:
            file.seek(place)
            file.write(EPOCH)


def _records(path: Path, data: bytes, begin: int, end: int) -> list[int]:
    found = []
    position = begin
    while position < end:
        size = _key_size(data, position)
        if size > 0:
            found.append(position)
            position += size
        elif data[position] == 0:
            position += 1  # room that uproot reserved for later keys and streamers
        else:
            position = _behind_rest(path, data, position, end)
    if position != end:
        raise TreasureError(f"{path}: the last record ends at byte {position} instead of {end}")
    return found


def _behind_rest(path: Path, data: bytes, position: int, end: int) -> int:
    """Where the next record is, after the end of a list of free segments that became shorter.

    Such a rest has no times in it.
    """
    for after in range(position + 1, min(position + _LONGEST_REST, end) + 1):
        if after == end or _key_size(data, after) > 0:
            return after
    raise TreasureError(f"{path}: no record at byte {position} of {end}")


def _key_size(data: bytes, position: int) -> int:
    """Length in bytes of the record whose key is here; 0 where there is none."""
    if position + _LARGE_KEY.size > len(data):
        return 0
    size, version, *_, place = _KEY.unpack_from(data, position)
    if version > 1000:
        place = _LARGE_KEY.unpack_from(data, position)[-1]
    return size if place == position else 0  # a key says where it is


def _listed_keys(data: bytes, seek_list: int) -> list[int]:
    key_length = _KEY.unpack_from(data, seek_list)[4]
    position = seek_list + key_length
    (n_keys,) = struct.unpack_from(">i", data, position)
    position += 4
    found = []
    for _ in range(n_keys):
        found.append(position + _KEY_TIME)
        position += _KEY.unpack_from(data, position)[4]
    return found
