"""Explanations for the page's tests, of every kind that it shows, with faces that no person has."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.explain.trust import with_doubt
from whyface.explain.usual import Telling
from whyface.faces.quality import FaceQuality, HeadPose
from whyface.models.operating_point import OperatingPoint

HOSTILE = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>@DATA@@PLAIN@'
"""A name that would be markup if anything took it for that."""

POINTS = tuple(
    OperatingPoint(
        name=f"FMR 1e-{k}",
        threshold=0.2 + 0.1 * (k - 2),
        fmr=10.0**-k,
        fnmr=0.01 * k,
        dataset="made up",
        genuine_pairs=100,
        impostor_pairs=1000,
    )
    for k in (2, 3, 4)
)
QUALITY = FaceQuality(
    sharpness=0.6,
    noise=2.0,
    luminance_mean=0.5,
    luminance_variance=0.03,
    dynamic_range=7.0,
    under_exposure=0.0,
    over_exposure=0.01,
    inter_eye_distance=60.0,
    pose=HeadPose(3.0, -2.0, 1.0),
    unified=1.0,
)


def faces(first: str = "a.jpg", second: str = "b.jpg", **changes: Any) -> tuple[FaceInfo, FaceInfo]:
    one = FaceInfo(source=first, quality=QUALITY, sha256="1" * 64, **changes)
    return one, FaceInfo(source=second, quality=QUALITY, sha256="2" * 64)


def example(seed: int = 0, *, size: tuple[int, int] = (7, 7), usual: bool = True, **changes: Any) -> Explanation:
    """Return an explanation with a grid of drawn numbers, and with the sentences that belong to it."""
    draw = np.random.default_rng(seed)
    similarity = draw.uniform(-0.3, 1, size).astype(np.float32)
    attention = draw.gamma(1.0, size=size)
    attention = (attention / attention.sum()).astype(np.float32)
    telling = Telling(
        log_odds=draw.normal(0, 2, size).astype(np.float32),
        strangers=draw.uniform(0.005, 0.995, size).astype(np.float32),
        genuine=draw.uniform(0.005, 0.995, size).astype(np.float32),
        neutral=draw.uniform(0, 0.6, size).astype(np.float32),
        source="made up",
    )
    plain: dict[str, Any] = {
        "score": float(np.multiply(similarity, attention, dtype=np.float64).sum()),
        "threshold": 0.3,
        "threshold_source": ThresholdSource.from_operating_point(POINTS[1]),
        "method": "xcos",
        "cost": Cost(2, 0, 0.1),
        "model": ModelInfo("made-up", "0f" * 32),
        "similarity": similarity,
        "attention": attention,
        "attention_kind": "l",
        "telling": telling if usual else None,
        "faces": faces(),
        "operating_points": POINTS,
    }
    made = Explanation(**(plain | changes))
    return replace(made, sentences=describe(made))


def undecided() -> Explanation:
    poor = replace(QUALITY, unified=0.1, shortcoming="too blurred")
    first, second = faces()
    return with_doubt(example(faces=(replace(first, quality=poor), second)))


def maps_only(seed: int = 0, **changes: Any) -> Explanation:
    draw = np.random.default_rng(seed)
    bare: dict[str, Any] = {
        "similarity": None,
        "attention": None,
        "attention_kind": None,
        "telling": None,
        "score": 0.5,
    }
    maps = {"map_a": draw.normal(size=(14, 14)), "map_b": draw.normal(size=(14, 14)), "method": "gradcam"}
    return example(seed, **(bare | maps | changes))


def picture(seed: int = 0) -> NDArray[np.uint8]:
    """Return a soft pattern in the size of an aligned face."""
    y, x = np.mgrid[:112, :112]
    waves = [127 + 60 * np.sin(x / (9 + k + seed)) + 60 * np.cos(y / (7 + 2 * k)) for k in range(3)]
    return np.asarray(np.clip(np.stack(waves, axis=2), 0, 255), np.uint8)
