"""Verification files of insightface (``.bin``): read pictures and pairs, and infer people from genuine pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.protocols import PairProtocol, build_protocol
from whyface.data.restricted_pickle import PickledArray, restricted_loads
from whyface.errors import DataError, InputError
from whyface.faces.pictures import LARGEST_FILE, Closing, PictureSource, decode_aligned
from whyface.files.guarded import LARGEST_ARCHIVE, check_plain, read_guarded


def join_people(count: int, genuine_pairs: Iterable[tuple[int, int]]) -> NDArray[np.intp]:
    """Group pictures that genuine pairs connect, directly or through others, into people.

    Parameters
    ----------
    genuine_pairs
        Numbers of two pictures of one person.

    Returns
    -------
    ndarray
        For each picture, the smallest number among its person's pictures, shape (count,) intp.
    """
    parent = list(range(count))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for left, right in genuine_pairs:
        one, other = root(left), root(right)
        parent[max(one, other)] = min(one, other)
    return np.array([root(number) for number in range(count)], np.intp)


def contradictions(
    people: NDArray[np.intp], left: NDArray[np.intp], right: NDArray[np.intp], genuine: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Return the numbers of the impostor pairs with both pictures grouped into one person."""
    same: NDArray[Any] = people[left] == people[right]
    return np.flatnonzero(same & ~genuine)


LARGEST_BIN: Final = 2**30
"""Larger files are refused unless the caller allows more; typical files have 50 to 100 MB."""


class BinPictures(Closing):
    """The pictures of a verification file, in memory, named ``000000``, ``000001``, ... in their order.

    Parameters
    ----------
    where
        Name of the file in error messages.
    pictures
        The encoded pictures.
    """

    def __init__(self, where: str, pictures: tuple[bytes, ...]) -> None:
        self._where = where
        self._pictures: dict[str, bytes] = {picture_name(k): data for k, data in enumerate(pictures)}

    def names(self) -> tuple[str, ...]:
        """Return the names of all pictures, sorted."""
        return tuple(self._pictures)

    def read(self, name: str) -> NDArray[np.uint8]:
        """Return one picture, RGB uint8 (112, 112, 3)."""
        return decode_aligned(self.read_bytes(name), f"{self._where}: picture {name}")

    def read_bytes(self, name: str) -> bytes:
        """Return one picture as it is encoded in the file."""
        try:
            return self._pictures[name]
        except KeyError:
            raise DataError(f"{self._where}: holds no picture {name!r}; names are 000000, 000001, ...") from None

    def close(self) -> None:
        """Release the pictures."""
        self._pictures = {}


@dataclass(frozen=True, eq=False)
class BinSet:
    """One verification file.

    Attributes
    ----------
    source
        Its pictures.
    protocol
        Its pairs. Pictures of equal content are one picture. The file has no names: pictures that genuine pairs
        connect, directly or through others, are one person, named after the first of them.
    contradictions
        Number of impostor pairs within one inferred person: some labels in the file are wrong. They are kept as
        labelled; grouping too many pictures only widens intervals over people.
    """

    source: PictureSource
    protocol: PairProtocol
    contradictions: int


def picture_name(number: int) -> str:
    """Return a picture's name from its position in the file."""
    return f"{number:06d}"


def read_bin(path: str | Path, *, folds: int = 10, name: str = "", max_bytes: int = LARGEST_BIN) -> BinSet:
    """Read a verification file.

    The pairs are divided into ``folds`` contiguous blocks, as usual for such files and in insightface's own evaluation.
    Raise DataError if the file cannot be read, is too large, cut off or malformed, has fewer pairs than folds, or
    contains anything other than pictures and labels, and InputError if ``folds`` is below 1.

    Parameters
    ----------
    path
        The file, written by Python 2 or 3, with the labels in a list or a NumPy array.
    max_bytes
        Largest file that is read. It is held in memory, twice while it is read.
    """
    path = Path(path)
    _check_folds(folds)
    pictures, genuine = _check_content(restricted_loads(_read(path, max_bytes), str(path)), str(path))
    return pair_set(
        BinPictures(str(path), pictures), pictures, genuine, folds=folds, where=str(path), name=name or path.stem
    )


def pair_set(
    source: PictureSource, contents: Iterable[bytes], genuine: Sequence[bool], *, folds: int, where: str, name: str
) -> BinSet:
    """Return pictures 2 k and 2 k + 1 as pair k; see :class:`BinSet`.

    Raise DataError if there are fewer pairs than folds, and InputError if ``folds`` is below 1.
    """
    _check_folds(folds)
    if len(genuine) < folds:
        raise DataError(f"{where}: {len(genuine)} pairs are too few for {folds} folds; use fewer folds")
    first: dict[bytes, int] = {}
    same_as = [first.setdefault(hashlib.sha256(data).digest(), k) for k, data in enumerate(contents)]
    left, right = same_as[0::2], same_as[1::2]
    blocks = np.array_split(np.arange(len(genuine)), folds)
    fold = [k for k, block in enumerate(blocks) for _ in block]
    joined = join_people(len(same_as), [(a, b) for a, b, g in zip(left, right, genuine, strict=True) if g])
    rows = [(picture_name(a), picture_name(b), g, f) for a, b, g, f in zip(left, right, genuine, fold, strict=True)]
    people = {picture_name(k): picture_name(int(joined[k])) for k in first.values()}
    wrong = contradictions(joined, np.array(left, np.intp), np.array(right, np.intp), np.array(genuine, np.bool_))
    return BinSet(source, build_protocol(name, rows, people), len(wrong))


def _check_folds(folds: int) -> None:
    if folds < 1:
        raise InputError(f"folds must be at least 1, got {folds}")


def _read(path: Path, max_bytes: int) -> bytes:
    try:
        if check_plain(path, most=LARGEST_ARCHIVE) > max_bytes:
            raise DataError(f"{path}: more than the limit of {max_bytes} bytes; raise the limit if it is a pair file")
        data = read_guarded(path, most=max_bytes)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not data:
        raise DataError(f"{path}: empty; fetch the file again")
    return data


def _check_content(content: Any, where: str) -> tuple[tuple[bytes, ...], list[bool]]:
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise DataError(f"{where}: not a verification file; expected a pickle of (pictures, same)")
    stored, labels = content
    if not isinstance(stored, list | tuple) or not isinstance(labels, list | tuple | PickledArray):
        raise DataError(f"{where}: not a verification file; expected a list of pictures and a list of labels")
    if not labels or len(stored) != 2 * len(labels):
        raise DataError(f"{where}: {len(stored)} pictures do not fit {len(labels)} pairs; there must be two for each")
    pictures = tuple(_picture(item, f"{where}: picture {picture_name(k)}") for k, item in enumerate(stored))
    values = labels.values() if isinstance(labels, PickledArray) else labels
    return pictures, [_label(value, f"{where}: pair {k}") for k, value in enumerate(values)]


def _picture(item: Any, where: str) -> bytes:
    if isinstance(item, PickledArray):
        item = item.data
    if not isinstance(item, bytes | bytearray) or not item:
        raise DataError(f"{where} is not bytes; expected an encoded picture")
    if len(item) > LARGEST_FILE:
        raise DataError(f"{where}: {len(item)} bytes is too large for an aligned picture")
    return bytes(item)


def _label(value: Any, where: str) -> bool:
    if not isinstance(value, bool | int) or value not in (0, 1):
        raise DataError(f"{where}: its label is neither true nor false; fetch the file again")
    return bool(value)
