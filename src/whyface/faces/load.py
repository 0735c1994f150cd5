"""From a picture file to aligned faces: read, detect, align."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyface.errors import FaceError, InputError
from whyface.faces.align import align
from whyface.faces.detection import Detection, Detector
from whyface.faces.detectors import default_detector
from whyface.faces.face import FACE_SIZE, Face
from whyface.faces.photo import MAX_PIXELS, read_photo


def load_face(
    path: str | Path,
    *,
    aligned: bool = False,
    index: int = 0,
    max_pixels: int = MAX_PIXELS,
    detector: Detector | None = None,
    threads: int | None = None,
) -> Face:
    """Read one face from a picture file.

    Parameters
    ----------
    path
        The picture file.
    aligned
        The file is an aligned face of 112 x 112 pixels already: take it as it is.
    index
        Which face of a photo with several: 0 is the largest, 1 the next, and so on.
    max_pixels
        Largest picture that is read (:func:`whyface.faces.photo.read_photo`).
    detector
        Finds the faces; :func:`whyface.faces.detectors.default_detector` unless given.
    threads
        Threads of ONNX Runtime for the default detector; None leaves it to ONNX Runtime.

    Raises
    ------
    PhotoError
        If the file cannot be read.
    FaceError
        If there is no face, or no face of that index, or an "aligned" picture has another size.
    InputError
        If ``index`` is negative.
    """
    if index < 0:
        raise InputError(f"index counts faces from 0 (the largest), got {index}")
    if aligned:
        return _aligned_face(path, index, max_pixels)
    faces = detect_faces(path, max_pixels=max_pixels, detector=detector, threads=threads)
    if not faces:
        raise FaceError(
            f"{path}: no face found; use a photo that shows a whole face larger and from the front, or, if the "
            f"picture is an aligned face of {FACE_SIZE} x {FACE_SIZE} pixels already, say that it is aligned"
        )
    if index >= len(faces):
        raise FaceError(f"{path}: {_there_are(len(faces))}, none has the index {index}; the first (largest) is 0")
    return faces[index]


def detect_faces(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, detector: Detector | None = None, threads: int | None = None
) -> list[Face]:
    """Read all faces of a picture file, the largest first; an empty list if there is none.

    Parameters
    ----------
    path, max_pixels, detector, threads
        As for :func:`load_face`.

    Raises
    ------
    PhotoError
        If the file cannot be read.
    """
    photo = read_photo(path, max_pixels=max_pixels)
    return find_faces(photo, source=str(path), detector=detector, threads=threads)


def find_faces(
    photo: NDArray[np.uint8], *, source: str = "", detector: Detector | None = None, threads: int | None = None
) -> list[Face]:
    """Find and align all faces of a photo that is decoded already, the largest first.

    Parameters
    ----------
    photo
        RGB uint8, shape (H, W, 3).
    source
        What the faces call their photo.
    detector, threads
        As for :func:`load_face`.
    """
    found = (detector if detector is not None else default_detector(threads=threads)).detect(photo)
    cut = [(detection, *crop) for detection in found if (crop := _aligned_or_none(photo, detection)) is not None]
    return [
        Face(
            image=crop,
            source=source,
            box=detection.box,
            landmarks=detection.landmarks,
            score=detection.score,
            to_photo=crop_to_photo,
            index=index,
            count=len(cut),
        )
        for index, (detection, crop, crop_to_photo) in enumerate(cut)
    ]


def _aligned_or_none(
    photo: NDArray[np.uint8], detection: Detection
) -> tuple[NDArray[np.uint8], NDArray[np.float64]] | None:
    try:
        return align(photo, detection.landmarks)
    except FaceError:
        # Landmarks that span no face: a false alarm, which must not cost the photo's real faces.
        return None


def _aligned_face(path: str | Path, index: int, max_pixels: int) -> Face:
    if index > 0:
        raise FaceError(f"{path}: an aligned picture holds one face, none has the index {index}; use 0")
    picture = read_photo(path, max_pixels=max_pixels)
    height, width = picture.shape[:2]
    if (width, height) != (FACE_SIZE, FACE_SIZE):
        raise FaceError(
            f"{path}: {width} x {height} pixels, but an aligned face must be {FACE_SIZE} x {FACE_SIZE}; "
            "leave out 'aligned' to find and align the face"
        )
    return Face(image=picture, source=str(path))


def _there_are(count: int) -> str:
    return "there is one face" if count == 1 else f"there are {count} faces"
