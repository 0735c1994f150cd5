"""Contrastive excitation backprop on pairs (needs the extra ``torch``)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from whyface.explain.excitation import ExcitationMode
from whyface.explain.gradient_method import GradientMethod, to_array
from whyface.explain.pair_method import PairMaps


class EbpMethod(GradientMethod):
    """Which pixels win for a match, and which win against it.

    The score is one more neuron on top of the embedding of A, with e_B as its weights. Its winning probability, 1, is
    shared among the dimensions that raise it, in proportion to their arguments e_A,n * e_B,n, and handed down layer by
    layer to the pixels (see :mod:`whyface.explain.excitation`). The contrast is the neuron with the weights -e_B, which
    the dimensions drive that speak against a match. The map is the first map minus the second, each summing to 1, so it
    sums to 0 (unless no dimension at all is on one side): what both share, such as what any face excites, goes out. For
    the other face the same with e_A.

    Published for triplets, with a third person as the contrast. A pair has none; minus e_B is the contrast of the
    original paper.

    Assumed: what a layer adds up, it adds up in proportion; biases and the shape of activations do not matter.

    Parameters
    ----------
    embedder, threshold, source, batch_size, score
        See :class:`~whyface.explain.gradient_method.GradientMethod`. The threshold does not change the map.

    Raises
    ------
    ModelError
        While explaining: the network has a kind of layer without a rule.

    References
    ----------
    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, sections 3.2 and 3.3; for faces:
    Williford, May, Byrne, "Explainable Face Recognition", ECCV 2020.
    """

    name: ClassVar[str] = "ebp"

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        pixels = torch.cat([first, second]).requires_grad_()
        with torch.enable_grad(), ExcitationMode():
            features = self.score.features(pixels)
        with torch.no_grad():
            terms, _ = self.score.arguments(*features.detach().tensor_split(2))
            both = torch.cat([terms, terms])
        winners = winning_pixels(features, pixels, both) - winning_pixels(features, pixels, -both)
        map_a, map_b = winners.tensor_split(2)
        return PairMaps(to_array(terms.sum(dim=1)), to_array(map_a), to_array(map_b), forward=2, backward=4)


def winning_pixels(features: Tensor, pixels: Tensor, arguments: Tensor) -> Tensor:
    """Hand the probability down from features to pixels.

    Parameters
    ----------
    features
        (N, ...), computed from ``pixels`` inside :class:`~whyface.explain.excitation.ExcitationMode`.
    pixels
        (N, 3, H, W), requiring gradients.
    arguments
        (N, K), K numbers per face of ``features``: positive ones drive the neuron on top, in proportion.

    Returns
    -------
    (N, H, W), each map >= 0 and summing to 1, or all 0 where nothing drives the neuron.
    """
    prior = arguments.clamp(min=0)
    prior = prior / prior.sum(dim=1, keepdim=True).clamp(min=1e-30)
    (mass,) = torch.autograd.grad(features, pixels, prior.view_as(features), retain_graph=True)
    mass = mass.sum(dim=1)
    # A layer whose output went the way of its bias alone hands nothing down.
    return mass / mass.sum(dim=(1, 2), keepdim=True).clamp(min=1e-30)
