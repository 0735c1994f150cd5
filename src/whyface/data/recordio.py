"""insightface's training sets: faces in an MXNet RecordIO file with an index.

Every record starts with a header of 24 bytes: flag (uint32), label (float32), id and id2 (uint64), little-endian; if
the flag is n > 0, n float32 labels follow and the one in the header does not count. Record 0 may hold no picture but,
with a flag, the number after the last picture's key; the records from there on describe people and hold no pictures.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.folders import LabelledPictures, label_pictures
from whyface.data.record_file import RecordFile, read_index
from whyface.errors import DataError
from whyface.evaluate.closing import Closing
from whyface.evaluate.pictures import decode_aligned

_HEADER: Final = struct.Struct("<IfQQ")
_MOST_LABELS: Final = 1024
_LARGEST_NUMBER: Final = 2.0**53
_ENOUGH: Final = _HEADER.size + 8
"""Bytes of a record that hold its first two labels."""


@dataclass(frozen=True)
class ImageHeader:
    """What a record says about its picture: labels (at least one) and the numbers of the record."""

    flag: int
    labels: tuple[float, ...]
    id: int
    id2: int


def read_header(data: bytes, where: str, *, labels: int = _MOST_LABELS) -> tuple[ImageHeader, int]:
    """Read the header of a record.

    Parameters
    ----------
    data
        The record, or enough of its start.
    where
        What to call it in an error message.
    labels
        Read no more labels than these.

    Returns
    -------
    The header, and where the picture starts.

    Raises
    ------
    DataError
        If the record is too short for its header or has more than 1,024 labels.
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
    """The pictures of a record file, named ``00000001`` and so on after their keys.

    Parameters
    ----------
    path
        The ``.rec`` file.
    index
        The ``.idx`` file; the one of the same stem by default. Where that is missing, the record file is read once from
        front to back instead.

    Raises
    ------
    DataError
        If a file cannot be read or is damaged, or there are no pictures.
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

        Raises
        ------
        DataError
            If the record is damaged or its label is no whole number from 0 upwards.
        """
        data = self._file.read_at(self._position(name), f"record {name}", most=_ENOUGH)
        value = read_header(data, self._where(name), labels=2)[0].labels[0]
        if not _is_number(value):
            raise DataError(f"{self._where(name)}: its label {value} is no person's number; fetch the file again")
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
            raise DataError(f"{where}: {end} is no number of pictures; fetch the file again")
        found = {key: at for key, at in positions.items() if 0 < key < end}
        if not found:
            raise DataError(
                f"{where}: says that there are no pictures; check that the file and its index belong together"
            )
        return found


def open_records(path: str | Path, index: str | Path | None = None) -> LabelledPictures:
    """Open a record file as labelled pictures; people are named by their numbers.

    The header of every record is read once, the pictures are not.

    Parameters
    ----------
    path, index
        As for :class:`RecordPictures`.

    Raises
    ------
    DataError
        If a file cannot be read, a record is damaged or a label is no whole number from 0 upwards.
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
