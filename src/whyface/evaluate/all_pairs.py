"""Error rates over all pairs of a set of faces: tens of millions of impostor pairs instead of thousands.

A threshold for FMR 1e-3 out of 3,000 impostor pairs rests on three errors. All faces of LFW against each other are 87
million impostor pairs; where a model's score is two matrix products (:mod:`whyface.xcos.grid`, or a cosine),
they take minutes. Only the highest impostor scores are kept, with their two faces, so that label errors can be found.

Intervals resample people. Here every person is paired with every other one, so that the weight of an impostor pair is
the product of how often its two people were drawn, the design that product weights are made for.

References
----------
A. Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007): product weights. R. Bolle, N. Ratha,
S. Pankanti, Error analysis of pattern recognition systems: the subsets bootstrap, CVIU 93 (2004): people as units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.evaluate.bootstrap import percentile_interval
from whyface.evaluate.rates import supports_fmr
from whyface.files.progress import ProgressCallback
from whyface.models.operating_point import OperatingPoint

ScoreBlock = Callable[[slice, slice], NDArray[np.float32]]
"""Returns the scores of some faces (rows) with others (columns), (R, C)."""

RATES: Final = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""The false match rates that are measured by default."""

_BLOCK: Final = 1024
_SAMPLE: Final = 400_000
_SPARE: Final = 1.2


@dataclass(frozen=True, eq=False)
class AllPairs:
    """All pairs of N faces of P people.

    Attributes
    ----------
    people
        The person in each face, (N,), numbered from 0.
    genuine, genuine_people
        The scores of all genuine pairs, and their person; (G,) each.
    high, high_faces
        The highest impostor scores (M,), in descending order, and the two faces of each, (M, 2).
    floor
        ``high`` has all impostor scores above this.
    impostors
        Number of all impostor pairs.
    """

    people: NDArray[np.intp]
    genuine: NDArray[np.float32]
    genuine_people: NDArray[np.intp]
    high: NDArray[np.float32]
    high_faces: NDArray[np.int32]
    floor: float
    impostors: int

    def threshold(self, fmr: float) -> float:
        """Return the lowest threshold whose FMR is at most ``fmr``.

        Raise InputError if there are too few impostor pairs to show such an FMR, or too few of them were kept.
        """
        if not 0 < fmr < 1:
            raise InputError(f"the FMR must be between 0 and 1, got {fmr}")
        if not supports_fmr(self.impostors, fmr):
            raise InputError(f"{self.impostors} impostor pairs cannot show an FMR of {fmr:g}; use a higher one")
        allowed = int(fmr * self.impostors * (1 + 1e-12))
        if allowed >= len(self.high):
            raise InputError(f"an FMR of {fmr:g} needs the {allowed + 1} highest scores, {len(self.high)} were kept")
        return float(self.high[allowed])

    def matching(self, threshold: float) -> int:
        """Return the number of impostor pairs above a threshold, which must not be below ``floor``."""
        if threshold < self.floor:
            raise InputError(f"impostor scores below {self.floor:.4f} were not kept, got the threshold {threshold:.4f}")
        return int(np.searchsorted(-self.high, -threshold, side="left"))

    def missed(self, threshold: float) -> NDArray[np.float64]:
        """Return each person's share of genuine pairs that do not match, (P,); NaN for people with one face."""
        count = int(self.people.max()) + 1
        of = np.bincount(self.genuine_people, minlength=count)
        errors = np.bincount(self.genuine_people[self.genuine <= threshold], minlength=count)
        return np.asarray(np.divide(errors, of, out=np.full(count, np.nan), where=of > 0), np.float64)


def compare_all(
    score: ScoreBlock,
    people: Sequence[Any] | NDArray[Any],
    *,
    keep: float = 0.011,
    progress: ProgressCallback | None = None,
) -> AllPairs:
    """Score all pairs of N faces once.

    Raise InputError if there are fewer than two people, nobody has two faces, or a score is not finite.

    Parameters
    ----------
    score
        Returns blocks of scores; must be symmetric.
    people
        The person in each face, (N,): names or numbers.
    keep
        Minimum share of impostor pairs to keep, those with the highest scores.
    """
    number = np.unique(np.asarray(people), return_inverse=True)[1].astype(np.intp)
    faces = np.bincount(number) if len(number) else np.zeros(1, int)
    if len(faces) < 2 or faces.max() < 2:
        raise InputError("all pairs need faces of at least two people, and two faces of one of them")
    if not 0 < keep <= 1:
        raise InputError(f"the share to keep must be in (0, 1], got {keep}")
    impostors = (len(number) ** 2 - int((faces.astype(np.int64) ** 2).sum())) // 2
    wanted = int(np.ceil(keep * impostors))
    floor = _guess_floor(score, number, keep)
    while True:
        found = _collect(score, number, floor, progress)
        if len(found.high) >= min(wanted, impostors):
            return found
        floor -= 0.05 * max(1.0, abs(floor)) if np.isfinite(floor) else 0.0


def points_over_all(
    pairs: AllPairs,
    *,
    dataset: str,
    rates: Sequence[float] = RATES,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[OperatingPoint, ...]:
    """Measure thresholds for false match rates, with intervals over people.

    Return a point for each rate, from high to low. Its FNMR is over all genuine pairs; its note has the mean over
    people, in which a person with 500 photos counts as much as one with two.

    Parameters
    ----------
    rates
        The false match rates; those that need more impostor pairs are left out.
    """
    wanted = [rate for rate in sorted(rates, reverse=True) if supports_fmr(pairs.impostors, rate)]
    thresholds = [pairs.threshold(rate) for rate in wanted]
    false, missed = _replicates(pairs, thresholds, replicates, seed)
    points = []
    for column, (rate, threshold) in enumerate(zip(wanted, thresholds, strict=True)):
        mantissa, exponent = f"{rate:e}".split("e")
        points.append(
            OperatingPoint(
                name=f"FMR {float(mantissa):g}e{int(exponent)}",
                threshold=threshold,
                fmr=pairs.matching(threshold) / pairs.impostors,
                fnmr=float((pairs.genuine <= threshold).mean()),
                fmr_interval=percentile_interval(false[:, column]),
                fnmr_interval=percentile_interval(missed[:, column]),
                genuine_pairs=len(pairs.genuine),
                impostor_pairs=pairs.impostors,
                dataset=dataset,
                note=f"FNMR as the mean over people: {100 * np.nanmean(pairs.missed(threshold)):.3g} %",
            )
        )
    return tuple(points)


def _guess_floor(score: ScoreBlock, people: NDArray[np.intp], keep: float) -> float:
    """Estimate from a sample the score above which the highest ``keep`` of all impostor pairs are."""
    rng = np.random.default_rng(0)
    rows = min(len(people), max(2, _SAMPLE // len(people)))
    values = []
    for row in rng.choice(len(people), rows, replace=False).tolist():
        line = score(slice(row, row + 1), slice(0, len(people)))[0]
        values.append(line[people != people[row]])
    return float(np.quantile(np.concatenate(values), max(0.0, 1 - _SPARE * keep)))


def _collect(score: ScoreBlock, people: NDArray[np.intp], floor: float, progress: ProgressCallback | None) -> AllPairs:
    count = len(people)
    total, done, impostors = count * (count - 1) // 2, 0, 0
    genuine: list[NDArray[np.float32]] = []
    who: list[NDArray[np.intp]] = []
    high: list[NDArray[np.float32]] = []
    faces: list[NDArray[np.int32]] = []
    for top in range(0, count, _BLOCK):
        for left in range(top, count, _BLOCK):
            rows, columns = slice(top, min(top + _BLOCK, count)), slice(left, min(left + _BLOCK, count))
            scores = np.asarray(score(rows, columns), np.float32)
            if not np.isfinite(scores).all():
                raise InputError("a score is not finite; are all faces usable?")
            same = people[rows][:, None] == people[columns]
            once = np.ones_like(same)
            if top == left:
                once = np.triu(once, 1)
            mine = same & once
            genuine.append(scores[mine])
            who.append(people[rows][np.nonzero(mine)[0]])
            others = once & ~same
            impostors += int(others.sum())
            first, second = np.nonzero(others & (scores > floor))
            high.append(scores[first, second])
            faces.append(np.stack([first + top, second + left], axis=1).astype(np.int32))
            done += int(once.sum())
            if progress is not None:
                progress(done, total)
    values = np.concatenate(high)
    order = np.argsort(-values, kind="stable")
    return AllPairs(
        people,
        np.concatenate(genuine),
        np.concatenate(who),
        values[order],
        np.concatenate(faces)[order],
        floor,
        impostors,
    )


def _replicates(
    pairs: AllPairs, thresholds: Sequence[float], replicates: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return FMR and FNMR at fixed thresholds in each replicate, (R, T) each."""
    rng = np.random.default_rng(seed)
    faces = np.bincount(pairs.people)
    count = len(faces)
    ends = [pairs.matching(threshold) for threshold in thresholds]
    first, second = (pairs.people[pairs.high_faces[: max(ends, default=0), side]] for side in (0, 1))
    of = np.bincount(pairs.genuine_people, minlength=count).astype(np.float64)
    errors = np.stack(
        [
            np.bincount(pairs.genuine_people[pairs.genuine <= threshold], minlength=count).astype(np.float64)
            for threshold in thresholds
        ]
    )
    false, missed = (np.full((replicates, len(thresholds)), np.nan) for _ in range(2))
    for row in range(replicates):
        drawn = rng.multinomial(count, np.full(count, 1 / count)).astype(np.float64)
        weighed = drawn * faces
        impostors = (weighed.sum() ** 2 - (weighed**2).sum()) / 2
        risen = np.concatenate([[0.0], np.cumsum(drawn[first] * drawn[second])])
        if impostors > 0:
            false[row] = risen[ends] / impostors
        if drawn @ of > 0:
            missed[row] = errors @ drawn / (drawn @ of)
    return false, missed
