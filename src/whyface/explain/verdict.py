"""The verdict about a pair as an explanation: by xCos with S and W, or by the plain cosine of two embeddings."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from whyface import __version__
from whyface.errors import InputError, ModelError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.faces.face import Face, stack_faces
from whyface.models.calibration import Calibration
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.models.operating_point import DEFAULT_FMR
from whyface.models.preprocessing import Preprocessing
from whyface.xcos.attention import AttentionKind
from whyface.xcos.comparison import COSINE, SearchableComparison
from whyface.xcos.open_model import known_entry, open_model


def with_probability(
    explanation: Explanation, calibration: Calibration | None, *, prior: float | None = None
) -> Explanation:
    """Return the explanation with the probability of "same person" and what it was calibrated on.

    Parameters
    ----------
    explanation
        Its score is what the calibration was fitted to.
    calibration
        None leaves the explanation as it is.
    prior
        See :meth:`whyface.models.calibration.Calibration.probability`.

    Raises
    ------
    InputError
        If the prior is not a probability.
    """
    if calibration is None:
        return explanation
    return replace(
        explanation,
        probability=calibration.probability(explanation.score, prior=prior),
        probability_source=calibration.describe(prior=prior),
    )


FacePair = tuple[Face, Face]


class VerdictMethod:
    """Explain pairs by the comparison that decides: S, W and S * W, whose sum is the score.

    Nothing is approximated and nothing extra is run: the reasons are the computation. Where embeddings are compared,
    the explanation says that there are no maps.

    Parameters
    ----------
    comparison
        How the model compares faces.
    threshold
        Match iff score > threshold.
    source
        Where the threshold comes from.

    References
    ----------
    Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021.
    """

    def __init__(self, comparison: SearchableComparison, *, threshold: float, source: ThresholdSource) -> None:
        self.comparison = comparison
        self.threshold = threshold
        self.source = source
        self.name = "cosine" if comparison.attention is None else "xcos"

    def __call__(self, pair: FacePair) -> Explanation:
        """Explain one pair."""
        return self.explain([pair])[0]

    def explain(self, pairs: Sequence[FacePair]) -> list[Explanation]:
        """Explain N pairs in one run of the network.

        Raises
        ------
        InputError
            If there are no pairs.
        """
        if not pairs:
            raise InputError("there are no pairs to explain; give at least one")
        start = time.perf_counter()
        # One run over both sides: the backbone is the cost, and a larger batch uses it better.
        features = self.comparison.features(stack_faces([pair[side] for side in (0, 1) for pair in pairs]))
        first, second = features[: len(pairs)], features[len(pairs) :]
        maps = self.comparison.maps(first, second)
        scores = self.comparison.scores(first, second) if maps is None else maps.score
        seconds = (time.perf_counter() - start) / len(pairs)
        attention = self.comparison.attention
        explanations = []
        for row, pair in enumerate(pairs):
            explanation = Explanation(
                score=float(scores[row]),
                threshold=self.threshold,
                threshold_source=self.source,
                method=self.name,
                cost=Cost(forward=2, backward=0, seconds=seconds),
                model=ModelInfo(self.comparison.name, self.comparison.sha256),
                similarity=None if maps is None else maps.similarity[row],
                attention=None if maps is None else maps.attention[row],
                attention_kind=attention,
                settings={} if attention is None else {"attention": attention},
                versions=software_versions(),
                faces=(FaceInfo.from_face(pair[0]), FaceInfo.from_face(pair[1])),
            )
            explanations.append(replace(explanation, sentences=describe(explanation)))
        return explanations


class FaceVerifier:
    """A model with its threshold and its probabilities, which verifies pairs of aligned faces.

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
        Threads of ONNX Runtime; None leaves it to ONNX Runtime.
    prior
        How often two photos show one person before they are compared, in (0, 1), for the probability; by default that
        of the pairs that it was calibrated on. Models without a calibration on record give no probability.

    Attributes
    ----------
    method
        Verdict and reasons, see :class:`VerdictMethod`.
    calibration
        From score to probability, or None.

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
        prior: float | None = None,
    ) -> None:
        if threshold is not None and fmr is not None:
            raise InputError("give a threshold or an FMR, not both")
        if threshold is not None and not -1 <= threshold <= 1:
            raise InputError(f"a threshold on a cosine lies in -1..1, got {threshold:g}")
        if prior is not None and not 0 < prior < 1:
            raise InputError(f"a prior is a probability between 0 and 1, such as 0.5, got {prior:g}")
        self.threads = threads
        self.prior = prior
        entry = known_entry(model, grid=grid, preprocessing=preprocessing)
        kind = attention or (entry.default_attention if entry is not None and entry.kind == "xcos" else None)
        # A threshold that is not on record is found out before files of a known model are read.
        measured = None
        if entry is not None and threshold is None:
            measured = entry.operating_point(kind or COSINE, fmr=DEFAULT_FMR if fmr is None else fmr)
        self.calibration = None if entry is None else entry.confidence.get(kind or COSINE)
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
        source = ThresholdSource("user", "set by the user")
        if measured is not None:
            threshold, source = measured.threshold, ThresholdSource.from_operating_point(measured)
        if threshold is None:
            raise ModelError(f"{model}: no threshold was measured for this network; give one as a number")
        self.method = VerdictMethod(opened.comparison(kind), threshold=threshold, source=source)

    def explain(self, face_a: Face, face_b: Face) -> Explanation:
        """Verify two aligned faces and say why."""
        return with_probability(self.method((face_a, face_b)), self.calibration, prior=self.prior)


def software_versions() -> dict[str, str]:
    """Name the versions that a result depends on."""
    versions = {"whyface": __version__, "python": platform.python_version()}
    for package in ("numpy", "onnxruntime", "opencv-python-headless", "pillow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # e.g. another build of the same library
            continue
    return versions
