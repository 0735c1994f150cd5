"""The people of a gallery: an evidential head fitted to them, and a threshold for all of them together.

The head's input are the concatenated unit vectors of a face's grid. Every place has unit length before all are scaled
together, so the cosine of two faces is the mean of the cosines of their places (the xCos score under uniform
attention), and every place has an exact part in it. A gallery stores the same vectors in the same order, so a head can
be fitted to a gallery without its photos.

For the threshold, every face in the gallery is another chance for a stranger to be accepted. The target is a false
positive identification rate (FPIR). If N comparisons were independent, each could have an FMR of
1 - (1 - FPIR)^(1 / N). Its threshold lies between measured ones, which go down to FMR 1e-6 for the models of the
package, as if impostor scores were normally distributed between them; beyond, it is extrapolated from the lowest two.
This is rough, since tails are not normal and comparisons not independent; docs/studies/identify.md has measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.explain.provenance import ThresholdSource
from whyface.gallery.feature_file import intact
from whyface.gallery.gallery import Gallery
from whyface.gallery.name_rebuild import HEAD_NAME
from whyface.gallery.opening import recorded_model
from whyface.identify.evidential import EvidentialHead, load_evidential_head
from whyface.models.embedder import l2_normalise
from whyface.models.entry import ModelEntry
from whyface.xcos.comparison import COSINE
from whyface.xcos.grid import AttentionKind
from whyface.xcos.open_model import known_entry
from whyface.xcos.separable import unit_cells

FloatArray = NDArray[np.floating[Any]]


def grid_features(grids: FloatArray) -> NDArray[np.float32]:
    """Return grids (N, C, H, W) as features (N, H * W * C), rows of unit length, places first.

    Raise InputError if the grids have another shape.
    """
    return l2_normalise(unit_cells(grids).reshape(len(grids), -1))


def cosine_parts(features: FloatArray, direction: FloatArray, cells: tuple[int, int]) -> NDArray[np.float64]:
    """Split the cosine of features and a person's direction over the places.

    Return (N, H, W) float64; each map's sum is the cosine, exactly. Raise InputError if the sizes do not fit.

    Parameters
    ----------
    features
        (N, H * W * C) of :func:`grid_features`.
    direction
        (H * W * C,), of unit length.
    """
    height, width = cells
    size = features.shape[1] if features.ndim == 2 else -1
    if direction.shape != (size,) or size % max(height * width, 1):
        raise InputError(
            f"features {features.shape} and direction {direction.shape} are not of {height} x {width} cells"
        )
    products = features.astype(np.float64) * direction.astype(np.float64)
    return np.asarray(products.reshape(len(features), height, width, -1).sum(axis=-1))


@dataclass(frozen=True, eq=False)
class GalleryPeople:
    """The faces and people of a gallery.

    Attributes
    ----------
    features
        Features of N faces, (N, D) float32, rows of unit length.
    labels
        The person of each, an index into ``people``, (N,) int64.
    people
        K names, sorted.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    people: tuple[str, ...]


def gallery_people(gallery: Gallery) -> GalleryPeople:
    """Return the features of all people, without removed and damaged faces."""
    rows = gallery.labels()
    numbers = np.array([number for number, _ in rows], np.int64)
    records = gallery.records[numbers] if len(numbers) else gallery.records[:0]
    whole = [bool(intact(gallery.records[number : number + 1], int(number))[0]) for number in numbers]
    kept = np.flatnonzero(whole)
    names = [rows[row][1] for row in kept]
    people = tuple(sorted(set(names)))
    place = {name: label for label, name in enumerate(people)}
    units = records["unit"][kept].astype(np.float32) * records["unit_scale"][kept][:, None]
    return GalleryPeople(l2_normalise(units), np.array([place[name] for name in names], np.int64), people)


def head_features(gallery: Gallery, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert probe features from ``gallery.features`` to the input of this gallery's head, (P, D)."""
    return grid_features(features) if gallery.layout.kind == "grid" else l2_normalise(features)


def head_path(gallery: Gallery) -> Path:
    """Return the path of the gallery's head, whether it exists or not."""
    return gallery.path / HEAD_NAME


def model_record(gallery: Gallery) -> dict[str, Any]:
    """Return the gallery's model, for a head's record."""
    return {"model": gallery.layout.model, "model_sha256": gallery.layout.sha256.get("onnx")}


def gallery_head(gallery: Gallery) -> tuple[EvidentialHead | None, str]:
    """Return the gallery's head, or None and why there is none.

    A head fitted to other people is not used: people may have been added or removed since. Raise ModelError if the head
    is damaged or belongs to another model.
    """
    path = head_path(gallery)
    people = gallery.names()
    if len(people) < 2:
        return None, "Uncertainty about who it is needs at least two people to choose from"
    if not path.is_file():
        return None, "No uncertainty was fitted for this gallery; whyface identify --fit does it"
    head = load_evidential_head(path)
    digest = gallery.layout.sha256.get("onnx")
    if digest is not None:
        head.require_model(digest, path)
    if set(head.people) != set(people):
        return None, "People came or went since the uncertainty was fitted, so it is left out; --fit fits it again"
    return head, ""


TARGET_FPIR: Final = 0.01

_LOWEST: Final = 1e-3
"""A gallery's threshold is never below that of one comparison at this FMR, which ``whyface verify`` uses."""


def fmr_for(fpir: float, faces: int) -> float:
    """Return the FMR that each of N independent comparisons may have: 1 - (1 - FPIR)^(1 / N).

    Raise InputError if the rate is not between 0 and 1, or there are no faces.
    """
    if not 0 < fpir < 1 or faces < 1:
        raise InputError(f"an FPIR must be between 0 and 1 and a gallery must have faces, got {fpir:g} and {faces}")
    return float(-np.expm1(np.log1p(-fpir) / faces))


def extrapolated_threshold(points: Mapping[float, float], fmr: float) -> float:
    """Return the threshold for an FMR between or beyond measured ones, assuming normally distributed impostor scores.

    Raise InputError if there are fewer than two points, they do not rise as the rate falls, or a rate is not between 0
    and 1.

    Parameters
    ----------
    points
        FMR -> threshold. The two rates around the FMR are used; beyond all rates, the two that are nearest.
    """
    if not all(0 < rate < 1 for rate in (fmr, *points)):
        given = ", ".join(f"{rate:g}" for rate in (fmr, *points))
        raise InputError(f"false match rates must be between 0 and 1, got {given}")
    if len(points) < 2:
        raise InputError(f"two measured thresholds are needed to extrapolate, got {len(points)}")
    rates = sorted(points)
    below = sum(rate <= fmr for rate in rates)
    start = min(max(below - 1, 0), len(rates) - 2)
    low, high = rates[start : start + 2]
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

    Raise InputError if the rate is not between 0 and 1, and ModelError if fewer than two thresholds of this kind are on
    record.

    Parameters
    ----------
    fpir
        Share of strangers who may be accepted as somebody.
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
    how = "extrapolated" if fmr < min(thresholds) else "interpolated"
    return extrapolated_threshold(thresholds, fmr), ThresholdSource(
        kind="operating point",
        name=f"FPIR {fpir:g} among {faces} faces",
        dataset=f"{measured[lowest].dataset}, {how}",
        fmr=fmr,
        note=f"{how} from thresholds for single comparisons, see whyface.identify.gallery_people",
    )


def threshold_for(
    gallery: Gallery,
    *,
    model: str | None = None,
    attention: AttentionKind | None = None,
    threshold: float | None = None,
    fmr: float | None = None,
    fpir: float | None = None,
) -> tuple[float, ThresholdSource]:
    """Return the threshold of a gallery's search: the user's, that of one comparison, or by the gallery's size.

    Raise InputError if several are given or one is out of range, and ModelError if none is on record.

    Parameters
    ----------
    gallery
        Opened with its model.
    model
        Where the model is now, if it was moved.
    attention
        By default the best available.
    threshold, fmr, fpir
        One of them, or none: the size of the gallery and :data:`TARGET_FPIR` then decide.
    """
    if sum(value is not None for value in (threshold, fmr, fpir)) > 1:
        raise InputError("give one of --threshold, --fmr and --fpir, not several")
    if threshold is not None:
        if not -1 <= threshold <= 1:
            raise InputError(f"a threshold must be in -1..1, got {threshold:g}")
        return threshold, ThresholdSource(kind="user", name="set by the user")
    entry = known_entry(model or recorded_model(gallery.path)["model"])
    if entry is None:
        raise ModelError(f"{gallery.layout.model}: no threshold was measured for this network; give --threshold")
    used = attention or (gallery.model.default_kind if gallery.layout.kind == "grid" else COSINE)
    if fmr is not None:
        point = entry.operating_point(used, fmr=fmr)
        return point.threshold, ThresholdSource.from_operating_point(point)
    return gallery_threshold(entry, used, max(len(gallery), 1), fpir=TARGET_FPIR if fpir is None else fpir)


def fpir_of(fmr: float, faces: int) -> float:
    """Return the share of strangers who exceed a 1:1 threshold for at least one of N faces: 1 - (1 - FMR)^N.

    It assumes N independent comparisons. They are not (some faces resemble many), so it shows how fast false alarms
    grow rather than measuring them. Raise InputError if the rate is not in [0, 1] or there are no faces.
    """
    if not 0 <= fmr <= 1 or faces < 1:
        raise InputError(f"an FMR must be between 0 and 1 and a gallery must have faces, got {fmr:g} and {faces}")
    return float(-np.expm1(faces * np.log1p(-fmr))) if fmr < 1 else 1.0
