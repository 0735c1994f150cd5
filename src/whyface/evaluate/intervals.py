"""Confidence intervals of a rate: Wilson's, and Wilson's for pairs that share people.

Pairs are not independent: a person who is hard to recognise affects all of their pairs. :func:`people_wilson`
estimates this effect and widens the interval accordingly; :mod:`whyface.evaluate.bootstrap` resamples people
instead and also works for measures other than rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError


class Interval(NamedTuple):
    """A confidence interval, ``low <= high``."""

    low: float
    high: float


def wilson(errors: float, total: float, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval for a rate of ``errors`` in ``total`` independent trials.

    Parameters
    ----------
    errors, total
        Counts; fractions are allowed, for an effective number of trials.
    confidence
        Between 0 and 1.

    Raises
    ------
    InputError
        If ``total`` is not positive, ``errors`` not in [0, total] or ``confidence`` not in (0, 1).

    References
    ----------
    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
    """
    if not total > 0 or not 0 <= errors <= total:
        raise InputError(f"a rate needs 0 <= errors <= total and total > 0, got {errors} of {total}")
    z = _normal_quantile(confidence)
    rate = errors / total
    centre = (rate + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    # Rounding must not move the ends past exactly known limits.
    low = 0.0 if errors == 0 else max(0.0, float(centre - half))
    high = 1.0 if errors == total else min(1.0, float(centre + half))
    return Interval(low, high)


def people_wilson(
    errors: ArrayLike,
    people_a: Sequence[str] | NDArray[np.intp],
    people_b: Sequence[str] | NDArray[np.intp],
    confidence: float = 0.95,
) -> Interval:
    """Return Wilson's interval for a rate over pairs that share people.

    The variance of the rate is the sum of the products of residuals over all pairs of pairs with a person in
    common. It yields the effective number of independent pairs, at most the real number, which is used for
    Wilson's interval. Without any error (or with only errors) the dependence cannot be estimated and the pairs
    count as independent.

    Parameters
    ----------
    errors
        Which pairs were decided wrongly, shape (N,) bool; all genuine or all impostor pairs.
    people_a, people_b
        The two people of each pair, N each; the same for genuine pairs.
    confidence
        Between 0 and 1.

    Raises
    ------
    InputError
        If the lengths differ or are 0, or ``confidence`` is not in (0, 1).

    References
    ----------
    P. Aronow, C. Samii, V. Assenova, Cluster-robust variance estimation for dyadic data, Political Analysis 23
    (2015); R. Fogliato, P. Patil, P. Perona, Confidence intervals for error rates in 1:1 matching tasks, IJCV
    132 (2024).
    """
    wrong = np.asarray(errors, dtype=np.float64)
    first, second, count = number_people(people_a, people_b)
    if wrong.shape != first.shape or not len(wrong):
        raise InputError(f"errors and people must have one entry per pair, got {wrong.shape} and {first.shape}")
    rate = float(wrong.mean())
    total = len(wrong)
    if rate in (0.0, 1.0):
        return wilson(rate * total, total, confidence)
    residual = wrong - rate
    between = first != second
    per_person = np.bincount(first, residual, count) + np.bincount(second, residual * between, count)
    # Two pairs of the same two people share both people and were counted twice.
    low, high = np.minimum(first, second)[between], np.maximum(first, second)[between]
    _, couple = np.unique(low * count + high, return_inverse=True)
    per_couple = np.bincount(couple, residual[between])
    variance = (np.sum(per_person**2) - np.sum(per_couple**2)) / total**2
    independent = rate * (1 - rate) / total
    effective = total * min(1.0, independent / variance) if variance > 0 else float(total)
    return wilson(rate * effective, effective, confidence)


def number_people(
    people_a: Sequence[str] | NDArray[np.intp] | NDArray[np.str_],
    people_b: Sequence[str] | NDArray[np.intp] | NDArray[np.str_],
) -> tuple[NDArray[np.intp], NDArray[np.intp], int]:
    """Map the people of all pairs to numbers from 0 to P - 1.

    Raise InputError if both lists differ in length or are not one-dimensional.

    Returns
    -------
    first, second, count
        The numbers of the two people of each pair, shape (N,) int each, and P.
    """
    first, second = np.asarray(people_a), np.asarray(people_b)
    if first.ndim != 1 or first.shape != second.shape:
        raise InputError(f"both people of every pair are needed, got shapes {first.shape} and {second.shape}")
    distinct, number = np.unique(np.concatenate((first, second)), return_inverse=True)
    number = number.astype(np.intp, copy=False)
    return number[: len(first)], number[len(first) :], len(distinct)


def _normal_quantile(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise InputError(f"confidence must be between 0 and 1, got {confidence}")
    return NormalDist().inv_cdf(0.5 + confidence / 2)
