"""Error rates of a verifier: FMR, FNMR, ROC, AUC, EER and TAR at a given FAR.

All functions take ``scores`` of shape (N,), higher meaning more alike, and ``genuine`` of shape (N,) bool.
The one rule everywhere is: match iff ``score > threshold``, strictly. FMR (false match rate, here the same as
FAR) is the share of impostor pairs that match, FNMR the share of genuine pairs that do not, TAR = 1 - FNMR.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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
    """The equal error rate in [0, 1] and a threshold that comes closest to it."""

    rate: float
    threshold: float


@dataclass(frozen=True, eq=False)
class Roc:
    """The ROC curve over all distinct thresholds.

    Attributes
    ----------
    thresholds
        Strictly falling, shape (K + 1,) float64 for K distinct scores: every score, then the next number
        below the lowest one, where everything matches.
    fmr, tar
        Rates at these thresholds, rising from 0 to 1, shape (K + 1,) float64.
    """

    thresholds: Scores
    fmr: Scores
    tar: Scores


def checked_pairs(scores: ArrayLike, genuine: ArrayLike) -> tuple[Scores, Labels]:
    """Return both as arrays of shape (N,), float64 and bool.

    Raises
    ------
    InputError
        If the shapes differ or are not (N,), a score is not finite, a label is not 0 or 1, or one of the two
        kinds of pair is missing.
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
    A threshold cannot lie between two neighbours, so the one returned is the neighbour with the smaller
    ``|FMR - FNMR|``; of two equal ones the higher, which errs towards "no match".

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
    """Say whether so many impostor pairs can show an FMR of ``target``: at least ``1 / target`` of them."""
    return impostor_pairs * target >= 1.0 - 1e-9


def threshold_at_fmr(scores: ArrayLike, genuine: ArrayLike, target: float, *, allow_unsupported: bool = False) -> float:
    """Return the lowest threshold whose FMR is at most ``target``.

    The choice is conservative: where ties keep the FMR from meeting the target exactly it stays below.

    Parameters
    ----------
    scores, genuine
        The pairs.
    target
        The wanted FMR, in (0, 1).
    allow_unsupported
        With fewer than ``1 / target`` impostor pairs the sample cannot tell whether the target is met. That
        is an error unless this is True; then the threshold is the highest impostor score.

    Raises
    ------
    InputError
        If the arrays do not fit, ``target`` is not in (0, 1), or the sample is too small for it.
    """
    values, labels = checked_pairs(scores, genuine)
    if not 0.0 < target < 1.0:
        raise InputError(f"the target FMR must lie between 0 and 1, got {target}")
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


def tar_at_far(scores: ArrayLike, genuine: ArrayLike, target: float, *, allow_unsupported: bool = False) -> float:
    """Return the largest TAR whose FAR (= FMR) is at most ``target``; see :func:`threshold_at_fmr`.

    Raises
    ------
    InputError
        As :func:`threshold_at_fmr`.
    """
    threshold = threshold_at_fmr(scores, genuine, target, allow_unsupported=allow_unsupported)
    return 1.0 - error_rates(scores, genuine, threshold).fnmr
