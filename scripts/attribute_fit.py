"""Fit attribute heads: many logistic regressions over mean features at once (needs the extra ``evaluate``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

FloatArray = NDArray[np.floating[Any]]

_MOST_STEPS: Final = 200
_TINY: Final = 1e-9


@dataclass(frozen=True, eq=False)
class LinearFit:
    """K logistic regressions: logits = x @ weight.T + bias.

    Attributes
    ----------
    weight, bias
        (K, C) and (K,) float64.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def __call__(self, features: FloatArray) -> NDArray[np.float64]:
        """Return the logits (N, K) of features (N, C)."""
        return np.asarray(features @ self.weight.T + self.bias, np.float64)


def fit_logistic(features: FloatArray, targets: FloatArray, *, penalty: float) -> LinearFit:
    """Fit to targets that may be probabilities.

    Parameters
    ----------
    features
        (N, C); each is standardised for the fit, and the result is converted back to the given units.
    targets
        (N, K) in [0, 1].
    penalty
        Factor of the squared weights of standardised features, which are added to the mean cross-entropy.

    Raises
    ------
    InputError
        If the shapes do not fit or a target is not a probability.
    """
    from scipy.optimize import minimize  # noqa: PLC0415 - fitting only

    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets) or not len(features):
        raise InputError(f"features {features.shape} and targets {targets.shape} do not fit; both have a row per face")
    if not (np.isfinite(features).all() and targets.min() >= 0 and targets.max() <= 1):
        raise InputError("features must be finite and targets must be in 0..1")
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64) + _TINY
    standard = ((features - mean) / deviation).astype(np.float64)
    count, channels, heads = len(features), features.shape[1], targets.shape[1]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight, bias = flat[: channels * heads].reshape(channels, heads), flat[channels * heads :]
        logits = standard @ weight + bias
        # log(1 + exp(x)) - t x, without overflow.
        value = (np.logaddexp(0, logits) - targets * logits).sum() / count + penalty * (weight * weight).sum()
        slope = (0.5 * (1 + np.tanh(logits / 2)) - targets) / count
        gradient = standard.T @ slope + 2 * penalty * weight
        return float(value), np.concatenate([gradient.ravel(), slope.sum(axis=0)])

    start = np.zeros((channels + 1) * heads)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_STEPS}).x
    weight, bias = found[: channels * heads].reshape(channels, heads), found[channels * heads :]
    scaled = (weight / deviation[:, None]).T
    return LinearFit(scaled, bias - scaled @ mean)


def calibrated(fit: LinearFit, features: FloatArray, truth: NDArray[np.bool_]) -> LinearFit:
    """Scale and shift each head's logits so that they give probabilities of the truth (N, K) on these faces.

    This is Platt scaling, on people that the heads were not fitted on; the result is still one linear map.
    """
    logits = fit(features)
    scales, shifts = [], []
    for column in range(logits.shape[1]):
        only = fit_logistic(logits[:, [column]], truth[:, [column]].astype(np.float64), penalty=0.0)
        scales.append(only.weight[0, 0])
        shifts.append(only.bias[0])
    scale, shift = np.array(scales), np.array(shifts)
    return LinearFit(fit.weight * scale[:, None], fit.bias * scale + shift)
