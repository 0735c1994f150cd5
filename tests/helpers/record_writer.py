"""Writes RecordIO files, for tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

MAGIC = struct.pack("<I", 0xCED7230A)


def pack(data: bytes) -> bytes:
    """Cut the data where the magic number lies at a multiple of 4 bytes, and frame the parts."""
    parts, start, at = [], 0, 0
    while at + 4 <= len(data):
        if data[at : at + 4] == MAGIC:
            parts.append(data[start:at])
            start = at + 4
        at += 4
    parts.append(data[start:])
    kinds = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(
        MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
        for kind, part in zip(kinds, parts, strict=True)
    )


def image(label: float | Sequence[float], picture: bytes, key: int = 0) -> bytes:
    if isinstance(label, (int, float)):
        return struct.pack("<IfQQ", 0, label, key, 0) + picture
    return struct.pack(f"<IfQQ{len(label)}f", len(label), 0.0, key, 0, *label) + picture


def write_records(path: Path, records: Sequence[bytes], *, index: bool = True) -> list[int]:
    """Write ``path`` and its index with keys from 0; return the positions."""
    positions, content = [], b""
    for record in records:
        positions.append(len(content))
        content += pack(record)
    path.write_bytes(content)
    if index:
        path.with_suffix(".idx").write_text("".join(f"{key}\t{at}\n" for key, at in enumerate(positions)))
    return positions
