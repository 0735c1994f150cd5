"""Confidence intervals by resampling people, for any measure of weighted pairs.

The unit that is drawn is a person, not a pair. In each replicate P people are drawn from the P people with
replacement; a genuine pair then counts as often as its person was drawn, an impostor pair as often as its two
people were drawn together, that is the product of both numbers. Every pair of a person who was not drawn is
left out.

Counting impostor pairs by a product never makes the interval too narrow, but where people hardly share pairs
it is too wide, in the extreme by a factor of sqrt(3), because such a weight has variance 3 where 1 would do
(Owen 2007). For plain rates :func:`whyface.evaluate.intervals.people_wilson` has no such excess.

References
----------
R. Bolle, N. Ratha, S. Pankanti, Error analysis of pattern recognition systems: the subsets bootstrap, CVIU 93
(2004): resampling people instead of scores. A. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1
(2007): product weights and their bias. R. Fogliato, P. Patil, P. Perona, Confidence intervals for error rates
in 1:1 matching tasks, IJCV 132 (2024): both for face verification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    people_a: Sequence[str] | NDArray[np.intp],
    people_b: Sequence[str] | NDArray[np.intp],
    *,
    replicates: int,
    rng: np.random.Generator,
) -> Iterator[Weights]:
    """Draw the weights of all pairs, chunk by chunk.

    Parameters
    ----------
    people_a, people_b
        The two people of each pair, N each; the same person twice for a genuine pair.
    replicates
        How many times the people are drawn.
    rng
        Source of randomness.

    Yields
    ------
    ndarray
        Shape (r, N) float64; the r of all chunks add up to ``replicates``.

    Raises
    ------
    InputError
        If the lists of people do not fit.
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
        Functions of the weights, such as :func:`fmr_measure` returns.
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
        raise InputError(f"confidence must lie between 0 and 1, got {confidence}")
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


def fmr_measure(scores: ArrayLike, genuine: ArrayLike, threshold: float) -> Measure:
    """Return the weighted FMR at a fixed threshold as a measure."""
    values, labels = checked_pairs(scores, genuine)
    return _mean_over(~labels, values > threshold)


def fnmr_measure(scores: ArrayLike, genuine: ArrayLike, threshold: float) -> Measure:
    """Return the weighted FNMR at a fixed threshold as a measure."""
    values, labels = checked_pairs(scores, genuine)
    return _mean_over(labels, values <= threshold)


def accuracy_measure(scores: ArrayLike, genuine: ArrayLike, threshold: float | ArrayLike) -> Measure:
    """Return the weighted accuracy as a measure.

    Genuine and impostor pairs keep the shares that they have in the sample, so that a replicate with, say,
    fewer genuine pairs does not count as better or worse for that alone.

    Parameters
    ----------
    scores, genuine
        The pairs.
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
