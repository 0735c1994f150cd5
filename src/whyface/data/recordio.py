"""RecordIO, the container format of MXNet: a sequence of records of bytes, and an index of their positions.

A record has one or more parts. Each part is the magic number, a word with the kind of part (upper 3 bits) and its
length (lower 29 bits), the bytes, and zeros up to a multiple of 4. Data that contain the magic number are split there
into parts, without it; readers insert it again. All numbers are little-endian. The index is text: a key, a tab and the
byte position of a record in each line.
"""

from __future__ import annotations

import math
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.folders import LabelledPictures, label_pictures
from whyface.data.protocols import read_lines
from whyface.errors import DataError
from whyface.faces.pictures import LARGEST_FILE, Closing, decode_aligned
from whyface.files.guarded import LARGEST_ARCHIVE, check_plain

MAGIC: Final = 0xCED7230A
WHOLE, FIRST, MIDDLE, LAST = range(4)

_WORDS: Final = struct.Struct("<II")
_MAGIC_BYTES: Final = MAGIC.to_bytes(4, "little")


class RecordFile(Closing):
    """One ``.rec`` file, read at any position or from front to back. Several threads may read at once.

    Raise DataError if the file cannot be opened or is empty.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._size = check_plain(self.path, most=LARGEST_ARCHIVE)
            self._file = self.path.open("rb")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be opened ({error.strerror}); check the path") from error
        if not self._size:
            self._file.close()
            raise DataError(f"{self.path}: empty; fetch the file again")

    def read_at(self, position: int, record: str, *, most: int | None = None) -> bytes:
        """Return the record that starts at a byte position.

        Raise DataError if there is no complete record.

        Parameters
        ----------
        most
            Read only about this many bytes, from the start.
        """
        return self._read(position, record, most)[0]

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield position and content of every record from front to back.

        Raise DataError at the first record that is damaged or cut off, after those before it.
        """
        position = number = 0
        while position < self._size:
            data, after = self._read(position, f"record {number}", None)
            yield position, data
            position, number = after, number + 1

    def positions(self) -> dict[int, int]:
        """Find all records by reading the file once; keys are numbers from 0, as in the usual index.

        Raise DataError if a record is damaged or cut off.
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

    Raise DataError if the file cannot be read or is empty, or a line is not a new key and a position.

    Returns
    -------
    dict
        The byte position of each record by its key, in the order of the file.
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


_HEADER: Final = struct.Struct("<IfQQ")
_MOST_LABELS: Final = 1024
_LARGEST_NUMBER: Final = 2.0**53
_ENOUGH: Final = _HEADER.size + 8
"""Number of bytes at the start of a record that contain its first two labels."""


@dataclass(frozen=True)
class ImageHeader:
    """The header of a record: the labels of its picture (at least one) and the numbers of the record."""

    flag: int
    labels: tuple[float, ...]
    id: int
    id2: int


def read_header(data: bytes, where: str, *, labels: int = _MOST_LABELS) -> tuple[ImageHeader, int]:
    """Read the header of a record.

    Return the header, and where the picture starts. Raise DataError if the record is too short for its header or has
    more than 1,024 labels.

    Parameters
    ----------
    data
        The record, or enough of its start.
    labels
        Maximum number of labels to read.
    """
    if len(data) < _HEADER.size:
        raise DataError(f"{where}: {len(data)} bytes are too short for a header; fetch the file again")
    flag, label, number, other = _HEADER.unpack_from(data)
    count = min(flag, labels)
    if flag > _MOST_LABELS or len(data) < _HEADER.size + 4 * count:
        raise DataError(f"{where}: its header asks for {flag} labels that are not there; fetch the file again")
    values = struct.unpack_from(f"<{count}f", data, _HEADER.size) if flag else (label,)
    return ImageHeader(flag, values, number, other), _HEADER.size + 4 * flag


class RecordPictures(Closing):
    """The pictures of a record file, named after their keys, as in ``00000001``.

    Raise DataError if a file cannot be read or is damaged, or there are no pictures.

    Parameters
    ----------
    path
        The ``.rec`` file.
    index
        The ``.idx`` file; by default, the one with the same stem. If that is missing, the record file is read once from
        front to back instead.
    """

    def __init__(self, path: str | Path, index: str | Path | None = None) -> None:
        self._file = RecordFile(path)
        try:
            beside = Path(path).with_suffix(".idx")
            if index is None and not beside.exists():
                positions = self._file.positions()
            else:
                positions = read_index(beside if index is None else index)
            self._positions = {_name(key): at for key, at in sorted(self._pictures_among(positions).items())}
        except BaseException:
            self._file.close()
            raise

    def names(self) -> tuple[str, ...]:
        """Return the names of all pictures, in the order of their keys."""
        return tuple(self._positions)

    def read(self, name: str) -> NDArray[np.uint8]:
        """Return one picture, RGB uint8 (112, 112, 3)."""
        return decode_aligned(self.read_bytes(name), self._where(name))

    def read_bytes(self, name: str) -> bytes:
        """Return one picture as it is encoded in the file."""
        data = self._file.read_at(self._position(name), f"record {name}")
        return data[read_header(data, self._where(name))[1] :]

    def label(self, name: str) -> int:
        """Return the number of the person in a picture, without reading the picture.

        Raise DataError if the record is damaged or its label is not a whole number of at least 0.
        """
        data = self._file.read_at(self._position(name), f"record {name}", most=_ENOUGH)
        value = read_header(data, self._where(name), labels=2)[0].labels[0]
        if not _is_number(value):
            raise DataError(f"{self._where(name)}: its label {value} is not a person's number; fetch the file again")
        return int(value)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _position(self, name: str) -> int:
        position = self._positions.get(name)
        if position is None:
            raise DataError(f"{self._file.path}: holds no picture {name!r}; names are keys of eight digits")
        return position

    def _where(self, name: str) -> str:
        return f"{self._file.path}: record {name}"

    def _pictures_among(self, positions: dict[int, int]) -> dict[int, int]:
        if 0 not in positions:
            return positions
        where = f"{self._file.path}: record {_name(0)}"
        first = self._file.read_at(positions[0], f"record {_name(0)}", most=_ENOUGH)
        header = read_header(first, where, labels=2)[0]
        if header.flag == 0:
            return positions
        end = header.labels[0]
        if not _is_number(end):
            raise DataError(f"{where}: {end} is not a number of pictures; fetch the file again")
        found = {key: at for key, at in positions.items() if 0 < key < end}
        if not found:
            raise DataError(
                f"{where}: says that there are no pictures; check that the file and its index belong together"
            )
        return found


def open_records(path: str | Path, index: str | Path | None = None) -> LabelledPictures:
    """Open a record file as labelled pictures; people are named by their numbers.

    The header of every record is read once, the pictures are not. Raise DataError if a file cannot be read, a record is
    damaged or a label is not a whole number of at least 0.
    """
    source = RecordPictures(path, index)
    try:
        person_of = {name: source.label(name) for name in source.names()}
        people = [str(number) for number in sorted(set(person_of.values()))]
        return label_pictures(source, {name: str(number) for name, number in person_of.items()}, people)
    except BaseException:
        source.close()
        raise


def _name(key: int) -> str:
    return f"{key:08d}"


def _is_number(value: float) -> bool:
    return math.isfinite(value) and 0 <= value < _LARGEST_NUMBER and value == int(value)
