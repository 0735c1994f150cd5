"""Verification of sets of pictures, such as the frames of two videos, instead of two pictures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from whyface.errors import InputError
from whyface.evaluate.protocols import PairProtocol


@dataclass(frozen=True, eq=False)
class SetProtocol:
    """Pairs of sets of pictures.

    Attributes
    ----------
    pairs
        Who is compared with whom; what it calls pictures are the names of the V sets.
    frames
        The pictures of each set in their order, V entries, none of them empty.
    """

    pairs: PairProtocol
    frames: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.pairs.pictures) or not all(self.frames):
            raise InputError(f"protocol {self.pairs.name}: every set needs one or more pictures")

    @property
    def count(self) -> int:
        """How many pictures all sets have together."""
        return sum(map(len, self.frames))

    def at_most(self, count: int) -> SetProtocol:
        """Keep at most so many pictures of each set, evenly spaced.

        Raises
        ------
        InputError
            If ``count`` is below 1.
        """
        return SetProtocol(self.pairs, tuple(evenly_spaced(names, count) for names in self.frames))

    def without(self, names: Collection[str]) -> SetProtocol:
        """Leave out pictures, and the pairs of sets of which none is left.

        Raises
        ------
        DataError
            If no pairs are left.
        """
        gone = frozenset(names)
        left = [tuple(name for name in frames if name not in gone) for frames in self.frames]
        empty = [name for name, frames in zip(self.pairs.pictures, left, strict=True) if not frames]
        kept = dict(zip(self.pairs.pictures, left, strict=True))
        pairs = self.pairs.without(empty)
        return SetProtocol(pairs, tuple(kept[name] for name in pairs.pictures))


def evenly_spaced(names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Choose at most ``count`` of N names: the middles of ``count`` equal parts.

    Raises
    ------
    InputError
        If ``count`` is below 1.
    """
    if count < 1:
        raise InputError(f"at least one picture of each set is needed, got {count}")
    if len(names) <= count:
        return names
    return tuple(names[place] for place in ((2 * np.arange(count) + 1) * len(names) // (2 * count)).tolist())
