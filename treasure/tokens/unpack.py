"""Ids and lengths from the content of a parquet page, compiled.

https://parquet.apache.org/docs/file-format/data-pages/encodings has the encodings. Bytes may be
anything: nothing is read or written beyond its place.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from treasure.tokenizer.compiled import compiled

__all__ = ["BEHIND", "read_page"]

BEHIND = np.zeros(8, dtype=np.uint8)  # what must follow a page, for it may be read

Bytes = NDArray[np.uint8]
Ids = NDArray[np.integer[Any]]
Counts = NDArray[np.int64]

# An index of unsigned type cannot be negative: the compiler then loads four bytes at once.
_U32, _U64 = np.uint32, np.uint64


@compiled
def _word(data: Bytes, at: Any) -> Any:
    """Four bytes, the lowest first, as one number."""
    return (
        _U32(data[at])
        | (_U32(data[at + _U64(1)]) << _U32(8))
        | (_U32(data[at + _U64(2)]) << _U32(16))
        | (_U32(data[at + _U64(3)]) << _U32(24))
    )


@compiled
def _unpack(data: Bytes, begin: int, end: int, width: int, table: Any, out: Any) -> bool:
    """Fill an array with numbers of some bits (RLE and bit packing mixed), looked up in a table.

    False, where they do not suffice, or are not in the table.
    """
    # Behind the last number that is taken, four bytes are read: they must be there.
    if width < 0 or width > 25 or begin < 0 or begin > end or end + 4 > len(data):
        return False
    mask, bits, known = _U32((1 << width) - 1), _U64(width), _U64(len(table))
    position: Any = begin
    done: Any = 0
    while done < len(out):
        header, shift = np.int64(0), 0
        while True:
            if position >= end or shift > 28:
                return False
            byte = np.int64(data[position])
            position += 1
            header |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if header & 1:
            take = min((header >> 1) * 8, len(out) - done)
            if position + (header >> 1) * width > end:
                return False
            first, to = _U64(position), _U64(done)
            for number in range(_U64(take)):
                bit = number * bits
                word = _word(data, first + (bit >> _U64(3)))
                place = _U64((word >> _U32(bit & _U64(7))) & mask)
                if place >= known:
                    return False
                out[to + number] = table[place]
            position += (header >> 1) * width
        else:
            take = min(header >> 1, len(out) - done)
            size = (width + 7) >> 3
            if take == 0 or position + size > end:
                return False
            place = _U64(_word(data, _U64(position)) & mask)
            if place >= known:
                return False
            out[done : done + take] = table[place]
            position += size
        done += take
    return True


@compiled
def read_page(
    data: Bytes,
    end: int,
    entries: int,
    is_plain: bool,
    dictionary: Ids,
    largest: int,
    highest: Counts,
    ids: Ids,
    counts: Counts,
    done: Counts,
) -> bool:
    """Add the ids of a page to those before it, and to the counts of its rows; False: unusual.

    Parameters
    ----------
    data, end
        Content of the page, which ends there: repetition and definition levels, then values.
    entries
        Values, and jets without particles.
    is_plain, dictionary
        Whether values are numbers of 32 bits, or else places in a dictionary.
    largest
        What an id may be, so that it fits into `ids`.
    highest
        Levels of an id that continues a particle or a jet, and of one that is there.
    ids, counts, done
        What is filled; and how many ids, rows and entries are.
    """
    if entries < 0 or done[2] + entries > len(ids):
        return False
    same = np.arange(256).astype(np.uint8)
    levels = np.empty((2, entries), dtype=np.uint8)
    position: Any = 0
    for kind in range(2):
        if highest[kind] < 1 or highest[kind] > 255 or position + 4 > end:
            return False
        size = np.int64(_word(data, _U64(position)))
        position += 4
        if position + size > end:
            return False
        width = 0
        while highest[kind] >> width:
            width += 1
        if not _unpack(data, position, position + size, width, same, levels[kind]):
            return False
        position += size
    repetition, definition = levels[0], levels[1]
    there = np.uint8(highest[1])
    row, found, count = done[1] - 1, 0, 0
    if row < 0 and entries and repetition[0]:
        return False
    for entry in range(_U64(entries)):
        if repetition[entry] == 0:
            if row >= 0:
                counts[row] += count
            row += 1
            if row >= len(counts):
                return False
            found += count
            count = 0
        if definition[entry] == there:
            count += 1
        elif definition[entry]:  # something is missing, which is neither an id nor a jet without
            return False
    if row >= 0:
        counts[row] += count
    found += count
    first = done[0]
    if first + found > len(ids):
        return False
    out = ids[first : first + found]
    if is_plain:
        if position + 4 * found > end:
            return False
        for number in range(_U64(found)):
            value = _word(data, _U64(position) + _U64(4) * number)
            if value > largest:
                return False
            out[number] = value
    elif found and (
        position >= end
        or not _unpack(data, position + 1, end, np.int64(data[position]), dictionary, out)
    ):
        return False
    done[0] += found
    done[1] = row + 1
    done[2] += entries
    return True
