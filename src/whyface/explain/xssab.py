"""xSSAB: similarity score argument backpropagation (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.errors import InputError
from whyface.explain.gradient_method import GradientMethod, PairScore, to_array
from whyface.explain.pair_method import PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Embedder

Kind = Literal["combined", "positive", "negative"]
Gradients = tuple[Tensor, Tensor]


class XssabMethod(GradientMethod):
    """The pixels that carry the arguments for and against a match.

    The score is a sum of arguments, e_A,n * e_B,n. An argument is positive if it reaches its share of the threshold,
    threshold / N, otherwise negative. The sum of each group is backpropagated to the pixels of both faces, which gives
    G_pos and G_neg; together they are the gradient of the score. M_pos and M_neg are the means of |G_pos| and |G_neg|
    over the colours, and the combined map is M_pos - M_neg.

    Assumption: the gradient represents the role of a pixel (it says whether a change of the pixel would matter, not
    how much the pixel contributes). Gradients are with respect to pixel values in 0..255.

    Both groups come from one forward pass over both faces and two backward passes. The paper's code needs twelve
    forward and four backward passes for the same maps.

    Parameters
    ----------
    embedder, threshold, source, batch_size, score
        See :class:`~whyface.explain.gradient_method.GradientMethod`. For the xCos score, the arguments are the channels
        of all places, and the share of the threshold is the weight of the place.
    kind
        ``"combined"``: M_pos - M_neg; ``"positive"``: M_pos; ``"negative"``: -M_neg (negative, as it speaks against).

    References
    ----------
    Huber, Luu, Terhoerst, Damer, "Efficient Explainable Face Verification based on Similarity Score Argument
    Backpropagation", WACV 2024.
    """

    name: ClassVar[str] = "xssab"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 32,
        score: PairScore | None = None,
        kind: Kind = "combined",
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size, score=score)
        if kind not in get_args(Kind):
            raise InputError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
        self.kind: Kind = kind

    @property
    def settings(self) -> Mapping[str, Any]:
        """The kind of map."""
        return {"kind": self.kind}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        score, positive, negative = argument_gradients(self.score, first, second, self.threshold)
        map_a, map_b = (self._map(pos, neg) for pos, neg in zip(positive, negative, strict=True))
        return PairMaps(to_array(score), map_a, map_b, forward=2, backward=4)

    def _map(self, positive: Tensor, negative: Tensor) -> NDArray[np.float32]:
        for_match, against = (gradient.abs().mean(dim=1) for gradient in (positive, negative))
        return to_array({"combined": for_match - against, "positive": for_match, "negative": -against}[self.kind])


def argument_gradients(
    score: PairScore, first: Tensor, second: Tensor, threshold: float
) -> tuple[Tensor, Gradients, Gradients]:
    """Backpropagate the positive and the negative arguments of N pairs to both faces' pixels.

    Return the score (N,), and the gradients of the positive and of the negative arguments with respect to both faces,
    (N, 3, 112, 112) each.

    Parameters
    ----------
    first, second
        Pixels (N, 3, 112, 112), 0..255.
    threshold
        Divided into shares: an argument is positive iff it is at least its share.
    """
    pixels = torch.cat([first, second]).requires_grad_()
    with torch.enable_grad():
        features = score.features(pixels)
        terms, shares = score.arguments(*features.tensor_split(2))
        positive = terms.detach() >= threshold * shares
        sums = [(terms * group).sum() for group in (positive, ~positive)]
        # Two backward passes over the same graph are faster than one over a doubled batch, which would also need
        # every face twice in the forward pass, and than a vectorised one (see benchmarks/gradient_methods.py).
        (for_match,) = torch.autograd.grad(sums[0], pixels, retain_graph=True)
        (against,) = torch.autograd.grad(sums[1], pixels)
    halves = [gradient.tensor_split(2) for gradient in (for_match, against)]
    return terms.detach().sum(dim=1), (halves[0][0], halves[0][1]), (halves[1][0], halves[1][1])
