"""Two photos in, an explained verdict out: the whole way in one call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from whyface.errors import InputError, ModelError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import ThresholdSource
from whyface.explain.verdict import CosineMethod, XcosMethod, with_probability
from whyface.faces.face import Face
from whyface.faces.load import load_face
from whyface.faces.photo import MAX_PIXELS
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.models.catalogue_schema import ModelEntry
from whyface.models.preprocessing import Preprocessing
from whyface.xcos.attention import AttentionKind
from whyface.xcos.model import XcosModel
from whyface.xcos.open_model import attention_kind, known_entry, open_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from whyface.faces.detection import Detector

DEFAULT_FMR: Final = 1e-3


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


class Verifier:
    """A model with its threshold, opened once and asked many times.

    Parameters
    ----------
    model
        Name of a known model (``whyface models`` lists them) or path of any ONNX network.
    attention
        ``"u"``, ``"p"`` or ``"l"``; None takes the model's own. A model without attention of its own compares
        embeddings, unless uniform attention over its grid is asked for.
    threshold
        Match iff score > threshold. None takes the measured operating point for ``fmr``.
    fmr
        False match rate of the operating point, 1e-2 or 1e-3 where measured; 1e-3 by default.
    model_directory
        Where models that are not part of the package lie.
    grid, preprocessing
        For an ONNX network of your own: the tensor with its last spatial map, and what it wants done to the pixels.
    threads
        Threads of ONNX Runtime, for the face detector as for the model; None leaves it to ONNX Runtime.
    detector
        Another face detector than the default one.
    prior
        How often two photos show one person before they are compared, in (0, 1), for the probability; by default that
        of the pairs that it was calibrated on. Models without a calibration on record give no probability.

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
        if threshold is not None and fmr is not None:
            raise InputError("give a threshold or an FMR, not both")
        if threshold is not None and not -1 <= threshold <= 1:
            raise InputError(f"a threshold on a cosine lies in -1..1, got {threshold:g}")
        if prior is not None and not 0 < prior < 1:
            raise InputError(f"a prior is a probability between 0 and 1, such as 0.5, got {prior:g}")
        self._detector = detector
        self.threads = threads
        self.prior = prior
        entry = known_entry(model, grid=grid, preprocessing=preprocessing)
        kind = attention or (entry.default_attention if entry is not None and entry.kind == "xcos" else None)
        # A threshold that is not on record is found out before files of a known model are read.
        measured = None
        if entry is not None and threshold is None:
            measured = _measured_threshold(entry, kind, DEFAULT_FMR if fmr is None else fmr)
        self.calibration = None if entry is None else entry.confidence.get(kind or "cosine")
        if prior is not None and self.calibration is None:
            raise ModelError(f"{model}: no probability was calibrated for these scores, so a prior says nothing")
        opened = open_model(
            model,
            attention=kind,
            directory=model_directory,
            grid=grid,
            preprocessing=preprocessing,
            threads=threads,
        )
        value, source = measured or _given_threshold(threshold, str(model))
        self.method: XcosMethod | CosineMethod
        if isinstance(opened.method, XcosModel):
            # It is opened as one only with attention of its own or as asked for.
            used = attention_kind(kind or "l")
            self.method = XcosMethod(opened.method, threshold=value, source=source, attention=used)
        else:
            self.method = CosineMethod(opened.method, threshold=value, source=source)

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
        explanation = with_probability(self.method((face_a, face_b)), self.calibration, prior=self.prior)
        return Verification(explanation, face_a, face_b)


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


def _given_threshold(threshold: float | None, model: str) -> tuple[float, ThresholdSource]:
    if threshold is None:
        raise ModelError(f"{model}: no threshold was measured for this network; give one as a number")
    return threshold, ThresholdSource(kind="user", name="set by the user")


def _measured_threshold(entry: ModelEntry, kind: str | None, fmr: float) -> tuple[float, ThresholdSource]:
    key = kind or "cosine"
    points = [point for point in entry.thresholds.get(key, ()) if str(point["name"]).startswith("FMR ")]
    for point in points:
        if abs(float(str(point["name"]).removeprefix("FMR ")) - fmr) < 1e-9:
            return float(point["threshold"]), ThresholdSource.from_operating_point(point)
    measured = ", ".join(str(point["name"]).removeprefix("FMR ") for point in points) or "none"
    raise ModelError(
        f"model {entry.name!r} has no threshold for FMR {fmr:g} with {key!r}; measured: {measured}; "
        "give one of these or a threshold as a number"
    )
