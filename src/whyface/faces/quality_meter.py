"""The unified quality score of a face, in [0, 1], and the fault behind a low score.

Each measure has a component, a logistic function with two parameters. A single fault suffices, since the components
are multiplied, and the smallest component names it. A scale turns the product into the unified score: how much more
often than by chance pairs of such faces are decided rightly, relative to pairs of good faces. All parameters are
fitted to people who are not in LFW (scripts/fit_quality.py, docs/studies/quality.md).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import FaceError, InputError, ModelError, ModelIntegrityError
from whyface.faces.quality import (
    FaceQuality,
    head_pose,
    inter_eye_distance,
    landmark_misfit,
    measure_crop,
    share_outside,
)
from whyface.files.integrity import HashedFile
from whyface.onnx_runtime import open_session

ASSETS: Final = "assets/quality"
"""Folder of the parameters and the network in the package; see NOTICE.md there."""

LIGHTQNET: Final = "lightqnet-dm050.onnx"
SHA256: Final = "c538d1e0a2f11faa1c0cbce58babd38df81b4dd6031da59ed21d56e78f7dff4c"

Recogniser = Callable[[NDArray[np.uint8]], float]
"""Aligned crop, RGB uint8 (112, 112, 3) -> recognisability in [0, 1]."""

_SIDE: Final = 96
_NOTHING: Final = 0.01
_DARK, _BRIGHT, _FLAT = 0.25, 0.75, 0.005


@dataclass(frozen=True)
class Component:
    """Component of the unified score: 1 / (1 + exp(-(x - middle) / width)).

    Attributes
    ----------
    middle
        Value of x at which the component is 0.5.
    width
        Width of the transition; positive if low values are poor, negative if high ones are.
    logarithmic
        Whether x is the natural logarithm of 1 + the measure.
    """

    middle: float
    width: float
    logarithmic: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.middle) and math.isfinite(self.width) and self.width != 0):
            raise InputError("a component of quality needs a finite middle and a width other than 0")

    def value(self, measure: float) -> float:
        """Return the component, in [0, 1], of a measure."""
        x = math.log1p(measure) if self.logarithmic else measure
        z = (x - self.middle) / self.width
        return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


@dataclass(frozen=True)
class Scale:
    """Straight lines from the product p of the components to the unified score.

    Attributes
    ----------
    log_odds
        Common logarithm of p / (1 - p), rising; beyond both ends the score is flat.
    scores
        Rising, in [0, 1]; as many.
    """

    log_odds: Sequence[float]
    scores: Sequence[float]

    def __post_init__(self) -> None:
        x, y = np.asarray(self.log_odds, np.float64), np.asarray(self.scores, np.float64)
        fits = x.ndim == 1 and x.shape == y.shape and x.size > 1 and np.isfinite([x, y]).all()
        if not fits or (np.diff(x) <= 0).any() or (np.diff(y) <= 0).any() or y[0] < 0 or y[-1] > 1:
            raise InputError("a scale of quality needs two or more points that rise in both, with scores in 0..1")

    def value(self, product: float) -> float:
        """Return the unified score, in [0, 1], of a product."""
        return float(np.interp(log_odds(product), self.log_odds, self.scores))


def log_odds(product: float) -> float:
    """Return the common logarithm of p / (1 - p), of p in [0, 1], cut to -15..15."""
    return math.log10(max(product, 1e-15)) - math.log10(max(1 - product, 1e-15))


class QualityMeter:
    """Measure faces and decide whether they can support a verdict.

    Raise InputError if a component belongs to no known measure, or the limit is not in [0, 1].

    Parameters
    ----------
    components
        Name of a measure in :class:`~whyface.faces.quality.FaceQuality` -> its component. Measures that a face lacks
        are left out.
    limit
        Minimum unified score of a face that can support a verdict, in [0, 1].
    recogniser
        Estimates recognisability; None: leave it out.
    scale
        From the product of the components to the unified score; None: the product itself.
    files
        The files behind the parameters and the recogniser, for records.
    """

    def __init__(
        self,
        components: Mapping[str, Component],
        *,
        limit: float,
        recogniser: Recogniser | None = None,
        scale: Scale | None = None,
        files: tuple[HashedFile, ...] = (),
    ) -> None:
        unknown = set(components) - set(_FAULTS)
        if unknown:
            raise InputError(f"unknown quality component {min(unknown)!r}; known: {', '.join(_FAULTS)}")
        if not 0 <= limit <= 1:
            raise InputError(f"the quality limit must be in 0..1, got {limit:g}")
        self.components = dict(components)
        self.limit = limit
        self.scale = scale
        self.recogniser = recogniser
        self.files = files

    def measure(
        self,
        crop: NDArray[np.uint8],
        *,
        to_photo: NDArray[np.float64] | None = None,
        photo_size: tuple[int, int] | None = None,
        landmarks: NDArray[np.floating] | None = None,
        detection_score: float | None = None,
    ) -> FaceQuality:
        """Measure one face.

        Raise InputError if the crop or the landmarks have another shape.

        Parameters
        ----------
        crop
            Aligned crop, RGB uint8, shape (112, 112, 3).
        to_photo, photo_size
            Affine map (2, 3) from crop to photo, and height and width of the photo; None for an aligned crop.
        landmarks
            Five landmarks in photo pixels, shape (5, 2); None for an aligned crop.
        """
        measured = measure_crop(crop)
        if to_photo is not None and photo_size is not None:
            measured = replace(measured, outside=share_outside(to_photo, photo_size))
        if landmarks is not None:
            measured = _with_landmarks(measured, landmarks)
        if self.recogniser is not None:
            measured = replace(measured, recognisability=self.recogniser(crop))
        return self.judge(replace(measured, detection_score=detection_score))

    def judge(self, measured: FaceQuality) -> FaceQuality:
        """Return the measures with the unified score and, if it is below the limit, the shortcoming."""
        values = self.component_values(measured)
        unified = math.prod(values.values())
        if self.scale is not None:
            unified = self.scale.value(unified)
        shortcoming = None
        if unified < self.limit:
            # If several are almost 0, the first causes the others: a dark face is not sharp, either.
            worst = min((name for name in _FAULTS if name in values), key=lambda name: max(values[name], _NOTHING))
            shortcoming = _FAULTS[worst](measured)
        return replace(measured, unified=unified, shortcoming=shortcoming)

    def component_values(self, measured: FaceQuality) -> dict[str, float]:
        """Return the components, in [0, 1], by the name of the measure."""
        given = {name: getattr(measured, name) for name in self.components}
        return {name: self.components[name].value(value) for name, value in given.items() if value is not None}


def open_meter(*, threads: int | None = 1) -> QualityMeter:
    """Open the quality meter that comes with whyface.

    Raise ModelIntegrityError if the SHA-256 of a file is not the one on record, and ModelError if a file is missing or
    ONNX Runtime cannot load the network.
    """
    record = _asset("quality.json")
    try:
        numbers: dict[str, Any] = json.loads(record)
        components = {name: Component(**fields) for name, fields in numbers["components"].items()}
        scale, limit = Scale(**numbers["scale"]), float(numbers["limit"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{ASSETS}/quality.json: cannot be read; install whyface again") from error
    files = (
        HashedFile("quality", "quality.json", hashlib.sha256(record).hexdigest()),
        HashedFile("recognisability", LIGHTQNET, SHA256),
    )
    return QualityMeter(components, limit=limit, recogniser=_open_lightqnet(threads), scale=scale, files=files)


@cache
def default_meter() -> QualityMeter:
    """Return the default meter, which is opened at the first call and then kept.

    Raise ModelError if its files are missing or differ from those on record.
    """
    return open_meter()


def _open_lightqnet(threads: int | None) -> Recogniser:
    """Open LightQNet.

    K. Chen, T. Yi, Q. Lv, LightQNet: Lightweight Deep Face Quality Assessment for Risk-Controlled Face Recognition,
    IEEE Signal Processing Letters 28 (2021).
    """
    model = _asset(LIGHTQNET)
    if hashlib.sha256(model).hexdigest() != SHA256:
        raise ModelIntegrityError(f"{ASSETS}/{LIGHTQNET}: the file has been changed; install whyface again")
    try:
        session = open_session(model, threads=threads)
    except Exception as error:  # ONNX Runtime's exceptions have no common base class.
        raise ModelError(f"{ASSETS}/{LIGHTQNET}: ONNX Runtime cannot open it; update onnxruntime") from error
    name = session.get_inputs()[0].name

    def recognisability(crop: NDArray[np.uint8]) -> float:
        small = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        pixels = ((small.astype(np.float32) - 128) / 128)[None]
        return float(np.clip(np.ravel(session.run(None, {name: pixels})[0])[0], 0, 1))

    return recognisability


def _asset(name: str) -> bytes:
    try:
        return (resources.files("whyface") / ASSETS / name).read_bytes()
    except OSError as error:
        raise ModelError(f"{ASSETS}/{name}: the file cannot be read; install whyface again") from error


def _with_landmarks(measured: FaceQuality, landmarks: NDArray[np.floating]) -> FaceQuality:
    measured = replace(measured, inter_eye_distance=inter_eye_distance(landmarks))
    try:
        return replace(measured, landmark_misfit=landmark_misfit(landmarks), pose=head_pose(landmarks))
    except FaceError:
        # Landmarks that span no face have neither; alignment reports them.
        return measured


def _exposure(measured: FaceQuality) -> str:
    if measured.luminance_mean < _DARK:
        return "too dark"
    if measured.luminance_mean > _BRIGHT:
        return "too bright"
    # Drawings have contrast, but few shades between its ends.
    return "too low in contrast" if measured.luminance_variance < _FLAT else "too poor in shades"


_FAULTS: Final[Mapping[str, Callable[[FaceQuality], str]]] = {
    "outside": lambda measured: "cut off by the edge of the photo",
    "dynamic_range": _exposure,
    "noise": lambda measured: "too noisy",
    "sharpness": lambda measured: "too blurred",
    "inter_eye_distance": lambda measured: "too small",
    "landmark_misfit": lambda measured: "without the shape of a face",
    "recognisability": lambda measured: "hardly recognisable as a face",
}
"""Measures that can be components, and the phrase for a fault; causes before their effects."""
