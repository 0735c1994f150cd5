"""The demo photos, spoilt: what a phone out of focus, a dark room or a scanner make of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyface.demo import demo_photo

SIZE = 400


def poor_photo(folder: Path, name: str, fault: str) -> Path:
    """Write a small copy of a demo photo with one fault: blurred, dark, tiny, moved or none."""
    with Image.open(demo_photo(f"{name}.jpg")) as photo:
        photo.thumbnail((SIZE, SIZE))
        pixels = np.asarray(photo.convert("RGB"))
    path = folder / f"{name}-{fault}.png"
    Image.fromarray(_spoilt(pixels, fault)).save(path)
    return path


def _spoilt(pixels: NDArray[np.uint8], fault: str) -> NDArray[np.uint8]:
    if fault == "blurred":
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), 5), np.uint8)
    if fault == "moved":
        return np.asarray(cv2.filter2D(pixels, -1, np.full((1, 15), 1 / 15)), np.uint8)
    if fault == "tiny":
        height, width = pixels.shape[:2]
        small = cv2.resize(pixels, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    if fault == "dark":
        return np.asarray(np.rint(pixels * 0.04), np.uint8)
    return pixels
