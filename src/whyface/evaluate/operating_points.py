"""Operating points: named thresholds on one data set, with error rates and intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.bootstrap import bootstrap_intervals, fmr_measure, fnmr_measure
from whyface.evaluate.intervals import Interval, people_wilson, wilson
from whyface.evaluate.rates import (
    Labels,
    Scores,
    checked_pairs,
    equal_error,
    error_rates,
    supports_fmr,
    threshold_at_fmr,
)
from whyface.models.operating_point import OperatingPoint

TARGETS: Final[Mapping[str, float]] = {"FMR 1e-2": 1e-2, "FMR 1e-3": 1e-3}
"""Operating points other than the EER: name and maximum FMR."""

IntervalMethod = Literal["wilson", "bootstrap"]


def operating_points(
    scores: ArrayLike,
    genuine: ArrayLike,
    people_a: Sequence[str] | NDArray[np.intp],
    people_b: Sequence[str] | NDArray[np.intp],
    *,
    dataset: str,
    seed: int = 0,
    interval: IntervalMethod = "wilson",
    replicates: int = 1000,
) -> tuple[OperatingPoint, ...]:
    """Return the operating points EER, FMR 1e-2 and FMR 1e-3.

    Parameters
    ----------
    scores, genuine
        The pairs, shape (N,).
    people_a, people_b
        The two people of each pair, N each; the same person twice for genuine pairs.
    dataset
        Name of the data set.
    seed, replicates
        Seed and number of replicates of the bootstrap.
    interval
        ``"wilson"``: Wilson's interval, widened for pairs that share people; ``"bootstrap"``: percentiles
        over resampled people, wider than needed where few pairs share people, and Wilson's where there is no
        error.

    Raises
    ------
    InputError
        If the arrays or people do not match, or ``interval`` is unknown.
    """
    values, labels = checked_pairs(scores, genuine)
    first, second = np.asarray(people_a), np.asarray(people_b)
    if first.shape != values.shape or second.shape != values.shape:
        raise InputError(f"both people of all {len(values)} pairs are needed, got {first.shape} and {second.shape}")
    if interval not in ("wilson", "bootstrap"):
        raise InputError(f"unknown interval {interval!r}; use 'wilson' or 'bootstrap'")
    impostors = int((~labels).sum())
    wanted = [("EER", equal_error(values, labels).threshold, "")]
    for name, target in TARGETS.items():
        note = ""
        if not supports_fmr(impostors, target):
            note = f"{impostors} impostor pairs cannot show an FMR of {target:g}: the threshold is a guess"
        wanted.append((name, threshold_at_fmr(values, labels, target, allow_unsupported=True), note))
    points = []
    for name, threshold, note in wanted:
        if interval == "wilson":
            fmr_interval, fnmr_interval = _wilson_pair(values, labels, first, second, threshold)
        else:
            fmr_interval, fnmr_interval = _bootstrap_pair(
                values, labels, first, second, threshold, seed=seed, replicates=replicates
            )
        rates = error_rates(values, labels, threshold)
        points.append(
            OperatingPoint(
                name=name,
                threshold=threshold,
                fmr=rates.fmr,
                fnmr=rates.fnmr,
                fmr_interval=fmr_interval,
                fnmr_interval=fnmr_interval,
                genuine_pairs=len(values) - impostors,
                impostor_pairs=impostors,
                dataset=dataset,
                note=note,
            )
        )
    return tuple(points)


def _wilson_pair(
    values: Scores, labels: Labels, first: NDArray[Any], second: NDArray[Any], threshold: float
) -> tuple[Interval, Interval]:
    matched = values > threshold
    return (
        people_wilson(matched[~labels], first[~labels], second[~labels]),
        people_wilson(~matched[labels], first[labels], second[labels]),
    )


def _bootstrap_pair(
    values: Scores,
    labels: Labels,
    first: NDArray[Any],
    second: NDArray[Any],
    threshold: float,
    *,
    seed: int,
    replicates: int,
) -> tuple[Interval, Interval]:
    found = bootstrap_intervals(
        {"fmr": fmr_measure(values, labels, threshold), "fnmr": fnmr_measure(values, labels, threshold)},
        first,
        second,
        replicates=replicates,
        seed=seed,
    )
    matched = values > threshold
    # Resampling pairs without any error yields [0, 0], which is far too narrow.
    for name, wrong in (("fmr", matched[~labels]), ("fnmr", ~matched[labels])):
        if wrong.all() or not wrong.any():
            found[name] = wilson(int(wrong.sum()), len(wrong))
    return found["fmr"], found["fnmr"]
