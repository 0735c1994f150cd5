"""The aligned face: the output of detection and alignment, and the input of every model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.quality import FaceQuality, inside_photo
from whyface.faces.regions import FACE_SIZE
from whyface.files.integrity import ContentHash, HashedFile

__all__ = ["FACE_SIZE", "Face", "PlacedFace", "describe_choice", "describe_choices", "stack_faces"]

_BLACK: Final = 3
"""Largest value of pure black after JPEG."""


@dataclass(frozen=True, eq=False)
class Face:
    """An aligned face and its origin.

    Attributes
    ----------
    image
        Aligned crop, RGB uint8, shape (112, 112, 3).
    source
        Path of the photo as given, or ``""``.
    box
        ``(x0, y0, x1, y1)`` in photo pixels; None if the photo was an aligned crop.
    landmarks
        Left eye, right eye, nose tip, left and right mouth corner, as seen in the picture: shape (5, 2) float32, photo
        pixels; None for an aligned crop.
    score
        The detector's confidence in [0, 1]; None for an aligned crop.
    to_photo
        Affine map (2, 3) float64 from crop pixels to photo pixels; None for an aligned crop.
    index, count
        Index of the face in the photo (0 = largest), and number of faces found there.
    quality
        Measures of the crop and its photo, and whether the face can support a verdict; None if it was not measured.
    photo_size
        Height and width of the photo; None for an aligned crop.
    file
        Hash and size of the picture file, as it was read; None for a face from an array.
    made_with
        The files behind detection and quality.
    """

    image: NDArray[np.uint8]
    source: str = ""
    box: tuple[float, float, float, float] | None = None
    landmarks: NDArray[np.float32] | None = None
    score: float | None = None
    to_photo: NDArray[np.float64] | None = None
    index: int = 0
    count: int = 1
    quality: FaceQuality | None = None
    photo_size: tuple[int, int] | None = None
    file: ContentHash | None = None
    made_with: tuple[HashedFile, ...] = ()

    def __post_init__(self) -> None:
        if self.image.shape != (FACE_SIZE, FACE_SIZE, 3) or self.image.dtype != np.uint8:
            got = f"{self.image.shape} {self.image.dtype}"
            raise InputError(f"an aligned face must be {FACE_SIZE} x {FACE_SIZE} x 3 uint8, got {got}")

    @property
    def sha256(self) -> str:
        """SHA-256 of the crop's pixels, by which one picture is recognised under two names."""
        return hashlib.sha256(np.ascontiguousarray(self.image).tobytes()).hexdigest()

    def outside(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return which places of a grid over the crop lie outside the photo, by more than half, (height, width) bool.

        The photo's edges are known from the transform. An aligned crop has none, so that its pure black, with which
        crops are filled up, counts as outside unless there is nothing else.
        """
        if self.to_photo is not None and self.photo_size is not None:
            empty = ~inside_photo(self.to_photo, self.photo_size)
        elif self.to_photo is None:
            empty = self.image.max(axis=2) <= _BLACK
            empty &= not empty.all()
        else:
            empty = np.zeros((FACE_SIZE, FACE_SIZE), np.bool_)
        pixels = np.arange(FACE_SIZE)
        rows, columns = pixels * height // FACE_SIZE, pixels * width // FACE_SIZE
        count, hit = np.zeros((height, width)), np.zeros((height, width))
        np.add.at(count, (rows[:, None], columns), 1)
        np.add.at(hit, (rows[:, None], columns), empty)
        return np.asarray(2 * hit > count)


class PlacedFace(Protocol):
    """A face that knows its photo and which of the faces there it is."""

    @property
    def source(self) -> str:
        """The photo."""
        ...

    @property
    def index(self) -> int:
        """Index in the photo, 0 = largest."""
        ...

    @property
    def count(self) -> int:
        """Number of faces found there."""
        ...


def describe_choice(face: PlacedFace) -> str | None:
    """Say which of several faces of a photo was taken; None if the photo shows only one."""
    if face.count == 1:
        return None
    which = "the largest" if face.index == 0 else f"number {face.index}"
    return f"{face.source or 'the photo'}: {face.count} faces found, used {which}"


def describe_choices(faces: Sequence[PlacedFace], most: int = 5) -> str | None:
    """Say in one line which photos show several faces, of which the largest was taken; None if there are none."""
    several = [face for face in faces if face.count > 1]
    if not several:
        return None
    named = ", ".join(f"{face.source} ({face.count})" for face in several[:most])
    more = f" and {len(several) - most} more" if len(several) > most else ""
    return f"Several faces, the largest was used: {named}{more}"


def stack_faces(faces: list[Face] | tuple[Face, ...]) -> NDArray[np.uint8]:
    """Stack faces into a batch of shape (N, 3, 112, 112), RGB uint8."""
    if not faces:
        return np.empty((0, 3, FACE_SIZE, FACE_SIZE), np.uint8)
    return np.ascontiguousarray(np.stack([face.image for face in faces]).transpose(0, 3, 1, 2))
