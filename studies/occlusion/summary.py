"""The cost of covering: accuracy with a threshold chosen anew or kept, the points lost, and the losses compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from studies.occlusion.conditions import CLEAN
from whyface.data.protocols import PairProtocol
from whyface.evaluate.bootstrap import Measure, accuracy_measure, bootstrap_intervals
from whyface.evaluate.intervals import Interval
from whyface.evaluate.rates import auc, equal_error, fold_accuracy

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """A share in [0, 1], or a difference of two in [-1, 1], with its 95 % interval, by resampling people."""

    value: float
    interval: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"value": round(self.value, 5), "interval": [round(end, 5) for end in self.interval]}


@dataclass(frozen=True)
class ConditionResult:
    """One kind of score under one condition.

    Attributes
    ----------
    accuracy
        Accuracy over the folds, each with the threshold that is best on the other folds of the same condition.
    kept
        Accuracy with the thresholds that are best on the other folds of the clean set: a system that does not know
        that a face is covered.
    drop, kept_drop
        Accuracy on the clean set minus these.
    eer, auc
        EER and AUC under this condition.
    """

    accuracy: Rate
    kept: Rate
    drop: Rate
    kept_drop: Rate
    eer: float
    auc: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        rates = {name: getattr(self, name).to_dict() for name in _RATES}
        return {**rates, "eer": round(self.eer, 5), "auc": round(self.auc, 6)}


_RATES: Final = ("accuracy", "kept", "drop", "kept_drop")


class OcclusionSummary:
    """Computes all results of one protocol from scores by condition.

    Parameters
    ----------
    protocol
        The pairs.
    replicates, seed
        Replicates and seed of the bootstrap over people; all models share them, so that differences are paired.
    """

    def __init__(self, protocol: PairProtocol, *, replicates: int = 1000, seed: int = 0) -> None:
        self._genuine, self._fold = protocol.genuine, protocol.fold
        _, numbers = np.unique(np.concatenate((protocol.people_left, protocol.people_right)), return_inverse=True)
        self._people = numbers.astype(np.intp).reshape(2, -1)
        self._replicates, self._seed = replicates, seed

    def results(self, scores: Mapping[str, Scores]) -> dict[str, ConditionResult]:
        """Return the results of one kind of score, by condition; ``clean`` must be among them."""
        clean = self._fold_thresholds(scores[CLEAN.key])
        before = accuracy_measure(scores[CLEAN.key], self._genuine, clean)
        found = {}
        for condition, values in scores.items():
            anew = accuracy_measure(values, self._genuine, self._fold_thresholds(values))
            kept = accuracy_measure(values, self._genuine, clean)
            rates = self._rates(
                {
                    "accuracy": anew,
                    "kept": kept,
                    "drop": _difference(before, anew),
                    "kept_drop": _difference(before, kept),
                }
            )
            found[condition] = ConditionResult(
                **rates, eer=equal_error(values, self._genuine).rate, auc=auc(values, self._genuine)
            )
        return found

    def share_of_drop(
        self, scores: Mapping[str, Scores], baseline: Mapping[str, Scores], condition: str
    ) -> dict[str, Rate]:
        """Return this score's loss relative to the baseline's: ``drop`` (new thresholds) or ``kept_drop`` (kept)."""
        measures: dict[str, Measure] = {}
        for name in ("drop", "kept_drop"):
            own, other = (self._drop(side, condition, kept=name == "kept_drop") for side in (scores, baseline))
            measures[name] = _quotient(own, other)
        return self._rates(measures)

    def _drop(self, scores: Mapping[str, Scores], condition: str, *, kept: bool) -> Measure:
        clean, values = scores[CLEAN.key], scores[condition]
        thresholds = self._fold_thresholds(clean if kept else values)
        return _difference(
            accuracy_measure(clean, self._genuine, self._fold_thresholds(clean)),
            accuracy_measure(values, self._genuine, thresholds),
        )

    def _fold_thresholds(self, values: Scores) -> Scores:
        _, row = np.unique(self._fold, return_inverse=True)
        return fold_accuracy(values, self._genuine, self._fold).thresholds[row]

    def _rates(self, measures: Mapping[str, Measure]) -> dict[str, Rate]:
        intervals = bootstrap_intervals(measures, *self._people, replicates=self._replicates, seed=self._seed)
        plain = np.ones((1, len(self._genuine)))
        return {name: Rate(float(measure(plain)[0]), intervals[name]) for name, measure in measures.items()}


def _difference(before: Measure, after: Measure) -> Measure:
    return lambda weights: before(weights) - after(weights)


def _quotient(part: Measure, whole: Measure) -> Measure:
    def measure(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        below = whole(weights)
        # If the baseline loses nothing, there is no share.
        return np.divide(part(weights), below, out=np.full_like(below, np.nan), where=below > 0)

    return measure
