"""How good a grouping of faces is, when the people are known: pairwise F and BCubed F."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics.cluster import contingency_matrix, pair_confusion_matrix


def pairwise(people: ArrayLike, groups: ArrayLike) -> tuple[float, float, float]:
    """Return precision, recall and F over all pairs of faces; precision is 1 where no pair is in one group."""
    (_, wrong), (missed, right) = pair_confusion_matrix(people, groups)
    return _f(right / (right + wrong) if right + wrong else 1.0, right / (right + missed) if right + missed else 1.0)


def bcubed(people: ArrayLike, groups: ArrayLike) -> tuple[float, float, float]:
    """Return BCubed precision, recall and F: means over faces of the share of its group, and of its person."""
    shared = contingency_matrix(people, groups, sparse=True).tocoo()
    count = int(shared.data.sum())
    of_person = np.bincount(shared.row, shared.data)
    of_group = np.bincount(shared.col, shared.data)
    squares = shared.data.astype(np.float64) ** 2
    return _f((squares / of_group[shared.col]).sum() / count, (squares / of_person[shared.row]).sum() / count)


def _f(precision: float, recall: float) -> tuple[float, float, float]:
    total = precision + recall
    return float(precision), float(recall), float(2 * precision * recall / total if total else 0.0)
