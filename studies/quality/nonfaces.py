"""What a detector takes for faces where there are none: photos without people, and faces drawn by a program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyface.errors import FaceError
from whyface.faces.align import align
from whyface.faces.detection import Detector
from whyface.faces.photo import read_photo
from whyface.faces.quality import FaceQuality
from whyface.faces.quality_meter import QualityMeter

Photo = NDArray[np.uint8]

PEOPLE: Final = frozenset(
    {
        "astronaut.png",
        "camera.png",
        "free_by_Peter_Nerlich.jpg",
        "friends_by_Aitzol_Berasategi.jpg",
        "life_by_Aitzol_Berasategi.jpg",
        "umang_by_Abhishek_Mudgal.jpg",
    }
)
PEOPLE_FOLDERS: Final = ("people", "money", "faces", "asl", "monuments/statue", "medical")
"""Pictures and folders of scikit-image and Debian's tuxpaint-stamps and wallpapers that show people, by hand."""

_LONGEST: Final = 640


def photos(folders: Sequence[Path], *, crops: int = 0, seed: int = 0) -> Iterator[tuple[str, Photo]]:
    """Yield the pictures of folders, RGB on white, at most 640 pixels long; those with people are left out.

    After each picture come so many crops of it, of a quarter to two thirds of its width and height, named after it with
    ``#`` and a number.
    """
    rng = np.random.default_rng(seed)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() not in {".png", ".jpg", ".jpeg"} or path.name in PEOPLE:
                continue
            if any(part in path.relative_to(folder).as_posix() for part in PEOPLE_FOLDERS):
                continue
            # What is transparent lies on white.
            picture = Image.fromarray(read_photo(path))
            name = f"{folder.name}/{path.name}"
            for number in range(crops + 1):
                part = picture.copy() if number == 0 else _some_crop(picture, rng)
                part.thumbnail((_LONGEST, _LONGEST))
                if min(part.size) >= 32:
                    yield name if number == 0 else f"{name}#{number}", np.asarray(part, np.uint8)


def _some_crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    size = [max(1, round(side * rng.uniform(1 / 4, 2 / 3))) for side in picture.size]
    x, y = (int(rng.integers(0, whole - part + 1)) for whole, part in zip(picture.size, size, strict=True))
    return picture.crop((x, y, x + size[0], y + size[1]))


def drawn_face(seed: int, side: int = 400) -> Photo:
    """Draw a simple face with random colours and proportions."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform(30, 230, (4, 3))
    skin = np.clip(np.array([222, 172, 122]) * rng.uniform(0.4, 1.1) + rng.normal(0, 12, 3), 0, 255)
    picture = np.full((side, side, 3), colours[0])
    x, y, wide, high = side / 2, side / 2, side * rng.uniform(0.24, 0.32), side * rng.uniform(0.32, 0.4)

    def ellipse(cx: float, cy: float, a: float, b: float, colour: NDArray[np.float64], start: int = 0) -> None:
        middle, axes = (round(cx), round(cy)), (max(1, round(a)), max(1, round(b)))
        cv2.ellipse(picture, middle, axes, 0, start, 360, colour.tolist(), -1, cv2.LINE_AA)

    ellipse(x, y - high * 0.1, wide * 1.05, high * 1.05, colours[1] * 0.5, 180)
    ellipse(x, y, wide, high, skin)
    ellipse(x, y - high * rng.uniform(0.15, 0.4), wide * 1.02, high * 0.75, colours[1] * 0.5, 180)
    eye_y, eye_x, size = (
        y - high * rng.uniform(0.1, 0.25),
        wide * rng.uniform(0.33, 0.45),
        wide * rng.uniform(0.14, 0.22),
    )
    for sign in (-1, 1):
        ellipse(x + sign * eye_x, eye_y, size, size * rng.uniform(0.5, 0.8), np.array([250.0, 250.0, 250.0]))
        ellipse(x + sign * eye_x, eye_y, size * 0.5, size * 0.5, colours[3] * 0.4)
        left, right = ((round(x + sign * (eye_x + k * size)), round(eye_y - size * 1.3)) for k in (-1.1, 1.1))
        cv2.line(picture, left, right, (colours[1] * 0.3).tolist(), max(2, round(side * 0.012)), cv2.LINE_AA)
    nose = np.array([[x, eye_y + size], [x - size * 0.8, y + high * 0.25], [x + size * 0.8, y + high * 0.25]])
    cv2.fillPoly(picture, [np.rint(nose).astype(np.int32)], (skin * 0.8).tolist(), cv2.LINE_AA)
    ellipse(
        x, y + high * rng.uniform(0.45, 0.6), wide * rng.uniform(0.25, 0.45), high * rng.uniform(0.05, 0.1), colours[2]
    )
    blurred = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.8, 2))
    return np.asarray(np.clip(np.rint(blurred), 0, 255), np.uint8)


def false_finds(
    detector: Detector, meter: QualityMeter, pictures: Iterator[tuple[str, Photo]]
) -> list[tuple[str, Photo, FaceQuality]]:
    """Return the name, the aligned crop and the quality of everything that is taken for a face."""
    found = []
    for name, picture in pictures:
        for detection in detector.detect(picture):
            try:
                crop, to_photo = align(picture, detection.landmarks)
            except FaceError:
                continue
            quality = meter.measure(
                crop,
                to_photo=to_photo,
                photo_size=picture.shape[:2],
                landmarks=detection.landmarks,
                detection_score=detection.score,
            )
            found.append((name, crop, quality))
    return found
