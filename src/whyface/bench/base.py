"""The base of bench tests: each takes a chunk of pairs and a method, and returns rows of numbers."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.data.protocols import PairProtocol
from whyface.errors import InputError
from whyface.explain.pair_method import PairMaps, PairMethod
from whyface.faces.face import FACE_SIZE
from whyface.faces.pictures import PictureSource
from whyface.files.parts import Parts, Rows
from whyface.files.progress import ProgressCallback
from whyface.xcos.comparison import Comparison, Features, features_in_parts

PIXELS: Final = FACE_SIZE * FACE_SIZE
_MOST_KNOWN: Final = 4000
_MOST_MAPS: Final = 500


def to_pixels(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Resize maps (N, H, W) to (N, 112, 112), bilinearly.

    Raise InputError if the array is not 3-D, is empty, or has values that are not finite.
    """
    if maps.ndim != 3 or maps.size == 0:
        raise InputError(f"maps must be (N, H, W) with cells, got {maps.shape}; give one map per face")
    if not np.isfinite(maps).all():
        raise InputError("a map has values that are not finite; the method failed on this pair")
    if maps.shape[1:] == (FACE_SIZE, FACE_SIZE):
        return maps
    size = (FACE_SIZE, FACE_SIZE)
    return np.stack([cv2.resize(one, size, interpolation=cv2.INTER_LINEAR) for one in maps]).astype(np.float32)


def descending(pixel_map: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the pixels of a map (112, 112) from highest to lowest, (12544,) flat indices; ties in random order."""
    return np.lexsort((rng.permutation(pixel_map.size), -pixel_map.reshape(-1))).astype(np.intp)


def first_pixels(order: NDArray[np.intp], share: float) -> NDArray[np.bool_]:
    """Return a mask of the first floor(share * 12544) pixels of an order, (112, 112) bool."""
    mask = np.zeros(PIXELS, np.bool_)
    mask[order[: int(share * PIXELS + 1e-9)]] = True
    return mask.reshape(FACE_SIZE, FACE_SIZE)


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
        The faces of the pairs.
    other
        For a genuine pair, a face of a third person, drawn at random; for an impostor pair, another picture of the
        second person, or the second face again if the protocol has no other.
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
        """Return some of the pairs, ``wanted`` (N,) bool."""
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
    """Draw genuine and impostor pairs alternately, and return their numbers in the order drawn.

    With the same seed, a smaller draw is the start of a larger one, so that a slow method can be compared on the first
    pairs, and an interrupted run has measured a fair sample. Raise InputError if ``count`` is below 2 or the protocol
    has too few pairs of either kind.
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


def pairs_set_aside(protocol: PairProtocol, numbers: NDArray[np.intp], count: int, seed: int) -> NDArray[np.intp]:
    """Draw pairs other than those that are judged, genuine and impostor alternately: at most ``count``, maybe none.

    The threshold and the maps of other pairs come from them, so that nothing is judged by itself.
    """
    rng = np.random.default_rng((seed, 10))
    left = np.setdiff1d(np.arange(len(protocol.genuine)), numbers)
    kinds = [rng.permutation(left[protocol.genuine[left] == wanted]) for wanted in (True, False)]
    size = min(count // 2, *map(len, kinds))
    return np.stack([kind[:size] for kind in kinds], axis=1).reshape(-1)


def read_chunks(
    protocol: PairProtocol, source: PictureSource, numbers: NDArray[np.intp], *, size: int, seed: int
) -> Iterator[PairChunk]:
    """Read the pairs' faces, ``size`` pairs at a time. Raise DataError if a picture cannot be read."""
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        others = [
            third_person(protocol, int(number), seed)
            if protocol.genuine[number]
            else _partner(protocol, int(number), seed)
            for number in part
        ]
        yield PairChunk(
            numbers=part,
            first=_read(source, protocol, protocol.left[part]),
            second=_read(source, protocol, protocol.right[part]),
            other=_read(source, protocol, np.asarray(others, np.intp)),
            genuine=protocol.genuine[part],
            seed=seed,
        )


def missing_chunks(
    parts: Parts,
    protocol: PairProtocol,
    source: PictureSource,
    numbers: NDArray[np.intp],
    size: int,
    *,
    seed: int,
    progress: ProgressCallback | None = None,
) -> Iterator[tuple[int, PairChunk]]:
    """Yield number and pairs of each chunk that has no undamaged file, and report progress after every chunk."""
    for part, start in enumerate(range(0, len(numbers), size)):
        if not parts.has(part):
            (chunk,) = read_chunks(protocol, source, numbers[start : start + size], size=size, seed=seed)
            yield part, chunk
        if progress is not None:
            progress(min(start + size, len(numbers)), len(numbers))


def third_person(protocol: PairProtocol, number: int, seed: int) -> int:
    """Return a picture of somebody who is not in a pair, by its row in the protocol, drawn at random.

    Raise InputError if the protocol has only two people.
    """
    people = protocol.people
    pair = {people[protocol.left[number]], people[protocol.right[number]]}
    rng = np.random.default_rng((seed, 1, number))
    if set(people) <= pair:
        raise InputError(f"protocol {protocol.name} has no third person for a pair; use a larger one")
    while True:
        drawn = int(rng.integers(len(people)))
        if people[drawn] not in pair:
            return drawn


def _partner(protocol: PairProtocol, number: int, seed: int) -> int:
    """Return another picture of the second person of a pair, drawn at random; the second picture if there is none."""
    second = int(protocol.right[number])
    person = protocol.people[second]
    known = [row for row, name in enumerate(protocol.people) if name == person and row != second]
    return int(np.random.default_rng((seed, 9, number)).choice(known)) if known else second


def _read(source: PictureSource, protocol: PairProtocol, rows: NDArray[np.intp]) -> Faces:
    faces = np.stack([source.read(protocol.pictures[row]) for row in rows])
    return np.ascontiguousarray(faces.transpose(0, 3, 1, 2))


Explain = Callable[[Faces, Faces], PairMaps]


class Remembered:
    """A method's maps, computed once for each pair of faces, with their cost; the oldest are forgotten."""

    def __init__(self, method: PairMethod) -> None:
        self._method = method
        self._found: dict[bytes, PairMaps] = {}
        self.cost: tuple[float, float, int, int] | None = None

    def __call__(self, first: Faces, second: Faces) -> PairMaps:
        """Return the maps of pairs."""
        keys = [hashlib.sha256(a.tobytes() + b.tobytes()).digest() for a, b in zip(first, second, strict=True)]
        if len(self._found) > _MOST_MAPS:
            self._found.clear()
        new = list({key: row for row, key in enumerate(keys) if key not in self._found}.values())
        if new:
            began, worked = time.perf_counter(), time.process_time()
            maps = self._method.maps(first[new], second[new])
            if self.cost is None:
                spent = ((time.perf_counter() - began) / len(new), (time.process_time() - worked) / len(new))
                self.cost = (*spent, maps.forward, maps.backward)
            for place, row in enumerate(new):
                one = slice(place, place + 1)
                sides = maps.map_a[one], maps.map_b[one]
                self._found[keys[row]] = PairMaps(maps.score[one], *sides, maps.forward, maps.backward)
        kept = [self._found[key] for key in keys]
        return PairMaps(
            np.concatenate([one.score for one in kept]),
            np.concatenate([one.map_a for one in kept]),
            np.concatenate([one.map_b for one in kept]),
            kept[0].forward,
            kept[0].backward,
        )


@dataclass(frozen=True, eq=False)
class Subject:
    """One method on one model.

    Attributes
    ----------
    method
        The method.
    comparison
        The model that it explains.
    threshold
        Match iff score > threshold.
    is_unsigned
        Whether the maps only rank places by importance, regardless of the verdict, as controls do.
    other_seed
        Opens the method with another seed, if it has one.
    randomised
        Returns the maps with a share of the network's layers randomised, from the top; None if that is impossible.
    known
        Features of faces seen lately, by the digest of their pixels: the same picture occurs under many maps. Methods
        on one comparison may share them.
    """

    method: PairMethod
    comparison: Comparison
    threshold: float
    is_unsigned: bool = False
    other_seed: Callable[[], PairMethod] | None = None
    randomised: Callable[[float], Explain] | None = None
    known: dict[bytes, Features] = field(default_factory=dict, repr=False)

    def features(self, faces: Faces) -> Features:
        """Return the features of faces; those of a face seen lately are not computed again."""
        keys = [hashlib.sha256(face.tobytes()).digest() for face in faces]
        new = {key: row for row, key in enumerate(keys) if key not in self.known}
        if new:
            if len(self.known) > _MOST_KNOWN:
                self.known.clear()
                return self.features(faces)
            found = features_in_parts(self.comparison, faces[list(new.values())], self.method.batch_size)
            self.known.update(zip(new, found, strict=True))
        return np.stack([self.known[key] for key in keys])

    def scores(self, first: Faces, second: Faces) -> NDArray[np.float64]:
        """Return the scores of pairs of faces; a single face on one side is repeated."""
        return self.comparison.scores(self.features(first), self.features(second)).astype(np.float64)

    def most_telling_first(
        self, maps: NDArray[np.float32], towards_match: NDArray[np.bool_], generators: Sequence[np.random.Generator]
    ) -> list[NDArray[np.intp]]:
        """Return each map's pixels in order: if ``towards_match``, those for a match first, else those against it."""
        pixel_maps = to_pixels(maps)
        flip = ~towards_match if not self.is_unsigned else np.zeros(len(maps), np.bool_)
        return [
            descending(-one if against else one, rng)
            for one, against, rng in zip(pixel_maps, flip, generators, strict=True)
        ]


class BenchTest(ABC):
    """A test; its results must not depend on how pairs are chunked.

    Attributes
    ----------
    name
        Name on the command line and in results.
    question
        Name of the faces that it asks a method to explain, one map for each pair, so that maps of other pairs can be
        put in their place; None if the test needs several maps of a pair.
    """

    name: str
    question: str | None = None

    def asked(self, chunk: PairChunk) -> tuple[PairChunk, Faces, Faces]:
        """Return the pairs that the test uses, and the faces that it asks to explain."""
        return chunk, chunk.first, chunk.second

    def brief(self) -> BenchTest:
        """Return the test with fewer steps, for maps that are put in place of a pair's own."""
        return self

    @abstractmethod
    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk.

        Parameters
        ----------
        chunk
            The pairs.
        subject
            Method, model and threshold.
        explain
            Returns the method's maps of faces; those of the chunk are cached, so that several tests share them.
        """


def rows(measure: str, chunk: PairChunk, steps: Sequence[float], values: NDArray[np.float64]) -> Rows:
    """Return values (N,) or (N, steps) as rows."""
    table = values.reshape(len(chunk), len(steps))
    return Rows(
        measure, np.repeat(chunk.numbers, len(steps)), np.tile(np.asarray(steps, np.float64), len(chunk)), table.ravel()
    )
