"""Structs of Thrift's compact protocol, in which parquet describes itself.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any

__all__ = ["read_struct"]

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST = range(1, 10)
_STRUCT = 12
_DEEPEST, _LONGEST_VARINT = 12, 63


def read_struct(data: bytes | memoryview) -> tuple[dict[int, Any], int]:
    """The struct that the bytes begin with: number of a field → its value, and how long it is.

    A value is an int, a bool, bytes (of a number in binary, too), a list, or again such fields.

    Raises
    ------
    ValueError
        If the bytes are no such struct, or one with sets or maps, of which parquet has none.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value, shift = 0, 0
        while (byte := data[position]) & 0x80:
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > _LONGEST_VARINT:
                raise ValueError("a number without end")
        position += 1
        return value | byte << shift

    def whole() -> int:
        value = varint()
        return (value >> 1) ^ -(value & 1)

    def bytes_of(length: int) -> bytes:
        nonlocal position
        found = bytes(data[position : position + length])
        position += length
        if len(found) < length:
            raise IndexError
        return found

    def value(kind: int, depth: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return whole()
        if kind == _STRUCT:
            return struct(depth + 1)
        if kind == _BINARY:
            return bytes_of(varint())
        if kind == _LIST:
            header = bytes_of(1)[0]
            length = header >> 4 if header >> 4 < 15 else varint()
            return [value(header & 15, depth + 1) for _ in range(length)]
        if kind in (_TRUE, _FALSE, _BYTE):  # in a list; of a field, the kind is the value
            return bytes_of(1)[0]
        if kind == _DOUBLE:
            return bytes_of(8)
        raise ValueError(f"a value of type {kind}")

    def struct(depth: int) -> dict[int, Any]:
        nonlocal position
        found: dict[int, Any] = {}
        number = 0
        if depth > _DEEPEST:
            raise ValueError("structs in structs without end")
        while (byte := data[position]) != 0:
            position += 1
            number = number + (byte >> 4) if byte >> 4 else whole()
            kind = byte & 15
            found[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else value(kind, depth)
        position += 1
        return found

    try:
        return struct(0), position
    except IndexError:
        raise ValueError("a struct that goes on beyond the end") from None
