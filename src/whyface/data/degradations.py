"""Degrade faces as poor cameras, compression and darkness do, for training and tests.

All functions take and return an aligned face (H, W, 3) uint8, RGB.

References
----------
D. Hendrycks, T. Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR 2019:
such kinds of degradation, as a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError

Picture = NDArray[np.uint8]
Degradation = Callable[[Picture, np.random.Generator], Picture]
"""Makes a face worse by a fixed strength; the generator gives the noise."""

_BORDER: Final = cv2.BORDER_REFLECT_101


def blur(face: Picture, sigma: float) -> Picture:
    """Blur with a Gaussian of ``sigma`` pixels, > 0."""
    _positive(sigma, "sigma")
    return np.asarray(cv2.GaussianBlur(_checked(face), (0, 0), sigma, borderType=_BORDER), np.uint8)


def shrink(face: Picture, side: int, *, smooth: bool = True) -> Picture:
    """Scale to ``side`` x ``side`` pixels and back, by areas (``smooth``) or bilinearly on the way down."""
    _positive(side, "side")
    height, width = _checked(face).shape[:2]
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if smooth else cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def add_noise(face: Picture, deviation: float, *, rng: np.random.Generator) -> Picture:
    """Add Gaussian noise to every value."""
    return _rounded(_checked(face) + rng.normal(0, deviation, face.shape))


def darken(face: Picture, gain: float, *, rng: np.random.Generator) -> Picture:
    """Multiply by ``gain`` and add the noise of a sensor, one grey level."""
    return _rounded(_checked(face) * float(gain) + rng.normal(0, 1, face.shape))


def motion_blur(face: Picture, length: int, angle: float) -> Picture:
    """Blur along a line of ``length`` pixels, odd, at an angle in radians."""
    if length < 1 or length % 2 == 0:
        raise InputError(f"the length of motion must be odd and positive, got {length}")
    kernel = np.zeros((length, length), np.float32)
    middle = (length - 1) / 2
    for step in np.linspace(-middle, middle, 4 * length):
        kernel[round(middle + step * np.sin(angle)), round(middle + step * np.cos(angle))] += 1
    return np.asarray(cv2.filter2D(_checked(face), -1, kernel / kernel.sum(), borderType=_BORDER), np.uint8)


def compress(face: Picture, quality: int) -> Picture:
    """Compress as JPEG with a quality of 1..100."""
    if not 1 <= quality <= 100:
        raise InputError(f"the quality of a JPEG must be in 1..100, got {quality}")
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(_checked(face)[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def degrade(face: Picture, *, rng: np.random.Generator) -> Picture:
    """Degrade a face in one of these ways, or in three at once; kind and strength, mild to hopeless, are drawn."""
    return draw_degradation(rng)(face, rng)


def draw_degradation(rng: np.random.Generator) -> Degradation:
    """Draw a kind and strength, as :func:`degrade` does, to degrade several faces alike."""
    kind = rng.choice(list(_SHARES), p=list(_SHARES.values()))
    return _DRAWN[kind](rng)


def jitter(face: Picture, *, rng: np.random.Generator) -> Picture:
    """Shift, rotate and scale a little, as another detector would, and change brightness and contrast."""
    height, width = _checked(face).shape[:2]
    scale, turn, shift = np.exp(rng.normal(0, 0.03)), rng.normal(0, 3), rng.normal(0, 1.5, 2)
    matrix = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, scale), np.float64)
    matrix[:, 2] += shift
    moved = cv2.warpAffine(face, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _rounded(np.asarray(moved) * rng.uniform(0.75, 1.25) + rng.uniform(-15, 15))


def _noisy(deviation: float) -> Degradation:
    return lambda face, rng: add_noise(face, deviation, rng=rng)


def _dark(gain: float) -> Degradation:
    return lambda face, rng: darken(face, gain, rng=rng)


def _moved(length: int, angle: float) -> Degradation:
    return lambda face, _: motion_blur(face, length, angle)


def _blurred(sigma: float) -> Degradation:
    return lambda face, _: blur(face, sigma)


def _compressed(quality: int) -> Degradation:
    return lambda face, _: compress(face, quality)


def _shrunk(side: int, smooth: bool) -> Degradation:
    return lambda face, _: shrink(face, side, smooth=smooth)


def _mixed(sigma: float, side: int, deviation: float) -> Degradation:
    return lambda face, rng: add_noise(shrink(blur(face, sigma), side), deviation, rng=rng)


_SHARES: Final[Mapping[str, float]] = {
    "blur": 0.25,
    "shrink": 0.25,
    "noise": 0.15,
    "dark": 0.1,
    "motion": 0.15,
    "compress": 0.03,
    "mixed": 0.07,
}
_DRAWN: Final[Mapping[str, Callable[[np.random.Generator], Degradation]]] = {
    "blur": lambda rng: _blurred(rng.uniform(1, 5)),
    "shrink": lambda rng: _shrunk(round(np.exp(rng.uniform(np.log(9), np.log(44)))), rng.random() < 0.5),
    "noise": lambda rng: _noisy(rng.uniform(15, 130)),
    "dark": lambda rng: _dark(np.exp(rng.uniform(np.log(0.02), np.log(0.3)))),
    "motion": lambda rng: _moved(2 * int(rng.integers(3, 13)) + 1, rng.uniform(0, np.pi)),
    "compress": lambda rng: _compressed(int(rng.integers(3, 20))),
    "mixed": lambda rng: _mixed(rng.uniform(0.5, 2.5), int(rng.integers(14, 48)), rng.uniform(3, 30)),
}


def _rounded(values: NDArray[np.floating[Any]]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


def _positive(value: float, name: str) -> None:
    if not value > 0:
        raise InputError(f"{name} must be positive, got {value}")


def _checked(face: Picture) -> Picture:
    if face.ndim != 3 or face.shape[2] != 3 or face.dtype != np.uint8:
        raise InputError(f"a face must be (H, W, 3) uint8, got {face.shape} {face.dtype}")
    return face
