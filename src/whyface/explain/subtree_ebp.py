"""Weighted subtree excitation backprop on pairs and triplets (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.errors import InputError, ModelError
from whyface.explain.ebp import WEIGHTED, ExcitationMode, check_rules, mean_terms, prior_mass, role_features
from whyface.explain.gradient_method import GradientMethod, PairScore, to_array
from whyface.explain.pair_method import PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Batch, Embedder

Terms = Callable[[Tensor], Tensor]
"""Features of the probe -> the arguments (N, K) of its score with somebody."""


class LayerOutputs(ExcitationMode):
    """A context for a forward pass that keeps the outputs of convolutions and fully connected layers, in order.

    Parameters
    ----------
    ruled
        Whether the backward pass propagates winning probabilities instead of gradients.
    """

    def __init__(self, *, ruled: bool) -> None:
        super().__init__()
        self.ruled = ruled
        self.outputs: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call one torch function."""
        output = super().__torch_function__(func, types, args, kwargs) if self.ruled else func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "").strip("_") not in WEIGHTED or not output.requires_grad:
            return output
        self.outputs.append(output)
        # What follows may work in place.
        return output.clone()


@dataclass(frozen=True)
class Nodes:
    """The node of each layer that a subtree starts from, for N faces.

    Attributes
    ----------
    weights
        (L, N): how much more the score would rise with the node; 0 for a layer that is not used.
    elements
        (L, N): the node's number in its layer.
    """

    weights: Tensor
    elements: Tensor


def choose_nodes(for_it: list[Tensor], against: list[Tensor], won: list[Tensor], top: int) -> Nodes:
    """Choose a node of each layer, and of the layers those with the largest weights.

    The node is the one whose rise lowers the score with the non-mate most, of those whose rise does not lower the score
    with the mate; its weight is that fall. A layer whose node no winning probability reaches is left out.

    Parameters
    ----------
    for_it, against
        Gradients of the scores with the mate and with the non-mate, for each layer (N, ...).
    won
        Winning probabilities of the nodes for the mate, likewise.
    top
        Number of layers to keep, for each face.
    """
    weights, elements = [], []
    for mate, other, probability in zip(for_it, against, won, strict=True):
        fall = torch.where(mate >= 0, -other, 0).flatten(1)
        weight, element = fall.max(dim=1)
        reached = probability.flatten(1).gather(1, element[:, None])[:, 0] > 0
        weights.append(torch.where(reached, weight.clamp(min=0), 0))
        elements.append(element)
    stacked = torch.stack(weights)
    least = stacked.topk(min(top, len(stacked)), dim=0).values[-1]
    return Nodes(torch.where(stacked >= least, stacked, 0), torch.stack(elements))


class SubtreeEbpMethod(GradientMethod):
    """Weighted subtree excitation backprop: the pixels of the node in each layer that tells mate and non-mate apart.

    In each layer, the node is chosen whose rise lowers the score with the non-mate most, without lowering that with the
    mate. Winning probability starts at this node alone and is propagated to the pixels as in
    :class:`~whyface.explain.ebp.EbpMethod`. The maps of the ``top`` layers with the largest falls, each divided by its
    maximum, are added in proportion to the falls. That is the published map; ours is the difference of two such maps,
    each with sum 1, the second with mate and non-mate exchanged.

    The published method is for triplets: :meth:`triplet`. A pair has no third person, so the opposite of the other face
    is the non-mate, as in :class:`~whyface.explain.ebp.EbpMethod`.

    Assumption: one node speaks for its layer. Raise InputError if ``top`` is below 1, and ModelError if the network has
    a kind of layer without a rule.

    Parameters
    ----------
    embedder, threshold, source, batch_size, score
        See :class:`~whyface.explain.gradient_method.GradientMethod`. The threshold does not change the map.
    top
        Number of layers whose maps are added. The published code takes 1 unless told otherwise, its demonstration 64;
        each costs a backward pass of every face and sign.

    References
    ----------
    Williford, May, Byrne, "Explainable Face Recognition", ECCV 2020, section 4.
    """

    name: ClassVar[str] = "subtree-ebp"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 32,
        score: PairScore | None = None,
        top: int = 8,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size, score=score)
        if top < 1:
            raise InputError(f"the number of layers must be at least 1, got {top}")
        self.top = top
        check_rules(self.score, self.name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The number of layers."""
        return {"top": self.top}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        with torch.no_grad():
            one, other = (self.score.features(faces) for faces in (first, second))
            scores = self.score.score(one, other)
        map_a, passes_a = self._maps(first, lambda probe: self.score.arguments(probe, other).terms, None)
        map_b, passes_b = self._maps(second, lambda probe: self.score.arguments(one, probe).terms, None)
        backward = passes_a + passes_b
        return PairMaps(to_array(scores), to_array(map_a), to_array(map_b), forward=6, backward=backward)

    def triplet(self, probe: Batch, mate: Batch, non_mate: Batch) -> NDArray[np.float32]:
        """Explain N triplets as published; see the class, and the method of its base."""
        with torch.inference_mode(False):
            terms = [partial(mean_terms, self.score, role_features(self.score, role)) for role in (mate, non_mate)]
            return to_array(self._maps(self.network.pixels(probe), *terms)[0])

    def _maps(self, pixels: Tensor, for_mate: Terms, for_other: Terms | None) -> tuple[Tensor, int]:
        """Return maps (N, H, W) and the number of backward passes; without a non-mate, it is the mate's opposite."""
        pixels = pixels.detach().requires_grad_()
        with torch.enable_grad():
            with LayerOutputs(ruled=False) as plain:
                features = self.score.features(pixels)
            mate = for_mate(features)
            other = -mate if for_other is None else for_other(features)
        rises = [_gradients(terms.sum(), plain.outputs) for terms in (mate, other)]
        with torch.enable_grad(), LayerOutputs(ruled=True) as ruled:
            features = self.score.features(pixels)
        if len(ruled.outputs) != len(plain.outputs):
            raise ModelError(
                f"model {self.network.name!r}: {self.name} does not see the same layers in every run; "
                "choose another method"
            )
        maps, passes = [], 4
        for terms, (up, down) in ((mate, rises), (other, rises[::-1])):
            prior = prior_mass(terms.detach()).view_as(features)
            won = _gradients(features, ruled.outputs, prior)
            found, runs = _weighted(pixels, ruled.outputs, choose_nodes(up, down, won, self.top))
            maps.append(found)
            passes += runs
        return maps[0] - maps[1], passes


def _gradients(output: Tensor, layers: list[Tensor], weights: Tensor | None = None) -> list[Tensor]:
    found = torch.autograd.grad(output, layers, weights, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(layer) if one is None else one.detach() for one, layer in zip(found, layers, strict=True)]


def _weighted(pixels: Tensor, layers: list[Tensor], nodes: Nodes) -> tuple[Tensor, int]:
    """Return the weighted sums of the subtrees' maps, each with sum 1, and the number of backward passes."""
    total, passes = torch.zeros_like(pixels[:, 0]), 0
    for layer, weights, elements in zip(layers, nodes.weights, nodes.elements, strict=True):
        if not bool((weights > 0).any()):
            continue
        start = torch.zeros_like(layer).flatten(1).scatter(1, elements[:, None], 1).view_as(layer)
        (mass,) = torch.autograd.grad(layer, pixels, start, retain_graph=True)
        one = mass.sum(dim=1)
        total += weights[:, None, None] * one / one.amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)
        passes += 1
    return total / total.sum(dim=(1, 2), keepdim=True).clamp(min=1e-30), passes
