"""Cover parts of faces: with a mask in three ways, with sunglasses or a scarf, and whole sets of pictures on disk.

The xCos paper tests on faces of the AR database with sunglasses or a scarf. That database is not freely available, so
these accessories cover the same parts of any face: the glasses cover the eyes and brows, the scarf everything below the
nose tip. A. Martinez, R. Benavente, The AR face database, CVC TR 24 (1998).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from whyface.data.masks import MOST_COVERED, Mask, free_form_mask
from whyface.errors import DataError, InputError, OutputError
from whyface.faces.align import template
from whyface.faces.face import FACE_SIZE
from whyface.faces.pictures import PictureSource
from whyface.files.integrity import folder_at_once
from whyface.files.progress import ProgressCallback

MaskFill = Literal["black", "mean", "noise"]


def apply_mask(
    image: NDArray[np.uint8], mask: Mask, fill: MaskFill = "black", *, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Cover part of a picture.

    Parameters
    ----------
    image
        RGB uint8 (H, W, 3); never changed in place.
    mask
        (H, W) bool, True where covered.
    fill
        ``"black"`` as in the xCos paper; ``"mean"``, the picture's mean colour; ``"noise"``, every value drawn
        uniformly from 0..255.
    rng
        Source of randomness for the noise.

    Returns
    -------
    RGB uint8 (H, W, 3).

    Raises
    ------
    InputError
        If picture and mask do not fit, the fill is unknown, or ``rng`` is missing for noise.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"a picture must be H x W x 3 uint8, got {image.shape} {image.dtype}")
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise InputError(f"the mask must be bool of shape {image.shape[:2]}, got {mask.shape} {mask.dtype}")
    if fill not in get_args(MaskFill):
        raise InputError(f"unknown fill {fill!r}; use one of {', '.join(get_args(MaskFill))}")
    covered = image.copy()
    if fill == "black":
        covered[mask] = 0
    elif fill == "mean":
        covered[mask] = np.rint(image.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    elif rng is None:
        raise InputError("filling with noise is random; give a numpy Generator as rng")
    else:
        covered[mask] = rng.integers(0, 256, (int(mask.sum()), 3), dtype=np.uint8)
    return covered


Accessory = Literal["sunglasses", "scarf"]

# Half width in distances between the eyes, from the middle of the face; top and bottom in distances from the eye line
# (0) to the mouth line (1), with the nose tip at 0.5.
_BOXES: Final[dict[str, tuple[float, float, float]]] = {
    "sunglasses": (0.98, -0.32, 0.30),
    "scarf": (1.25, 0.52, 3.0),
}
# cv2 takes whole numbers; this many of their bits are after the point.
_SHIFT: Final = 6


def landmark_mask(
    accessory: Accessory, landmarks: ArrayLike | None = None, shape: tuple[int, int] = (FACE_SIZE, FACE_SIZE)
) -> NDArray[np.bool_]:
    """Return the pixels that an accessory covers.

    The rectangle rotates with the eyes and scales with the face.

    Parameters
    ----------
    accessory
        ``"sunglasses"`` or ``"scarf"``.
    landmarks
        Left eye, right eye, nose tip, left and right mouth corner as seen in the picture, (5, 2), (x, y) pixels; by
        default, those of an aligned face.
    shape
        Height and width of the picture.

    Returns
    -------
    (H, W) bool, True where covered. On an aligned face the glasses cover 15 % of the picture, the scarf 28 %.

    Raises
    ------
    InputError
        If there is no such accessory, or the landmarks are not five finite points of a face.
    """
    if accessory not in get_args(Accessory):
        raise InputError(f"unknown accessory {accessory!r}; use one of {', '.join(get_args(Accessory))}")
    points = template() if landmarks is None else np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise InputError(f"five finite landmarks are needed, shape (5, 2), got {points.shape}")
    left, right, mouth = points[0], points[1], (points[3] + points[4]) / 2
    middle, distance = (left + right) / 2, float(np.linalg.norm(right - left))
    if distance < 1:
        raise InputError("both eyes are at the same place, so there is no face; check the landmarks")
    across = (right - left) / distance
    down = np.array([-across[1], across[0]])
    height = float((mouth - middle) @ down)
    if height < 1:
        raise InputError("the mouth is not below the eyes; give left and right as seen in the picture")
    half, top, bottom = _BOXES[accessory]
    corners = [
        middle + side * half * distance * across + level * height * down
        for side, level in ((-1, top), (1, top), (1, bottom), (-1, bottom))
    ]
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(np.array(corners) * 2**_SHIFT).astype(np.int32), 1, shift=_SHIFT)
    return mask.astype(bool)


MASKS: Final = "masks.csv"
"""The list in a set of covered pictures: picture, and what covers it."""


def write_covered(
    folder: Path,
    source: PictureSource,
    names: Sequence[str],
    *,
    coverage: float | None = None,
    accessory: Accessory | None = None,
    fill: MaskFill = "black",
    seed: int = 0,
    jpeg: bool = False,
    progress: ProgressCallback | None = None,
) -> None:
    """Write covered copies of aligned pictures into a new folder, with their names and a list of what covers them.

    A picture's mask depends on its name and the seed only, not on the other pictures.

    Parameters
    ----------
    folder
        The folder; it must not exist.
    source, names
        The pictures.
    coverage
        Share of the face under a free-form mask; give this or an accessory.
    accessory
        ``"sunglasses"`` or ``"scarf"``.
    fill
        See :func:`apply_mask`.
    seed
        Seed of masks and noise.
    jpeg
        Store JPEG files, as published; by default PNG, which keeps every pixel.
    progress
        Called with the pictures done and their total.

    Raises
    ------
    InputError
        If neither or both of coverage and accessory are given, or the coverage is out of range.
    DataError
        If a picture cannot be read, or two would get one name.
    OutputError
        If the folder exists or cannot be written.
    """
    if (coverage is None) == (accessory is None):
        raise InputError("give a coverage for free-form masks or an accessory, one of the two")
    if coverage is not None and not 0 <= coverage <= MOST_COVERED:
        raise InputError(f"coverage must be a share from 0 to {MOST_COVERED}, got {coverage}")
    if folder.exists():
        raise OutputError(f"{folder}: already exists; choose another name")
    ending = ".jpg" if jpeg else ".png"
    targets = [str(PurePosixPath(name).with_suffix(ending)) for name in names]
    if len(set(targets)) < len(targets):
        raise DataError("two pictures differ only in their endings, so they would get one name; rename one")
    lines = []
    try:
        with folder_at_once(folder) as place:
            for number, (name, target) in enumerate(zip(names, targets, strict=True)):
                rng = np.random.default_rng((seed, zlib.crc32(name.encode())))
                if coverage is not None:
                    mask, what = free_form_mask(coverage=coverage, rng=rng), f"{coverage:g}"
                else:
                    assert accessory is not None
                    mask, what = landmark_mask(accessory), accessory
                path = place / target
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_encoded(apply_mask(source.read(name), mask, fill, rng=rng), jpeg))
                lines.append(f"{target},{what}\n")
                if progress is not None:
                    progress(number + 1, len(names))
            (place / MASKS).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written ({error.strerror})") from error


def _encoded(face: NDArray[np.uint8], jpeg: bool) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if jpeg else {}
    Image.fromarray(face).save(buffer, "JPEG" if jpeg else "PNG", **options)
    return buffer.getvalue()
