"""Load aligned faces from pictures of any kind: read, detect, align."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import FaceError, InputError, PhotoError, shortened
from whyface.faces.align import align
from whyface.faces.detection import Detection, Detector, detector_files
from whyface.faces.face import FACE_SIZE, Face
from whyface.faces.photo import MAX_PIXELS
from whyface.faces.picture_input import PictureInput, ReadPicture, read_picture
from whyface.faces.quality_meter import default_meter
from whyface.files.photo_folder import describe_passed_over, list_photos
from whyface.files.progress import ProgressCallback

DETECTORS: Final = ("centerface", "mtcnn")
"""The detectors of :func:`open_detector`; the first is the default. docs/studies/detectors.md compares them."""


def open_detector(name: str = DETECTORS[0], *, threads: int | None = None) -> Detector:
    """Open a face detector with its default settings.

    Parameters
    ----------
    name
        ``"centerface"``, which comes with whyface, or ``"mtcnn"``, which needs ``pip install 'whyface[mtcnn]'``.
    threads
        Threads of ONNX Runtime for ``"centerface"``; None: ONNX Runtime's default.

    Raises
    ------
    InputError
        If the name is unknown.
    ModelError
        If the detector's weights are missing or differ from those on record.
    """
    # Imported late: a detector that is not used should cost nothing, nor should ONNX Runtime.
    if name == "centerface":
        from whyface.faces.centerface import FILES, CenterFaceDetector, open_centerface  # noqa: PLC0415

        return CenterFaceDetector(open_centerface(threads=threads), files=FILES)
    if name == "mtcnn":
        from whyface.faces.mtcnn import FILES, MtcnnDetector, load_networks  # noqa: PLC0415

        return MtcnnDetector(load_networks(), files=FILES)
    raise InputError(f"unknown detector {name!r}; use one of: {', '.join(DETECTORS)}")


def default_detector(*, threads: int | None = None) -> Detector:
    """Return the default detector, which is opened at the first call and then kept.

    Raise ModelError if the detector's weights are missing or differ from those on record.

    Parameters
    ----------
    threads
        Threads of ONNX Runtime; None: ONNX Runtime's default. One detector is kept for each number.
    """
    return _kept_detector(threads)


@cache
def _kept_detector(threads: int | None) -> Detector:
    return open_detector(threads=threads)


def load_face(
    picture: PictureInput | Face,
    *,
    aligned: bool = False,
    index: int = 0,
    bgr: bool = False,
    max_pixels: int = MAX_PIXELS,
    detector: Detector | None = None,
    threads: int | None = None,
) -> Face:
    """Read one face from a picture.

    Parameters
    ----------
    picture
        The picture: a path, the bytes of a file, an open file, an RGB array of uint8, a picture of Pillow or a data URI
        (:func:`whyface.faces.picture_input.read_picture`). A :class:`Face` is returned as it is.
    aligned
        The picture already is an aligned face of 112 x 112 pixels; skip detection.
    index
        Which face to return: 0 is the largest, 1 the second largest, and so on.
    bgr
        The array's channels are in OpenCV's order: blue, green, red.
    max_pixels
        Maximum number of pixels (:func:`whyface.faces.photo.read_photo`).
    detector
        The face detector; by default :func:`whyface.faces.load.default_detector`.
    threads
        Threads of ONNX Runtime for the default detector; None: ONNX Runtime's default.

    Raises
    ------
    PhotoError
        If the picture cannot be read.
    FaceError
        If there is no face with that index, or an aligned picture has another size.
    InputError
        If ``index`` is negative, or it is nothing that can be read as a picture.
    """
    if index < 0:
        raise InputError(f"index counts faces from 0 (the largest), got {index}")
    if isinstance(picture, Face):
        if index not in (0, picture.index):
            raise FaceError(f"a Face is one face, none with index {index}; use 0")
        return picture
    if aligned:
        return _aligned_face(picture, index, bgr, max_pixels)
    faces = load_faces(picture, bgr=bgr, max_pixels=max_pixels, detector=detector, threads=threads)
    if index >= len(faces):
        raise FaceError(
            f"{shortened(faces[0].source)}: {_there_are(len(faces))}, none with index {index}; the first (largest) is 0"
        )
    return faces[index]


def load_faces(
    picture: PictureInput | Face,
    *,
    bgr: bool = False,
    max_pixels: int = MAX_PIXELS,
    detector: Detector | None = None,
    threads: int | None = None,
) -> list[Face]:
    """Read all faces of a picture, the largest first; at least one.

    Raise PhotoError if the picture cannot be read, and FaceError if there is no face, and InputError if it is nothing
    that can be read as a picture.
    """
    if isinstance(picture, Face):
        return [picture]
    read = read_picture(picture, bgr=bgr, max_pixels=max_pixels)
    faces = _faces_in(read, default_detector(threads=threads) if detector is None else detector)
    if not faces:
        raise FaceError(
            f"{shortened(read.name)}: no face found; use a photo with a larger, complete, frontal face, or set "
            f"'aligned' if the picture already is an aligned face of {FACE_SIZE} x {FACE_SIZE} pixels"
        )
    return faces


def find_faces(
    picture: PictureInput | Face,
    *,
    source: str | None = None,
    bgr: bool = False,
    max_pixels: int = MAX_PIXELS,
    detector: Detector | None = None,
    threads: int | None = None,
) -> list[Face]:
    """Find and align all faces of a picture, the largest first; an empty list if there are none.

    Parameters
    ----------
    picture, bgr, max_pixels, detector, threads
        As for :func:`load_face`.
    source
        Name of the picture, kept in :attr:`Face.source`; by default its path.

    Raises
    ------
    PhotoError
        If the picture cannot be read.
    InputError
        If it is nothing that can be read as a picture.
    """
    if isinstance(picture, Face):
        return [picture]
    read = read_picture(picture, bgr=bgr, max_pixels=max_pixels)
    read = read if source is None else read._replace(name=source)
    return _faces_in(read, default_detector(threads=threads) if detector is None else detector)


def _faces_in(read: ReadPicture, detector: Detector) -> list[Face]:
    photo, meter = read.pixels, default_meter()
    found = detector.detect(photo)
    cut = [(detection, *crop) for detection in found if (crop := _aligned_or_none(photo, detection)) is not None]
    return [
        Face(
            image=crop,
            source=read.name,
            box=detection.box,
            landmarks=detection.landmarks,
            score=detection.score,
            to_photo=crop_to_photo,
            photo_size=(photo.shape[0], photo.shape[1]),
            index=index,
            count=len(cut),
            file=read.file,
            made_with=(*detector_files(detector), *meter.files),
            quality=meter.measure(
                crop,
                to_photo=crop_to_photo,
                photo_size=(photo.shape[0], photo.shape[1]),
                landmarks=detection.landmarks,
                detection_score=detection.score,
            ),
        )
        for index, (detection, crop, crop_to_photo) in enumerate(cut)
    ]


def _aligned_or_none(
    photo: NDArray[np.uint8], detection: Detection
) -> tuple[NDArray[np.uint8], NDArray[np.float64]] | None:
    try:
        return align(photo, detection.landmarks)
    except FaceError:
        # Landmarks that span no face are a false detection, which must not cost the photo's real faces.
        return None


def _aligned_face(picture: PictureInput, index: int, bgr: bool, max_pixels: int) -> Face:
    if index > 0:
        raise FaceError(f"{_called(picture)}an aligned picture holds one face, none with index {index}; use 0")

    def check(width: int, height: int) -> None:
        if (width, height) != (FACE_SIZE, FACE_SIZE):
            raise FaceError(
                f"{_called(picture)}{width} x {height} pixels, but an aligned face must be {FACE_SIZE} x {FACE_SIZE}; "
                "leave out 'aligned' to find and align the face"
            )

    read = read_picture(picture, bgr=bgr, max_pixels=max_pixels, check_size=check)
    meter = default_meter()
    return Face(
        # An array may still be changed by its owner.
        image=read.pixels.copy(),
        source=read.name,
        quality=meter.measure(read.pixels),
        file=read.file,
        made_with=meter.files,
    )


def _called(picture: PictureInput) -> str:
    return f"{shortened(os.fspath(picture))}: " if isinstance(picture, str | Path) else ""


def _there_are(count: int) -> str:
    return "there is one face" if count == 1 else f"there are {count} faces"


def other_photos(
    folder: Path,
    *,
    besides: Collection[Path] = (),
    aligned: bool = False,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[list[Face], list[str]]:
    """Read one face from every photo in a folder, leaving out photos without one.

    Return the faces, and for each photo left out the reason. Raise InputError if no face is left.

    Parameters
    ----------
    aligned
        The photos are aligned 112 x 112 crops.
    """
    listed = list_photos(folder)
    files = [folder / name for name in listed.photos]
    skipped = {path.resolve() for path in besides}
    faces, left_out = [], []
    for number, path in enumerate(files, start=1):
        if path.resolve() not in skipped:
            try:
                faces.append(load_face(path, aligned=aligned, threads=threads))
            except (FaceError, PhotoError) as error:
                left_out.append(str(error))
        if progress is not None:
            progress(number, len(files))
    if listed.passed_over:
        left_out.append(f"{folder}: {describe_passed_over(listed.passed_over)}")
    if not faces:
        raise InputError(f"{folder}: no picture in it shows a face; give a folder with photos of people")
    return faces, left_out
