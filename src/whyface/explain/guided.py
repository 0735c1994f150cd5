"""xCos-guided gradients: cells say for or against, the gradient says where (needs the extra ``torch``).

Ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from whyface.errors import InputError, ModelError
from whyface.explain.gradient_method import GradientMethod, to_array
from whyface.explain.pair_method import PairMaps
from whyface.explain.pair_score import PairScore, XcosScore
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Embedder


class XcosGuidedMethod(GradientMethod):
    """The xCos evidence at the resolution of pixels.

    The evidence of the cells, (S - threshold) * W, adds up to the margin, so its sign is the verdict's, but it knows
    16 x 16 pixels at a time. The gradient of the score knows pixels, but its size has no sign of its own and is noisy.
    The map is their product: the evidence, brought to 112 x 112 bilinearly, times the size of the score's gradient,
    mean_rgb |ds / d pixels|, smoothed by a Gaussian. Each face has its own gradient, so the two maps differ.

    Assumed: within a cell, the pixels that the score is most sensitive to are those that the cell's verdict rests on.

    Parameters
    ----------
    embedder, threshold, source, batch_size
        See :class:`~whyface.explain.gradient_method.GradientMethod`.
    score
        An :class:`~whyface.explain.pair_score.XcosScore`; required.
    sigma
        Width of the Gaussian in pixels, > 0: a quarter of a cell by default.

    Raises
    ------
    ModelError
        If the score is not an xCos score.
    InputError
        If ``sigma`` is not positive.

    References
    ----------
    Ours. Its parts: Lin et al., "xCos", ACM TOMM 2021; a coarse map times a fine gradient as in Guided Grad-CAM,
    Selvaraju et al., ICCV 2017.
    """

    name: ClassVar[str] = "xcos-guided"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 32,
        score: PairScore | None = None,
        sigma: float = 4.0,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size, score=score)
        if not isinstance(self.score, XcosScore):
            raise ModelError(
                f"method {self.name!r} needs a model with attention over a grid, which {embedder.name!r} is not as "
                "opened; choose an attention, or use xssab"
            )
        if not sigma > 0:
            raise InputError(f"sigma must be positive, got {sigma}")
        self.xcos: XcosScore = self.score
        self.sigma = sigma

    @property
    def settings(self) -> Mapping[str, Any]:
        """The width of the Gaussian."""
        return {"sigma": self.sigma}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        pixels = torch.cat([first, second]).requires_grad_()
        with torch.enable_grad():
            found = self.xcos.cells(*self.score.features(pixels).tensor_split(2))
            (gradient,) = torch.autograd.grad(found.score.sum(), pixels)
        evidence = (found.similarity.detach() - self.threshold) * found.attention.detach()
        fine = functional.interpolate(evidence[:, None], pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        sizes = smoothed(to_array(gradient.abs().mean(dim=1)), self.sigma)
        maps = np.concatenate([to_array(fine)] * 2) * sizes
        return PairMaps(to_array(found.score), maps[: len(first)], maps[len(first) :], forward=2, backward=2)


def smoothed(maps: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Smooth maps (N, H, W) by a Gaussian of ``sigma`` pixels; edges are mirrored."""
    return np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in maps]).astype(np.float32)
