"""From a score to a probability of "same person": plain numbers in JSON, applied without any fitting library.

A probability needs a prior: how often two faces show the same person, before anything is compared. A calibration is
fitted at the prior of its pairs (half are genuine on LFW); :meth:`Calibration.probability` converts to any other prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from whyface.errors import InputError, ModelError
from whyface.files import json_values

CalibrationKind = Literal["platt", "isotonic", "x-face", "platt-quality"]
NAMES: Final[Mapping[CalibrationKind, str]] = {
    "platt": "Platt",
    "isotonic": "isotonic",
    "x-face": "x-face sigmoid",
    "platt-quality": "Platt with quality",
}
Bound = Literal["at least", "at most"]
"""Says of a probability that the number of pairs of the fit cut it, so that more cannot be said."""

_PARAMETERS: Final[Mapping[CalibrationKind, tuple[str, ...]]] = {
    "platt": ("slope", "intercept"),
    "isotonic": ("scores", "probabilities"),
    "x-face": ("height", "steepness", "middle", "base"),
    "platt-quality": ("slope", "intercept", "quality_slope", "quality_intercept"),
}


@dataclass(frozen=True)
class Calibration:
    """A fitted curve from scores to probabilities.

    Raise InputError if the kind is unknown, a number is missing or not finite, the isotonic points do not rise, or
    there are no pairs.

    Attributes
    ----------
    kind
        ``"platt"``: 1 / (1 + exp(-(slope * score + intercept))) (Platt 1999). ``"isotonic"``: straight lines between
        the points ``scores`` -> ``probabilities``, flat outside (Zadrozny and Elkan 2002). ``"x-face"``: height / (1 +
        exp(-steepness * (d - middle))) + base at the distance d = 1 - score, cut to [0, 1] (Knoche et al. 2023).
        ``"platt-quality"``: as ``"platt"``, with slope + quality_slope * (1 - q) and intercept + quality_intercept *
        (1 - q) in their place, where q is the recognisability of the less recognisable face, in [0, 1].
    parameters
        The numbers of the curve, by name.
    dataset
        Data set of the fit, such as ``"LFW"``.
    genuine_pairs, impostor_pairs
        Number of pairs of each kind; they determine the prior of the fit and, without bounds, the limits of its ratios.
    bounds
        Lowest and highest common logarithm of a likelihood ratio that the sample supports, such as ELUB
        (:func:`whyface.evaluate.likelihood.elub`); None: minus and plus those of the numbers of pairs.
    """

    kind: CalibrationKind
    parameters: Mapping[str, Any]
    dataset: str
    genuine_pairs: int
    impostor_pairs: int
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.kind not in _PARAMETERS:
            raise InputError(f"unknown calibration {self.kind!r}; known: {', '.join(_PARAMETERS)}")
        if set(self.parameters) != set(_PARAMETERS[self.kind]):
            raise InputError(f"a {self.kind} calibration has the numbers {', '.join(_PARAMETERS[self.kind])}")
        try:
            values = [np.asarray(value, np.float64) for value in self.parameters.values()]
        except (TypeError, ValueError) as error:
            raise InputError(f"the numbers of a {self.kind} calibration must be numbers") from error
        if not all(np.isfinite(value).all() for value in values):
            raise InputError(f"the numbers of a {self.kind} calibration must be finite")
        if self.kind == "isotonic":
            x, y = (np.asarray(self.parameters[name], np.float64) for name in _PARAMETERS["isotonic"])
            fits = x.ndim == 1 and x.shape == y.shape and x.size and (np.diff(x) > 0).all() and (np.diff(y) >= 0).all()
            if not fits or y[0] < 0 or y[-1] > 1:
                raise InputError("an isotonic calibration needs rising scores, and probabilities that do not fall")
        elif any(value.ndim for value in values):
            raise InputError(f"a {self.kind} calibration has one number each")
        if min(self.genuine_pairs, self.impostor_pairs) < 1:
            raise InputError("a calibration needs genuine and impostor pairs")
        if self.bounds is not None and not -300 < self.bounds[0] <= 0 <= self.bounds[1] < 300:
            raise InputError("the bounds of a calibration are two logarithms, at most 0 and at least 0")

    @property
    def prior(self) -> float:
        """Share of genuine pairs among those of the fit."""
        return self.genuine_pairs / (self.genuine_pairs + self.impostor_pairs)

    def fitted(self, scores: Any, quality: Any = None) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the values of the curve, in [0, 1], at scores of any shape, for the prior of the fit.

        ``quality`` is that of the poorer face of each pair; None, and kinds without quality, take it for 1.
        """
        x, given = np.asarray(scores, np.float64), self.parameters
        if self.kind == "isotonic":
            return np.asarray(np.interp(x, given["scores"], given["probabilities"]), np.float64)
        if self.kind in {"platt", "platt-quality"}:
            poor = 0.0 if quality is None else 1 - np.asarray(quality, np.float64)
            slope = given["slope"] + given.get("quality_slope", 0.0) * poor
            return np.asarray(_sigmoid(slope * x + given["intercept"] + given.get("quality_intercept", 0.0) * poor))
        rise = _sigmoid(given["steepness"] * ((1 - x) - given["middle"]))
        return np.asarray(np.clip(given["height"] * rise + given["base"], 0, 1))

    def ratio(self, scores: Any, quality: Any = None) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return likelihood ratios: how many times likelier scores are for one person than for two.

        It is limited by the sample, regardless of the curve: to the bounds on record, or else to the number of impostor
        pairs (3,000 cannot show what happens once in 10,000) and one over that of genuine pairs.
        """
        return np.asarray(np.clip(self._curve_ratio(scores, quality), *self._limits))

    def likelihood(self, score: float, quality: float | None = None) -> LikelihoodRatio:
        """Return the likelihood ratio of one pair, with its bounds and its origin."""
        low, high = (math.log10(limit) for limit in self._limits)
        value = float(np.clip(math.log10(float(self._curve_ratio(score, quality))), low, high))
        return LikelihoodRatio(value, low, high, self.describe().rsplit(", prior", 1)[0])

    @property
    def _limits(self) -> tuple[float, float]:
        if self.bounds is None:
            return 1 / self.genuine_pairs, float(self.impostor_pairs)
        return 10.0 ** self.bounds[0], 10.0 ** self.bounds[1]

    def bound(self, score: float, quality: float | None = None) -> Bound | None:
        """Return ``"at least"`` or ``"at most"`` if the size of the sample limits the probability, or None."""
        ratio = float(self._curve_ratio(score, quality))
        low, high = self._limits
        if ratio >= high:
            return "at least"
        return "at most" if ratio <= low else None

    def _curve_ratio(self, scores: Any, quality: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        p = np.clip(self.fitted(scores, quality), 1e-300, 1 - 1e-16)
        return np.asarray(p / (1 - p) * (1 - self.prior) / self.prior)

    def probability(self, score: float, *, quality: float | None = None, prior: float | None = None) -> float:
        """Return the probability of "same person".

        Raise InputError if the prior or the quality is not in its range, or the score is not finite.

        Parameters
        ----------
        quality
            Recognisability of the less recognisable face, in [0, 1]; None counts as 1.
        prior
            Prior probability of "same person", in (0, 1); by default, that of the fit.
        """
        before = self.prior if prior is None else prior
        if not 0 < before < 1:
            raise InputError(f"a prior is a probability between 0 and 1, such as 0.5, got {before:g}")
        if not math.isfinite(score):
            raise InputError(f"the score must be finite, got {score}")
        if quality is not None and not 0 <= quality <= 1:
            raise InputError(f"a quality is between 0 and 1, got {quality:g}")
        odds = float(self.ratio(score, quality)) * before / (1 - before)
        return odds / (1 + odds)

    def describe(self, *, prior: float | None = None) -> str:
        """Return the source of a probability, such as ``"Platt, fitted on LFW, 6000 pairs, prior 50 %"``."""
        pairs = self.genuine_pairs + self.impostor_pairs
        before = self.prior if prior is None else prior
        return f"{NAMES[self.kind]}, fitted on {self.dataset}, {pairs} pairs, prior {100 * before:.3g} %"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        plain = {**asdict(self), "parameters": dict(self.parameters), "bounds": list(self.bounds or ())}
        return plain if self.bounds is not None else {key: plain[key] for key in plain if key != "bounds"}


@dataclass(frozen=True)
class LikelihoodRatio:
    """How many times likelier a pair's score is for one person than for two, as a common logarithm.

    Raise InputError if the value is not finite or not between its bounds.

    Attributes
    ----------
    log10
        Above 0 it supports "same person", below 0 "different people"; no prior is part of it.
    low, high
        The least and the most that the sample of the fit supports.
    source
        The fit, such as ``"Platt with quality, fitted on CelebA, 290 people, 175000 pairs"``.
    """

    log10: float
    low: float
    high: float
    source: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.log10 <= self.high):
            raise InputError(f"a likelihood ratio must be finite and lie between its bounds, got {self.log10}")

    @property
    def bound(self) -> Bound | None:
        """``"at least"`` or ``"at most"`` where the bounds cut the value; else None."""
        return "at least" if self.log10 >= self.high else "at most" if self.log10 <= self.low else None

    def describe(self) -> str:
        """Return it in words of ENFSI's guideline (2015), such as ``"log10 LR 3.2: strong support for one person"``."""
        size = abs(self.log10)
        word = next((word for limit, word in VERBAL_SCALE if size <= limit), VERBAL_SCALE[-1][1])
        bound = "" if self.bound is None else f"{self.bound} "
        if word is None:
            return f"log10 LR {bound}{self.log10:.1f}: supports neither one person nor two"
        return (
            f"log10 LR {bound}{self.log10:.1f}: {word} support for {'one person' if self.log10 > 0 else 'two people'}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"log10": self.log10, "low": self.low, "high": self.high, "source": self.source}

    @classmethod
    def from_dict(cls, data: Any) -> LikelihoodRatio:
        """Build from the result of :meth:`to_dict`; raise ValueError or TypeError with a phrase of what is wrong."""
        given = json_values.mapping(data)
        value, low, high = (json_values.number(given.get(name)) for name in ("log10", "low", "high"))
        return cls(value, low, high, json_values.text(given.get("source")))


VERBAL_SCALE: Final = (
    (math.log10(2), None),
    (1, "weak"),
    (2, "moderate"),
    (3, "moderately strong"),
    (4, "strong"),
    (6, "very strong"),
    (math.inf, "extremely strong"),
)
"""Highest log10 LR of each phrase of ENFSI's guideline for evaluative reporting (2015); up to 2 it says nothing."""


def calibration_from_dict(values: Any) -> Calibration:
    """Build a calibration from the result of :meth:`Calibration.to_dict`.

    Raise ModelError if a key is missing, unknown or wrong.
    """
    keys = set(Calibration.__dataclass_fields__)
    if (
        not isinstance(values, Mapping)
        or set(values) | {"bounds"} != keys
        or not isinstance(values["parameters"], Mapping)
    ):
        raise ModelError(f"a calibration must have the keys {', '.join(sorted(keys))}; correct the file")
    whole = all(type(values[name]) is int for name in ("genuine_pairs", "impostor_pairs"))
    if not whole or not all(isinstance(values[name], str) for name in ("kind", "dataset")):
        raise ModelError("a calibration's kind and data set must be texts, its pairs whole numbers; correct the file")
    try:
        bounds = values.get("bounds")
        return Calibration(**{**values, "bounds": None if bounds is None else (float(bounds[0]), float(bounds[1]))})
    except (InputError, TypeError, ValueError, KeyError, IndexError) as error:
        raise ModelError(f"a calibration: {error}; correct the file") from error


def percent(probability: float, bound: Bound | None = None) -> str:
    """Return a probability as text that never rounds uncertainty to 100 % or 0 %, such as ``"at least 99.97 %"``."""
    rest = 100 * min(probability, 1 - probability)
    digits = min(max(1, math.ceil(-math.log10(rest))), 9) if rest > 0 else 1
    return f"{'' if bound is None else f'{bound} '}{100 * probability:.{digits}f} %"


def _sigmoid(x: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    half = np.asarray(x, np.float64) / 2
    # With tanh, which does not overflow.
    return np.asarray(0.5 * (1 + np.tanh(half)))
