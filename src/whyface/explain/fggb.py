"""FGGB: a gradient map for each dimension of the embedding, weighted by its similarity (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from whyface.errors import InputError
from whyface.explain.gradient_method import GradientMethod, PairScore, to_array
from whyface.explain.pair_method import PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Embedder

Kind = Literal["combined", "similar", "dissimilar"]


class FggbMethod(GradientMethod):
    """Feature-guided gradient backpropagation: the gradient maps of all dimensions, summed with their arguments.

    For each dimension k, G_k = d e_k / d pixels, and its magnitude mean_rgb |G_k| is divided by the Frobenius norm, so
    that steep dimensions do not dominate. Then S = sum_k G_k * (w_k - threshold / K), where w_k = e_A,k * e_B,k is the
    dimension's argument of the cosine. The positive part of S is the similarity map, the negative part the
    dissimilarity map. The other face has its own gradients.

    The weighted sum, w_k and the share of the threshold are from the paper, section III. The paper describes the
    normalisation in words; dividing the magnitude by the Frobenius norm is our interpretation.

    Assumption: a dimension describes the place where its gradient is large.

    The paper runs one backward pass per dimension and face. Here a batch holds ``chunk`` copies of the face; it runs
    forward once, and each backward pass yields ``chunk`` dimensions.

    Parameters
    ----------
    embedder, threshold, source, score
        See :class:`~whyface.explain.gradient_method.GradientMethod`. For the xCos score, the dimensions are the
        channels of all places: 1,568, which takes long.
    batch_size
        Faces in memory at once, half of them of either side; at least 2. Half of it is the chunk.
    kind
        ``"combined"``: S; ``"similar"``: its positive part; ``"dissimilar"``: its negative part (with its sign).
    dimensions
        Use only this many randomly drawn dimensions: faster, but an estimate.
    seed
        Seed of that draw.

    References
    ----------
    Lu, Xu, Ebrahimi, "Explainable Face Verification via Feature-Guided Gradient Backpropagation", FG 2024.
    """

    name: ClassVar[str] = "fggb"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 8,
        score: PairScore | None = None,
        kind: Kind = "combined",
        dimensions: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size, score=score)
        if kind not in get_args(Kind):
            raise InputError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
        if dimensions is not None and dimensions < 1:
            raise InputError(f"at least one dimension must be taken, got {dimensions}")
        self.kind: Kind = kind
        self.dimensions = dimensions
        self.seed = seed

    @property
    def settings(self) -> Mapping[str, Any]:
        """The kind of map, and the number of dimensions if not all are used."""
        if self.dimensions is None:
            return {"kind": self.kind}
        return {"kind": self.kind, "dimensions": self.dimensions, "seed": self.seed}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain pairs one by one, since the batch holds copies of one pair."""
        with torch.no_grad():
            features = self.score.features(torch.cat([first, second]))
            terms, shares = self.score.arguments(*features.tensor_split(2))
            weights = terms - self.threshold * shares
        chosen = self._chosen(terms.shape[1])
        rows = [
            weighted_sizes(self.score, first[row], second[row], weights[row], self.batch_size // 2, chosen)
            for row in range(len(first))
        ]
        map_a, map_b = (self._kept(torch.stack([row[side] for row in rows])) for side in (0, 1))
        return PairMaps(to_array(terms.sum(dim=1)), map_a, map_b, forward=2 + self.batch_size, backward=2 * len(chosen))

    def _chosen(self, count: int) -> Tensor:
        if self.dimensions is None or self.dimensions >= count:
            return torch.arange(count)
        drawn = np.random.default_rng(self.seed).choice(count, self.dimensions, replace=False)
        return torch.from_numpy(np.sort(drawn))

    def _kept(self, maps: Tensor) -> NDArray[np.float32]:
        return to_array({"combined": maps, "similar": maps.clamp(min=0), "dissimilar": maps.clamp(max=0)}[self.kind])


def weighted_sizes(
    score: PairScore, first: Tensor, second: Tensor, weights: Tensor, chunk: int, chosen: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the weighted sum of the dimensions' gradient magnitudes.

    Parameters
    ----------
    score
        Determines the features that are differentiated: those that enter the arguments.
    first, second
        Pixels of one pair, (3, 112, 112) each.
    weights
        (K,), one per dimension.
    chosen
        Indices of the dimensions to use; None: all.

    Returns
    -------
    Two maps (112, 112): sum over k of weights_k * mean_rgb |G_k| / norm. A dimension without gradient adds nothing.
    """
    chosen = (torch.arange(len(weights)) if chosen is None else chosen).to(weights.device)
    chunk = min(chunk, len(chosen))
    pixels = torch.cat([first.expand(chunk, -1, -1, -1), second.expand(chunk, -1, -1, -1)]).contiguous()
    pixels.requires_grad_()
    with torch.enable_grad():
        dimensions = score.unit_features(score.features(pixels))
    total = pixels.new_zeros(2, *pixels.shape[2:])
    for start in range(0, len(chosen), chunk):
        part = chosen[start : start + chunk]
        wanted = torch.zeros_like(dimensions)
        rows = torch.arange(len(part), device=pixels.device)
        wanted[rows, part] = 1
        wanted[chunk + rows, part] = 1
        (gradient,) = torch.autograd.grad(dimensions, pixels, wanted, retain_graph=True)
        sizes = gradient.abs().mean(dim=1)
        sizes = functional.normalize(sizes.flatten(1), eps=1e-30).view(2, chunk, *sizes.shape[1:])
        total += torch.einsum("k,skhw->shw", weights[part], sizes[:, : len(part)])
    return total[0], total[1]
