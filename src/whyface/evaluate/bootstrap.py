"""Confidence intervals by resampling people, for any measure of weighted pairs.

People are resampled, not pairs. In each replicate, P people are drawn from the P people with replacement. A
genuine pair is weighted by how often its person was drawn, an impostor pair by the product of both counts.
Pairs of a person who was not drawn are left out.

Product weights never make the interval too narrow, but where people hardly share pairs it is too wide, at worst
by a factor of sqrt(3), because such a weight has variance 3 instead of 1 (Owen 2007). For plain rates,
:func:`whyface.evaluate.intervals.people_wilson` avoids this.

References
----------
R. Bolle, N. Ratha, S. Pankanti, Error analysis of pattern recognition systems: the subsets bootstrap, CVIU 93
(2004): resampling people instead of scores. A. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1
(2007): product weights and their bias. R. Fogliato, P. Patil, P. Perona, Confidence intervals for error rates
in 1:1 matching tasks, IJCV 132 (2024): both for face verification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.intervals import Interval, number_people
from whyface.evaluate.rates import checked_pairs

Weights = NDArray[np.float64]
Measure = Callable[[Weights], NDArray[np.float64]]
"""Maps weights of shape (R, N), one row per replicate, to R values; NaN where a replicate has no value."""

CHUNK_VALUES: Final = 2_000_000
"""Weights held in memory at a time (16 MB)."""


def person_weights(
    people_a: Sequence[str] | NDArray[np.intp] | NDArray[np.str_],
    people_b: Sequence[str] | NDArray[np.intp] | NDArray[np.str_],
    *,
    replicates: int,
    rng: np.random.Generator,
) -> Iterator[Weights]:
    """Draw the weights of all pairs, chunk by chunk.

    Raise InputError if the lists of people do not match.

    Parameters
    ----------
    people_a, people_b
        The two people of each pair, N each; the same person twice for a genuine pair.

    Yields
    ------
    ndarray
        Shape (r, N) float64; the r of all chunks add up to ``replicates``.
    """
    first, second, count = number_people(people_a, people_b)
    same = first == second
    chance = np.full(count, 1.0 / count)
    chunk = max(1, CHUNK_VALUES // max(count, len(first), 1))
    for start in range(0, replicates, chunk):
        drawn = rng.multinomial(count, chance, size=min(chunk, replicates - start)).astype(np.float64)
        weights = drawn[:, first]
        weights[:, ~same] *= drawn[:, second[~same]]
        yield weights


def bootstrap_intervals(
    measures: Mapping[str, Measure],
    people_a: Sequence[str] | NDArray[np.intp],
    people_b: Sequence[str] | NDArray[np.intp],
    *,
    replicates: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return percentile intervals for several measures from the same replicates.

    Parameters
    ----------
    measures
        Functions of the weights, such as :func:`auc_measure` returns.
    people_a, people_b
        The two people of each pair, N each.
    replicates
        At least 100.
    confidence
        Between 0 and 1.
    seed
        Equal seeds give equal intervals.

    Raises
    ------
    InputError
        If the people do not fit, ``replicates`` or ``confidence`` is out of range, or fewer than half of the
        replicates have a value because the sample has too few people.
    """
    if replicates < 100:
        raise InputError(f"an interval needs at least 100 replicates, got {replicates}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    rng = np.random.default_rng(seed)
    parts: dict[str, list[NDArray[np.float64]]] = {name: [] for name in measures}
    for weights in person_weights(people_a, people_b, replicates=replicates, rng=rng):
        for name, measure in measures.items():
            parts[name].append(measure(weights))
    tail = (1 - confidence) / 2
    intervals: dict[str, Interval] = {}
    for name, chunks in parts.items():
        values = np.concatenate(chunks)
        values = values[np.isfinite(values)]
        if 2 * len(values) < replicates:
            raise InputError(f"too few people to resample for {name}; use more people or a Wilson interval")
        low, high = np.quantile(values, (tail, 1 - tail))
        intervals[name] = Interval(float(low), float(high))
    return intervals


def accuracy_measure(scores: ArrayLike, genuine: ArrayLike, threshold: float | ArrayLike) -> Measure:
    """Return the weighted accuracy as a measure.

    Genuine and impostor pairs keep their shares in the sample, so that the number of genuine pairs in a replicate
    does not change the accuracy.

    Parameters
    ----------
    threshold
        One number, or one per pair (the threshold of the pair's fold).
    """
    values, labels = checked_pairs(scores, genuine)
    right = (values > np.asarray(threshold, dtype=np.float64)) == labels
    of_genuine, of_impostors = _mean_over(labels, right), _mean_over(~labels, right)
    share = float(labels.mean())
    return lambda weights: share * of_genuine(weights) + (1 - share) * of_impostors(weights)


def auc_measure(scores: ArrayLike, genuine: ArrayLike) -> Measure:
    """Return the weighted area under the ROC curve as a measure; equal scores count one half."""
    values, labels = checked_pairs(scores, genuine)
    order = np.argsort(values, kind="stable")
    ordered = labels[order]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(values[order]) > 0)))

    def measure(weights: Weights) -> NDArray[np.float64]:
        sorted_weights = weights[:, order]
        genuine_sums = np.add.reduceat(sorted_weights * ordered, starts, axis=1)
        impostor_sums = np.add.reduceat(sorted_weights * ~ordered, starts, axis=1)
        below = np.cumsum(impostor_sums, axis=1) - impostor_sums / 2
        totals = genuine_sums.sum(axis=1) * impostor_sums.sum(axis=1)
        return _ratio(np.einsum("rk,rk->r", genuine_sums, below), totals)

    return measure


def _mean_over(chosen: NDArray[np.bool_], values: NDArray[np.bool_]) -> Measure:
    columns = np.stack((chosen & values, chosen), axis=1).astype(np.float64)

    def measure(weights: Weights) -> NDArray[np.float64]:
        sums = weights @ columns
        return _ratio(sums[:, 0], sums[:, 1])

    return measure


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)


@dataclass(frozen=True, eq=False)
class CurveReplicates:
    """Results of R replicates at T target FMRs; NaN where a replicate lacks genuine or impostor pairs.

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
    """Resample people and compute the error curve of each replicate.

    Raise InputError if the arrays do not match.

    Parameters
    ----------
    targets
        Target FMRs, shape (T,).
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
    """Return EER and FNMR of the same pairs with each row of weights (R, N)."""
    order = np.argsort(-values, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], np.diff(values[order]) < 0)))
    ordered = weights[:, order]
    fmr = _shares(np.add.reduceat(ordered * ~labels[order], starts, axis=1))
    tar = _shares(np.add.reduceat(ordered * labels[order], starts, axis=1))
    fnmr = np.full((len(weights), len(targets)), np.nan)
    known = np.isfinite(fmr[:, 0]) & np.isfinite(tar[:, 0])
    for row in np.flatnonzero(known):
        # Sums of weights reach a target exactly where counts do, up to rounding.
        last = np.searchsorted(fmr[row], targets + 1e-12, side="right") - 1
        fnmr[row] = np.maximum(0.0, 1.0 - tar[row, last])
    eer = np.full(len(weights), np.nan)
    eer[known] = _crossings(fmr[known], tar[known])
    return CurveReplicates(eer, fnmr)


def percentile_interval(values: NDArray[np.float64], confidence: float = 0.95) -> Interval | None:
    """Return the central interval of the replicates' values, or None if fewer than half of them have one."""
    finite = values[np.isfinite(values)]
    if 2 * len(finite) < len(values):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(finite, (tail, 1 - tail))
    return Interval(float(low), float(high))


def _shares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return cumulative shares from 0 to 1 of rows of weights; NaN where a row has no weight."""
    total = sums.sum(axis=1, keepdims=True)
    risen = np.divide(np.cumsum(sums, axis=1), total, out=np.full_like(sums, np.nan), where=total > 0)
    return np.concatenate((np.where(total > 0, 0.0, np.nan), risen), axis=1)


def _crossings(fmr: NDArray[np.float64], tar: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where FMR = FNMR on straight lines between thresholds, :func:`whyface.evaluate.rates.equal_error`."""
    gap = fmr - (1.0 - tar)
    rows = np.arange(len(gap))
    after = np.argmax(gap >= 0.0, axis=1)
    before = after - 1
    share = -gap[rows, before] / (gap[rows, after] - gap[rows, before])
    return np.asarray(fmr[rows, before] + share * (fmr[rows, after] - fmr[rows, before]), np.float64)
