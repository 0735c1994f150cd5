"""Interpretable measures of face image quality: pure functions of crop, transform and landmarks.

Names follow ISO/IEC 29794-5 where the standard has the measure (inter-eye distance, sharpness, luminance mean and
variance, dynamic range, under- and over-exposure, head pose); the formulas are our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import InputError
from whyface.faces.align import apply_affine, invert_affine, similarity_transform, template
from whyface.faces.regions import FACE_SIZE
from whyface.files import json_values

FACE_ROWS: Final = slice(28, 108)
"""Rows of the aligned crop that show the face, from the brow to the chin."""

FACE_COLUMNS: Final = slice(22, 90)
"""Columns of the aligned crop that show the face without its surroundings."""

DARK: Final = 26
"""Pixels below this luminance (0..255) count as under-exposed, as in ISO/IEC 29794-5."""

BRIGHT: Final = 246
"""Pixels above this luminance (0..255) count as over-exposed."""

_LUMINANCE: Final = np.array([[0.2126, 0.7152, 0.0722]])  # Rec. 709
_NOISE_KERNEL: Final = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)

# Step (down, right) between pixels in eight directions, and the number of pixels that a blur averages: about nine
# pixels in length each.
_DIRECTIONS: Final = (
    ((0, 1), 9),
    ((1, 2), 5),
    ((1, 1), 7),
    ((2, 1), 5),
    ((1, 0), 9),
    ((2, -1), 5),
    ((1, -1), 7),
    ((1, -2), 5),
)

# How far the five landmarks of a typical adult head lie behind its eyes, in inter-eye distances.
_DEPTHS: Final = np.array([0.0, 0.0, -0.52, -0.12, -0.12])


@dataclass(frozen=True)
class HeadPose:
    """Head pose in degrees; all 0 if the head is upright and faces the camera.

    Attributes
    ----------
    yaw
        Sideways; positive if the nose points to the right edge of the picture.
    pitch
        Up or down; positive if the nose points up.
    roll
        In the image plane; positive if the head is turned clockwise.
    """

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class FaceQuality:
    """Quality measures of a face; None if the photo was an aligned crop, which does not have them.

    Attributes
    ----------
    sharpness
        0 (only blur) to 1, along the direction in which the face is least sharp (:func:`sharpness`).
    noise
        Standard deviation of the pixel noise, in grey levels of 0..255 (:func:`noise_level`).
    luminance_mean, luminance_variance
        Mean and variance of the face's luminance, scaled to 0..1.
    dynamic_range
        Entropy of the luminance in bits, 0 (one grey) to 8.
    under_exposure, over_exposure
        Fraction of the face's pixels that are nearly black or nearly white.
    outside
        Fraction of the crop that lies outside the photo.
    inter_eye_distance
        Distance between the eyes in photo pixels, before alignment.
    landmark_misfit
        Root mean square distance of the aligned landmarks from the template, in inter-eye distances.
    pose
        Head pose.
    detection_score
        The detector's confidence in [0, 1].
    recognisability
        LightQNet's estimate of how well the face can be recognised, in [0, 1].
    unified
        Utility of the face for recognition, in [0, 1] (:mod:`whyface.faces.quality_meter`).
    shortcoming
        Why the face cannot support a verdict, such as ``"too blurred"``; None if it can, or was not judged.
    """

    sharpness: float
    noise: float
    luminance_mean: float
    luminance_variance: float
    dynamic_range: float
    under_exposure: float
    over_exposure: float
    outside: float = 0.0
    inter_eye_distance: float | None = None
    landmark_misfit: float | None = None
    pose: HeadPose | None = None
    detection_score: float | None = None
    recognisability: float | None = None
    unified: float | None = None
    shortcoming: str | None = None

    def to_dict(self) -> dict[str, float | str | Mapping[str, float] | None]:
        """Return the measures by name as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FaceQuality:
        """Build from what :meth:`to_dict` returned; names that it does not know are ignored.

        Raise ValueError or TypeError if a measure is missing or of the wrong kind; the message is a phrase that follows
        its name.
        """
        found: dict[str, Any] = {}
        for field in fields(cls):
            if field.default is MISSING and data.get(field.name) is None:
                raise ValueError(f"lacks {field.name!r}")
            value = data.get(field.name)
            if value is None:
                continue
            if field.name == "pose":
                pose = json_values.mapping(value)
                found["pose"] = HeadPose(*(json_values.number(pose.get(name)) for name in ("yaw", "pitch", "roll")))
            else:
                read = json_values.text if field.name == "shortcoming" else json_values.number
                found[field.name] = read(value)
        return cls(**found)


def measure_crop(crop: NDArray[np.uint8]) -> FaceQuality:
    """Compute the measures that need only the aligned crop.

    Raise InputError if the crop has another shape or type.
    """
    grey = luminance(crop)
    face = grey[FACE_ROWS, FACE_COLUMNS]
    return FaceQuality(
        sharpness=sharpness(face),
        noise=noise_level(face),
        luminance_mean=float(face.mean()) / 255,
        luminance_variance=float(face.var()) / 255**2,
        dynamic_range=entropy(face),
        under_exposure=float((face < DARK).mean()),
        over_exposure=float((face > BRIGHT).mean()),
    )


def luminance(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the luminance of an RGB picture (H, W, 3), 0..255, shape (H, W)."""
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise InputError(f"a picture must be H x W x 3 uint8, got {picture.shape} {picture.dtype}")
    return np.asarray(cv2.transform(picture.astype(np.float32), _LUMINANCE), dtype=np.float32).reshape(
        picture.shape[:2]
    )


def sharpness(grey: NDArray[np.float32]) -> float:
    """Return how much detail one more blur removes, in [0, 1]: the minimum over eight directions.

    A blurred picture changes little. Blur and differences are computed along lines in steps of about 22 degrees, so
    that motion blur shows in one of them. A uniform picture has sharpness 0.

    References
    ----------
    F. Crete, T. Dolmiere, P. Ladret, M. Nicolas, The blur effect: perception and estimation with a new no-reference
    perceptual blur metric, SPIE 6492 (2007).
    """
    kept = []
    for (down, right), taps in _DIRECTIONS:
        before = np.abs(_difference(grey, down, right))
        after = np.abs(_difference(_blurred_along(grey, down, right, taps), down, right))
        total = float(before.sum())
        kept.append(float(np.maximum(before - after, 0).sum()) / total if total > 0 else 0.0)
    return min(kept)


def noise_level(grey: NDArray[np.float32]) -> float:
    """Return the standard deviation of the noise in a picture, in grey levels.

    The estimate is based on what differs from a local plane, so fine texture counts as noise.

    References
    ----------
    J. Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64 (1996).
    """
    if min(grey.shape) < 3:
        raise InputError(f"estimating noise needs at least 3 x 3 pixels, got {grey.shape}")
    rest = cv2.filter2D(grey, cv2.CV_32F, _NOISE_KERNEL)[1:-1, 1:-1]
    return float(np.abs(rest).mean() * np.sqrt(np.pi / 2) / 6)


def entropy(grey: NDArray[np.float32]) -> float:
    """Return the entropy of the luminance in bits, from a histogram of 256 levels: 0 to 8."""
    counts = np.bincount(np.clip(np.rint(grey), 0, 255).astype(np.uint8).ravel(), minlength=256)
    shares = counts[counts > 0] / grey.size
    return abs(float(-(shares * np.log2(shares)).sum()))


def share_outside(to_photo: NDArray[np.float64], photo_size: tuple[int, int], size: int = FACE_SIZE) -> float:
    """Return the exact fraction of the crop's area that lies outside the photo.

    Parameters
    ----------
    to_photo
        Affine map (2, 3) from crop pixels to photo pixels, pixel centres at integers.
    photo_size
        Height and width of the photo.
    """
    height, width = photo_size
    low, high = -0.5, size - 0.5
    corners = apply_affine(to_photo, [(low, low), (high, low), (high, high), (low, high)])
    whole = _area(corners)
    if whole <= 0:
        raise InputError("the map from the crop to the photo must have an inverse")
    # Clip the crop's outline at the four edges of the photo in turn (Sutherland and Hodgman).
    left = corners
    for axis, bound, sign in ((0, -0.5, 1), (0, width - 0.5, -1), (1, -0.5, 1), (1, height - 0.5, -1)):
        left = _cut(left, axis, bound, sign)
    return float(np.clip(1 - _area(left) / whole, 0, 1))


def inside_photo(
    to_photo: NDArray[np.float64], photo_size: tuple[int, int], size: int = FACE_SIZE
) -> NDArray[np.bool_]:
    """Return for each pixel of the crop whether its centre lies in the photo, shape (size, size) bool."""
    height, width = photo_size
    rows, columns = np.mgrid[:size, :size]
    x, y = apply_affine(to_photo, np.stack([columns.ravel(), rows.ravel()], axis=1)).T
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return np.asarray(inside.reshape(size, size))


def inter_eye_distance(landmarks: ArrayLike) -> float:
    """Return the distance between the eyes, in the landmarks' pixels."""
    points = _five(landmarks)
    return float(np.hypot(*(points[1] - points[0])))


def landmark_misfit(landmarks: ArrayLike) -> float:
    """Return the root mean square distance of five landmarks from those of the template, in inter-eye distances.

    The landmarks are first mapped to the template by a similarity transform, so size, position and roll do not matter.
    A turned head increases the misfit; landmarks that no head can have increase it more. Raise FaceError if the
    landmarks span no face.
    """
    points, target = _five(landmarks), template()
    off = apply_affine(similarity_transform(points, target), points) - target
    return float(np.sqrt((off**2).sum(axis=1).mean()) / inter_eye_distance(target))


def head_pose(landmarks: ArrayLike) -> HeadPose:
    """Estimate the head pose from five landmarks.

    The five points of a typical head are rotated, scaled and orthographically projected to fit the landmarks (least
    squares, then the nearest rotation). Five points carry little information: yaw is accurate to about ten degrees;
    pitch is coarser, since a long or short face looks like a nod. Raise FaceError if the landmarks span no face.
    """
    points = _five(landmarks)
    target = template()
    flat = (target - target.mean(axis=0)) / inter_eye_distance(target)
    flat[:, 0] = (flat[:, 0] - flat[[1, 0, 2, 4, 3], 0]) / 2  # the template is not quite symmetric
    solid = np.column_stack([flat, _DEPTHS - _DEPTHS.mean()])
    columns, *_ = np.linalg.lstsq(solid, points - points.mean(axis=0), rcond=None)
    # The nearest two orthonormal rows, and the third that makes them a rotation (z points away from the camera).
    left, _, right = np.linalg.svd(columns.T, full_matrices=False)
    first, second = left @ right
    third = np.cross(first, second)
    return HeadPose(
        yaw=float(np.rad2deg(np.arcsin(np.clip(third[0], -1, 1)))),
        pitch=float(np.rad2deg(np.arctan2(-third[1], third[2]))),
        roll=float(np.rad2deg(np.arctan2(second[0], first[0]))),
    )


def roll_of(landmarks: ArrayLike) -> float:
    """Return the clockwise rotation of a face in the picture, in degrees from -180 to 180.

    Raise FaceError if the landmarks span no face.
    """
    back = invert_affine(similarity_transform(_five(landmarks), template()))
    return float(np.rad2deg(np.arctan2(back[1, 0], back[0, 0])))


def _difference(grey: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
    """Return differences of neighbouring pixels along one direction."""
    if right < 0:
        return _difference(grey[:, ::-1], down, -right)
    height, width = grey.shape
    return grey[down:, right:] - grey[: height - down, : width - right]


def _blurred_along(grey: NDArray[np.float32], down: int, right: int, taps: int) -> NDArray[np.float32]:
    """Average ``taps`` pixels along one direction."""
    far = taps // 2
    middle = far * max(abs(down), abs(right))
    kernel = np.zeros((2 * middle + 1, 2 * middle + 1), np.float32)
    for step in range(-far, far + 1):
        kernel[middle + step * down, middle + step * right] = 1 / taps
    return np.asarray(cv2.filter2D(grey, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def _area(outline: NDArray[np.float64]) -> float:
    """Return the area of a polygon of either orientation (shoelace formula)."""
    if len(outline) < 3:
        return 0.0
    x, y = outline.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _cut(outline: NDArray[np.float64], axis: int, bound: float, sign: int) -> NDArray[np.float64]:
    """Keep the part of a convex polygon where ``sign * (coordinate - bound) >= 0``."""
    kept: list[NDArray[np.float64]] = []
    depth = sign * (outline[:, axis] - bound) if len(outline) else np.empty(0)
    for k in range(len(outline)):
        here, there = k, (k + 1) % len(outline)
        if depth[here] >= 0:
            kept.append(outline[here])
        if (depth[here] >= 0) != (depth[there] >= 0):
            share = depth[here] / (depth[here] - depth[there])
            kept.append(outline[here] + share * (outline[there] - outline[here]))
    return np.array(kept).reshape(-1, 2)


def _five(landmarks: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise InputError(f"five landmarks must be finite numbers of shape (5, 2), got shape {points.shape}")
    return points
