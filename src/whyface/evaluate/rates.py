"""Error rates of a verifier, and accuracy by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]


class ErrorRates(NamedTuple):
    """False match rate and false non-match rate, both in [0, 1]."""

    fmr: float
    fnmr: float


class EqualError(NamedTuple):
    """The equal error rate in [0, 1] and the threshold closest to it."""

    rate: float
    threshold: float


@dataclass(frozen=True, eq=False)
class Roc:
    """The ROC curve over all distinct thresholds.

    Attributes
    ----------
    thresholds
        Strictly descending, shape (K + 1,) float64 for K distinct scores: every score, then the next number below
        the lowest one, where everything matches.
    fmr, tar
        Rates at these thresholds, rising from 0 to 1, shape (K + 1,) float64.
    """

    thresholds: Scores
    fmr: Scores
    tar: Scores


def checked_pairs(scores: ArrayLike, genuine: ArrayLike) -> tuple[Scores, Labels]:
    """Return both as arrays of shape (N,), float64 and bool.

    Raise InputError if the shapes differ or are not (N,), a score is not finite, a label is not 0 or 1, or genuine or
    impostor pairs are missing.
    """
    values = np.asarray(scores, dtype=np.float64)
    labels = np.asarray(genuine)
    if values.ndim != 1 or values.shape != labels.shape:
        raise InputError(
            f"scores and genuine must both have shape (N,), "
            f"got {values.shape} and {labels.shape}; give one each per pair"
        )
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} of {len(values)} scores are not finite; remove them")
    if labels.dtype != np.bool_:
        if not np.isin(labels, (0, 1)).all():
            raise InputError("genuine must hold booleans, or 0 and 1; convert other labels first")
        labels = labels.astype(np.bool_)
    if labels.all() or not labels.any():
        raise InputError("rates need at least one genuine and one impostor pair; add pairs of the missing kind")
    return values, labels


def error_rates(scores: ArrayLike, genuine: ArrayLike, threshold: float) -> ErrorRates:
    """Return FMR and FNMR at one threshold.

    Raises
    ------
    InputError
        If the arrays do not fit (see :func:`checked_pairs`).
    """
    values, labels = checked_pairs(scores, genuine)
    matched = values > threshold
    return ErrorRates(float(matched[~labels].mean()), float((~matched[labels]).mean()))


def roc_curve(scores: ArrayLike, genuine: ArrayLike) -> Roc:
    """Return FMR and TAR over all distinct thresholds.

    Raises
    ------
    InputError
        If the arrays do not fit (see :func:`checked_pairs`).
    """
    values, labels = checked_pairs(scores, genuine)
    distinct, group = np.unique(values, return_inverse=True)
    genuine_counts = np.bincount(group[labels], minlength=len(distinct))[::-1]
    impostor_counts = np.bincount(group[~labels], minlength=len(distinct))[::-1]
    # At threshold v the scores equal to v do not match, so each count enters one step later.
    tar = np.concatenate(([0.0], np.cumsum(genuine_counts) / genuine_counts.sum()))
    fmr = np.concatenate(([0.0], np.cumsum(impostor_counts) / impostor_counts.sum()))
    thresholds = np.concatenate((distinct[::-1], [np.nextafter(distinct[0], -np.inf)]))
    return Roc(thresholds, fmr, tar)


def auc(scores: ArrayLike, genuine: ArrayLike) -> float:
    """Return the area under the ROC curve.

    It is the probability that a genuine pair scores above an impostor pair, equal scores counting one half.

    Raises
    ------
    InputError
        If the arrays do not fit (see :func:`checked_pairs`).
    """
    curve = roc_curve(scores, genuine)
    return float(np.sum(np.diff(curve.fmr) * (curve.tar[1:] + curve.tar[:-1]) / 2))


def equal_error(scores: ArrayLike, genuine: ArrayLike) -> EqualError:
    """Return the equal error rate and a threshold for it.

    The rate is where the ROC curve, with straight lines between neighbouring thresholds, crosses FMR = FNMR.
    The threshold returned is the neighbour with the smaller ``|FMR - FNMR|``; if both are equal, the higher one,
    which favours "no match".

    Raises
    ------
    InputError
        If the arrays do not fit (see :func:`checked_pairs`).
    """
    curve = roc_curve(scores, genuine)
    # Rises from -1 (nothing matches) to 1 (everything does): the first value >= 0 is past the crossing.
    gap = curve.fmr - (1.0 - curve.tar)
    after = int(np.argmax(gap >= 0.0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    rate = curve.fmr[before] + share * (curve.fmr[after] - curve.fmr[before])
    nearest = before if -gap[before] <= gap[after] else after
    return EqualError(float(rate), float(curve.thresholds[nearest]))


def supports_fmr(impostor_pairs: int, target: float) -> bool:
    """Return whether there are enough impostor pairs to measure an FMR of ``target``: at least ``1 / target``."""
    return impostor_pairs * target >= 1.0 - 1e-9


def threshold_at_fmr(scores: ArrayLike, genuine: ArrayLike, target: float, *, allow_unsupported: bool = False) -> float:
    """Return the lowest threshold whose FMR is at most ``target``.

    The choice is conservative: if ties prevent meeting the target exactly, the FMR stays below it.

    Parameters
    ----------
    scores, genuine
        The pairs.
    target
        The target FMR, in (0, 1).
    allow_unsupported
        With fewer than ``1 / target`` impostor pairs the sample cannot show whether the target is met. This is an
        error unless True is given; then the threshold is the highest impostor score.

    Raises
    ------
    InputError
        If the arrays do not fit, ``target`` is not in (0, 1), or the sample is too small for it.
    """
    values, labels = checked_pairs(scores, genuine)
    if not 0.0 < target < 1.0:
        raise InputError(f"the target FMR must be between 0 and 1, got {target}")
    impostors = np.sort(values[~labels])[::-1]
    count = len(impostors)
    if not (allow_unsupported or supports_fmr(count, target)):
        raise InputError(
            f"{count} impostor pairs cannot show an FMR of {target:g}; "
            f"use at least {int(np.ceil(1.0 / target - 1e-9))} or a higher target"
        )
    allowed = int(target * count)
    # 0.29 * 100 is a little below 29 in floating point, although 29 of 100 meets a target of 0.29.
    if (allowed + 1) / count <= target:
        allowed += 1
    return float(impostors[allowed])


def tar_at_fmr(scores: ArrayLike, genuine: ArrayLike, target: float, *, allow_unsupported: bool = False) -> float:
    """Return the largest TAR (1 - FNMR) whose FMR is at most ``target``; see :func:`threshold_at_fmr`.

    Raises
    ------
    InputError
        As :func:`threshold_at_fmr`.
    """
    threshold = threshold_at_fmr(scores, genuine, target, allow_unsupported=allow_unsupported)
    return 1.0 - error_rates(scores, genuine, threshold).fnmr


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
        The threshold used on each fold, shape (K,) float64.
    mean
        Mean of ``accuracy``.
    standard_error
        Standard error of that mean, ``std(accuracy, ddof=1) / sqrt(K)``, as on LFW's results pages.
    grid
        How the thresholds were chosen.
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
        ``"exact"`` considers every threshold that makes a difference (:func:`best_threshold`); ``"published"`` uses
        the first best of -1.000, -0.995 ... 0.995, as the published xCos evaluation does.

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
    """Return the threshold with the highest accuracy.

    Accuracy changes only where the threshold passes a score, so there is one candidate per gap between neighbouring
    distinct scores, and one on either side of all scores. Among the best gaps, the widest is chosen, then the lowest;
    the threshold is its middle, as far as possible from both neighbours. A best threshold above all scores is the
    highest score itself; one below all scores is the next number below the lowest. Raise InputError if the arrays do
    not fit (see :func:`whyface.evaluate.rates.checked_pairs`).
    """
    values, labels = checked_pairs(scores, genuine)
    distinct, group = np.unique(values, return_inverse=True)
    genuine_counts = np.bincount(group[labels], minlength=len(distinct))
    impostor_counts = np.bincount(group[~labels], minlength=len(distinct))
    # Entry k: the threshold is above the k lowest distinct scores. Counts stay integers, so ties are exact.
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

    Raise InputError if the arrays do not fit (see :func:`whyface.evaluate.rates.checked_pairs`).
    """
    values, labels = checked_pairs(scores, genuine)
    grid = published_grid()
    genuine_sorted = np.sort(values[labels])
    impostor_sorted = np.sort(values[~labels])
    accepted = len(genuine_sorted) - np.searchsorted(genuine_sorted, grid, side="right")
    rejected = np.searchsorted(impostor_sorted, grid, side="right")
    return float(grid[int(np.argmax(accepted + rejected))])
