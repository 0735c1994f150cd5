"""Read pictures of people for a gallery and compute their features, in any process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyface.data.aligning import AligningPictures
from whyface.errors import DataError
from whyface.faces.pictures import open_pictures
from whyface.faces.quality_meter import default_meter
from whyface.gallery.feature_file import Layout
from whyface.gallery.gallery import pixel_digest
from whyface.gallery.kernel import GalleryFeatures
from whyface.xcos.open_model import OpenedModel


@dataclass(frozen=True, eq=False)
class ReadPicture:
    """A picture as it was read: why it cannot be used, or its face.

    Attributes
    ----------
    name
        Its name in the folder.
    failure, refusal
        Why it could not be read, or why the face is too poor.
    faces
        Number of faces in it.
    face
        The face, (3, 112, 112), where its features were not computed.
    digest
        SHA-256 of the face's pixels.
    features
        Its features.
    """

    name: str
    failure: str | None = None
    refusal: str | None = None
    faces: int = 1
    face: NDArray[np.uint8] | None = None
    digest: str = ""
    features: NDArray[np.float32] | None = None


class PictureReader:
    """Reads pictures of a folder and computes features of those that are new, in any process.

    Parameters
    ----------
    model
        The gallery's model.
    folder, aligned, accept_poor, threads
        As for :func:`whyface.gallery.enroll.enroll_folder`.
    """

    def __init__(
        self, model: GalleryFeatures, folder: Path | str, aligned: bool, accept_poor: bool, threads: int | None
    ) -> None:
        self._model = model
        photos = open_pictures(folder)
        self._source = photos if aligned else AligningPictures(photos, threads=threads, keep=False)
        self._accept_poor = accept_poor

    def __call__(self, work: Sequence[tuple[str, bool]]) -> list[ReadPicture]:
        """Read pictures; of each the name, and whether it is likely to be in the gallery as it is."""
        found = [self._read(name) for name, _ in work]
        new = [place for place, (_, likely) in enumerate(work) if not likely and found[place].face is not None]
        faces = [face for place in new if (face := found[place].face) is not None]
        if faces:
            for place, row in zip(new, self._model.features(np.stack(faces)), strict=True):
                found[place] = replace(found[place], face=None, features=row)
        return found

    def _read(self, name: str) -> ReadPicture:
        try:
            picture = self._source.read(name)
        except DataError as error:
            return ReadPicture(name, failure=str(error).removeprefix(f"{name}: "))
        count = self._source.several.pop(name, 1) if isinstance(self._source, AligningPictures) else 1
        fault = None if self._accept_poor else self._shortcoming(name, picture)
        if fault is not None:
            return ReadPicture(name, refusal=f"the face is {fault}", faces=count)
        face = picture.transpose(2, 0, 1)
        return ReadPicture(name, faces=count, face=face, digest=pixel_digest(face))

    def _shortcoming(self, name: str, picture: NDArray[np.uint8]) -> str | None:
        """Return why a face cannot support a verdict: measured with its photo, or from the crop alone."""
        if isinstance(self._source, AligningPictures):
            return self._source.poor.pop(name, None)
        return default_meter().measure(picture).shortcoming


def open_reader(
    opener: Callable[[], OpenedModel],
    layout: Layout,
    folder: Path,
    aligned: bool,
    accept_poor: bool,
    threads: int | None,
) -> PictureReader:
    """Return a reader with a model of its own, which must be that of a gallery with this layout (else ModelError)."""
    model = GalleryFeatures(opener().model)
    model.require(layout, folder)
    return PictureReader(model, folder, aligned, accept_poor, threads)
