"""Pairs of people of known groups, and what is measured of the groups; measured by :mod:`whyface.evaluate.group_rates`.

The terms are those of ISO/IEC 19795-10: a genuine pair is a mated comparison, an impostor pair a non-mated one, and a
difference between groups a demographic differential. Intervals are over people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.evaluate.intervals import Interval

Names = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class GroupedPairs:
    """N pairs of pictures of people of known groups.

    Attributes
    ----------
    score
        (N,) float64; NaN where a pair got none.
    genuine
        (N,) bool.
    people_a, people_b, group_a, group_b
        (N,) str: the two people and their groups; ``""`` where a label is missing.
    undecided, failed
        (N,) bool: which pairs without a score got no verdict, and which have a picture that could not be used.
    shares
        (N, K): S x W at each of K places; NaN where it is not known. None if there are none.
    """

    score: NDArray[np.float64]
    genuine: NDArray[np.bool_]
    people_a: Names
    people_b: Names
    group_a: Names
    group_b: Names
    undecided: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    shares: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.score)
        if any(len(values) != count for values in vars(self).values() if values is not None) or not count:
            raise InputError("pairs, people and groups must have one entry each, and there must be some")
        odd = ~np.isfinite(self.score) & ~self.undecided & ~self.failed
        if odd.any():
            raise InputError(f"{int(odd.sum())} pairs have neither a score nor a reason why there is none")

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which pairs have a score, (N,)."""
        return np.isfinite(self.score)

    def only(self, chosen: NDArray[Any]) -> GroupedPairs:
        """Return some of the pairs."""
        parts: dict[str, Any] = {name: None if part is None else part[chosen] for name, part in vars(self).items()}
        return GroupedPairs(**parts)


@dataclass(frozen=True)
class GroupRate:
    """A rate over pairs or pictures, with a 95 % interval over people; without any, ``rate`` and interval are None."""

    errors: int
    of: int
    people: int
    rate: float | None
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {**vars(self), "interval": None if self.interval is None else list(self.interval)}


@dataclass(frozen=True)
class GroupResult:
    """What was measured of one group.

    Attributes
    ----------
    name, people
        The group, and how many people of it are in the pairs.
    withheld
        Why no rates are reported, or ``""``.
    fmr, fmr_others, fnmr, undecided, failed
        False match rate within the group and against all other groups, false non-match rate, and the shares of all
        pairs within the group that are undecided or have a picture that cannot be used.
    shift_genuine, shift_impostor
        Mean score of the group's pairs of each kind less that of all groups' pairs within a group, with its interval.
    det
        Points (threshold, FMR, FNMR) of the error curve, (D, 3); None without pairs of both kinds.
    """

    name: str
    people: int
    withheld: str
    fmr: GroupRate
    fmr_others: GroupRate
    fnmr: GroupRate
    undecided: GroupRate
    failed: GroupRate
    shift_genuine: tuple[float, Interval | None] | None = None
    shift_impostor: tuple[float, Interval | None] | None = None
    det: NDArray[np.float64] | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; rates of a group that is too small are left out."""
        plain: dict[str, Any] = {"group": self.name, "people": self.people, "withheld": self.withheld}
        rates = {"fmr": self.fmr, "fmr_others": self.fmr_others, "fnmr": self.fnmr}
        rates |= {"undecided": self.undecided, "failed": self.failed}
        if self.withheld:
            return {**plain, "pairs": {name: rate.of for name, rate in rates.items()}}
        shifts = {"shift_genuine": self.shift_genuine, "shift_impostor": self.shift_impostor}
        return {
            **plain,
            **{name: rate.to_dict() for name, rate in rates.items()},
            **{name: None if shift is None else _with_ends(*shift) for name, shift in shifts.items()},
            "det": None if self.det is None else self.det.tolist(),
        }


@dataclass(frozen=True)
class Differential:
    """How far the rates of all reported groups differ, with a 95 % interval over people.

    Attributes
    ----------
    name, value, interval
        The measure; None where it has no value.
    note
        Why it has none, or ``""``.
    """

    name: str
    value: float | None
    interval: Interval | None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"name": self.name, **_with_ends(self.value, self.interval), "note": self.note}


@dataclass(frozen=True, eq=False)
class Places:
    """Where the false matches of a group carry their weight.

    Attributes
    ----------
    group, false_matches, impostors
        The group, and the numbers of pairs.
    difference, low, high
        Mean S x W of the false matches within the group less that of all impostor pairs, and its 95 % interval over
        people, (K,); their sum is the difference of the mean scores. None where there are too few false matches.
    """

    group: str
    false_matches: int
    impostors: int
    difference: NDArray[np.float64] | None = None
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class GroupAudit:
    """All that was measured of the groups; see :func:`audit_groups`.

    Attributes
    ----------
    threshold
        Match iff score > threshold.
    groups
        Each group, largest first.
    all_pairs
        FMR of all impostor pairs, and FNMR of all genuine pairs, whatever their groups.
    crossed
        FMR of each two reported groups against one another, by their names.
    differentials
        How far they differ.
    places
        Where false matches carry their weight; empty without maps.
    left_out
        Numbers of pairs that belong to no group, by reason.
    """

    threshold: float
    groups: tuple[GroupResult, ...]
    all_pairs: Mapping[str, GroupRate]
    crossed: Mapping[tuple[str, str], GroupRate]
    differentials: tuple[Differential, ...]
    places: tuple[Places, ...]
    left_out: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "threshold": self.threshold,
            "all_pairs": {name: rate.to_dict() for name, rate in self.all_pairs.items()},
            "groups": [group.to_dict() for group in self.groups],
            "crossed": [{"groups": list(both), **rate.to_dict()} for both, rate in self.crossed.items()],
            "differentials": [one.to_dict() for one in self.differentials],
            "places": [one.to_dict() for one in self.places],
            "left_out": dict(self.left_out),
        }


def _with_ends(value: float | None, interval: Interval | None) -> dict[str, Any]:
    return {"value": value, "interval": None if interval is None else list(interval)}
