"""What a test of the bench is: a chunk of pairs and a way to explain in, rows of numbers out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyface.bench.pair_chunk import Faces, PairChunk
from whyface.bench.pixel_ranking import descending, to_pixels
from whyface.explain.pair_method import PairMaps, PairMethod
from whyface.explain.pair_scorer import PairScorer, features_in_parts

Explain = Callable[[Faces, Faces], PairMaps]


@dataclass(frozen=True, eq=False)
class Rows:
    """Measured values, one per pair and step.

    Attributes
    ----------
    measure
        What was measured.
    pair
        (R,): number of the pair in the protocol.
    step
        (R,) float64: where on the curve, 0 where there is none.
    value
        (R,) float64.
    """

    measure: str
    pair: NDArray[np.intp]
    step: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Subject:
    """One method on one model.

    Attributes
    ----------
    method
        The method.
    scorer
        The model that it explains.
    threshold
        Match iff score > threshold.
    is_unsigned
        Whether the maps rank places by importance only, without saying for which verdict, as controls do.
    other_seed
        Opens the method with another seed, where it has one.
    randomised
        Opens the method on the network with a share of its layers, from the top, made random; where that can be done.
    """

    method: PairMethod
    scorer: PairScorer
    threshold: float
    is_unsigned: bool = False
    other_seed: Callable[[], PairMethod] | None = None
    randomised: Callable[[float], PairMethod] | None = None

    def scores(self, first: Faces, second: Faces) -> NDArray[np.float64]:
        """Score pairs of faces."""
        one, other = (features_in_parts(self.scorer, faces, self.method.batch_size) for faces in (first, second))
        return self.scorer.scores(one, other).astype(np.float64)

    def most_telling_first(
        self, maps: NDArray[np.float32], towards_match: NDArray[np.bool_], generators: Sequence[np.random.Generator]
    ) -> list[NDArray[np.intp]]:
        """Order each map's pixels: those that support "same" first where ``towards_match``, else those against it."""
        pixel_maps = to_pixels(maps)
        flip = ~towards_match if not self.is_unsigned else np.zeros(len(maps), np.bool_)
        return [
            descending(-one if against else one, rng)
            for one, against, rng in zip(pixel_maps, flip, generators, strict=True)
        ]


class BenchTest(ABC):
    """One test; it must not depend on how the pairs are chunked."""

    name: str

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
            Gives the method's maps of faces; remembers the chunk's own, so that several tests share them.
        """


def rows(measure: str, chunk: PairChunk, steps: Sequence[float], values: NDArray[np.float64]) -> Rows:
    """Lay out values (N,) or (N, steps) as rows."""
    table = values.reshape(len(chunk), len(steps))
    return Rows(
        measure, np.repeat(chunk.numbers, len(steps)), np.tile(np.asarray(steps, np.float64), len(chunk)), table.ravel()
    )
