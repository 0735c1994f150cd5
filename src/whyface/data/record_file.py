"""RecordIO, the container of MXNet: records of bytes one after the other, and an index of their places.

A record is one or several parts. Each part is the magic number, a word with the kind of part (upper 3 bits) and its
length (lower 29 bits), the bytes, and zeros up to a multiple of 4. Data that hold the magic number themselves are cut
there into parts, without it; whoever reads puts it back. All numbers are little-endian. The index is text: a key, a tab
and the byte position of a record in each line.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from whyface.errors import DataError
from whyface.evaluate.closing import Closing
from whyface.evaluate.pictures import LARGEST_FILE
from whyface.evaluate.protocols import read_lines

MAGIC: Final = 0xCED7230A
WHOLE, FIRST, MIDDLE, LAST = range(4)

_WORDS: Final = struct.Struct("<II")
_MAGIC_BYTES: Final = MAGIC.to_bytes(4, "little")


class RecordFile(Closing):
    """One ``.rec`` file, read at any place or from front to back. Reading is safe from several threads.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    DataError
        If the file cannot be opened or is empty.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._size = self.path.stat().st_size
            self._file = self.path.open("rb")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be opened ({error.strerror}); check the path") from error
        if not self._size:
            self._file.close()
            raise DataError(f"{self.path}: empty; fetch the file again")

    def read_at(self, position: int, record: str, *, most: int | None = None) -> bytes:
        """Return the record that starts at a byte position.

        Parameters
        ----------
        position
            Where it starts.
        record
            What to call it in an error message.
        most
            Read only about this many of its first bytes.

        Raises
        ------
        DataError
            If there is no whole record.
        """
        return self._read(position, record, most)[0]

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield position and content of every record from front to back.

        Raises
        ------
        DataError
            At the first record that is damaged or cut off; those before it have been given.
        """
        position = number = 0
        while position < self._size:
            data, after = self._read(position, f"record {number}", None)
            yield position, data
            position, number = after, number + 1

    def positions(self) -> dict[int, int]:
        """Find all records by reading the file once; keys are numbers from 0, as in the usual index.

        Raises
        ------
        DataError
            If a record is damaged or cut off.
        """
        return {number: position for number, (position, _) in enumerate(self.records())}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self, position: int, record: str, most: int | None) -> tuple[bytes, int]:
        """Return the content of a record and the position after it."""
        parts: list[bytes] = []
        total = 0
        while True:
            kind, length = self._part_head(position, record)
            if (kind in (WHOLE, FIRST)) != (not parts):
                raise self._damaged(record, position, "its parts are out of order")
            total += length
            if total > LARGEST_FILE:
                raise self._damaged(record, position, f"{total} bytes are too many for a picture")
            after = position + _WORDS.size + (length + 3) // 4 * 4
            data = self._bytes(position + _WORDS.size, length if most is None else min(length, most))
            if after > self._size or (most is None and len(data) != length):
                raise self._damaged(record, position, "it is cut off")
            parts.append(data)
            position = after
            if kind in (WHOLE, LAST) or (most is not None and total >= most):
                return _MAGIC_BYTES.join(parts), position

    def _part_head(self, position: int, record: str) -> tuple[int, int]:
        head = self._bytes(position, _WORDS.size) if 0 <= position < self._size else b""
        if len(head) < _WORDS.size:
            raise self._damaged(record, position, "it is cut off")
        magic, word = _WORDS.unpack(head)
        kind, length = word >> 29, word & (2**29 - 1)
        if magic != MAGIC or kind > LAST:
            raise self._damaged(record, position, "no record starts there")
        return kind, length

    def _bytes(self, position: int, count: int) -> bytes:
        with self._lock:
            if self._file.closed:
                raise DataError(f"{self.path}: already closed; open it again")
            self._file.seek(position)
            return self._file.read(count)

    def _damaged(self, record: str, position: int, what: str) -> DataError:
        return DataError(
            f"{self.path}: {record} at byte {position} is damaged ({what}); fetch the .rec file and its index again"
        )


def read_index(path: str | Path) -> dict[int, int]:
    """Read an ``.idx`` file.

    Returns
    -------
    dict
        The byte position of each record by its key, in the order of the file.

    Raises
    ------
    DataError
        If it cannot be read, is empty, or a line is not a new key and a position.
    """
    path = Path(path)
    positions: dict[int, int] = {}
    for number, line in read_lines(path):
        fields = line.split()
        if len(fields) != 2 or not all(f.isascii() and f.isdigit() and len(f) < 19 for f in fields):
            raise DataError(f"{path}, line {number}: expected a key and a byte position, got {line[:60]!r}")
        key, position = int(fields[0]), int(fields[1])
        if key in positions:
            raise DataError(f"{path}, line {number}: the key {key} occurs twice; fetch the index again")
        positions[key] = position
    return positions
