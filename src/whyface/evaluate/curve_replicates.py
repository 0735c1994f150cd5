"""Error curves of resampled people: the EER, and the FNMR at any FMR, in every replicate.

Unlike :func:`whyface.evaluate.bootstrap.fnmr_measure`, which keeps a threshold fixed, each replicate chooses its own
threshold for an FMR here, so that the spread holds both errors: of the threshold and of the rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.bootstrap import Weights, person_weights
from whyface.evaluate.intervals import Interval
from whyface.evaluate.rates import checked_pairs


@dataclass(frozen=True, eq=False)
class CurveReplicates:
    """What R replicates of T target FMRs give; NaN where a replicate lacks genuine or impostor pairs.

    Attributes
    ----------
    eer
        Equal error rate, shape (R,).
    fnmr
        Lowest FNMR with an FMR of at most each target, shape (R, T).
    """

    eer: NDArray[np.float64]
    fnmr: NDArray[np.float64]


def replicate_curves(
    scores: ArrayLike,
    genuine: ArrayLike,
    people_a: Sequence[str] | NDArray[np.intp],
    people_b: Sequence[str] | NDArray[np.intp],
    *,
    targets: ArrayLike,
    replicates: int = 1000,
    seed: int = 0,
) -> CurveReplicates:
    """Resample people and take the error curve of each replicate.

    Parameters
    ----------
    scores, genuine
        The pairs, N each.
    people_a, people_b
        The two people of each pair, N each.
    targets
        Target FMRs, shape (T,).
    replicates, seed
        How many times the people are drawn, and from which seed.

    Raises
    ------
    InputError
        If the arrays do not fit.
    """
    values, labels = checked_pairs(scores, genuine)
    if len(people_a) != len(values):
        raise InputError(f"both people of all {len(values)} pairs are needed, got {len(people_a)}")
    wanted = np.asarray(targets, np.float64)
    rng = np.random.default_rng(seed)
    parts = [
        weighted_curves(values, labels, weights, wanted)
        for weights in person_weights(people_a, people_b, replicates=replicates, rng=rng)
    ]
    return CurveReplicates(np.concatenate([part.eer for part in parts]), np.concatenate([part.fnmr for part in parts]))


def weighted_curves(
    values: NDArray[np.float64], labels: NDArray[np.bool_], weights: Weights, targets: NDArray[np.float64]
) -> CurveReplicates:
    """Take EER and FNMR of the same pairs with each row of weights (R, N)."""
    order = np.argsort(-values, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], np.diff(values[order]) < 0)))
    ordered = weights[:, order]
    fmr = _shares(np.add.reduceat(ordered * ~labels[order], starts, axis=1))
    tar = _shares(np.add.reduceat(ordered * labels[order], starts, axis=1))
    fnmr = np.full((len(weights), len(targets)), np.nan)
    known = np.isfinite(fmr[:, 0]) & np.isfinite(tar[:, 0])
    for row in np.flatnonzero(known):
        # Sums of weights reach a target exactly where counts do, but for rounding.
        last = np.searchsorted(fmr[row], targets + 1e-12, side="right") - 1
        fnmr[row] = np.maximum(0.0, 1.0 - tar[row, last])
    eer = np.full(len(weights), np.nan)
    eer[known] = _crossings(fmr[known], tar[known])
    return CurveReplicates(eer, fnmr)


def percentile_interval(values: NDArray[np.float64], confidence: float = 0.95) -> Interval | None:
    """Return the middle part of the replicates' values, or None where fewer than half of them have one."""
    finite = values[np.isfinite(values)]
    if 2 * len(finite) < len(values):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, (tail, 1 - tail))
    return Interval(float(low), float(high))


def _shares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulate rows of weights to shares from 0 to 1; NaN where a row has no weight."""
    total = sums.sum(axis=1, keepdims=True)
    risen = np.divide(np.cumsum(sums, axis=1), total, out=np.full_like(sums, np.nan), where=total > 0)
    return np.concatenate((np.where(total > 0, 0.0, np.nan), risen), axis=1)


def _crossings(fmr: NDArray[np.float64], tar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Find where FMR = FNMR on straight lines between thresholds, as :func:`whyface.evaluate.rates.equal_error`."""
    gap = fmr - (1.0 - tar)
    rows = np.arange(len(gap))
    after = np.argmax(gap >= 0.0, axis=1)
    before = after - 1
    share = -gap[rows, before] / (gap[rows, after] - gap[rows, before])
    return np.asarray(fmr[rows, before] + share * (fmr[rows, after] - fmr[rows, before]), np.float64)
