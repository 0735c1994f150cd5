"""A threshold for a whole gallery: every face in it is another chance for a stranger to be accepted.

The target is a false positive identification rate (FPIR). If N comparisons were independent, each could have an FMR of
1 - (1 - FPIR)^(1 / N), which is soon below what any list of pairs can show. Its threshold is extrapolated from two
measured ones, as if impostor scores were normally distributed. This is rough, since tails are not normal and
comparisons not independent; docs/studies/identify.md has measured results.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import NormalDist
from typing import Final

import numpy as np

from whyface.errors import InputError, ModelError
from whyface.explain.provenance import ThresholdSource
from whyface.models.entry import ModelEntry

TARGET_FPIR: Final = 0.01

_LOWEST: Final = 1e-3
"""A gallery's threshold is never below that of one comparison at this FMR, which ``whyface verify`` uses."""


def fmr_for(fpir: float, faces: int) -> float:
    """Return the FMR that each of N independent comparisons may have: 1 - (1 - FPIR)^(1 / N).

    Raises
    ------
    InputError
        If the rate is not between 0 and 1, or there are no faces.
    """
    if not 0 < fpir < 1 or faces < 1:
        raise InputError(f"an FPIR must be between 0 and 1 and a gallery must have faces, got {fpir:g} and {faces}")
    return float(-np.expm1(np.log1p(-fpir) / faces))


def extrapolated_threshold(points: Mapping[float, float], fmr: float) -> float:
    """Extrapolate two measured thresholds to another FMR, assuming normally distributed impostor scores.

    Parameters
    ----------
    points
        FMR -> threshold; the two lowest rates are used.
    fmr
        The target FMR.

    Raises
    ------
    InputError
        If there are fewer than two points, they do not rise as the rate falls, or a rate is not between 0 and 1.
    """
    if not all(0 < rate < 1 for rate in (fmr, *points)):
        rates = ", ".join(f"{rate:g}" for rate in (fmr, *points))
        raise InputError(f"false match rates must be between 0 and 1, got {rates}")
    if len(points) < 2:
        raise InputError(f"two measured thresholds are needed to extrapolate, got {len(points)}")
    low, high = sorted(points)[:2]
    quantile = NormalDist().inv_cdf
    if 1 - low == 1:
        raise InputError(f"a false match rate of {low:g} was never measured; give --threshold")
    deviation = (points[low] - points[high]) / (quantile(1 - low) - quantile(1 - high))
    if deviation <= 0:
        raise InputError("measured thresholds must rise as the false match rate falls")
    # inv_cdf(1 - x) loses x below 1e-16; by symmetry it is -inv_cdf(x).
    return points[low] + deviation * (-quantile(fmr) - quantile(1 - low))


def gallery_threshold(
    entry: ModelEntry, kind: str, faces: int, *, fpir: float = TARGET_FPIR
) -> tuple[float, ThresholdSource]:
    """Return the threshold for a gallery of this size, and its source.

    Parameters
    ----------
    entry
        The model's record.
    kind
        ``"u"``, ``"p"``, ``"l"`` or ``"cosine"``.
    faces
        Number of faces in the gallery.
    fpir
        Share of strangers who may be accepted as somebody.

    Raises
    ------
    InputError
        If the rate is not between 0 and 1.
    ModelError
        If fewer than two thresholds of this kind are on record.
    """
    measured = entry.measured(kind)
    thresholds = {rate: point.threshold for rate, point in measured.items()}
    fmr = fmr_for(fpir, faces)
    if len(thresholds) < 2:
        raise ModelError(
            f"model {entry.name!r} has no thresholds on record that could be extended to a gallery; give --threshold"
        )
    # If only lower rates are on record, the highest of them is the nearest, and stricter.
    lowest = min((rate for rate in thresholds if rate >= _LOWEST), default=max(thresholds))
    if fmr >= lowest:
        return thresholds[lowest], ThresholdSource.from_operating_point(measured[lowest])
    return extrapolated_threshold(thresholds, fmr), ThresholdSource(
        kind="operating point",
        name=f"FPIR {fpir:g} among {faces} faces",
        dataset=f"{measured[lowest].dataset}, extrapolated",
        fmr=fmr,
        note="extrapolated from thresholds for single comparisons, see whyface.identify.gallery_threshold",
    )
