"""Grad-CAM and xCos-guided gradients: maps weighted by gradients of the score (needs the extra ``torch``)."""

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
from whyface.explain.gradient_method import GradientMethod, PairScore, to_array
from whyface.explain.pair_method import PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Embedder


class GradCamMethod(GradientMethod):
    """Grad-CAM of the pair score: where the channels of the last spatial map raise it.

    For each face, with its own map F and its own gradient, channel c has the weight mean_ij ds / dF_cij, and the value
    of a place is the sum over channels of weight times F_cij. The xCos authors' comparison swapped the gradients of the
    two faces and inverted the map; here each face keeps its own gradient.

    Assumption: one weight per channel is valid for the whole face. This is exact if average pooling follows. With a
    depthwise or fully connected head each place has its own weights, which the mean blurs (the method ``cells`` keeps
    them). The map does not depend on the threshold.

    Parameters
    ----------
    embedder, threshold, source, batch_size, score
        See :class:`~whyface.explain.gradient_method.GradientMethod`.
    relu
        Keep only positive values, as in the paper. By default the map is signed, since the negative places, which
        speak against a match, are half of the answer.

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
        """Whether negative values are set to 0."""
        return {"relu": self.relu}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        # Gradients are needed only from the last map on, so the trunk runs without them.
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
    """The xCos evidence at pixel resolution.

    The evidence of the places, (S - threshold) * W, adds up to the margin, so its sign agrees with the verdict, but its
    resolution is 16 x 16 pixels. The gradient of the score has pixel resolution, but its magnitude is unsigned and
    noisy. The map is the sum of two maps, each divided by its mean absolute value:

    * the evidence, upsampled to 112 x 112 bilinearly, times the magnitude of the score's gradient,
      mean_rgb |ds / d pixels|, both smoothed by a Gaussian: what a place says, at the pixels that it rests on;
    * ``erasure`` times the smoothed sum over colours of ds / d pixels * (pixel - the face's mean colour): to first
      order, the score lost by painting a pixel with the mean colour.

    Both come from one forward and one backward pass. Each face has its own gradient, so its maps differ.

    Assumption: within a place, the evidence rests on the pixels to which the score is most sensitive. Raise ModelError
    if the score is not an xCos score, and InputError if ``sigma`` is not positive or ``erasure`` is negative.

    Parameters
    ----------
    embedder, threshold, source, batch_size
        See :class:`~whyface.explain.gradient_method.GradientMethod`.
    score
        An :class:`~whyface.explain.gradient_method.XcosScore`; required.
    sigma
        Standard deviation of the Gaussian in pixels, > 0: half a place by default. On 40 LFW pairs (20 genuine), 4
        without smoothing the evidence was worse in replacement, deletion and finding patches.
    erasure
        Weight of the second map, >= 0. On 40 LFW pairs, with sigma 4, larger weights made deletion better and
        replacement worse: 0: 0.653 and 0.053; 0.5: 0.603 and 0.059; 1: 0.581 and 0.081; 2: 0.557 and 0.094.

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
        if self.score.kind is None:
            raise ModelError(
                f"method {self.name!r} needs a model with attention over a grid, but {embedder.name!r} was opened "
                "without; choose an attention, or use xssab"
            )
        if not sigma > 0:
            raise InputError(f"sigma must be positive, got {sigma}")
        if not erasure >= 0:
            raise InputError(f"erasure must not be negative, got {erasure}")
        self.sigma = sigma
        self.erasure = erasure

    @property
    def settings(self) -> Mapping[str, Any]:
        """The standard deviation of the Gaussian and the weight of the second map."""
        return {"sigma": self.sigma, "erasure": self.erasure}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        pixels = torch.cat([first, second]).requires_grad_()
        with torch.enable_grad():
            found = self.score.cells(*self.score.features(pixels).tensor_split(2))
            assert found is not None
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
    """Divide each of N maps (N, H, W) by its mean absolute value; a zero map stays zero."""
    sizes = np.abs(maps).mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    return np.asarray(maps / np.where(sizes > 0, sizes, 1), np.float32)


def smoothed(maps: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Smooth maps (N, H, W) by a Gaussian of ``sigma`` pixels, mirroring the edges."""
    return np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in maps]).astype(np.float32)
