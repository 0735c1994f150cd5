"""Grad-CAM on pairs: channels of the last map weighed by the score's gradient (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from whyface.explain.gradient_method import GradientMethod, to_array
from whyface.explain.pair_method import PairMaps
from whyface.explain.pair_score import PairScore
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Embedder


class GradCamMethod(GradientMethod):
    """Where the channels of the last spatial map lie that raise the score.

    For each face, with its own map F and its own gradient: channel c gets the weight mean_ij ds / dF_cij, and a cell's
    value is the sum over channels of weight times F_cij. The xCos authors' comparison paired the two faces' gradients
    the wrong way round and turned its map upside down; here each gradient stays with its face.

    Assumed: one weight per channel serves the whole face. Behind a mean over places that is exact; behind a depthwise
    or fully connected head every place has weights of its own, which the mean over places blurs (the method ``cells``
    keeps them). The map is unaffected by any constant shift of the threshold.

    Parameters
    ----------
    embedder, threshold, source, batch_size, score
        See :class:`~whyface.explain.gradient_method.GradientMethod`.
    relu
        Keep positive values only, as in the paper. By default the map stays signed, since negative places, which speak
        against a match, are half of the answer.

    References
    ----------
    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017; the
    cosine as target as in Lin et al., "xCos", ACM TOMM 2021, section 4.
    """

    name: ClassVar[str] = "gradcam"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 32,
        score: PairScore | None = None,
        relu: bool = False,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size, score=score)
        self.relu = relu

    @property
    def settings(self) -> Mapping[str, Any]:
        """Whether negative values were cut off."""
        return {"relu": self.relu}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        # Gradients are needed from the last map on only, so the trunk runs without them.
        with torch.no_grad():
            spatial = self.network.map_of(torch.cat([first, second]))
        spatial.requires_grad_()
        with torch.enable_grad():
            scores = self.score.score(*self.score.features_of(spatial).tensor_split(2))
            (gradient,) = torch.autograd.grad(scores.sum(), spatial)
        maps = (gradient.mean(dim=(2, 3), keepdim=True) * spatial.detach()).sum(dim=1)
        map_a, map_b = (maps.relu() if self.relu else maps).tensor_split(2)
        return PairMaps(to_array(scores), to_array(map_a), to_array(map_b), forward=2, backward=2)
