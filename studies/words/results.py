"""Results from the study's scores: AUC before and after, TPR at FPR, and how often a word beats the original score."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.evaluate.bootstrap import Measure, Weights, auc_measure, bootstrap_intervals
from whyface.evaluate.rates import auc, supports_fmr, tar_at_fmr

FloatArray = NDArray[np.floating[Any]]

TARGETS: Final = (1e-3, 1e-2, 0.1, 0.2, 0.4)
"""The published table's FPRs that a few thousand pairs can show; it also lists smaller ones."""


def most_telling(plain: FloatArray, erased: FloatArray, *, genuine: bool) -> NDArray[np.float64]:
    """Return each face's score after its most telling word is erased, (N, 2, K) -> (N, 2).

    As published, it is never less telling than the original score (N,), which is used if a face has no word.
    """
    before = np.repeat(plain[:, None], 2, axis=1).astype(np.float64)
    values = np.where(np.isnan(erased), before[..., None], erased)
    best = values.min(axis=2) if genuine else values.max(axis=2)
    return np.asarray(np.minimum(before, best) if genuine else np.maximum(before, best))


def separation(
    impostors: FloatArray,
    genuine: FloatArray,
    people: tuple[NDArray[np.str_], NDArray[np.str_]],
    genuine_people: tuple[NDArray[np.str_], NDArray[np.str_]],
    *,
    control: FloatArray | None = None,
    replicates: int = 400,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure how well scores still tell impostor from genuine pairs.

    Every pair counts twice, once for each erased face; a genuine pair also has two scores.

    Parameters
    ----------
    impostors, genuine
        (N, 2) and (M, 2).
    people, genuine_people
        Both people of each pair.
    control
        Impostor scores (N, 2) of chance; the difference from its AUC has its own interval.
    replicates, seed
        Replicates and seed of the bootstrap over people.

    Returns
    -------
    dict
        ``auc``, ``mean_impostor_score`` and ``tpr_at_fpr``, and with a control the differences of the first two from
        it; all except ``tpr_at_fpr`` have an interval.
    """
    scores = np.concatenate([impostors.ravel(), genuine.ravel()])
    labels = np.concatenate([np.zeros(impostors.size, bool), np.ones(genuine.size, bool)])
    both = [np.concatenate([np.repeat(people[side], 2), np.repeat(genuine_people[side], 2)]) for side in (0, 1)]
    _, numbers = np.unique(np.concatenate(both), return_inverse=True)
    first, second = (part.astype(np.intp) for part in np.split(numbers, 2))
    measure = auc_measure(scores, labels)
    measures: dict[str, Measure] = {"auc": measure, "mean": _mean(scores, ~labels)}
    if control is not None:
        fair = np.concatenate([control.ravel(), genuine.ravel()])
        measures["auc difference"] = _difference(measure, auc_measure(fair, labels))
        measures["mean difference"] = _mean(scores - fair, ~labels)
    intervals = bootstrap_intervals(measures, first, second, replicates=replicates, seed=seed)
    result: dict[str, Any] = {
        "auc": float(auc(scores, labels)),
        "auc_interval": list(intervals["auc"]),
        "tpr_at_fpr": {
            f"{target:g}": tar_at_fmr(scores, labels, target)
            for target in TARGETS
            if supports_fmr(impostors.size, target)
        },
        "mean_impostor_score": float(impostors.mean()),
        "mean_impostor_score_interval": list(intervals["mean"]),
    }
    if control is not None:
        result["auc_minus_control"] = result["auc"] - float(auc(fair, labels))
        result["auc_minus_control_interval"] = list(intervals["auc difference"])
        result["mean_minus_control"] = float((impostors - control).mean())
        result["mean_minus_control_interval"] = list(intervals["mean difference"])
    return result


def attribute_rows(plain: FloatArray, erased: FloatArray, genuine: FloatArray, names: list[str]) -> dict[str, Any]:
    """Measure every attribute alone, on impostor pairs.

    Parameters
    ----------
    plain, erased
        (N,) and (N, 2, K), NaN if a face has no such word.
    genuine
        Scores of genuine pairs (M,).
    names
        K attributes.

    Returns
    -------
    Name -> ``faces`` that have it, ``auc`` after only this word was erased wherever it is (twice as many scores as
    pairs), ``beats_original`` the share of faces that have it in which erasing it raises the score, ``mean_change``,
    and ``wins``, in how many faces no other word raises it more.
    """
    before = np.repeat(plain[:, None], 2, axis=1)
    doubled = np.repeat(genuine, 2)
    changes = erased - before[..., None]
    filled = np.where(np.isnan(changes), -np.inf, changes)
    winner = np.where(filled.max(axis=2) > 0, filled.argmax(axis=2), -1)
    rows: dict[str, Any] = {}
    for number, name in enumerate(names):
        has = ~np.isnan(erased[..., number])
        if not has.any():
            continue
        after = np.where(has, erased[..., number], before)
        scores = np.concatenate([after.ravel(), doubled])
        labels = np.concatenate([np.zeros(after.size, bool), np.ones(len(doubled), bool)])
        rows[name] = {
            "faces": int(has.sum()),
            "auc": float(auc(scores, labels)),
            "beats_original": float((changes[..., number][has] > 0).mean()),
            "mean_change": float(changes[..., number][has].mean()),
            "wins": int((winner == number).sum()),
        }
    return rows


def _mean(values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> Measure:
    columns = np.stack([chosen * values, chosen], axis=1).astype(np.float64)

    def measure(weights: Weights) -> NDArray[np.float64]:
        sums = weights @ columns
        mean: NDArray[np.float64] = np.divide(
            sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0
        )
        return mean

    return measure


def _difference(one: Measure, other: Measure) -> Measure:
    def measure(weights: Weights) -> NDArray[np.float64]:
        return one(weights) - other(weights)

    return measure
