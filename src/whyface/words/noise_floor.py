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

LEVEL: Final = 0.05
"""Where no word means anything, at most this share of the reports names one."""

FEWEST_DRAWS: Final = 19
"""With fewer random places for each word, even a word that beats them all does not reach the level: 1 / 20 = 0.05."""

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
        (M,): what a word's change has to exceed to count. ``change > limit`` and ``chance <= level`` say the same.
    chance
        (M,): p-value of each word, corrected for the choice among all M.
    """

    mean: NDArray[np.float64]
    limit: NDArray[np.float64]
    chance: NDArray[np.float64]


def noise_floor(changes: FloatArray, random_changes: FloatArray, *, level: float = LEVEL) -> NoiseFloor:
    """Rank what words do among what chance does.

    Column r of ``random_changes`` is round r: one random place for every word. The words themselves are one more round.
    Areas differ, so that every change is measured in deviations from the mean of its word's other R changes. Of each
    round the largest of these numbers is kept, and a word's p-value is its rank among them,
    (1 + rounds whose largest is at least the word's) / (1 + R). So the choice of the best among many is paid for.

    Parameters
    ----------
    changes
        (M,): what each word does to the score, in the telling direction.
    random_changes
        (M, R): what R random erasures of each word's area do, independent of each other.
    level
        A word counts if its p-value is not above it.

    Raises
    ------
    InputError
        If the shapes do not fit or there are too few rounds to reach the level.

    References
    ----------
    Westfall and Young, "Resampling-Based Multiple Testing", Wiley 1993: the maximum as the family's statistic. Phipson
    and Smyth, "Permutation P-values Should Never Be Zero", Statistical Applications in Genetics and Molecular Biology 9
    (2010): the observation counted among the draws.
    """
    # Why the largest of a round, and not Holm's or Bonferroni's correction of a rank for each word: those need 20 M
    # random places for each word before one can reach 5 %, this needs 19 whatever M is. Why round by round, and not all
    # (R + 1) ** M ways to combine the words' places: there every word that does mean something is among the "chance" of
    # the others, so that with 40 places three such words hide each other; here they share a single round.
    # The level holds exactly, not only for many places: if the words are places like any other, the round of the words
    # is one of R + 1 that are all alike, and what is done to it (centre, scale, largest) is done to all alike. If words
    # overlap, so that they move together, fewer than 5 % are named. Taking out words that are found before the next is
    # tested (step-down) would gain next to nothing: such a word widens the spread of its own places.
    if random_changes.ndim != 2 or len(changes) != len(random_changes) or not random_changes.size:
        raise InputError(f"words {changes.shape} and random erasures {random_changes.shape} do not fit")
    rounds = random_changes.shape[1] + 1
    reachable = int(np.sum(np.arange(1, rounds + 1) / rounds <= level))
    if not reachable:
        raise InputError(
            f"{rounds - 1} random places for each word cannot show that one is above chance; give at least "
            f"{int(np.ceil(1 / level - 1e-9)) - 1}"
        )
    values = np.concatenate([np.asarray(changes, np.float64)[:, None], random_changes], axis=1)
    mean, spread = _of_the_others(values)
    standard = (values - mean) / spread
    largest = standard[:, 1:].max(axis=0)
    at_least = (largest >= standard[:, :1]).sum(axis=1)
    # Of the rounds of chance, ``reachable - 1`` may do at least as well.
    critical = float(np.sort(largest)[-reachable])
    return NoiseFloor(mean=mean[:, 0], limit=mean[:, 0] + spread[:, 0] * critical, chance=(1 + at_least) / rounds)


def _of_the_others(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give for every value the mean of the others in its row, and their standard deviation."""
    count = values.shape[1]
    centre = values.mean(axis=1, keepdims=True)
    away = values - centre
    squares = (away**2).sum(axis=1, keepdims=True) - away**2 * count / (count - 1)
    spread = np.sqrt(np.maximum(squares, 0) / (count - 1))
    return centre - away / (count - 1), np.maximum(spread, _TINY)
