"""Photos with several faces, made of the demo photos side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyface.demo import demo_photo

OBAMA, SPEECH, BIDEN = "obama-portrait", "obama-speech", "biden-portrait"


def group_photo(path: Path, *names: str, heights: tuple[int, ...] = ()) -> Path:
    """Write demo photos side by side, each of its height; all 400 pixels high if none are given."""
    parts: list[NDArray[np.uint8]] = []
    for name, height in zip(names, heights or (400,) * len(names), strict=True):
        with Image.open(demo_photo(f"{name}.jpg")) as photo:
            picture = photo.convert("RGB").resize((round(photo.width * height / photo.height), height))
        canvas = np.full((max((*heights, 400)), picture.width, 3), 128, np.uint8)
        canvas[: picture.height] = np.asarray(picture)
        parts.append(canvas)
    Image.fromarray(np.concatenate(parts, axis=1)).save(path)
    return path
