"""Pairs and groups of an audit, put together from a table of pairs and, where there is one, a table of groups.

Nothing is dropped in silence: what does not fit is counted in the remarks, and what cannot be audited is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.pair_lists import people_of_pairs
from whyface.data.pair_table import Table, Texts, read_table
from whyface.errors import DataError, InputError, shortened
from whyface.evaluate.group_rates import failures_to_enrol
from whyface.evaluate.groups import GroupedPairs, GroupRate

CROSSING: Final = ", "
"""Between the labels of a crossing of several columns."""
_KEYS: Final = ("picture", "person")
_SHOWN: Final = 3


@dataclass(frozen=True, eq=False)
class AuditedPairs:
    """Scored pairs with the labels of both people, in several columns.

    Attributes
    ----------
    score, genuine, people_a, people_b, undecided, failed, shares
        As in :class:`~whyface.evaluate.groups.GroupedPairs`.
    pictures
        Names of both pictures of each pair, and whether each was the one that could not be used; None if unknown.
    labels
        Labels of both people, by column.
    remarks
        What a reader must know of the input, a sentence each.
    """

    score: NDArray[np.float64]
    genuine: NDArray[np.bool_]
    people_a: Texts
    people_b: Texts
    undecided: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    shares: NDArray[np.float32] | None
    pictures: tuple[Texts, Texts, NDArray[np.bool_], NDArray[np.bool_]] | None
    labels: Mapping[str, tuple[Texts, Texts]]
    remarks: tuple[str, ...]

    def grouped(self, columns: Sequence[str]) -> GroupedPairs:
        """Return the pairs with groups from one column, or the crossing of several.

        Raise InputError if there is no such column.
        """
        first, second = self._groups(columns)
        return GroupedPairs(
            self.score,
            self.genuine,
            self.people_a,
            self.people_b,
            first,
            second,
            self.undecided,
            self.failed,
            self.shares,
        )

    def enrolment(self, columns: Sequence[str]) -> dict[str, GroupRate] | None:
        """Return failure-to-enrol rates by group; None if the table does not say which pictures failed."""
        if self.pictures is None:
            return None
        names = np.concatenate(self.pictures[:2])
        failed = np.concatenate(self.pictures[2:])
        distinct, first, number = np.unique(names, return_index=True, return_inverse=True)
        wrong = np.bincount(number, failed, len(distinct)) > 0
        people, groups = np.concatenate([self.people_a, self.people_b]), np.concatenate(self._groups(columns))
        return failures_to_enrol(distinct.tolist(), people[first].tolist(), groups[first].tolist(), wrong)

    def _groups(self, columns: Sequence[str]) -> tuple[Texts, Texts]:
        if missing := [name for name in columns if name not in self.labels]:
            known = ", ".join(sorted(self.labels)) or "none"
            raise InputError(f"there are no groups by {shortened(missing[0])!r}; columns of groups: {known}")
        return _crossed([self.labels[name][0] for name in columns]), _crossed(
            [self.labels[name][1] for name in columns]
        )


def assemble(pairs: Table, *, groups: Path | None = None, score: str | None = None) -> AuditedPairs:
    """Put scored pairs and labels together.

    Parameters
    ----------
    pairs
        The columns ``score`` (or ``score_KIND``) and ``genuine`` or the people, ``person_a`` and ``person_b``; the
        pictures ``a`` and ``b``; groups as ``NAME_a`` and ``NAME_b``; and what else ``whyface batch`` writes.
    groups
        A table of groups by ``picture`` or ``person``.
    score
        The column with the scores.

    Raises
    ------
    DataError
        If a table cannot be read, a column is missing or malformed, or labels contradict each other.
    """
    remarks: list[str] = []
    table = None if groups is None else read_table(groups)
    labels = {
        name.removesuffix("_a"): (column, pairs.columns[f"{name.removesuffix('_a')}_b"])
        for name, column in pairs.columns.items()
        if name.endswith("_a") and f"{name.removesuffix('_a')}_b" in pairs.columns
    }
    people = labels.pop("person", None)
    for own in ("quality", "faces", "face"):
        labels.pop(own, None)
    if table is not None and people is None and "person" in table.columns and "picture" in table.columns:
        people = _looked_up(table, "picture", "person", _pictures(pairs))
    people = _people(pairs, people, remarks)
    if table is not None:
        labels |= _labels_of(table, pairs, people, remarks)
    genuine = pairs.truth() if "genuine" in pairs.columns else people[0] == people[1]
    _check_truth(pairs, genuine, people)
    scores = pairs.numbers(_score_column(pairs, score))
    error = pairs.columns.get("error", np.full(len(pairs), ""))
    undecided = np.isnan(scores) & (pairs.columns.get("verdict", np.full(len(pairs), "")) == "undecided")
    failed = np.isnan(scores) & ~undecided
    if silent := int((failed & (error == "")).sum()):
        remarks.append(f"{silent} pairs have no score and no reason; they count as failed.")
    shares = None
    if {"S", "W"} <= pairs.lists.keys() and pairs.lists["S"].shape == pairs.lists["W"].shape:
        shares = pairs.lists["S"] * pairs.lists["W"]
    if not genuine.any():
        remarks.append("There are no genuine pairs, so there is no false non-match rate.")
    if genuine.all():
        remarks.append("There are no impostor pairs, so there is no false match rate.")
    return AuditedPairs(
        scores,
        genuine,
        *people,
        undecided,
        failed,
        shares,
        _at_fault(pairs, error) if "error" in pairs.columns else None,
        labels,
        tuple(remarks),
    )


def _pictures(pairs: Table) -> tuple[Texts, Texts]:
    return pairs.text("a"), pairs.text("b")


def _people(pairs: Table, known: tuple[Texts, Texts] | None, remarks: list[str]) -> tuple[Texts, Texts]:
    if known is None:
        first, second = _pictures(pairs)
        if "genuine" not in pairs.columns:
            raise DataError(
                f"{pairs.path}: says neither who is in the pictures (person_a, person_b) nor which pairs are genuine"
            )
        rows = zip(first.tolist(), second.tolist(), pairs.truth().tolist(), strict=True)
        people, folders = people_of_pairs(list(rows), str(pairs.path))
        remarks.append(
            "The people are the pictures' folders, which agree with the labels."
            if folders
            else "The people were told apart by the genuine pairs alone: intervals may be too narrow."
        )
        return tuple(np.array([people[name] for name in side.tolist()], np.str_) for side in (first, second))  # type: ignore[return-value]
    found = []
    nameless = 0
    for side, column in zip("ab", known, strict=True):
        blank = column == ""
        nameless += int(blank.sum())
        found.append(np.where(blank, np.char.add("picture ", pairs.text(side)), column) if blank.any() else column)
    if nameless:
        remarks.append(f"In {nameless} places the person is missing; each such picture counts as a person of its own.")
    return found[0], found[1]


def _labels_of(
    table: Table, pairs: Table, people: tuple[Texts, Texts], remarks: list[str]
) -> dict[str, tuple[Texts, Texts]]:
    key = next((name for name in _KEYS if name in table.columns), None)
    if key is None:
        raise DataError(f"{table.path}: needs a column 'picture' or 'person' that says whom each row is about")
    wanted = _pictures(pairs) if key == "picture" else people
    names = [name for name in table.columns if name not in _KEYS]
    if not names:
        raise DataError(f"{table.path}: has no column of groups beside {key!r}")
    labels = {name: _looked_up(table, key, name, wanted) for name in names}
    listed, used = set(table.columns[key].tolist()), set(np.unique(np.concatenate(wanted)).tolist())
    if not listed & used:
        raise DataError(f"{table.path}: no {key} of it is in {pairs.path}; write the names as they are there")
    what = "pictures" if key == "picture" else "people"
    for found, text in (
        (listed - used, "of the groups are in no pair"),
        (used - listed, "of the pairs have no groups"),
    ):
        if found:
            some = ", ".join(shortened(name, 60) for name in sorted(found)[:_SHOWN])
            remarks.append(f"{len(found)} {what} {text} ({some}{', ...' if len(found) > _SHOWN else ''}).")
    return labels


def _looked_up(table: Table, key: str, name: str, wanted: tuple[Texts, Texts]) -> tuple[Texts, Texts]:
    known: dict[str, str] = {}
    for one, label in zip(table.columns[key].tolist(), table.columns[name].tolist(), strict=True):
        if known.setdefault(one, label) != label:
            raise DataError(f"{table.path}: {key} {shortened(one)!r} is both {known[one]!r} and {label!r}; keep one")
    first, second = (np.array([known.get(one, "") for one in side.tolist()], np.str_) for side in wanted)
    return first, second


def _score_column(pairs: Table, score: str | None) -> str:
    if score is not None:
        return score
    found = [name for name in pairs.columns if name == "score" or name.startswith("score_")]
    if len(found) != 1:
        known = (
            f"several columns of scores ({', '.join(found)}); name one with --score" if found else "no column 'score'"
        )
        raise DataError(f"{pairs.path}: has {known}")
    return found[0]


def _check_truth(pairs: Table, genuine: NDArray[np.bool_], people: tuple[Texts, Texts]) -> None:
    wrong = np.flatnonzero(genuine != (people[0] == people[1]))
    if len(wrong):
        row = int(wrong[0])
        kind = "genuine" if genuine[row] else "impostor"
        raise DataError(
            f"{pairs.path}, row {row + 1}: a pair of {shortened(str(people[0][row]))} and "
            f"{shortened(str(people[1][row]))} is marked {kind}; {len(wrong)} rows contradict the people so"
        )


def _at_fault(pairs: Table, error: Texts) -> tuple[Texts, Texts, NDArray[np.bool_], NDArray[np.bool_]]:
    """Find which picture could not be used: a reason begins with its name."""
    first, second = _pictures(pairs)
    blamed = np.zeros((2, len(pairs)), np.bool_)
    for row in np.flatnonzero(error != "").tolist():
        reasons = error[row].split("; ")
        for side, names in enumerate((first, second)):
            blamed[side, row] = any(reason.startswith(f"{names[row]}:") for reason in reasons)
    return first, second, blamed[0], blamed[1]


def _crossed(columns: Sequence[Texts]) -> Texts:
    joined = columns[0]
    missing = joined == ""
    for column in columns[1:]:
        joined = np.char.add(np.char.add(joined, CROSSING), column)
        missing |= column == ""
    return np.where(missing, "", joined)
