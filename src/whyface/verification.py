"""Verify two photos and explain the verdict in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from whyface.errors import InputError
from whyface.explain.checks import CheckResult, find_checks, run_checks
from whyface.explain.deepface_form import deepface_form
from whyface.explain.explanation import Explanation
from whyface.explain.record import Clock, utc_now
from whyface.explain.trust import doubt_about, measured, without_probability
from whyface.explain.verdict import FaceVerifier
from whyface.faces.face import Face, stack_faces
from whyface.faces.load import load_face, load_faces
from whyface.faces.photo import MAX_PIXELS
from whyface.faces.picture_input import PictureInput
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.models.operating_point import OperatingPoint
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
    checks
        Results of the checks that were asked for, see :mod:`whyface.explain.checks`.
    """

    explanation: Explanation
    face_a: Face
    face_b: Face
    checks: tuple[CheckResult, ...] = ()

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

    @property
    def log10_lr(self) -> float | None:
        """Common logarithm of the likelihood ratio; None for a model without a calibration."""
        return self.explanation.log10_lr

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

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict with the keys of ``DeepFace.verify``, and whyface's own beside them.

        ``distance`` is 1 - score and ``threshold`` 1 - threshold, so that a match is ``distance < threshold``.
        ``verified`` is None where the verdict is undecided. ``whyface`` holds verdict, score, threshold and margin as
        they are, the probability, the doubt and the sentences. :meth:`Explanation.to_dict` holds everything.
        """
        return deepface_form(self.explanation, self.face_a, self.face_b)

    def figure(self) -> Figure:
        """Return the figure with the faces, S, W and S * W."""
        from whyface.figures.verdict import verdict_figure  # noqa: PLC0415 - matplotlib is slow to import

        return verdict_figure(self.explanation, self.face_a.image, self.face_b.image)

    def save_figure(self, target: Path | str | BinaryIO, *, kind: str | None = None) -> None:
        """Write the figure as PNG, PDF or SVG, see :func:`whyface.figures.style.save_figure`.

        Parameters
        ----------
        target
            A path, or a file opened in binary mode.
        kind
            ``"png"``, ``"pdf"`` or ``"svg"``; by default by the extension of the path, and PNG for an open file.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        from whyface.figures.verdict import save_figure  # noqa: PLC0415 - matplotlib is slow to import

        save_figure(self.figure(), target, kind=kind)

    def report(self, *, language: str | None = None, others: Mapping[str, Explanation] | None = None) -> str:
        """Return the interactive report as HTML, see :func:`whyface.page.report.report_html`."""
        from whyface.page.report import report_html  # noqa: PLC0415 - start fast

        return report_html(self.explanation, self.face_a.image, self.face_b.image, language=language, others=others)

    def save_report(
        self, path: Path | str, *, language: str | None = None, others: Mapping[str, Explanation] | None = None
    ) -> None:
        """Write the report as one file: HTML, or PDF if the path ends so.

        Parameters
        ----------
        language
            ``"en"`` or ``"de"``; None: the reader's, and English in a PDF.
        others
            Explanations of the same pair by other methods, by the name to show: their maps can be laid over the faces.

        Raises
        ------
        OutputError
            If the file cannot be written, or there is no Chromium to print a PDF.
        InputError
            If there is no such language.
        """
        from whyface.page.printing import save_report  # noqa: PLC0415 - start fast

        save_report(self.report(language=language, others=others), path)

    def _repr_html_(self) -> str:
        """Show the report in a notebook, in a frame of its own."""
        from whyface.page.report import notebook_frame  # noqa: PLC0415 - start fast

        return notebook_frame(self.report())


class Verifier(FaceVerifier):
    """Verify pairs of photos with a model that is opened once.

    Parameters
    ----------
    model, attention, threshold, fmr, model_directory, grid, output, preprocessing, unchecked, prior, accept_poor, clock
        As for :class:`~whyface.explain.verdict.FaceVerifier`.
    threads
        Threads of ONNX Runtime for the face detector and the model; None: ONNX Runtime's default.
    providers
        Where the network runs, see :func:`whyface.xcos.open_model.open_model`; the detector stays on the processor.
    detector
        The face detector; None: :func:`whyface.faces.load.default_detector`.

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
        threshold: float | OperatingPoint | None = None,
        fmr: float | None = None,
        model_directory: Path | str | None = None,
        grid: str | None = None,
        output: str | None = None,
        preprocessing: Preprocessing | str | None = None,
        unchecked: bool = False,
        threads: int | None = None,
        providers: str | Sequence[str] = "cpu",
        detector: Detector | None = None,
        prior: float | None = None,
        accept_poor: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        super().__init__(
            model,
            attention=attention,
            threshold=threshold,
            fmr=fmr,
            model_directory=model_directory,
            grid=grid,
            output=output,
            preprocessing=preprocessing,
            unchecked=unchecked,
            threads=threads,
            providers=providers,
            prior=prior,
            accept_poor=accept_poor,
            clock=clock,
        )
        self.detector = detector

    def __call__(
        self,
        photo_a: PictureInput | Face,
        photo_b: PictureInput | Face,
        *,
        aligned: bool = False,
        face_a: int = 0,
        face_b: int = 0,
        any_face: bool = False,
        bgr: bool = False,
        max_pixels: int = MAX_PIXELS,
        note: str = "",
        checks: Sequence[str] = (),
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
        any_face
            Compare every face of one photo with every face of the other, and return the most alike pair.
        bgr
            The channels of arrays are in OpenCV's order: blue, green, red.
        max_pixels
            Maximum number of pixels, checked before a photo is decoded.
        note
            The operator's note, kept in the record of the explanation.
        checks
            Names of checks whose results are listed beside the verdict; see :mod:`whyface.explain.checks`.

        Raises
        ------
        PhotoError, FaceError
            If a photo cannot be read or has no such face.
        InputError
            If one of them is nothing that can be read as a picture, or ``any_face`` is given with an index or
            ``aligned``.
        """
        asked, photos = find_checks(checks), (photo_a, photo_b)
        if any_face:
            if aligned or face_a or face_b:
                raise InputError(
                    "any_face compares all faces of both photos; leave out aligned and the index of a face"
                )
            first, second = (
                load_faces(
                    photo,
                    bgr=bgr and isinstance(photo, np.ndarray),
                    max_pixels=max_pixels,
                    detector=self.detector,
                    threads=self.threads,
                )
                for photo in (photo_a, photo_b)
            )
            found = self.best_pair(first, second, note=note)
            return replace(found, checks=run_checks(asked, photos, (found.face_a, found.face_b), bgr, max_pixels))
        faces = [
            load_face(
                photo,
                aligned=aligned,
                index=index,
                bgr=bgr and isinstance(photo, np.ndarray),
                max_pixels=max_pixels,
                detector=self.detector,
                threads=self.threads,
            )
            for photo, index in ((photo_a, face_a), (photo_b, face_b))
        ]
        found = self.compare(faces[0], faces[1], note=note)
        # The verdict is there already, and stays.
        return replace(found, checks=run_checks(asked, photos, (found.face_a, found.face_b), bgr, max_pixels))

    def best_pair(self, faces_a: Sequence[Face], faces_b: Sequence[Face], *, note: str = "") -> Verification:
        """Verify the most alike pair of faces, one from each side.

        Faces that cannot support a verdict are passed over as long as there are others. With more than one comparison
        there is no probability, since it holds for a single one.

        Parameters
        ----------
        faces_a, faces_b
            Aligned faces, such as all of a photo.
        note
            The operator's note, kept in the record.

        Raises
        ------
        InputError
            If there are no faces on one side.
        """
        if not faces_a or not faces_b:
            raise InputError("there is no face to compare on one side; give at least one for each")
        sides = [[measured(face) for face in faces] for faces in (faces_a, faces_b)]
        comparison = self.method.comparison
        first, second = (comparison.features(stack_faces(side)) for side in sides)
        scores = np.stack([comparison.scores(row[None], second) for row in first])
        fit = np.array([[doubt_about([a.quality, b.quality]) is None for b in sides[1]] for a in sides[0]])
        chosen = scores if self.accept_poor or not fit.any() else np.where(fit, scores, -np.inf)
        row, column = np.unravel_index(int(chosen.argmax()), chosen.shape)
        found = self.compare(sides[0][row], sides[1][column], note=note)
        if scores.size == 1:
            return found
        explanation = replace(
            without_probability(found.explanation),
            settings={**found.explanation.settings, "pairs_compared": int(scores.size)},
            sentences=(*found.explanation.sentences, *_choice(found, scores.shape, int((~fit).sum()))),
        )
        return replace(found, explanation=explanation)

    def compare(self, face_a: Face, face_b: Face, *, note: str = "") -> Verification:
        """Verify two aligned faces, with a note for the record; undecided where a face cannot support a verdict."""
        face_a, face_b = measured(face_a), measured(face_b)
        return Verification(self.explain(face_a, face_b, note=note), face_a, face_b)


def _choice(found: Verification, faces: tuple[int, ...], poor: int) -> tuple[str, ...]:
    """Say which pair of all faces was taken, and what it means that there were several."""
    count = faces[0] * faces[1]
    unfit = f", {poor} of them with a face too poor to support a verdict" if poor else ""
    places = [f"face {face.index} of {face.count}" for face in (found.face_a, found.face_b)]
    return (
        f"{count} pairs of faces were compared{unfit}; this is the most alike: {places[0]} in the first photo and "
        f"{places[1]} in the second (0 is the largest).",
        f"The threshold's false match rate is that of one comparison; with {count}, a match of strangers is up to "
        f"{count} times as likely.",
    )


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
    any_face: bool = False,
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
    return verifier(photo_a, photo_b, aligned=aligned, face_a=face_a, face_b=face_b, any_face=any_face, bgr=bgr)
