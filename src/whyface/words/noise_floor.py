"""The noise floor of erasing: the effect of random places of the same area, corrected for the number of words.

Erasing anything changes the score, and larger areas change it more. And the best of ten words changes it more than a
single word does, by selection alone. The noise floor accounts for both.
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
"""Family-wise error rate: the maximum share of reports that name a word when no word has an effect."""

FEWEST_DRAWS: Final = 19
"""Minimum number of random places for each word; with fewer, even the best rank does not reach the level 1 / 20."""

_CELLS: Final = 7
_TINY: Final = 1e-9


def random_blobs(area: int, count: int, rng: np.random.Generator, *, size: int = FACE_SIZE) -> NDArray[np.bool_]:
    """Draw random places of an exact area, shaped like those of words.

    Like a joint map, each is the top of the product of two enlarged 7 x 7 maps; here both maps are random. Return
    (count, size, size) bool. Raise InputError if the area is out of range.
    """
    if not 0 <= area <= size * size:
        raise InputError(f"an area must be between 0 and {size * size} pixels, got {area}")
    masks = np.zeros((count, size * size), bool)
    for row in range(count):
        one, other = (cv2.resize(rng.random((_CELLS, _CELLS)), (size, size)) for _ in range(2))
        field = (one * other).ravel()
        masks[row, np.argpartition(field, len(field) - area)[len(field) - area :] if area else []] = True
    return masks.reshape(count, size, size)


@dataclass(frozen=True, eq=False)
class NoiseFloor:
    """The effect of chance on the score; positive changes are in the telling direction.

    Attributes
    ----------
    mean
        (M,): mean change by random erasures of each word's area.
    limit
        (M,): the change that a word must exceed to count. ``change > limit`` is equivalent to ``chance <= level``.
    chance
        (M,): p-value of each word, corrected for the selection among all M.
    """

    mean: NDArray[np.float64]
    limit: NDArray[np.float64]
    chance: NDArray[np.float64]


def noise_floor(changes: FloatArray, random_changes: FloatArray, *, level: float = LEVEL) -> NoiseFloor:
    """Rank the effects of words among those of random places.

    Column r of ``random_changes`` is round r: one random place for each word. The words themselves are one more round.
    Since areas differ, each change is standardised by the mean and the deviation of its word's other R changes. Of each
    round, the maximum is kept. The p-value of a word is its rank among these maxima, (1 + rounds whose maximum is at
    least the word's) / (1 + R), which corrects for the selection of the best word. Raise InputError if the shapes do
    not fit or there are too few rounds to reach the level.

    Parameters
    ----------
    changes
        (M,): change of the score by each word, in the telling direction.
    random_changes
        (M, R): changes by R independent random erasures of each word's area.
    level
        A word counts if its p-value is at most this.

    References
    ----------
    Westfall and Young, "Resampling-Based Multiple Testing", Wiley 1993: the maximum as the family's statistic. Phipson
    and Smyth, "Permutation P-values Should Never Be Zero", Statistical Applications in Genetics and Molecular Biology 9
    (2010): the observation counted among the draws.
    """
    # Why the maximum of a round instead of Holm's or Bonferroni's correction of a rank per word: those need 20 M random
    # places for each word to reach 5 %; the maximum needs 19, whatever M is. Why rounds instead of all (R + 1) ** M
    # combinations of the words' places: there, each effective word would be part of the "chance" of the others, so that
    # with 40 places three such words hide each other; here they share a single round.
    # The level is exact for any number of places: if words are like any other places, the round of the words is
    # exchangeable with the R random rounds, and all are centred, scaled and maximised in the same way. If words overlap
    # and move together, fewer than 5 % are named. Removing the words found before testing the next (step-down) would
    # gain almost nothing: such a word widens the spread of its own places.
    if random_changes.ndim != 2 or len(changes) != len(random_changes) or not random_changes.size:
        raise InputError(f"words {changes.shape} and random erasures {random_changes.shape} do not fit")
    rounds = random_changes.shape[1] + 1
    reachable = int(np.sum(np.arange(1, rounds + 1) / rounds <= level))
    if not reachable:
        raise InputError(
            f"{rounds - 1} random places for each word are too few to reach the level; give at least "
            f"{int(np.ceil(1 / level - 1e-9)) - 1}"
        )
    values = np.concatenate([np.asarray(changes, np.float64)[:, None], random_changes], axis=1)
    mean, spread = _of_the_others(values)
    standard = (values - mean) / spread
    largest = standard[:, 1:].max(axis=0)
    at_least = (largest >= standard[:, :1]).sum(axis=1)
    # Up to ``reachable - 1`` of the random rounds may be at least as large.
    critical = float(np.sort(largest)[-reachable])
    return NoiseFloor(mean=mean[:, 0], limit=mean[:, 0] + spread[:, 0] * critical, chance=(1 + at_least) / rounds)


def _of_the_others(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each value the mean and the standard deviation of the others in its row."""
    count = values.shape[1]
    centre = values.mean(axis=1, keepdims=True)
    away = values - centre
    squares = (away**2).sum(axis=1, keepdims=True) - away**2 * count / (count - 1)
    spread = np.sqrt(np.maximum(squares, 0) / (count - 1))
    return centre - away / (count - 1), np.maximum(spread, _TINY)
