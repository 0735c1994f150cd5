"""Maps put in the place of a pair's own show what a map owes to its pair, and what to any face or to its smoothness.

A test gives a value T(m) to a map m of a pair. Each variant gives the same pair another map:

- ``other-0`` ... ``other-7``: the same method's maps of other pairs with the same verdict and other people. The
  specific gain is T(m) less the mean of T over them; a map that is the same for all pairs gains exactly 0.
- ``mean``: the method's own mean map over such pairs, the prior.
- ``budget``: the pair's own map within ten strata of equal area of the prior, each of which gives the same share at
  every step; a map that is a function of the strata becomes random exactly.
- ``blurred``: the pair's own map after a blur that is the same for all methods.
- ``network``: the same method's map of the same pair on another network.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.bench.base import BenchTest, Explain, Faces, PairChunk, Subject, missing_chunks, to_pixels
from whyface.data.protocols import PairProtocol
from whyface.errors import DataError
from whyface.explain.pair_method import PairMaps
from whyface.faces.pictures import PictureSource
from whyface.files.parts import Parts, Rows
from whyface.files.progress import ProgressCallback

OTHERS: Final = 8
"""Number of other pairs whose maps a pair is given."""
STRATA: Final = 10
BLUR: Final = 8.0
"""Standard deviation of the common blur in pixels: half a place of 7 x 7."""

_OTHER_PURPOSE, _BUDGET_PURPOSE, _TIES_PURPOSE = 20, 21, 22
Maps = NDArray[np.float32]


def strata_of(prior: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return for each pixel of a prior its stratum, 0 (lowest) to 9, of equal area; ties are divided at random."""
    order = np.lexsort((rng.permutation(prior.size), prior.reshape(-1)))
    found = np.empty(prior.size, np.intp)
    found[order] = np.arange(prior.size) * STRATA // prior.size
    return found.reshape(prior.shape)


def within_strata(
    pixel_map: NDArray[np.floating], strata: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return each pixel's rank within its stratum, from 0 to 1; ties in random order.

    Ordered by it, the same share of every stratum comes first at every step.
    """
    flat, groups = pixel_map.reshape(-1), strata.reshape(-1)
    order = np.lexsort((rng.permutation(flat.size), flat, groups))
    sizes = np.bincount(groups, minlength=STRATA)
    starts = np.cumsum(sizes) - sizes
    ranks = np.empty(flat.size)
    ranks[order] = (np.arange(flat.size) - starts[groups[order]] + 0.5) / sizes[groups[order]]
    return np.asarray(ranks.reshape(pixel_map.shape), np.float32)


def blurred(maps: Maps) -> Maps:
    """Blur maps (N, 112, 112) with the common width."""
    return np.stack([cv2.GaussianBlur(one, (0, 0), BLUR) for one in maps]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class MapBank:
    """A method's maps of M pairs that are not judged.

    Attributes
    ----------
    people
        (M, 2): the people of each pair.
    is_match
        (M,): the verdict on each pair.
    maps
        (2, M, 112, 112): the maps of both faces, in the method's unit.
    """

    people: NDArray[np.str_]
    is_match: NDArray[np.bool_]
    maps: NDArray[np.float32]

    def of_others(self, people: NDArray[np.str_], is_match: bool) -> NDArray[np.intp]:
        """Return the rows of pairs with the same verdict and without these people."""
        return np.flatnonzero((self.is_match == is_match) & ~np.isin(self.people, people).any(axis=1))

    def mean(self, rows: NDArray[np.intp]) -> Maps:
        """Return the mean maps of both faces, (2, 112, 112), each map scaled to a mean magnitude of 1 before."""
        maps = self.maps[:, rows].astype(np.float64)
        if not len(rows):
            return np.zeros((2, *maps.shape[2:]), np.float32)
        size = np.abs(maps).mean(axis=(2, 3), keepdims=True)
        scaled = np.divide(maps, size, out=np.zeros_like(maps), where=size > 0)
        return np.asarray(scaled.mean(axis=1), np.float32)


def fill_bank(
    subject: Subject,
    tests: Sequence[BenchTest],
    protocol: PairProtocol,
    source: PictureSource,
    numbers: NDArray[np.intp],
    folder: Path,
    *,
    seed: int,
    chunk_size: int = 10,
    progress: ProgressCallback | None = None,
) -> dict[str, MapBank]:
    """Explain pairs that are not judged, once for each question of the tests; what a folder holds is not done again.

    Raise DataError if a picture cannot be read, and OutputError if a file cannot be written.

    Parameters
    ----------
    subject
        Method and model.
    tests
        Those without a question are left out.
    protocol, source, numbers
        The pairs and their pictures.
    folder
        Folder of the maps; it must exist.
    """
    asking = {test.question: test for test in tests if test.question is not None}
    parts = Parts(folder, ending="npz")
    for part, chunk in missing_chunks(parts, protocol, source, numbers, chunk_size, seed=seed, progress=progress):
        parts.write(part, _packed(chunk, subject, asking))
    found: dict[str, list[dict[str, NDArray[Any]]]] = {question: [] for question in asking}
    for part in range(-(-len(numbers) // chunk_size)):
        with np.load(io.BytesIO(parts.read(part)), allow_pickle=False) as stored:
            for question in asking:
                if f"{question} number" not in stored:
                    raise DataError(f"{folder}: holds maps for other tests; remove it and run the command again")
                found[question].append({key: stored[f"{question} {key}"] for key in ("number", "score", "maps")})
    return {question: _bank(kept, protocol, subject.threshold) for question, kept in found.items() if kept}


def _packed(chunk: PairChunk, subject: Subject, asking: Mapping[str, BenchTest]) -> bytes:
    arrays: dict[str, NDArray[Any]] = {}
    for question, test in asking.items():
        pairs, first, second = test.asked(chunk)
        maps, score = np.empty((2, 0, 112, 112), np.float32), np.empty(0, np.float32)
        if len(pairs):
            explained = subject.method.maps(first, second)
            score = explained.score
            maps = np.stack([to_pixels(side) for side in (explained.map_a, explained.map_b)])
        arrays |= {f"{question} number": pairs.numbers, f"{question} score": score, f"{question} maps": maps}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _bank(kept: Sequence[Mapping[str, NDArray[Any]]], protocol: PairProtocol, threshold: float) -> MapBank:
    numbers = np.concatenate([one["number"] for one in kept]).astype(np.intp)
    people = np.stack([protocol.people_left[numbers], protocol.people_right[numbers]], axis=1)
    scores = np.concatenate([one["score"] for one in kept])
    return MapBank(people, scores > threshold, np.concatenate([one["maps"] for one in kept], axis=1))


@dataclass(frozen=True, eq=False)
class Substitutes:
    """Runs tests with other maps in the place of a pair's own.

    Attributes
    ----------
    banks
        Maps of other pairs, by the tests' questions.
    protocol
        Tells whose pairs they are.
    subject
        The method that is judged.
    network
        The same method on another network; None for no such control.
    """

    banks: Mapping[str, MapBank]
    protocol: PairProtocol
    subject: Subject
    network: Explain | None = None

    def run(self, test: BenchTest, chunk: PairChunk, explain: Explain) -> list[tuple[str, Rows]]:
        """Measure a chunk under each variant; the rows' test is named ``test:variant``."""
        bank = self.banks.get(test.question or "")
        pairs, first, second = test.asked(chunk)
        if bank is None or not len(pairs):
            return []
        own = explain(first, second)
        brief, results = test.brief(), []
        for variant, kept, maps in self._variants(pairs, first, second, own, bank):
            if kept.any():
                given = PairMaps(own.score[kept], maps[0][kept], maps[1][kept], forward=0)
                found = brief.run(pairs.only(kept), self.subject, _instead(first[kept], second[kept], given, explain))
                results += [(f"{test.name}:{variant}", rows) for rows in found]
        return results

    def _variants(
        self, pairs: PairChunk, first: Faces, second: Faces, own: PairMaps, bank: MapBank
    ) -> Iterator[tuple[str, NDArray[np.bool_], tuple[Maps, Maps]]]:
        """Yield the name of a variant, the pairs that have one, and the maps of both faces."""
        plain = to_pixels(own.map_a), to_pixels(own.map_b)
        people = np.stack([self.protocol.people_left[pairs.numbers], self.protocol.people_right[pairs.numbers]], axis=1)
        fitting = [
            bank.of_others(people[row], bool(own.score[row] > self.subject.threshold)) for row in range(len(pairs))
        ]
        drawn = [rng.permutation(rows) for rows, rng in zip(fitting, pairs.generators(_OTHER_PURPOSE), strict=True)]
        for place in range(OTHERS):
            kept = np.array([len(rows) > place for rows in drawn])
            chosen = [rows[place] if len(rows) > place else 0 for rows in drawn]
            yield f"other-{place}", kept, (bank.maps[0, chosen], bank.maps[1, chosen])
        kept = np.array([len(rows) > 0 for rows in fitting])
        means = [bank.mean(rows) for rows in fitting]
        yield "mean", kept, _sides(means)
        budget = []
        for row, (mean, cut, ties) in enumerate(
            zip(means, pairs.generators(_BUDGET_PURPOSE), pairs.generators(_TIES_PURPOSE), strict=True)
        ):
            budget.append(
                np.stack([within_strata(plain[side][row], strata_of(mean[side], cut), ties) for side in (0, 1)])
            )
        yield "budget", kept, _sides(budget)
        every = np.ones(len(pairs), np.bool_)
        yield "blurred", every, (blurred(plain[0]), blurred(plain[1]))
        if self.network is not None:
            found = self.network(first, second)
            yield "network", every, (to_pixels(found.map_a), to_pixels(found.map_b))


def _sides(maps: Sequence[NDArray[np.float32]]) -> tuple[Maps, Maps]:
    both = np.stack(maps, axis=1)
    return both[0], both[1]


def _instead(first: Faces, second: Faces, given: PairMaps, explain: Explain) -> Explain:
    """Return maps in the place of those of some pairs; all other faces keep their own."""

    def found(one: Faces, other: Faces) -> PairMaps:
        return given if np.array_equal(one, first) and np.array_equal(other, second) else explain(one, other)

    return found
