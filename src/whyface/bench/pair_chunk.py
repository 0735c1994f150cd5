"""The pairs that the bench works on, a few at a time, each with a third person's face and a seed of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.evaluate.pictures import PictureSource
from whyface.evaluate.protocols import PairProtocol

Faces = NDArray[np.uint8]
"""Aligned faces (N, 3, 112, 112), RGB uint8."""


@dataclass(frozen=True, eq=False)
class PairChunk:
    """N pairs.

    Attributes
    ----------
    numbers
        (N,): the pairs' numbers in the protocol.
    first, second
        Their faces.
    other
        For each pair a face of somebody else than the two, drawn at random.
    genuine
        (N,) bool.
    seed
        The bench's seed.
    """

    numbers: NDArray[np.intp]
    first: Faces
    second: Faces
    other: Faces
    genuine: NDArray[np.bool_]
    seed: int

    def __len__(self) -> int:
        return len(self.numbers)

    def only(self, wanted: NDArray[np.bool_]) -> PairChunk:
        """Keep some of the pairs, ``wanted`` (N,) bool."""
        return PairChunk(
            self.numbers[wanted],
            self.first[wanted],
            self.second[wanted],
            self.other[wanted],
            self.genuine[wanted],
            self.seed,
        )

    def generators(self, purpose: int) -> list[np.random.Generator]:
        """Return a generator for each pair that depends on seed, purpose and pair, not on how pairs are chunked."""
        return [np.random.default_rng((self.seed, purpose, int(number))) for number in self.numbers]


def choose_pairs(protocol: PairProtocol, count: int, seed: int) -> NDArray[np.intp]:
    """Draw pairs, genuine and impostor ones in turn, and return their numbers as drawn.

    Fewer pairs from the same seed are the beginning of more, so that a slow method can be compared on the first of
    the pairs, and a run that was cut off has measured a fair sample.

    Raises
    ------
    InputError
        If ``count`` is below 2 or the protocol has too few pairs of either kind.
    """
    if count < 2:
        raise InputError(f"the bench needs at least 2 pairs, one genuine and one impostor, got {count}")
    rng = np.random.default_rng((seed, 0))
    chosen = []
    for wanted, size in ((True, (count + 1) // 2), (False, count // 2)):
        numbers = np.flatnonzero(protocol.genuine == wanted)
        if len(numbers) < size:
            kind = "genuine" if wanted else "impostor"
            raise InputError(f"protocol {protocol.name} has {len(numbers)} {kind} pairs, not {size}; use fewer pairs")
        chosen.append(rng.permutation(numbers)[:size])
    drawn = np.empty(count, np.intp)
    drawn[::2], drawn[1::2] = chosen
    return drawn


def read_chunks(
    protocol: PairProtocol, source: PictureSource, numbers: NDArray[np.intp], *, size: int, seed: int
) -> Iterator[PairChunk]:
    """Read the pairs' faces, ``size`` pairs at a time.

    Raises
    ------
    DataError
        If a picture cannot be read.
    """
    people = np.asarray(protocol.people)
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        others = [_somebody_else(people, protocol, int(number), seed) for number in part]
        yield PairChunk(
            numbers=part,
            first=_read(source, protocol, protocol.left[part]),
            second=_read(source, protocol, protocol.right[part]),
            other=_read(source, protocol, np.asarray(others, np.intp)),
            genuine=protocol.genuine[part],
            seed=seed,
        )


def _somebody_else(people: NDArray[np.str_], protocol: PairProtocol, number: int, seed: int) -> int:
    pair = {people[protocol.left[number]], people[protocol.right[number]]}
    rng = np.random.default_rng((seed, 1, number))
    if set(people) <= pair:
        raise InputError(f"protocol {protocol.name} has nobody else than the two people of a pair; use a larger one")
    while True:
        drawn = int(rng.integers(len(people)))
        if people[drawn] not in pair:
            return drawn


def _read(source: PictureSource, protocol: PairProtocol, rows: NDArray[np.intp]) -> Faces:
    faces = np.stack([source.read(protocol.pictures[row]) for row in rows])
    return np.ascontiguousarray(faces.transpose(0, 3, 1, 2))
