"""Error rates by group of people, how far groups differ, and in which places their false matches carry weight.

Rates are of pairs within a group, since strangers of one group are more alike than strangers of two; those of two
groups are kept apart. The terms are those of ISO/IEC 19795-10.

References
----------
P. Grother, Face Recognition Vendor Test (FRVT) Part 8: Summarizing Demographic Differentials, NISTIR 8429 (2022): the
highest rate over the geometric mean. J. Howard et al., Evaluating Proposed Fairness Models for Face Recognition
Algorithms, ICPR workshops (2022): GARBE, the Gini coefficient of both rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.bootstrap import percentile_interval, person_weights
from whyface.evaluate.groups import Differential, GroupAudit, GroupedPairs, GroupRate, GroupResult, Names, Places
from whyface.evaluate.intervals import Interval, number_people, people_wilson
from whyface.evaluate.rates import roc_curve

SMALLEST: Final = 10
"""Fewest people of a group whose rates are reported, by default."""
FEWEST_FALSE: Final = 10
"""Fewest false matches of a group whose places are reported."""
_DET_POINTS: Final = 60


def max_over_geometric_mean(rates: ArrayLike) -> NDArray[np.float64]:
    """Return the highest rate over the geometric mean of all, along the last axis; NaN where one is 0 or not known."""
    values = np.asarray(rates, np.float64)
    known = (values > 0).all(axis=-1)
    logs = np.log(np.where(values > 0, values, 1.0))
    ratio = np.exp(logs.max(axis=-1) - logs.mean(axis=-1))
    return np.asarray(np.where(known, ratio, np.nan), np.float64)


def gini(rates: ArrayLike) -> NDArray[np.float64]:
    """Return the Gini coefficient of n rates along the last axis, times n / (n - 1); 0 if all are 0."""
    values = np.asarray(rates, np.float64)
    count = values.shape[-1]
    if count < 2:
        raise InputError("groups are compared: there must be two or more")
    apart = np.abs(values[..., :, None] - values[..., None, :]).sum(axis=(-2, -1))
    total = values.sum(axis=-1)
    found = np.divide(apart, 2 * (count - 1) * total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(np.where(np.isnan(total), np.nan, found), np.float64)


def garbe(fmr: ArrayLike, fnmr: ArrayLike, weight: float = 0.5) -> NDArray[np.float64]:
    """Return the Gini aggregation rate for biometric equitability: ``weight`` for the FMR, the rest for the FNMR."""
    return np.asarray(weight * gini(fmr) + (1 - weight) * gini(fnmr), np.float64)


def audit_groups(
    pairs: GroupedPairs, threshold: float, *, smallest: int = SMALLEST, replicates: int = 1000, seed: int = 0
) -> GroupAudit:
    """Measure every group at one threshold.

    Parameters
    ----------
    smallest
        Groups with fewer people get no rates.
    replicates, seed
        Of the bootstrap over people for shifts, differentials and places; 0 replicates: no such intervals.

    Raises
    ------
    InputError
        If no pair has labels of both people and a score, or ``smallest`` is below 2.
    """
    if smallest < 2:
        raise InputError(f"a group needs two people or more to be compared, got {smallest}")
    labelled = (pairs.group_a != "") & (pairs.group_b != "")
    torn = labelled & pairs.genuine & (pairs.group_a != pairs.group_b)
    left_out = {
        "a label is missing": int((~labelled).sum()),
        "one person with two labels": int(torn.sum()),
    }
    kept = pairs.only(labelled & ~torn) if (labelled & ~torn).any() else None
    if kept is None or not kept.scored.any():
        raise InputError("no pair has a score and labels of both people; check the names in the table of groups")
    sizes = _people_of_groups(kept)
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    groups = [_measure(kept, name, sizes[name], threshold, smallest) for name in names]
    reported = [group.name for group in groups if not group.withheld]
    crossed = {
        (one, other): _rate(kept, _between(kept, one, other) & ~kept.genuine & kept.scored, kept.score > threshold)
        for one, other in combinations(reported, 2)
    }
    draws = _Draws(kept, reported, threshold, replicates, seed)
    scored = kept.scored
    return GroupAudit(
        threshold=threshold,
        groups=tuple(draws.with_shifts(group) for group in groups),
        all_pairs={
            "fmr": _rate(kept, ~kept.genuine & scored, kept.score > threshold),
            "fmr_within": _rate(kept, ~kept.genuine & scored & (kept.group_a == kept.group_b), kept.score > threshold),
            "fnmr": _rate(kept, kept.genuine & scored, kept.score <= threshold),
            "undecided": _rate(kept, np.ones(len(kept.score), bool), kept.undecided),
            "failed": _rate(kept, np.ones(len(kept.score), bool), kept.failed),
        },
        crossed=crossed,
        differentials=draws.differentials(),
        places=tuple(_places(kept, name, threshold, replicates, seed) for name in reported)
        if kept.shares is not None
        else (),
        left_out=left_out,
    )


def failures_to_enrol(
    pictures: Sequence[str], people: Sequence[str], groups: Sequence[str], failed: ArrayLike
) -> dict[str, GroupRate]:
    """Return the share of pictures without a usable face by group; pictures without a label are under ``""``."""
    wrong, who, label = np.asarray(failed, bool), np.asarray(people), np.asarray(groups)
    if len({len(pictures), len(wrong), len(who), len(label)}) > 1:
        raise InputError("every picture needs a person, a group and whether it failed")
    return {str(name): _counted(wrong[label == name], *[who[label == name]] * 2) for name in np.unique(label)}


def _measure(pairs: GroupedPairs, name: str, people: int, threshold: float, smallest: int) -> GroupResult:
    within, scored = (pairs.group_a == name) & (pairs.group_b == name), pairs.scored
    others = (pairs.group_a == name) ^ (pairs.group_b == name)
    matched = pairs.score > threshold
    impostors, genuine = within & ~pairs.genuine & scored, within & pairs.genuine & scored
    withheld = "" if people >= smallest else f"{people} {'person' if people == 1 else 'people'}, fewer than {smallest}"
    result = GroupResult(
        name,
        people,
        withheld,
        fmr=_rate(pairs, impostors, matched),
        fmr_others=_rate(pairs, others & scored, matched),
        fnmr=_rate(pairs, genuine, ~matched),
        undecided=_rate(pairs, within, pairs.undecided),
        failed=_rate(pairs, within, pairs.failed),
    )
    if withheld or not impostors.any() or not genuine.any():
        return result
    both = impostors | genuine
    curve = roc_curve(pairs.score[both], pairs.genuine[both])
    points = np.stack([curve.thresholds, curve.fmr, 1 - curve.tar], axis=1)
    # Low rates of both kinds matter most.
    ends = [np.geomspace(0.5 / kind.sum(), 1, _DET_POINTS) for kind in (impostors, genuine)]
    rows = [np.searchsorted(curve.fmr, ends[0], "right") - 1, np.searchsorted(curve.tar, 1 - ends[1])]
    return replace(result, det=points[np.unique(np.concatenate(rows))])


class _Draws:
    """Replicates of the rates and mean scores of all reported groups, from the same draws of people."""

    def __init__(self, pairs: GroupedPairs, names: Sequence[str], threshold: float, replicates: int, seed: int) -> None:
        self._names = list(names)
        self._rows = [
            [
                np.flatnonzero(
                    (pairs.group_a == name) & (pairs.group_b == name) & pairs.scored & (pairs.genuine == kind)
                )
                for kind in (False, True)
            ]
            for name in names
        ]
        self._values = pairs.score
        self._wrong = (pairs.score > threshold) != pairs.genuine
        count = len(names)
        # (replicate, group, impostors or genuine): rate of errors, sum of weights, weighted sum of scores.
        self.point = self._sums(np.ones((1, len(pairs.score))))
        drawn = [np.empty((0, count, 2, 3))]
        if replicates and count:
            people = pairs.people_a, pairs.people_b
            rng = np.random.default_rng(seed)
            drawn += [self._sums(part) for part in person_weights(*people, replicates=replicates, rng=rng)]
        self.drawn = np.concatenate(drawn)

    def _sums(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.zeros((len(weights), len(self._names), 2, 3))
        for group, kinds in enumerate(self._rows):
            for kind, rows in enumerate(kinds):
                columns = np.stack([np.ones(len(rows)), self._wrong[rows], self._values[rows]], axis=1)
                found[:, group, kind] = weights[:, rows] @ columns
        return found

    def with_shifts(self, group: GroupResult) -> GroupResult:
        """Return a group's result with its score shifts."""
        if group.name not in self._names:
            return group
        place = self._names.index(group.name)
        shifts: dict[str, Any] = {}
        for kind, name in enumerate(("shift_impostor", "shift_genuine")):
            value = _shift(self.point, place, kind)[0]
            if np.isfinite(value):
                shifts[name] = float(value), _ends(_shift(self.drawn, place, kind))
        return replace(group, **shifts)

    def differentials(self) -> tuple[Differential, ...]:
        """Return the highest rate over the geometric mean, the Gini coefficients, and GARBE."""
        if len(self._names) < 2:
            return ()
        measures: dict[str, Any] = {}
        for kind, name in enumerate(("FMR", "FNMR")):
            measures[f"max over geometric mean of {name}"] = kind, max_over_geometric_mean
            measures[f"Gini coefficient of {name}"] = kind, gini
        found = []
        for name, (kind, measure) in measures.items():
            found.append(self._differential(name, lambda rates, k=kind, m=measure: m(rates[:, :, k])))
        return (*found, self._differential("GARBE", lambda rates: garbe(rates[:, :, 0], rates[:, :, 1])))

    def _differential(self, name: str, measure: Any) -> Differential:
        rates = _rates(self.point)
        value = measure(rates)[0]
        if not np.isfinite(value):
            note = "a group has no pairs of this kind, or no errors, so that there is no ratio"
            return Differential(name, None, None, note)
        # Without any error nothing that is resampled can differ: an interval would say that nothing ever does.
        blank = [kind for kind, total in zip(("FMR", "FNMR"), rates[0].sum(axis=0), strict=True) if total == 0]
        concerned = [kind for kind in blank if name.endswith(f" {kind}") or name == "GARBE"]
        if concerned:
            note = f"no group has an error of the {' or the '.join(concerned)}: too few pairs to see a difference"
            return Differential(name, float(value), None, note)
        return Differential(name, float(value), _ends(measure(_rates(self.drawn))))


def place_differences(
    shares: NDArray[np.floating[Any]],
    people_a: Names | NDArray[np.intp],
    people_b: Names | NDArray[np.intp],
    false: NDArray[np.bool_],
    every: NDArray[np.bool_],
    *,
    replicates: int,
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return mean S x W of false matches less that of all impostor pairs, with its 95 % interval, (K,) each.

    Parameters
    ----------
    shares
        S x W of N impostor pairs, (N, K).
    people_a, people_b
        The people of each pair, (N,) each.
    false, every
        Which of them are the false matches, and which stand for all impostor pairs, (N,) each.
    replicates, seed
        Of the bootstrap over people; 0 replicates: the interval is NaN.
    """
    values = np.asarray(shares, np.float64)
    difference = values[false].mean(axis=0) - values[every].mean(axis=0)
    drawn = []
    rng = np.random.default_rng(seed)
    for weights in person_weights(people_a, people_b, replicates=replicates, rng=rng):
        means = []
        for chosen in (false, every):
            part = weights[:, chosen]
            total = part.sum(axis=1, keepdims=True)
            means.append(
                np.divide(
                    part @ values[chosen], total, out=np.full((len(part), values.shape[1]), np.nan), where=total > 0
                )
            )
        drawn.append(means[0] - means[1])
    if not drawn:
        return difference, np.full_like(difference, np.nan), np.full_like(difference, np.nan)
    low, high = np.nanquantile(np.concatenate(drawn), (0.025, 0.975), axis=0)
    return difference, low, high


def _places(pairs: GroupedPairs, name: str, threshold: float, replicates: int, seed: int) -> Places:
    assert pairs.shares is not None
    part = pairs.only(~pairs.genuine & pairs.scored & np.isfinite(pairs.shares).all(axis=1))
    false = (part.group_a == name) & (part.group_b == name) & (part.score > threshold)
    count = int(false.sum())
    if count < FEWEST_FALSE:
        return Places(name, count, len(false))
    assert part.shares is not None
    every = np.ones_like(false)
    people = part.people_a, part.people_b
    found = place_differences(part.shares, *people, false, every, replicates=replicates, seed=seed)
    return Places(name, count, len(false), *(found if replicates else found[:1]))


def _rates(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.full(sums.shape[:-1], np.nan)
    return np.asarray(np.divide(sums[..., 1], sums[..., 0], out=found, where=sums[..., 0] > 0), np.float64)


def _shift(sums: NDArray[np.float64], place: int, kind: int) -> NDArray[np.float64]:
    mine, every = sums[:, place, kind], sums[:, :, kind].sum(axis=1)
    of = np.where(mine[:, 0] > 0, mine[:, 0], np.nan)
    return np.asarray(mine[:, 2] / of - every[:, 2] / np.where(every[:, 0] > 0, every[:, 0], np.nan), np.float64)


def _rate(pairs: GroupedPairs, chosen: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> GroupRate:
    return _counted(wrong[chosen], pairs.people_a[chosen], pairs.people_b[chosen])


def _counted(wrong: NDArray[np.bool_], people_a: Names, people_b: Names) -> GroupRate:
    if not len(wrong):
        return GroupRate(0, 0, 0, None, None)
    first, second, people = number_people(people_a, people_b)
    interval = people_wilson(wrong, first, second)
    return GroupRate(int(wrong.sum()), len(wrong), people, float(wrong.mean()), interval)


def _between(pairs: GroupedPairs, one: str, other: str) -> NDArray[np.bool_]:
    there, back = (pairs.group_a == one) & (pairs.group_b == other), (pairs.group_a == other) & (pairs.group_b == one)
    return np.asarray(there | back, np.bool_)


def _people_of_groups(pairs: GroupedPairs) -> dict[str, int]:
    who = np.stack([np.concatenate([pairs.group_a, pairs.group_b]), np.concatenate([pairs.people_a, pairs.people_b])])
    names, counts = np.unique(np.unique(who, axis=1)[0], return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _ends(values: NDArray[np.float64]) -> Interval | None:
    return percentile_interval(values) if len(values) else None
