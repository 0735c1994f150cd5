"""Faces of people, clean and made worse, with what the meter and the default model say about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.degradations import Degradation, add_noise, blur, darken, motion_blur, shrink
from whyface.explain.verdict import VerdictMethod
from whyface.faces.pictures import open_pictures
from whyface.faces.quality import FaceQuality
from whyface.faces.quality_meter import QualityMeter

Faces = NDArray[np.uint8]
"""Aligned faces, RGB, (N, 112, 112, 3)."""

CFP_TRAINING: Final = 100
"""People 1..100 of CFP are training people of the meter; the others are measured."""


def read_faces(path: Path, names: Sequence[str]) -> Faces:
    """Read pictures of a folder or tar file in the order of their names."""
    with open_pictures(path) as source:
        return np.stack([source.read(name) for name in names])


def people_of(path: Path, *, part: str = "") -> dict[str, list[str]]:
    """Return the names of the pictures by person, sorted; the person is the folder below ``part`` or around."""
    found: dict[str, list[str]] = {}
    with open_pictures(path) as source:
        for name in sorted(source.names()):
            folders = name.split("/")[:-1]
            if part and folders[-1] != part:
                continue
            found.setdefault(folders[-2 if part else -1], []).append(name)
    return found


def cfp_names(path: Path, part: str, *, training: bool) -> list[str]:
    """Return CFP's ``"frontal"`` or ``"profile"`` pictures of the training people, or of the others."""
    people = people_of(path, part=part)
    return [name for person, names in people.items() if (int(person) <= CFP_TRAINING) == training for name in names]


def measure_all(meter: QualityMeter, faces: Faces) -> list[FaceQuality]:
    """Measure every face."""
    return [meter.measure(face) for face in faces]


def features_of(method: VerdictMethod, faces: Faces, *, batch: int = 32) -> NDArray[np.float32]:
    """Run the verdict's network over faces."""
    parts = [faces[start : start + batch].transpose(0, 3, 1, 2) for start in range(0, len(faces), batch)]
    return np.concatenate([method.comparison.features(np.ascontiguousarray(part)) for part in parts])


def _grey(face: Faces, rng: np.random.Generator, *, value: int) -> Faces:
    return np.full_like(face, value)


def _only_noise(face: Faces, rng: np.random.Generator) -> Faces:
    return rng.integers(0, 256, face.shape, np.uint8)


def cut(face: Faces, share: float, side: str) -> Faces:
    """Blacken the lower or right part of a crop, as where it reaches beyond the photo."""
    left = round((1 - share) * len(face))
    result = face.copy()
    result[(slice(left, None),) if side == "bottom" else (slice(None), slice(left, None))] = 0
    return result


def _blurred(sigma: float) -> Degradation:
    return lambda face, _: blur(face, sigma)


def _small(side: int) -> Degradation:
    return lambda face, _: shrink(face, side)


def _moved(length: int, degrees: float) -> Degradation:
    return lambda face, _: motion_blur(face, length, np.deg2rad(degrees))


def _noisy(deviation: float) -> Degradation:
    return lambda face, rng: add_noise(face, deviation, rng=rng)


def _dark(gain: float) -> Degradation:
    return lambda face, rng: darken(face, gain, rng=rng)


ROWS: Final[Mapping[str, Callable[[Faces, np.random.Generator], Faces]]] = {
    "as they are": lambda face, _: face,
    **{f"blur {sigma}": _blurred(sigma) for sigma in (2, 3, 4, 6, 8)},
    **{f"{side} px": _small(side) for side in (24, 20, 16, 12)},
    "dark, x 0.04": _dark(0.04),
    **{f"noise {deviation}": _noisy(deviation) for deviation in (30, 60, 120)},
    **{f"motion {length} px, {angle} degrees": _moved(length, angle) for length in (13, 21, 25) for angle in (0, 60)},
    "black": partial(_grey, value=0),
    "white": partial(_grey, value=255),
    "only noise": _only_noise,
}
"""What is done to both faces of a pair."""
