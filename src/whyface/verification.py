"""Two photos in, an explained verdict out: the whole way in one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whyface.explain.explanation import Explanation
from whyface.explain.verdict import FaceVerifier
from whyface.faces.face import Face
from whyface.faces.load import load_face
from whyface.faces.photo import MAX_PIXELS
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.models.preprocessing import Preprocessing
from whyface.xcos.attention import AttentionKind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from whyface.faces.detection import Detector


@dataclass(frozen=True, eq=False)
class Verification:
    """A verdict about two photos, with the faces that it is about.

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
        """Whether the photos show one person, as far as the model can tell."""
        return self.explanation.is_match

    @property
    def verdict(self) -> str:
        """``"match"`` or ``"no match"``."""
        return self.explanation.verdict

    @property
    def score(self) -> float:
        """The similarity, in [-1, 1]."""
        return self.explanation.score

    @property
    def threshold(self) -> float:
        """The score above which the verdict is "match"."""
        return self.explanation.threshold

    @property
    def margin(self) -> float:
        """The score less the threshold."""
        return self.explanation.score - self.explanation.threshold

    @property
    def probability(self) -> float | None:
        """How likely it is that the photos show one person, in [0, 1]; None for a model without calibration."""
        return self.explanation.probability

    def __bool__(self) -> bool:
        """Refuse: "is there a verification" and "is it a match" are too easily mistaken for each other.

        Raises
        ------
        TypeError
            Always.
        """
        raise TypeError("a Verification is neither true nor false; ask for .is_match")

    @property
    def sentences(self) -> tuple[str, ...]:
        """The reasons in words."""
        return self.explanation.sentences

    def figure(self) -> Figure:
        """Draw faces, S, W and S * W."""
        from whyface.figures.verdict import verdict_figure  # noqa: PLC0415 - matplotlib is slow to import

        return verdict_figure(self.explanation, self.face_a.image, self.face_b.image)

    def save_figure(self, path: Path | str) -> None:
        """Write the figure, as PNG, PDF or SVG by the path's ending.

        Raises
        ------
        OutputError
            If it cannot be written there.
        """
        from whyface.figures.verdict import save_figure  # noqa: PLC0415 - matplotlib is slow to import

        save_figure(self.figure(), path)


class Verifier(FaceVerifier):
    """A model with its threshold, opened once and asked about many pairs of photos.

    Parameters
    ----------
    model, attention, threshold, fmr, model_directory, grid, preprocessing, prior
        As for :class:`~whyface.explain.verdict.FaceVerifier`.
    threads
        Threads of ONNX Runtime, for the face detector as for the model; None leaves it to ONNX Runtime.
    detector
        Another face detector than the default one.

    Raises
    ------
    ModelError
        If the model is unknown or unusable, or lacks a measured threshold.
    InputError
        If the options exclude each other.
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
        )
        self._detector = detector

    def __call__(
        self,
        photo_a: str | Path,
        photo_b: str | Path,
        *,
        aligned: bool = False,
        face_a: int = 0,
        face_b: int = 0,
        max_pixels: int = MAX_PIXELS,
    ) -> Verification:
        """Verify two photos.

        Parameters
        ----------
        photo_a, photo_b
            JPEG, PNG, WebP, BMP or TIFF files.
        aligned
            The files are 112 x 112 aligned faces already.
        face_a, face_b
            Which face of each photo, 0 is the largest.
        max_pixels
            Photos with more pixels are refused before they are decoded.

        Raises
        ------
        PhotoError, FaceError
            If a photo cannot be read or the face is not in it.
        """
        faces = [
            load_face(
                path,
                aligned=aligned,
                index=index,
                max_pixels=max_pixels,
                detector=self._detector,
                threads=self.threads,
            )
            for path, index in ((photo_a, face_a), (photo_b, face_b))
        ]
        return self.compare(faces[0], faces[1])

    def compare(self, face_a: Face, face_b: Face) -> Verification:
        """Verify two aligned faces."""
        return Verification(self.explain(face_a, face_b), face_a, face_b)


def verify(
    photo_a: str | Path,
    photo_b: str | Path,
    *,
    model: str | Path = DEFAULT_MODEL,
    attention: AttentionKind | None = None,
    threshold: float | None = None,
    fmr: float | None = None,
    aligned: bool = False,
    face_a: int = 0,
    face_b: int = 0,
) -> Verification:
    """Say whether two photos show one person, and why.

    A short form of :class:`Verifier` for one pair; see there for parameters and errors.

    Examples
    --------
    >>> result = verify("one.jpg", "other.jpg")  # doctest: +SKIP
    >>> result.verdict, result.score  # doctest: +SKIP
    >>> result.save_figure("why.png")  # doctest: +SKIP
    """
    verifier = Verifier(model, attention=attention, threshold=threshold, fmr=fmr)
    return verifier(photo_a, photo_b, aligned=aligned, face_a=face_a, face_b=face_b)
