"""All results of one set of scores, and operating points: thresholds with their error rates and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.bootstrap import (
    CurveReplicates,
    Measure,
    accuracy_measure,
    auc_measure,
    bootstrap_intervals,
    percentile_interval,
    replicate_curves,
)
from whyface.evaluate.intervals import Interval, people_wilson, wilson
from whyface.evaluate.rates import (
    FoldAccuracy,
    Grid,
    Labels,
    Roc,
    Scores,
    auc,
    checked_pairs,
    equal_error,
    error_rates,
    fold_accuracy,
    roc_curve,
    supports_fmr,
    threshold_at_fmr,
)
from whyface.models.operating_point import OperatingPoint

TARGETS: Final[Mapping[str, float]] = {"FMR 1e-2": 1e-2, "FMR 1e-3": 1e-3}
"""Operating points other than the EER: name and maximum FMR."""


def operating_points(
    scores: ArrayLike,
    genuine: ArrayLike,
    people_a: Sequence[str] | NDArray[np.intp],
    people_b: Sequence[str] | NDArray[np.intp],
    *,
    dataset: str,
) -> tuple[OperatingPoint, ...]:
    """Return the operating points EER, FMR 1e-2 and FMR 1e-3, with Wilson's intervals, widened for shared people.

    Raise InputError if the arrays or people do not match.

    Parameters
    ----------
    scores, genuine
        The pairs, shape (N,).
    people_a, people_b
        The two people of each pair, N each; the same person twice for genuine pairs.
    """
    values, labels = checked_pairs(scores, genuine)
    first, second = np.asarray(people_a), np.asarray(people_b)
    if first.shape != values.shape or second.shape != values.shape:
        raise InputError(f"both people of all {len(values)} pairs are needed, got {first.shape} and {second.shape}")
    impostors = int((~labels).sum())
    wanted = [("EER", equal_error(values, labels).threshold, "")]
    for name, target in TARGETS.items():
        note = ""
        if not supports_fmr(impostors, target):
            note = f"{impostors} impostor pairs cannot show an FMR of {target:g}: the threshold is a guess"
        wanted.append((name, threshold_at_fmr(values, labels, target, allow_unsupported=True), note))
    points = []
    for name, threshold, note in wanted:
        matched = values > threshold
        rates = error_rates(values, labels, threshold)
        points.append(
            OperatingPoint(
                name=name,
                threshold=threshold,
                fmr=rates.fmr,
                fnmr=rates.fnmr,
                fmr_interval=people_wilson(matched[~labels], first[~labels], second[~labels]),
                fnmr_interval=people_wilson(~matched[labels], first[labels], second[labels]),
                genuine_pairs=len(values) - impostors,
                impostor_pairs=impostors,
                dataset=dataset,
                note=note,
            )
        )
    return tuple(points)


TARGET_FMRS: Final = (1e-1, 1e-2, 1e-3, 1e-4)
"""FMRs at which a report shows the FNMR."""

FEW_FALSE_MATCHES: Final = 30
"""Minimum number of errors for a reliable rate: the rule of 30 (Doddington et al., Speech Communication 31, 2000)."""

BAND_POINTS: Final = 64


@dataclass(frozen=True)
class RateAtFmr:
    """FNMR and TAR where the FMR is at most a target.

    It is a point of a report; its interval of the FNMR is over thresholds that vary with the sample. A threshold for
    decisions is an :class:`~whyface.models.operating_point.OperatingPoint`.

    Attributes
    ----------
    target
        Maximum FMR.
    supported
        Whether there are at least ``1 / target`` impostor pairs; if not, the values below are None.
    threshold, false_matches, fmr, fnmr
        The lowest threshold that meets the target, and the results there.
    interval
        95 % interval of the FNMR at this FMR: over resampled people, with a threshold per replicate; Wilson's if no
        genuine pair is rejected.
    fmr_fixed, fnmr_fixed
        95 % intervals of both rates at this threshold taken as fixed: Wilson's, widened for shared people.
    note
        A caveat, or ``""``.
    """

    target: float
    supported: bool
    note: str
    threshold: float | None = None
    false_matches: int | None = None
    fmr: float | None = None
    fnmr: float | None = None
    interval: Interval | None = None
    fmr_fixed: Interval | None = None
    fnmr_fixed: Interval | None = None

    @property
    def tar(self) -> float | None:
        """True accept rate, 1 - FNMR."""
        return None if self.fnmr is None else 1.0 - self.fnmr


@dataclass(frozen=True, eq=False)
class Band:
    """Pointwise 95 % band of a curve: lowest and highest FNMR at each FMR, shape (K,) each."""

    fmr: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Summary:
    """Results of one set of scores; intervals are None where the sample has too few people for them.

    Attributes
    ----------
    folds, accuracy_interval
        Cross-validated accuracy; the interval takes the folds' thresholds as fixed.
    auc, auc_interval
        Area under the ROC curve.
    eer, eer_threshold, eer_interval
        Equal error rate.
    at_fmr
        Rates at each of :data:`TARGET_FMRS`.
    roc, band
        Curves for figures.
    genuine_pairs, impostor_pairs
        Size of the sample.
    """

    folds: FoldAccuracy
    accuracy_interval: Interval | None
    auc: float
    auc_interval: Interval | None
    eer: float
    eer_threshold: float
    eer_interval: Interval | None
    at_fmr: tuple[RateAtFmr, ...]
    roc: Roc
    band: Band | None
    genuine_pairs: int
    impostor_pairs: int


def summarise(
    scores: ArrayLike,
    genuine: ArrayLike,
    fold: ArrayLike,
    people_a: Sequence[str] | NDArray[np.str_],
    people_b: Sequence[str] | NDArray[np.str_],
    *,
    replicates: int = 1000,
    seed: int = 0,
    grid: Grid = "exact",
) -> Summary:
    """Compute all results of one set of scores.

    Parameters
    ----------
    scores, genuine, fold
        The pairs, shape (N,).
    people_a, people_b
        The two people of each pair, N each.
    replicates, seed
        Number of replicates and seed of the bootstrap over people.
    grid
        How the folds' thresholds are chosen; see :func:`~whyface.evaluate.rates.fold_accuracy`.

    Raises
    ------
    InputError
        If the arrays do not match.
    """
    values, labels = checked_pairs(scores, genuine)
    # As numbers, since comparing long names is slow.
    _, numbers = np.unique(np.concatenate((people_a, people_b)), return_inverse=True)
    people = numbers.astype(np.intp).reshape(2, -1)
    impostors = int((~labels).sum())
    folds = fold_accuracy(values, labels, fold, grid=grid)
    _, row = np.unique(np.asarray(fold), return_inverse=True)
    thresholds = folds.thresholds[row]
    rates = np.geomspace(1.0 / impostors, 1.0, BAND_POINTS)
    curves = replicate_curves(values, labels, *people, targets=[*TARGET_FMRS, *rates], replicates=replicates, seed=seed)
    equal = equal_error(values, labels)
    area = auc(values, labels)
    wrong = (values > thresholds) != labels
    return Summary(
        folds=folds,
        accuracy_interval=(
            _interval(accuracy_measure(values, labels, thresholds), people, replicates, seed)
            if wrong.any()
            else wilson(len(values), len(values))
        ),
        auc=area,
        # If all pairs are ordered correctly, so is every replicate, and the bootstrap has no spread.
        auc_interval=_interval(auc_measure(values, labels), people, replicates, seed) if area < 1 else None,
        eer=equal.rate,
        eer_threshold=equal.threshold,
        eer_interval=(
            percentile_interval(curves.eer) if equal.rate > 0 else wilson(0, min(impostors, len(values) - impostors))
        ),
        at_fmr=tuple(
            _rate_at(values, labels, people, target, curves.fnmr[:, column])
            for column, target in enumerate(TARGET_FMRS)
        ),
        roc=roc_curve(values, labels),
        band=_band(rates, curves),
        genuine_pairs=len(values) - impostors,
        impostor_pairs=impostors,
    )


def _interval(measure: Measure, people: NDArray[np.intp], replicates: int, seed: int) -> Interval | None:
    try:
        return bootstrap_intervals({"": measure}, *people, replicates=replicates, seed=seed)[""]
    except InputError:
        return None


def _rate_at(
    values: Scores, labels: Labels, people: NDArray[np.intp], target: float, replicates: NDArray[np.float64]
) -> RateAtFmr:
    impostors = int((~labels).sum())
    if not supports_fmr(impostors, target):
        needed = int(np.ceil(1.0 / target - 1e-9))
        return RateAtFmr(target, False, f"{impostors} impostor pairs cannot show it; at least {needed} are needed")
    threshold = threshold_at_fmr(values, labels, target)
    matched = values > threshold
    rates = error_rates(values, labels, threshold)
    false_matches = int(matched[~labels].sum())
    fixed = people_wilson(~matched[labels], *people[:, labels])
    note = ""
    if false_matches < FEW_FALSE_MATCHES:
        note = f"rests on {false_matches} false match{'' if false_matches == 1 else 'es'} only: a rough figure"
    return RateAtFmr(
        target,
        True,
        note,
        threshold=threshold,
        false_matches=false_matches,
        fmr=rates.fmr,
        fnmr=rates.fnmr,
        interval=percentile_interval(replicates) if rates.fnmr > 0 else fixed,
        fmr_fixed=people_wilson(matched[~labels], *people[:, ~labels]),
        fnmr_fixed=fixed,
    )


def _band(grid: NDArray[np.float64], curves: CurveReplicates) -> Band | None:
    ends = [percentile_interval(column) for column in curves.fnmr[:, len(TARGET_FMRS) :].T]
    found = [end for end in ends if end is not None]
    if len(found) < len(grid):
        return None
    return Band(grid, np.array([end.low for end in found]), np.array([end.high for end in found]))
