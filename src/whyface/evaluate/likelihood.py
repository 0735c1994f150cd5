"""How good likelihood ratios are: Cllr, what calibration costs, the bounds that a sample supports, Tippett curves.

All logarithms are common ones (base 10). A likelihood ratio says how many times likelier a score is for one person than
for two; "genuine" marks pairs of one person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.rates import checked_pairs

FloatArray = NDArray[np.float64]
_STEP: Final = 0.01


@dataclass(frozen=True)
class CllrReport:
    """The cost of likelihood ratios, in bits; 0 is perfect, 1 that of an LR of 1 for every pair.

    Attributes
    ----------
    cllr
        Cost of the ratios as they are.
    cllr_min
        Cost after the best monotonous calibration on the same pairs: what telling them apart costs.
    cllr_cal
        Their difference: what calibration costs.
    """

    cllr: float
    cllr_min: float

    @property
    def cllr_cal(self) -> float:
        """``cllr - cllr_min``."""
        return self.cllr - self.cllr_min

    def to_dict(self) -> dict[str, float]:
        """Return plain values, ready for JSON."""
        return {"cllr": self.cllr, "cllr_min": self.cllr_min, "cllr_cal": self.cllr_cal}


class Bounds(NamedTuple):
    """Lowest and highest log10 LR that a sample supports, ``low <= 0 <= high``."""

    low: float
    high: float


def cllr(log10_lr: ArrayLike, genuine: ArrayLike) -> float:
    """Return the cost of log-likelihood ratios (N,), in bits.

    Raise InputError if the arrays do not fit or lack pairs of one kind.

    References
    ----------
    N. Brümmer, J. du Preez, Application-independent evaluation of speaker detection, Computer Speech and Language 20
    (2006).
    """
    values, labels = checked_pairs(log10_lr, genuine)
    natural = values * np.log(10)
    costs = np.mean(np.logaddexp(0, -natural[labels])), np.mean(np.logaddexp(0, natural[~labels]))
    return float(sum(costs) / 2 / np.log(2))


def report_cllr(log10_lr: ArrayLike, genuine: ArrayLike) -> CllrReport:
    """Return Cllr with its parts; raise InputError as :func:`cllr`."""
    values, labels = checked_pairs(log10_lr, genuine)
    return CllrReport(cllr(values, labels), cllr(pav(values, labels), labels))


def pav(log10_lr: ArrayLike, genuine: ArrayLike) -> FloatArray:
    """Return the best log10 LR (N,) that rise with those given, by pooling adjacent violators.

    Ratios of 0 and infinity, where only pairs of one kind are, become 1e-12 and 1e12. Raise InputError as :func:`cllr`.
    """
    values, labels = checked_pairs(log10_lr, genuine)
    # Equal values are one point; each kind of pairs weighs one half.
    points, place = np.unique(values, return_inverse=True)
    ones = np.bincount(place, labels / labels.sum(), len(points))
    both = ones + np.bincount(place, ~labels / (~labels).sum(), len(points))
    blocks: list[list[float]] = []  # weight of genuine pairs, of all, number of points
    for (
        one,
        all_,
    ) in zip(ones.tolist(), both.tolist(), strict=True):
        blocks.append([one, all_, 1])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [first + second for first, second in zip(blocks[-1], last, strict=True)]
    shares = np.repeat([one / all_ for one, all_, _ in blocks], [int(count) for *_, count in blocks])
    shares = np.clip(shares, 1e-12, 1 - 1e-12)
    return np.asarray(np.log10(shares / (1 - shares))[place])


def elub(log10_lr: ArrayLike, genuine: ArrayLike, people: ArrayLike | None = None) -> Bounds:
    """Return the empirical lower and upper bound (ELUB) of ratios (N,).

    Beyond the bounds, deciding by the ratios could cost more than ignoring them, if one more pair of each kind came out
    most misleading.

    Parameters
    ----------
    people
        Who is in each pair, (N,) texts such as ``"ann|bob"``: pairs of the same people share one vote of their kind,
        since they are not independent. None: each pair has its own.

    Raises
    ------
    InputError
        If the arrays do not fit or lack pairs of one kind.

    References
    ----------
    P. Vergeer et al., Numerical likelihood ratios outputted by LR systems are often based on extrapolation: When to
    stop extrapolating?, Science and Justice 56 (2016).
    """
    values, labels = checked_pairs(log10_lr, genuine)
    groups = np.arange(len(values)) if people is None else np.asarray(people)
    if groups.shape != values.shape:
        raise InputError("each pair needs the people in it")
    votes = [len(np.unique(groups[kind])) for kind in (labels, ~labels)]
    # Nothing beyond the number of votes can be supported.
    ends = max(values.min(), -np.log10(votes[0] + 1)), min(values.max(), np.log10(votes[1] + 1))
    first, last = min(0, int(ends[0] // _STEP)), max(0, int(ends[1] // _STEP) + 1)
    levels = np.arange(first, last + 1) * _STEP
    # A pair is taken for one person if its value is above the level; one of each kind is added, the most misleading.
    missed, false = (
        (_votes(values[kind], groups[kind], levels) + number) / (count + 1)
        for kind, number, count in ((labels, 1, votes[0]), (~labels, 0, votes[1]))
    )
    false = 1 - false
    costly = missed + 10.0**levels * false > np.minimum(1, 10.0**levels)
    low = np.max(levels[costly & (levels <= 0)] + _STEP, initial=levels[0])
    high = np.min(levels[costly & (levels >= 0)] - _STEP, initial=levels[-1])
    return Bounds(min(float(low), 0.0), max(float(high), 0.0))


def tippett(log10_lr: ArrayLike, genuine: ArrayLike, levels: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return the shares of genuine and of impostor pairs with a log10 LR above each level; raise as :func:`cllr`."""
    values, labels = checked_pairs(log10_lr, genuine)
    steps = np.asarray(levels, np.float64)
    shares = [(np.sort(part)[:, None] > steps).mean(axis=0) for part in (values[labels], values[~labels])]
    return shares[0], shares[1]


def empirical_cross_entropy(log10_lr: ArrayLike, genuine: ArrayLike, log10_odds: ArrayLike) -> FloatArray:
    """Return the cross-entropy, in bits, of deciding with these ratios at each prior, given as log10 odds.

    Raise InputError as :func:`cllr`.

    References
    ----------
    D. Ramos et al., Information-theoretical assessment of the performance of likelihood ratio computation methods,
    Journal of Forensic Sciences 58 (2013).
    """
    values, labels = checked_pairs(log10_lr, genuine)
    found = []
    for odds in np.atleast_1d(np.asarray(log10_odds, np.float64)) * np.log(10):
        natural = values * np.log(10) + odds
        prior = 1 / (1 + np.exp(-odds))
        found.append(
            prior * np.logaddexp(0, -natural[labels]).mean() + (1 - prior) * np.logaddexp(0, natural[~labels]).mean()
        )
    return np.asarray(np.array(found) / np.log(2), np.float64)


def _votes(values: NDArray[np.floating[Any]], groups: NDArray[Any], levels: NDArray[np.floating[Any]]) -> FloatArray:
    """Return how many votes are at most each level, if pairs of one group share a vote."""
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(1 / sizes[place][order])])
    return np.asarray(sums[np.searchsorted(values[order], levels, "right")])
