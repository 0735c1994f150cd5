"""Photographs as aligned pictures: faces are detected and aligned on demand, and cached.

The cache is a folder of small files. Their names are hashes of the photograph's content, the detector and the version
of the alignment, so entries never become outdated, and photographs can be moved or renamed freely. Files are written
atomically, so several processes may share a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyface.errors import DataError, OutputError, PhotoError
from whyface.faces.detection import Detector
from whyface.faces.load import DETECTORS, find_faces, open_detector
from whyface.faces.photo import MAX_PIXELS, decode_photo
from whyface.faces.pictures import Closing, PictureSource, decode_aligned
from whyface.files.integrity import write_atomic
from whyface.files.progress import ProgressCallback

ALIGNMENT: Final = "2"
"""Version of the alignment, apart from the detector; increased when crops change."""

_FACE, _NONE = ".png", ".none"


class AligningPictures(Closing):
    """Photographs as a source of aligned pictures, by the same names.

    If there are several faces, the largest is used.

    Parameters
    ----------
    photos
        The photographs; closing this source closes them too.
    cache
        Folder for the aligned faces, created if missing; None uses a temporary folder.
    keep
        Whether to keep faces on disk; False suits reading every photograph once without a ``cache``.
    detector
        Name of the detector (:data:`whyface.faces.load.DETECTORS`).
    finder
        A detector to use instead of the one with that name; the name must then identify it.
    max_pixels
        Photographs with more pixels are refused before they are decoded.
    threads
        Threads of ONNX Runtime for the detector of that name; None leaves it to ONNX Runtime.

    Attributes
    ----------
    recipe
        How faces are detected and aligned, in words.
    failures
        Reasons why there is no face, by name, for the names requested so far.
    several
        Number of faces, by name, of the photographs with more than one that were aligned here and not taken from the
        cache.
    poor
        Why a face cannot support a verdict, by name, of the photographs that were aligned here.

    Raises
    ------
    OutputError
        If the cache folder cannot be created.
    InputError
        If there is no such detector.
    """

    def __init__(
        self,
        photos: PictureSource,
        *,
        cache: Path | None = None,
        detector: str = DETECTORS[0],
        finder: Detector | None = None,
        max_pixels: int = MAX_PIXELS,
        threads: int | None = None,
        keep: bool = True,
    ) -> None:
        self._photos = photos
        self._finder = open_detector(detector, threads=threads) if finder is None else finder
        self.recipe = f"{detector}, alignment {ALIGNMENT}, the largest face"
        self._max_pixels = max_pixels
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if cache is None and keep:
            self._temporary = tempfile.TemporaryDirectory(prefix="whyface-")
            cache = Path(self._temporary.name)
        self._cache = None if cache is None else _made(cache)
        self.failures: dict[str, str] = {}
        self.several: dict[str, int] = {}
        self.poor: dict[str, str] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of all photographs, sorted."""
        return self._photos.names()

    def read(self, name: str) -> NDArray[np.uint8]:
        """Return the face of one photograph, RGB uint8 (112, 112, 3).

        Raises
        ------
        DataError
            If the photograph is missing or cannot be read, or there is no face in it.
        OutputError
            If the cache cannot be written.
        """
        data = self._photos.read_bytes(name)
        if self._cache is None:
            found = self._align(data, name)
            return self._fail(name, found) if isinstance(found, str) else found
        recipe = f"{self.recipe}, at most {self._max_pixels} pixels".encode()
        key = hashlib.sha256(recipe + hashlib.sha256(data).digest()).hexdigest()
        face, none = (self._cache / key[:2] / f"{key}{suffix}" for suffix in (_FACE, _NONE))
        # A damaged file in the cache counts as missing: it is made again.
        with contextlib.suppress(OSError, DataError):
            return decode_aligned(face.read_bytes(), name)
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return self._fail(name, none.read_text(encoding="utf-8"))
        _made(face.parent)
        found = self._align(data, name)
        if isinstance(found, str):
            write_atomic(none, found.encode())
            return self._fail(name, found)
        write_atomic(face, _encode(found))
        return found

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file unchanged, not aligned."""
        return self._photos.read_bytes(name)

    def prepare(self, names: Iterable[str], progress: ProgressCallback | None = None) -> dict[str, str]:
        """Align photographs in advance, to know which of them have no face.

        Parameters
        ----------
        names
            Names of the photographs.
        progress
            Called with the number of photographs done and the total.

        Returns
        -------
        dict
            Reasons why there is no face, by name; empty if there is a face in all of them.

        Raises
        ------
        DataError
            If a photograph is missing.
        OutputError
            If the cache cannot be written.
        """
        wanted = list(names)
        for done, name in enumerate(wanted, 1):
            try:
                self.read(name)
            except DataError:
                if name not in self.failures:
                    raise
            if progress is not None:
                progress(done, len(wanted))
        return {name: self.failures[name] for name in wanted if name in self.failures}

    def close(self) -> None:
        """Close the photographs and remove temporary files."""
        self._photos.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _align(self, data: bytes, name: str) -> NDArray[np.uint8] | str:
        """Return the face, or the reason why there is none."""
        try:
            photo = decode_photo(data, "", max_pixels=self._max_pixels)
        except PhotoError as error:
            return str(error).lstrip(": ")
        faces = find_faces(photo, source=name, max_pixels=self._max_pixels, detector=self._finder)
        if len(faces) > 1:
            self.several[name] = len(faces)
        if not faces:
            return "no face found"
        if faces[0].quality is not None and faces[0].quality.shortcoming is not None:
            self.poor[name] = faces[0].quality.shortcoming
        return faces[0].image

    def _fail(self, name: str, reason: str) -> NDArray[np.uint8]:
        self.failures[name] = reason
        raise DataError(f"{name}: cannot be aligned: {reason}")


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise OutputError(f"{folder}: the folder {folder.parent} does not exist; create it first") from error
    except FileExistsError as error:
        raise OutputError(f"{folder}: is a file; give a folder for aligned faces") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created ({error.strerror}); choose another folder") from error
    return folder


def _encode(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()
