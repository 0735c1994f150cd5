"""Measure attribute heads, attribute by attribute, on people that they were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from studies.probabilities.calibration import reliability

from whyface.evaluate.bootstrap import Measure, Weights, auc_measure, bootstrap_intervals
from whyface.evaluate.intervals import Interval
from whyface.evaluate.rates import auc

FloatArray = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class AttributeMeasures:
    """Measures of one attribute; intervals are 95 %, over people.

    Attributes
    ----------
    auc, balanced_accuracy, base_rate
        Area under the ROC curve; mean of the rates of right answers for yes and no at the cut; share of yes labels.
    precision
        Share of right answers if the head says yes; None if it never does.
    ece, brier
        Expected calibration error and mean squared error of the probability.
    pictures, people
        Size of the sample; ``positive_people`` is the number of people with a yes.
    """

    auc: float
    auc_interval: Interval
    balanced_accuracy: float
    balanced_accuracy_interval: Interval
    base_rate: float
    base_rate_interval: Interval
    precision: float | None
    ece: float
    brier: float
    pictures: int
    people: int
    positive_people: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def measure_attribute(
    probabilities: FloatArray,
    truth: NDArray[np.bool_],
    people: Sequence[str],
    *,
    cut: float,
    replicates: int = 400,
    seed: int = 0,
) -> AttributeMeasures:
    """Measure one attribute.

    Parameters
    ----------
    probabilities, truth, people
        N each: the head's probability, the label, and the person in the picture.
    cut
        Lowest probability at which the head says yes.
    replicates, seed
        Replicates and seed of the bootstrap.

    Raises
    ------
    InputError
        If the lists do not fit, or all labels are the same.
    """
    said = probabilities >= cut
    labels = np.asarray(truth, bool)
    owners = np.unique(np.asarray(people, str), return_inverse=True)[1].astype(np.intp)
    intervals = bootstrap_intervals(
        {
            "auc": auc_measure(probabilities, labels),
            "balanced": _balanced(said, labels),
            "base": lambda weights: weights @ labels / weights.sum(axis=1),
        },
        owners,
        owners,
        replicates=replicates,
        seed=seed,
    )
    fit = reliability(probabilities, labels)
    return AttributeMeasures(
        auc=float(auc(probabilities, labels)),
        auc_interval=intervals["auc"],
        balanced_accuracy=float((said[labels].mean() + (~said[~labels]).mean()) / 2),
        balanced_accuracy_interval=intervals["balanced"],
        base_rate=float(labels.mean()),
        base_rate_interval=intervals["base"],
        precision=float(labels[said].mean()) if said.any() else None,
        ece=fit.ece,
        brier=fit.brier,
        pictures=len(labels),
        people=int(owners.max()) + 1,
        positive_people=len(np.unique(owners[labels])),
    )


def contrast_map(maps: FloatArray, truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how much more evidence faces with the attribute have than others, (N, H, W) -> (H, W)."""
    return np.asarray(maps[truth].mean(axis=0, dtype=np.float64) - maps[~truth].mean(axis=0, dtype=np.float64))


def locality(contrast: FloatArray, share: float = 0.25) -> float:
    """Return the share of a contrast map's positive sum that is in its strongest places.

    Parameters
    ----------
    contrast
        (H, W).
    share
        Share of the places that count as strongest, rounded to whole places; a uniform map gives about this value, a
        map concentrated on few places gives 1.
    """
    amounts = np.sort(np.maximum(contrast, 0).ravel())[::-1]
    total = float(amounts.sum())
    return float(amounts[: round(share * len(amounts))].sum() / total) if total > 0 else 0.0


def _balanced(said: NDArray[np.bool_], labels: NDArray[np.bool_]) -> Measure:
    columns = np.stack([labels & said, labels, ~labels & ~said, ~labels], axis=1).astype(np.float64)

    def measure(weights: Weights) -> NDArray[np.float64]:
        hits, positives, refused, negatives = (weights @ columns).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((hits / positives + refused / negatives) / 2)

    return measure
