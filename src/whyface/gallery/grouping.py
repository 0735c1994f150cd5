"""Group faces into people: agglomerative average linkage over each face's nearest neighbours, with forbidden pairs.

Pairs of faces are taken in descending order of their scores, from the nearest neighbours of each face. A pair joins
the groups of its two faces if the mean score between the groups is high enough and nothing forbids it: one person is
not twice in one photo, and what a person has put apart stays apart. So every join has a pair that tied it, and every
face that stays alone has a pair that came nearest and a reason why it did not join.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.gallery.feature_file import Layout
from whyface.gallery.neighbours import Neighbours, Records, as_probes

SAME: Final = 1 - 1e-4
"""From this score on it is the same picture; rounding to 16 bits takes less from it."""

_MEMBERS: Final = 32
"""Members of a group that take part in a mean between groups, which bounds the cost of large groups."""

Why = Literal["alike", "same picture", "by hand"]
WhyNot = Literal["below the threshold", "in the same photo", "the others of the group are less like it", "put apart"]


@dataclass(frozen=True)
class Join:
    """Two groups became one.

    Attributes
    ----------
    face, other
        The faces that tied them.
    score
        Their score; NaN where the join was made by hand.
    mean
        The mean score between the two groups, NaN likewise.
    why
        What joined them.
    """

    face: int
    other: int
    score: float
    mean: float
    why: Why


@dataclass(frozen=True)
class Refusal:
    """The pair that came nearest to joining a face to others, and why it did not."""

    other: int
    score: float
    mean: float
    why: WhyNot


@dataclass(frozen=True)
class Grouping:
    """Groups of N faces.

    Attributes
    ----------
    groups
        The group of each face, (N,) int64: the lowest number of its faces.
    joins
        All joins, in the order in which they were made.
    refusals
        Why a face stays alone, by face.
    """

    groups: NDArray[np.int64]
    joins: tuple[Join, ...] = ()
    refusals: dict[int, Refusal] = field(default_factory=dict)

    def ties(self) -> dict[int, Join]:
        """Return the first join of each face that is not alone: what brought it into its group."""
        first: dict[int, Join] = {}
        for join in self.joins:
            first.setdefault(join.face, join)
            first.setdefault(join.other, join)
        return first


def mean_between(
    records: Records, layout: Layout, *, members: int = _MEMBERS
) -> Callable[[Sequence[int], Sequence[int]], float]:
    """Return a function that computes the mean score between two groups of faces, of at most so many members each."""

    def mean(one: Sequence[int], other: Sequence[int]) -> float:
        mine, theirs = (as_probes(records[list(group[:members])], layout) for group in (one, other))
        if mine.terms is None or theirs.terms is None:
            weights = 1.0 if mine.weights is None else mine.weights[:, None]
            return float(((mine.cells * weights).mean(axis=0) * theirs.cells.mean(axis=0)).sum())
        product = mine.cells.reshape(len(mine.cells), -1) @ theirs.cells.reshape(len(theirs.cells), -1).T
        return float(np.mean(product / np.maximum(mine.terms @ theirs.terms.T, 1e-30)))

    return mean


def group_faces(
    neighbours: Neighbours,
    mean: Callable[[Sequence[int], Sequence[int]], float],
    *,
    threshold: float,
    least_mean: float,
    photos: Sequence[int] | None = None,
    names: dict[int, str] | None = None,
    together: Sequence[tuple[int, int]] = (),
    apart: Sequence[tuple[Sequence[int], Sequence[int]]] = (),
) -> Grouping:
    """Group faces into people.

    Parameters
    ----------
    neighbours
        See :func:`find_neighbours`.
    mean
        The mean score between two groups; see :func:`mean_between`.
    threshold
        A pair below it does not tie two groups.
    least_mean
        Two groups with a lower mean score stay apart.
    photos
        The photo of each face; no group has two faces of one photo, unless they are joined by hand.
    names
        Names given by hand, by face: groups of different names stay apart.
    together, apart
        Pairs of faces joined by hand, and pairs of sets of faces put apart by hand.

    Raises
    ------
    InputError
        If a pair is both joined and put apart by hand, or two faces with different names are joined.
    """
    state = _Groups(len(neighbours.nearest), photos, names or {}, apart)
    for face, other in together:
        state.join_by_hand(face, other)
    nearly: dict[int, Refusal] = {}
    for (face, other), score in zip(neighbours.pairs.tolist(), neighbours.scores.tolist(), strict=True):
        if score < threshold:
            break
        one, two = state.find(face), state.find(other)
        if one == two:
            continue
        between = mean(state.members[one], state.members[two])
        why_not = state.forbidden(one, two)
        if why_not is None and between < least_mean:
            why_not = "the others of the group are less like it"
        if why_not is None:
            state.join(Join(face, other, score, between, "same picture" if score >= SAME else "alike"))
            continue
        for a, b in ((face, other), (other, face)):
            nearly.setdefault(a, Refusal(b, score, between, why_not))
    groups = np.array([state.find(face) for face in range(len(neighbours.nearest))], np.int64)
    alone = [face for face, group in enumerate(groups.tolist()) if len(state.members[group]) == 1]
    for face in alone:
        if face not in nearly and (other := int(neighbours.nearest[face])) >= 0:
            nearest = float(neighbours.nearest_scores[face])
            nearly[face] = Refusal(other, nearest, nearest, "below the threshold")
    return Grouping(groups, tuple(state.joins), {face: nearly[face] for face in alone if face in nearly})


class _Groups:
    """Disjoint groups of faces, and what forbids two of them to become one."""

    def __init__(
        self,
        count: int,
        photos: Sequence[int] | None,
        names: dict[int, str],
        apart: Sequence[tuple[Sequence[int], Sequence[int]]],
    ) -> None:
        self._parent = list(range(count))
        self.members: dict[int, list[int]] = {face: [face] for face in range(count)}
        self._photos = {face: {photos[face]} if photos is not None else {-face - 1} for face in range(count)}
        self._names: dict[int, set[str]] = {face: {name} for face, name in names.items()}
        self._apart: dict[int, set[int]] = {}
        for one, other in apart:
            for mine, theirs in ((one, other), (other, one)):
                for face in mine:
                    self._apart.setdefault(face, set()).update(theirs)
        self.joins: list[Join] = []

    def find(self, face: int) -> int:
        """Return the group of a face."""
        while self._parent[face] != face:
            self._parent[face] = self._parent[self._parent[face]]
            face = self._parent[face]
        return face

    def forbidden(self, one: int, other: int) -> WhyNot | None:
        """Return what forbids two groups to become one, or None."""
        small, large = sorted((one, other), key=lambda group: len(self.members[group]))
        if self._put_apart(small, large):
            return "put apart"
        if not self._photos[one].isdisjoint(self._photos[other]):
            return "in the same photo"
        return None

    def join(self, join: Join) -> None:
        """Make the groups of two faces one."""
        kept, gone = sorted((self.find(join.face), self.find(join.other)))
        self._parent[gone] = kept
        self.members[kept] += self.members.pop(gone)
        self._photos[kept] |= self._photos.pop(gone)
        if gone in self._names:
            self._names[kept] = self._names.get(kept, set()) | self._names.pop(gone)
        if gone in self._apart:
            self._apart[kept] = self._apart.get(kept, set()) | self._apart.pop(gone)
        self.joins.append(join)

    def join_by_hand(self, face: int, other: int) -> None:
        """Join two faces, whatever their scores and photos are."""
        one, two = self.find(face), self.find(other)
        if one == two:
            return
        if self._put_apart(one, two):
            raise InputError(f"faces {face} and {other} were put apart by hand, or have different names")
        self.join(Join(face, other, float("nan"), float("nan"), "by hand"))

    def _put_apart(self, one: int, other: int) -> bool:
        mine, theirs = self._names.get(one), self._names.get(other)
        if mine and theirs and mine != theirs:
            return True
        forbidden = self._apart.get(one)
        return forbidden is not None and not forbidden.isdisjoint(self.members[other])


def groups_of(grouping: Grouping) -> Iterator[list[int]]:
    """Yield the faces of each group, the largest group first."""
    order = np.argsort(grouping.groups, kind="stable")
    starts = np.flatnonzero(np.diff(grouping.groups[order], prepend=-1))
    groups = [part.tolist() for part in np.split(order, starts[1:])] if len(order) else []
    yield from sorted(groups, key=lambda faces: (-len(faces), faces[0]))
