"""Align faces: a similarity transform from five landmarks and one anti-aliased warp."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import FaceError, InputError
from whyface.faces.regions import FACE_SIZE, TEMPLATE


def template() -> NDArray[np.float64]:
    """Return the landmark positions in the aligned 112 x 112 crop, shape (5, 2) float64, (x, y) in pixels.

    The order is left eye, right eye, nose tip, left and right mouth corner, as seen in the picture.

    References
    ----------
    J. Deng et al., ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019.
    """
    return np.array(TEMPLATE, dtype=np.float64)


def similarity_transform(source: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Return the least-squares rotation, scale and translation from one set of points to another; never a reflection.

    Raise InputError if the arrays have another shape or contain values that are not finite, and FaceError if the points
    of either set nearly coincide, or no rotation fits better than any other (a mirrored face).

    Parameters
    ----------
    source, target
        Corresponding points, shape (N, 2) with N >= 2, (x, y).

    Returns
    -------
    ndarray
        Affine matrix ``M``, shape (2, 3) float64, that minimises the sum of ``|M @ [x, y, 1] - target|^2``.

    References
    ----------
    S. Umeyama, Least-squares estimation of transformation parameters between two point patterns, IEEE TPAMI
    13 (1991). In the plane, the fit without reflections has a closed form in complex numbers.
    """
    from_points, to_points = _points(source, "source"), _points(target, "target")
    if from_points.shape != to_points.shape:
        raise InputError(f"source and target must match, got {from_points.shape} and {to_points.shape} points")
    from_mean, to_mean = from_points.mean(axis=0), to_points.mean(axis=0)
    # A point (x, y) is the complex number x + iy, and rotation with scale is one complex factor.
    z = (from_points - from_mean) @ np.array([1, 1j])
    w = (to_points - to_mean) @ np.array([1, 1j])
    spread, to_spread = float(np.sum(np.abs(z) ** 2)), float(np.sum(np.abs(w) ** 2))
    extent = 1e-6 * max(1.0, float(np.abs(from_points).max()))
    factor = complex(np.sum(np.conj(z) * w)) / spread if spread > extent**2 else 0j
    # |factor|^2 * spread / to_spread is the share of the target's spread that the fit explains.
    if abs(factor) ** 2 * spread <= 1e-6 * to_spread or to_spread == 0:
        raise FaceError("the landmarks do not span a face (they coincide or are mirrored); give other landmarks")
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, to_mean - linear @ from_mean])


def invert_affine(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse (2, 3) of an affine map (2, 3).

    Raise InputError if the map has another shape or no inverse.
    """
    linear = matrix[:, :2]
    if matrix.shape != (2, 3) or abs(float(np.linalg.det(linear))) < 1e-300:
        raise InputError("the affine map must be of shape (2, 3) and have an inverse")
    inverse = np.linalg.inv(linear)
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def apply_affine(matrix: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]:
    """Apply an affine map (2, 3) to points (N, 2)."""
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def align(photo: NDArray[np.uint8], landmarks: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Crop the aligned face that five landmarks define.

    Raise InputError if the photo or the landmarks have another shape or type, and FaceError if the landmarks do not
    span a face.

    Parameters
    ----------
    landmarks
        Left eye, right eye, nose tip, left and right mouth corner, as seen in the picture: shape (5, 2), photo pixels
        with pixel centres at integers.

    Returns
    -------
    crop
        RGB uint8, shape (112, 112, 3); black outside the photo.
    crop_to_photo
        Affine map (2, 3) float64 from crop pixels to photo pixels.
    """
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise InputError(f"a photo must be H x W x 3 uint8, got {photo.shape} {photo.dtype}")
    points = _points(landmarks, "landmarks")
    if points.shape != (5, 2):
        raise InputError(f"alignment takes five landmarks, shape (5, 2), got {points.shape}")
    to_crop = similarity_transform(points, template())
    return warp(photo, to_crop), invert_affine(to_crop)


def warp(photo: NDArray[np.uint8], to_crop: NDArray[np.float64], size: int = FACE_SIZE) -> NDArray[np.uint8]:
    """Resample a photo into a square crop: bilinear, anti-aliased, black outside the photo.

    Return RGB uint8, shape (size, size, 3).

    Parameters
    ----------
    to_crop
        Affine map (2, 3) from photo pixels to crop pixels.
    """
    region, left, top = _needed_region(photo, to_crop, size)
    if region.size == 0:
        return np.zeros((size, size, 3), np.uint8)
    matrix = to_crop.copy()
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top], dtype=np.float64)
    # Bilinear sampling reads 2 x 2 pixels and would skip some where the photo shrinks by more than that. Averaging
    # whole blocks first leaves the warp itself a factor below two.
    block = int(1 / np.sqrt(abs(float(np.linalg.det(matrix[:, :2])))))
    if block >= 2:
        region = _block_means(region, block)
        matrix[:, 2] += matrix[:, :2] @ np.full(2, (block - 1) / 2)
        matrix[:, :2] *= block
    crop = cv2.warpAffine(region, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(crop, dtype=np.uint8)


def _needed_region(
    photo: NDArray[np.uint8], to_crop: NDArray[np.float64], size: int
) -> tuple[NDArray[np.uint8], int, int]:
    """Return the part of the photo that the crop shows, and the photo pixel of its top left corner."""
    corners = apply_affine(invert_affine(to_crop), [(-1, -1), (size, -1), (size, size), (-1, size)])
    margin = 2 + 2 / np.sqrt(abs(float(np.linalg.det(to_crop[:, :2]))))
    limits = np.array([photo.shape[1], photo.shape[0]])
    low = np.clip(np.floor(corners.min(axis=0) - margin), 0, limits).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0) + margin), 0, limits).astype(int)
    return photo[low[1] : high[1], low[0] : high[0]], int(low[0]), int(low[1])


def _block_means(pixels: NDArray[np.uint8], block: int) -> NDArray[np.uint8]:
    """Average blocks of block x block pixels; the right and bottom edges are padded with black."""
    height, width = -(-pixels.shape[0] // block), -(-pixels.shape[1] // block)
    padded = cv2.copyMakeBorder(
        pixels, 0, height * block - pixels.shape[0], 0, width * block - pixels.shape[1], cv2.BORDER_CONSTANT
    )
    return np.asarray(cv2.resize(padded, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _points(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers of shape (N, 2), N >= 2") from error
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or not np.isfinite(points).all():
        raise InputError(f"{name} must be finite numbers of shape (N, 2), N >= 2, got shape {points.shape}")
    return points
