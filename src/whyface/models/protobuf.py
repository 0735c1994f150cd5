"""Read and write the fields of protobuf messages, and the numbers of the fields of ONNX that several readers need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
_LENGTH: Final = 2
_FIXED: Final = {1: 8, 5: 4}
UINT32: Final = 0xFFFFFFFF

# Field numbers of onnx.proto.
MODEL_GRAPH: Final = 7
MODEL_FUNCTIONS: Final = 25
FUNCTION_NODE: Final = 7
GRAPH_NODE: Final = 1
NODE_OP_TYPE: Final = 4
NODE_ATTRIBUTE: Final = 5
ATTRIBUTE_GRAPHS: Final = (6, 11)


def messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, bytes) of the fields that hold bytes.

    Raise ValueError if the bytes are not a message; :func:`fields` and :func:`read_varint` raise it too.
    """
    for field, value in fields(data):
        if not isinstance(value, int):
            yield field, value


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value): an int for a varint, bytes for the rest."""
    at, end = 0, len(data)
    while at < end:
        # Most keys and lengths are a single byte, and a network has tens of thousands of them.
        key = data[at]
        if key < 0x80:
            at += 1
        else:
            key, at = read_varint(data, at)
        field, wire = (key & UINT32) >> 3, key & 7
        if field == 0:
            raise ValueError("it is not a protobuf message")
        if wire == _LENGTH:
            length = data[at] if at < end else 0x80
            if length < 0x80:
                at += 1
            else:
                length, at = read_varint(data, at)
        elif wire == VARINT:
            value, at = read_varint(data, at)
            yield field, value
            continue
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise ValueError("it is not a protobuf message")
        if at + length > end:
            raise ValueError("it is cut short or not a protobuf message")
        if wire == _LENGTH:
            yield field, data[at : at + length]
        at += length


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at a byte, and where the next field begins."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("it is cut short or not a protobuf message")


def text(data: memoryview) -> str:
    """Decode a name."""
    # A name that is not UTF-8 would make ONNX Runtime write to standard output.
    return str(data, "utf-8")


def field_bytes(number: int, payload: bytes) -> bytes:
    """Write a field of bytes."""
    return varint_bytes(number << 3 | _LENGTH) + varint_bytes(len(payload)) + payload


def varint_bytes(value: int) -> bytes:
    """Write a number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def copied(field: int, value: int | memoryview) -> bytes:
    """Write a field as it was read."""
    if isinstance(value, int):
        return varint_bytes(field << 3 | VARINT) + varint_bytes(value)
    return field_bytes(field, bytes(value))
