"""Grad-CAM and xCos-guided gradients: maps that gradients of the score weigh (needs the extra ``torch``)."""

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
from whyface.explain.gradient_method import GradientMethod, PairScore, XcosScore, to_array
from whyface.explain.pair_method import PairMaps
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


class XcosGuidedMethod(GradientMethod):
    """The xCos evidence at the resolution of pixels.

    The evidence of the cells, (S - threshold) * W, adds up to the margin, so its sign is the verdict's, but it knows
    16 x 16 pixels at a time. The gradient of the score knows pixels, but its size has no sign of its own and is noisy.
    The map is the sum of two, each divided by its mean absolute value:

    * the evidence, brought to 112 x 112 bilinearly, times the size of the score's gradient, mean_rgb |ds / d pixels|,
      both smoothed by a Gaussian: where cells speak for or against, at the pixels that they rest on;
    * ``erasure`` times the smoothed sum over colours of ds / d pixels * (pixel - the face's mean colour): to first
      order, what painting a pixel with the mean colour takes from the score.

    Both come from one run of the network and one backward pass. Each face has its own gradient, so its maps differ.

    Assumed: within a cell, the pixels that the score is most sensitive to are those that the cell's verdict rests on.

    Parameters
    ----------
    embedder, threshold, source, batch_size
        See :class:`~whyface.explain.gradient_method.GradientMethod`.
    score
        An :class:`~whyface.explain.gradient_method.XcosScore`; required.
    sigma
        Width of the Gaussian in pixels, > 0: half a cell by default. On 40 LFW pairs (20 genuine), 4 without smoothing
        the evidence was worse in all of replacement, deletion and finding patches.
    erasure
        Weight of the second map, >= 0. On 40 LFW pairs, with sigma 4, larger weights made deletion better and
        replacement worse: 0: 0.653 and 0.053; 0.5: 0.603 and 0.059; 1: 0.581 and 0.081; 2: 0.557 and 0.094.

    Raises
    ------
    ModelError
        If the score is not an xCos score.
    InputError
        If ``sigma`` is not positive or ``erasure`` is negative.

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
        sigma: float = 8.0,
        erasure: float = 0.5,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size, score=score)
        if not isinstance(self.score, XcosScore):
            raise ModelError(
                f"method {self.name!r} needs a model with attention over a grid, which {embedder.name!r} is not as "
                "opened; choose an attention, or use xssab"
            )
        if not sigma > 0:
            raise InputError(f"sigma must be positive, got {sigma}")
        if not erasure >= 0:
            raise InputError(f"erasure must not be negative, got {erasure}")
        self.xcos: XcosScore = self.score
        self.sigma = sigma
        self.erasure = erasure

    @property
    def settings(self) -> Mapping[str, Any]:
        """The width of the Gaussian and the weight of the second map."""
        return {"sigma": self.sigma, "erasure": self.erasure}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        pixels = torch.cat([first, second]).requires_grad_()
        with torch.enable_grad():
            found = self.xcos.cells(*self.score.features(pixels).tensor_split(2))
            (gradient,) = torch.autograd.grad(found.score.sum(), pixels)
        evidence = (found.similarity.detach() - self.threshold) * found.attention.detach()
        fine = functional.interpolate(evidence[:, None], pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        sizes = smoothed(to_array(gradient.abs().mean(dim=1)), self.sigma)
        maps = scaled(np.concatenate([smoothed(to_array(fine), self.sigma)] * 2) * sizes)
        if self.erasure:
            away = pixels.detach() - pixels.detach().mean(dim=(2, 3), keepdim=True)
            maps += self.erasure * scaled(smoothed(to_array((gradient * away).sum(dim=1)), self.sigma))
        return PairMaps(to_array(found.score), maps[: len(first)], maps[len(first) :], forward=2, backward=2)


def scaled(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide each of N maps (N, H, W) by its mean absolute value; a map of zeros stays zeros."""
    sizes = np.abs(maps).mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.asarray(maps / np.where(sizes > 0, sizes, 1), np.float32)


def smoothed(maps: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Smooth maps (N, H, W) by a Gaussian of ``sigma`` pixels; edges are mirrored."""
    return np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in maps]).astype(np.float32)
