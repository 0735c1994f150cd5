"""Verify two photos and explain the verdict in one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from whyface.explain.explanation import Explanation
from whyface.explain.verdict import FaceVerifier, measured
from whyface.faces.face import Face
from whyface.faces.load import load_face
from whyface.faces.photo import MAX_PIXELS
from whyface.faces.picture_input import PictureInput
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.models.preprocessing import Preprocessing
from whyface.xcos.grid import AttentionKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from whyface.faces.detection import Detector


@dataclass(frozen=True, eq=False)
class Verification:
    """A verdict about two photos, with its explanation and the faces.

    Attributes
    ----------
    explanation
        Verdict, score, threshold and reasons.
    face_a, face_b
        The aligned faces.
    """

    explanation: Explanation
    face_a: Face
    face_b: Face

    @property
    def is_match(self) -> bool:
        """Whether the faces match: score > threshold, strictly."""
        return self.explanation.is_match

    @property
    def verdict(self) -> str:
        """``"match"``, ``"no match"`` or ``"undecided"``."""
        return self.explanation.verdict

    @property
    def score(self) -> float:
        """The similarity, in [-1, 1]."""
        return self.explanation.score

    @property
    def threshold(self) -> float:
        """The faces match if the score is above this."""
        return self.explanation.threshold

    @property
    def margin(self) -> float:
        """Score minus threshold."""
        return self.explanation.score - self.explanation.threshold

    @property
    def probability(self) -> float | None:
        """Calibrated probability of "same person", in [0, 1]; None for a model without a calibration."""
        return self.explanation.probability

    def __bool__(self) -> bool:
        """Refuse, since "is there a result" and "is it a match" are easily confused; use :attr:`is_match`.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("a Verification is neither true nor false; ask for .is_match")

    @property
    def sentences(self) -> tuple[str, ...]:
        """The explanation in words."""
        return self.explanation.sentences

    def figure(self) -> Figure:
        """Return the figure with the faces, S, W and S * W."""
        from whyface.figures.verdict import verdict_figure  # noqa: PLC0415 - matplotlib is slow to import

        return verdict_figure(self.explanation, self.face_a.image, self.face_b.image)

    def save_figure(self, path: Path | str) -> None:
        """Write the figure as PNG, PDF or SVG, by the extension of the path.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        from whyface.figures.verdict import save_figure  # noqa: PLC0415 - matplotlib is slow to import

        save_figure(self.figure(), path)


class Verifier(FaceVerifier):
    """Verify pairs of photos with a model that is opened once.

    Parameters
    ----------
    model, attention, threshold, fmr, model_directory, grid, preprocessing, prior, accept_poor
        As for :class:`~whyface.explain.verdict.FaceVerifier`.
    threads
        Threads of ONNX Runtime for the face detector and the model; None: ONNX Runtime's default.
    detector
        The face detector; by default :func:`whyface.faces.load.default_detector`.

    Raises
    ------
    ModelError
        If the model is unknown or unusable, or has no measured threshold.
    InputError
        If the options are mutually exclusive or out of range.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        attention: AttentionKind | None = None,
        threshold: float | None = None,
        fmr: float | None = None,
        model_directory: Path | str | None = None,
        grid: str | None = None,
        preprocessing: Preprocessing | None = None,
        threads: int | None = None,
        detector: Detector | None = None,
        prior: float | None = None,
        accept_poor: bool = False,
    ) -> None:
        super().__init__(
            model,
            attention=attention,
            threshold=threshold,
            fmr=fmr,
            model_directory=model_directory,
            grid=grid,
            preprocessing=preprocessing,
            threads=threads,
            prior=prior,
            accept_poor=accept_poor,
        )
        self._detector = detector

    def __call__(
        self,
        photo_a: PictureInput | Face,
        photo_b: PictureInput | Face,
        *,
        aligned: bool = False,
        face_a: int = 0,
        face_b: int = 0,
        bgr: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Verification:
        """Verify two photos.

        Parameters
        ----------
        photo_a, photo_b
            Paths, bytes of picture files, open files, RGB arrays of uint8, pictures of Pillow, data URIs or faces; see
            :func:`whyface.faces.load.load_face`.
        aligned
            The photos already are aligned faces of 112 x 112 pixels.
        face_a, face_b
            Index of the face in each photo; 0 is the largest.
        bgr
            The channels of arrays are in OpenCV's order: blue, green, red.
        max_pixels
            Maximum number of pixels, checked before a photo is decoded.

        Raises
        ------
        PhotoError, FaceError
            If a photo cannot be read or has no such face.
        InputError
            If one of them is nothing that can be read as a picture.
        """
        faces = [
            load_face(
                photo,
                aligned=aligned,
                index=index,
                bgr=bgr and isinstance(photo, np.ndarray),
                max_pixels=max_pixels,
                detector=self._detector,
                threads=self.threads,
            )
            for photo, index in ((photo_a, face_a), (photo_b, face_b))
        ]
        return self.compare(faces[0], faces[1])

    def compare(self, face_a: Face, face_b: Face) -> Verification:
        """Verify two aligned faces; undecided where a face cannot support a verdict."""
        face_a, face_b = measured(face_a), measured(face_b)
        return Verification(self.explain(face_a, face_b), face_a, face_b)


def verify(
    photo_a: PictureInput | Face,
    photo_b: PictureInput | Face,
    *,
    model: str | Path = DEFAULT_MODEL,
    attention: AttentionKind | None = None,
    threshold: float | None = None,
    fmr: float | None = None,
    aligned: bool = False,
    face_a: int = 0,
    face_b: int = 0,
    bgr: bool = False,
    accept_poor: bool = False,
) -> Verification:
    """Decide whether two photos show the same person, and explain why.

    Shorthand for :class:`Verifier` with one pair; see there for parameters and errors.

    Examples
    --------
    >>> result = verify("one.jpg", "other.jpg")  # doctest: +SKIP
    >>> result.verdict, result.score  # doctest: +SKIP
    >>> result.save_figure("why.png")  # doctest: +SKIP
    """
    verifier = Verifier(model, attention=attention, threshold=threshold, fmr=fmr, accept_poor=accept_poor)
    return verifier(photo_a, photo_b, aligned=aligned, face_a=face_a, face_b=face_b, bgr=bgr)
