"""Verification accuracy by cross-validation: each fold is judged with a threshold from the other folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.rates import Labels, Scores, checked_pairs

Grid = Literal["exact", "published"]

PUBLISHED_STEPS: Final = 400
PUBLISHED_STEP: Final = 0.005


@dataclass(frozen=True, eq=False)
class FoldAccuracy:
    """Accuracy over K folds.

    Attributes
    ----------
    accuracy
        Accuracy on each fold in [0, 1], shape (K,) float64, in the order of the fold numbers.
    thresholds
        The threshold that each fold was judged with, shape (K,) float64.
    mean
        Mean of ``accuracy``.
    standard_error
        Standard error of that mean, ``std(accuracy, ddof=1) / sqrt(K)``, as LFW's results pages give it.
    grid
        How the thresholds were searched.
    """

    accuracy: Scores
    thresholds: Scores
    mean: float
    standard_error: float
    grid: Grid


def fold_accuracy(scores: ArrayLike, genuine: ArrayLike, fold: ArrayLike, *, grid: Grid = "exact") -> FoldAccuracy:
    """Return the cross-validated accuracy of "match iff score > threshold".

    Parameters
    ----------
    scores, genuine
        Shape (N,).
    fold
        Fold number of each pair, shape (N,) int; at least two different ones.
    grid
        ``"exact"`` looks at every threshold that makes a difference (:func:`best_threshold`); ``"published"``
        takes the first best of -1.000, -0.995 ... 0.995, as the published xCos evaluation does.

    Raises
    ------
    InputError
        If the arrays do not fit, there are fewer than two folds, the folds other than one lack genuine or
        impostor pairs, or ``grid`` is unknown.
    """
    values, labels = checked_pairs(scores, genuine)
    folds = np.asarray(fold)
    if folds.shape != values.shape:
        raise InputError(f"fold must have one entry per pair, shape {values.shape}, got {folds.shape}")
    if grid not in ("exact", "published"):
        raise InputError(f"unknown grid {grid!r}; use 'exact' or 'published'")
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise InputError("cross-validation needs at least two folds; give a protocol with folds")
    choose = best_threshold if grid == "exact" else first_best_on_published_grid
    thresholds = np.empty(len(numbers))
    accuracy = np.empty(len(numbers))
    for row, number in enumerate(numbers):
        held_out = folds == number
        thresholds[row] = choose(values[~held_out], labels[~held_out])
        accuracy[row] = np.mean((values[held_out] > thresholds[row]) == labels[held_out])
    error = float(accuracy.std(ddof=1) / np.sqrt(len(numbers)))
    return FoldAccuracy(accuracy, thresholds, float(accuracy.mean()), error, grid)


def best_threshold(scores: ArrayLike, genuine: ArrayLike) -> float:
    """Return a threshold of the highest accuracy over all thresholds.

    Accuracy only changes where the threshold passes a score, so there is one candidate per gap between
    neighbouring distinct scores, and one on either side of them all. Of the best gaps the widest counts, of
    equally wide ones the lowest, and the threshold is its middle, which keeps the greatest distance from both
    neighbours. A best threshold above all scores is the highest score itself; one below them all is the next
    number below the lowest score.

    Raises
    ------
    InputError
        If the arrays do not fit (see :func:`whyface.evaluate.rates.checked_pairs`).
    """
    values, labels = checked_pairs(scores, genuine)
    distinct, group = np.unique(values, return_inverse=True)
    genuine_counts = np.bincount(group[labels], minlength=len(distinct))
    impostor_counts = np.bincount(group[~labels], minlength=len(distinct))
    # Entry k: the threshold lies above the k lowest distinct scores. Counts stay integers, so ties are exact.
    correct = np.concatenate(([0], np.cumsum(impostor_counts - genuine_counts))) + int(labels.sum())
    width = np.concatenate(([0.0], np.diff(distinct), [0.0]))
    width[correct < correct.max()] = -1.0
    best = int(np.argmax(width))
    if best == 0:
        return float(np.nextafter(distinct[0], -np.inf))
    low = distinct[best - 1]
    if best == len(distinct):
        return float(low)
    middle = low + (distinct[best] - low) / 2
    # Between two neighbouring floats the middle rounds to one of them; only the lower one separates them.
    return float(middle if middle < distinct[best] else low)


def published_grid() -> NDArray[np.float64]:
    """Return the thresholds -1.000, -0.995 ... 0.995, shape (400,) float64."""
    return np.asarray(np.arange(PUBLISHED_STEPS) * PUBLISHED_STEP - 1.0, dtype=np.float64)


def first_best_on_published_grid(scores: Scores, genuine: Labels) -> float:
    """Return the first threshold of :func:`published_grid` with the highest accuracy.

    Raises
    ------
    InputError
        If the arrays do not fit (see :func:`whyface.evaluate.rates.checked_pairs`).
    """
    values, labels = checked_pairs(scores, genuine)
    grid = published_grid()
    genuine_sorted = np.sort(values[labels])
    impostor_sorted = np.sort(values[~labels])
    accepted = len(genuine_sorted) - np.searchsorted(genuine_sorted, grid, side="right")
    rejected = np.searchsorted(impostor_sorted, grid, side="right")
    return float(grid[int(np.argmax(accepted + rejected))])
