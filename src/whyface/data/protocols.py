"""The common form of all verification protocols: pictures, pairs of them, labels, folds and people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError

LabelledPair = tuple[str, str, bool, int]
"""Name of the left and of the right picture, whether the pair is genuine, and its fold."""


@dataclass(frozen=True, eq=False)
class PairProtocol:
    """N pairs over M different pictures.

    Attributes
    ----------
    name
        Name of the protocol in reports.
    pictures
        M unique picture names, to be read from a :class:`whyface.faces.pictures.PictureSource`.
    left, right
        Indices into ``pictures``, shape (N,) int.
    genuine
        True where both pictures show the same person, shape (N,) bool.
    fold
        Fold of each pair from 0 upwards, shape (N,) int.
    people
        The person in each picture, M entries.
    columns
        Further columns of the list, such as groups, (N,) each.
    """

    name: str
    pictures: tuple[str, ...]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    genuine: NDArray[np.bool_]
    fold: NDArray[np.intp]
    people: tuple[str, ...]
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.genuine)
        if not count or any(a.shape != (count,) for a in (self.left, self.right, self.genuine, self.fold)):
            raise InputError(f"protocol {self.name}: left, right, genuine and fold must all have shape (N,), N > 0")
        if len(self.people) != len(self.pictures) or len(set(self.pictures)) != len(self.pictures):
            raise InputError(f"protocol {self.name}: pictures must be unique, with one person each")
        rows = np.concatenate((self.left, self.right))
        if rows.min() < 0 or rows.max() >= len(self.pictures):
            raise InputError(f"protocol {self.name}: a pair points at a picture that is not listed")

    @property
    def people_left(self) -> NDArray[np.str_]:
        """The person in the left picture of each pair, shape (N,)."""
        return np.asarray(self.people)[self.left]

    @property
    def people_right(self) -> NDArray[np.str_]:
        """The person in the right picture of each pair, shape (N,)."""
        return np.asarray(self.people)[self.right]

    def without(self, names: Collection[str]) -> PairProtocol:
        """Return the protocol without some pictures and the pairs that need them.

        Raises
        ------
        DataError
            If no pairs are left.
        """
        gone = frozenset(names)
        if gone.isdisjoint(self.pictures):
            return self
        usable = np.array([name not in gone for name in self.pictures])
        kept = np.flatnonzero(usable[self.left] & usable[self.right]).tolist()
        if not kept:
            raise DataError(f"{self.name}: no pair with two usable pictures is left; check the pictures")
        pairs = [
            (
                self.pictures[self.left[k]],
                self.pictures[self.right[k]],
                bool(self.genuine[k]),
                int(self.fold[k]),
            )
            for k in kept
        ]
        rest = build_protocol(self.name, pairs, dict(zip(self.pictures, self.people, strict=True)))
        return replace(rest, columns={name: column[kept] for name, column in self.columns.items()})


def build_protocol(name: str, pairs: Sequence[LabelledPair], people: dict[str, str]) -> PairProtocol:
    """Return a protocol with pictures in the order of their first appearance.

    Parameters
    ----------
    name
        Name of the protocol in reports.
    pairs
        Left picture, right picture, genuine, fold.
    people
        The person in each picture.
    """
    number: dict[str, int] = {}
    for left, right, _, _ in pairs:
        number.setdefault(left, len(number))
        number.setdefault(right, len(number))
    return PairProtocol(
        name=name,
        pictures=tuple(number),
        left=np.array([number[left] for left, _, _, _ in pairs], np.intp),
        right=np.array([number[right] for _, right, _, _ in pairs], np.intp),
        genuine=np.array([genuine for _, _, genuine, _ in pairs], np.bool_),
        fold=np.array([fold for _, _, _, fold in pairs], np.intp),
        people=tuple(people[picture] for picture in number),
    )


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the non-empty lines of a UTF-8 text file with their line numbers from 1.

    Raise DataError if the file cannot be read, is not UTF-8 or is empty.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return list(decode_lines(data, str(path)))


def decode_lines(data: bytes, where: str) -> Iterator[tuple[int, str]]:
    """Yield the non-empty lines of UTF-8 text, stripped, with their line numbers from 1.

    Raise DataError if the text is not UTF-8 or is empty.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not UTF-8 text (byte {error.start}); is this the protocol file?") from error
    if not text.strip():
        raise DataError(f"{where}: empty; fetch the file again")
    # Not splitlines(): that would also break at form feeds and other rare characters and shift the numbers.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()
