"""Give explanations a calibrated probability."""

from __future__ import annotations

from dataclasses import replace

from whyface.explain.explanation import Explanation
from whyface.models.confidence import Calibration


def with_probability(
    explanation: Explanation, calibration: Calibration | None, *, prior: float | None = None
) -> Explanation:
    """Return the explanation with the probability of "same person" and what it was calibrated on.

    Parameters
    ----------
    explanation
        Its score is what the calibration was fitted to.
    calibration
        None leaves the explanation as it is.
    prior
        See :meth:`whyface.models.confidence.Calibration.probability`.

    Raises
    ------
    InputError
        If the prior is not a probability.
    """
    if calibration is None:
        return explanation
    return replace(
        explanation,
        probability=calibration.probability(explanation.score, prior=prior),
        probability_source=calibration.describe(prior=prior),
    )
