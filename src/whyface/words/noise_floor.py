"""What erasing does that means nothing: random places of the same area, and what the best of many words must exceed.

Whatever is erased, the score moves, and the more is erased the more it moves. And the best of ten words moves it more
than one word does, by choice alone. Both are counted in here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE

FloatArray = NDArray[np.floating[Any]]

CONFIDENCE: Final = 0.95
"""A word must move the score more than the best of as many random erasures does in this share of the tries."""

_CELLS: Final = 7
_TINY: Final = 1e-9


def random_blobs(area: int, count: int, rng: np.random.Generator, *, size: int = FACE_SIZE) -> NDArray[np.bool_]:
    """Draw random places of an exact area, of the same kind of shape as words have.

    Like a joint map, each is the upper part of the product of two 7 x 7 maps, enlarged; here both are drawn at random.

    Parameters
    ----------
    area
        Pixels in each, from 0 to ``size ** 2``.
    count
        How many.
    rng
        Source of randomness.
    size
        Side in pixels.

    Returns
    -------
    (count, size, size) bool.

    Raises
    ------
    InputError
        If the area is out of range.
    """
    if not 0 <= area <= size * size:
        raise InputError(f"an area lies between 0 and {size * size} pixels, got {area}")
    masks = np.zeros((count, size * size), bool)
    for row in range(count):
        one, other = (cv2.resize(rng.random((_CELLS, _CELLS)), (size, size)) for _ in range(2))
        field = (one * other).ravel()
        masks[row, np.argpartition(field, len(field) - area)[len(field) - area :] if area else []] = True
    return masks.reshape(count, size, size)


@dataclass(frozen=True, eq=False)
class NoiseFloor:
    """What chance does to the score. All changes are in the telling direction: positive is more telling.

    Attributes
    ----------
    mean
        (M,): the mean change by random erasures of each word's own area.
    limit
        (M,): what a word's change has to exceed to count.
    chance
        (M,): in which share of the tries the best of M random erasures does at least as well as the word.
    """

    mean: NDArray[np.float64]
    limit: NDArray[np.float64]
    chance: NDArray[np.float64]


def noise_floor(
    changes: FloatArray, random_changes: FloatArray, *, tries: int = 2000, confidence: float = CONFIDENCE, seed: int = 0
) -> NoiseFloor:
    """Compare what words do with what chance does.

    Areas differ, so that changes are measured in deviations of random erasures of the same area from their mean. In
    each try one random erasure is drawn for every word and the largest of these numbers is kept; a word counts if its
    own is larger than that in 95 of 100 tries. So the choice of the best among many is paid for.

    Parameters
    ----------
    changes
        (M,): what each word does to the score, in the telling direction.
    random_changes
        (M, R): what R random erasures of each word's area do.
    tries
        How often is drawn.
    confidence
        Share of the tries in which the best of chance stays below the limit.
    seed
        Of the draws.

    Raises
    ------
    InputError
        If the shapes do not fit or there is nothing to compare.

    References
    ----------
    Westfall and Young, "Resampling-Based Multiple Testing", Wiley 1993: the maximum as the family's statistic.
    """
    if random_changes.ndim != 2 or len(changes) != len(random_changes) or not random_changes.size:
        raise InputError(f"words {changes.shape} and random erasures {random_changes.shape} do not fit")
    rng = np.random.default_rng(seed)
    words, draws = random_changes.shape
    mean = random_changes.mean(axis=1, dtype=np.float64)
    spread = np.maximum(random_changes.std(axis=1, dtype=np.float64), _TINY)
    standard = (random_changes - mean[:, None]) / spread[:, None]
    drawn = standard[np.arange(words), rng.integers(0, draws, (tries, words))]
    largest = np.sort(drawn.max(axis=1))
    at_least = tries - np.searchsorted(largest, (changes - mean) / spread, side="left")
    return NoiseFloor(
        mean=mean,
        limit=mean + spread * float(np.quantile(largest, confidence)),
        # Of tries + 1 equally likely places, so that no chance is ever called zero.
        chance=(at_least + 1) / (tries + 1),
    )
