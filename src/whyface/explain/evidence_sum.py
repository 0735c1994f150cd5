"""A sum of two kinds of evidence: winning pixels and the xCos evidence (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from whyface.errors import InputError
from whyface.explain.ebp import ExcitationMode, check_rules, prior_mass
from whyface.explain.gradcam import XcosGuidedMethod, scaled, smoothed
from whyface.explain.gradient_method import PairScore, to_array
from whyface.explain.pair_method import PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Embedder


class EvidenceSumMethod(XcosGuidedMethod):
    """Winning pixels where they are strong, and the xCos evidence elsewhere.

    Excitation backprop finds parts that do not belong (``ebp``); the xCos evidence finds what carries the verdict
    (``xcos-guided``). The map is the sum of two maps, each divided by its mean absolute value:

    * the winning mass for a match minus that against it, smoothed by a Gaussian, then squared with its sign kept, so
      that a few strong places stand out and the rest leaves the order to the other map;
    * ``weight`` times the map of ``xcos-guided``.

    Both masses come from one backward pass, since the propagation is linear in what it starts from. Unlike in ``ebp``,
    mass that biases swallow is not made up for on each side.

    Assumption: those of ``ebp`` and ``xcos-guided``. Raise ModelError if the score is not an xCos score, or the network
    has a layer without a rule. Raise InputError if ``sigma`` is not positive or ``weight`` is negative.

    Parameters
    ----------
    embedder, threshold, source, batch_size, score
        See :class:`~whyface.explain.gradcam.XcosGuidedMethod`.
    sigma
        Standard deviation of the Gaussian over the winning mass in pixels, > 0.
    weight
        Weight of the map of ``xcos-guided``, >= 0. It and ``sigma`` were chosen on 40 pairs of CelebA, on no pair of
        LFW: docs/studies/leading_method.md.

    References
    ----------
    Ours. Its parts: Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016; Lin et al., "xCos",
    ACM TOMM 2021.
    """

    name: ClassVar[str] = "evidence-sum"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 32,
        score: PairScore | None = None,
        sigma: float = 6.0,
        weight: float = 0.5,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size, score=score)
        if not sigma > 0:
            raise InputError(f"sigma must be positive, got {sigma}")
        if not weight >= 0:
            raise InputError(f"weight must not be negative, got {weight}")
        self.spread, self.weight = sigma, weight
        check_rules(self.score, self.name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The standard deviation of the Gaussian over the winning mass, and the weight of the second map."""
        return {"sigma": self.spread, "weight": self.weight}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        guided = super().pair_maps(first, second)
        pixels = torch.cat([first, second]).requires_grad_()
        with torch.enable_grad(), ExcitationMode():
            features = self.score.features(pixels)
        with torch.no_grad():
            terms, _ = self.score.arguments(*features.detach().tensor_split(2))
            prior = (prior_mass(terms) - prior_mass(-terms)).view(len(first), *features.shape[1:])
        (mass,) = torch.autograd.grad(features, pixels, torch.cat([prior, prior]))
        winning = scaled(smoothed(to_array(mass.sum(dim=1)), self.spread))
        maps = scaled(winning * np.abs(winning))
        maps += self.weight * scaled(np.concatenate([guided.map_a, guided.map_b]))
        return PairMaps(guided.score, maps[: len(first)], maps[len(first) :], forward=4, backward=4)
