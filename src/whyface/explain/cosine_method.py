"""The plain cosine of two embeddings: a verdict without regional reasons."""

from __future__ import annotations

import time
from dataclasses import replace

from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.explain.xcos_method import FacePair, software_versions
from whyface.faces.face import stack_faces
from whyface.models.embedder import Embedder


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
