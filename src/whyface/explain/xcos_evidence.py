"""The xCos evidence as a map for each face, beside the other methods; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from whyface.explain.batched_method import BatchedPairMethod
from whyface.explain.pair_method import PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Batch
from whyface.xcos.attention import AttentionKind
from whyface.xcos.model import XcosModel


class XcosEvidenceMethod(BatchedPairMethod):
    """What every place adds to the xCos score beyond what the threshold asks of it: (S - threshold) * W.

    S * W adds up to the score, but hardly any of it is negative, so its zero says nothing about the verdict. Since W
    adds up to 1, taking threshold * W off gives terms that add up to the margin, score - threshold: exact as before,
    and positive exactly where a place speaks for "same person". A map of two faces at once: it is the same for both.

    Parameters
    ----------
    model
        The xCos model.
    threshold, source, batch_size
        See :class:`~whyface.explain.pair_method.PairMethod`.
    attention
        ``"u"``, ``"p"`` or ``"l"``.
    excess
        False gives S * W instead, which adds up to the score.

    Raises
    ------
    ModelError
        If the model lacks this attention.

    References
    ----------
    Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021.
    """

    name: ClassVar[str] = "xcos"

    def __init__(
        self,
        model: XcosModel,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 64,
        attention: AttentionKind = "l",
        excess: bool = True,
    ) -> None:
        super().__init__(model.embedder, threshold=threshold, source=source, batch_size=batch_size)
        model.require(attention)
        self.model = model
        self.attention: AttentionKind = attention
        self.excess = excess

    @property
    def settings(self) -> Mapping[str, Any]:
        """The attention, and whether the threshold is taken off."""
        return {"attention": self.attention, "excess": self.excess}

    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain a batch of pairs."""
        found = self.model.compare(first, second, self.attention)
        similarity = found.similarity - self.threshold if self.excess else found.similarity
        evidence = (similarity * found.attention).astype(np.float32)
        return PairMaps(found.score, evidence, evidence.copy(), forward=2)
