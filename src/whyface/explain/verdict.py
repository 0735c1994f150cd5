"""The verdict about a pair as an explanation: by xCos with S and W, or by the plain cosine of two embeddings."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

from whyface import __version__
from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.faces.face import Face, stack_faces
from whyface.models.calibration import Calibration
from whyface.models.embedder import Embedder
from whyface.xcos.attention import AttentionKind
from whyface.xcos.model import XcosModel


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


class XcosMethod:
    """Explain pairs by the metric that decided them: S, W and S * W, whose sum is the score.

    Nothing is approximated and nothing extra is run: the reasons are the computation.

    Parameters
    ----------
    model
        The xCos model.
    threshold
        Match iff score > threshold.
    source
        Where the threshold comes from.
    attention
        ``"u"``, ``"p"`` or ``"l"``.

    Raises
    ------
    ModelError
        If the model lacks this attention.

    References
    ----------
    Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021.
    """

    name = "xcos"

    def __init__(
        self, model: XcosModel, *, threshold: float, source: ThresholdSource, attention: AttentionKind = "l"
    ) -> None:
        model.require(attention)
        self.model = model
        self.threshold = threshold
        self.source = source
        self.attention: AttentionKind = attention

    def __call__(self, pair: FacePair) -> Explanation:
        """Explain one pair."""
        return self.explain([pair])[0]

    def explain(self, pairs: Sequence[FacePair]) -> list[Explanation]:
        """Explain N pairs in one run of the network.

        Raises
        ------
        InputError
            If there are no pairs.
        ModelError
            If the model lacks this attention.
        """
        if not pairs:
            raise InputError("there are no pairs to explain; give at least one")
        start = time.perf_counter()
        first, second = (stack_faces([pair[side] for pair in pairs]) for side in (0, 1))
        maps = self.model.compare(first, second, self.attention)
        seconds = (time.perf_counter() - start) / len(pairs)
        model = ModelInfo(self.model.embedder.name, self.model.embedder.sha256)
        versions = software_versions()
        explanations = []
        for row, pair in enumerate(pairs):
            explanation = Explanation(
                score=float(maps.score[row]),
                threshold=self.threshold,
                threshold_source=self.source,
                method=self.name,
                cost=Cost(forward=2, backward=0, seconds=seconds),
                model=model,
                similarity=maps.similarity[row],
                attention=maps.attention[row],
                attention_kind=self.attention,
                settings={"attention": self.attention},
                versions=versions,
                faces=(FaceInfo.from_face(pair[0]), FaceInfo.from_face(pair[1])),
            )
            explanations.append(replace(explanation, sentences=describe(explanation)))
        return explanations


def software_versions() -> dict[str, str]:
    """Name the versions that a result depends on."""
    versions = {"whyface": __version__, "python": platform.python_version()}
    for package in ("numpy", "onnxruntime", "opencv-python-headless", "pillow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # e.g. another build of the same library
            continue
    return versions


class CosineMethod:
    """Compare pairs by the cosine of their embeddings; the explanation says that there are no maps.

    Parameters
    ----------
    embedder
        Any network.
    threshold
        Match iff cosine > threshold.
    source
        Where the threshold comes from.
    """

    name = "cosine"

    def __init__(self, embedder: Embedder, *, threshold: float, source: ThresholdSource) -> None:
        self.embedder = embedder
        self.threshold = threshold
        self.source = source

    def __call__(self, pair: FacePair) -> Explanation:
        """Compare one pair."""
        start = time.perf_counter()
        first, second = self.embedder.embed(stack_faces(pair))
        explanation = Explanation(
            score=float(first @ second),
            threshold=self.threshold,
            threshold_source=self.source,
            method=self.name,
            cost=Cost(forward=2, backward=0, seconds=time.perf_counter() - start),
            model=ModelInfo(self.embedder.name, self.embedder.sha256),
            versions=software_versions(),
            faces=(FaceInfo.from_face(pair[0]), FaceInfo.from_face(pair[1])),
        )
        return replace(explanation, sentences=describe(explanation))
