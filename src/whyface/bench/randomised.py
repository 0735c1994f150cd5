"""Networks with layers randomised from the top, and methods opened on them (needs the extra ``torch``)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whyface.errors import InputError
from whyface.explain.cells import XcosEvidenceMethod
from whyface.explain.gradient_method import PairScore, to_array
from whyface.explain.method_table import MethodEntry
from whyface.explain.pair_method import PairMethod
from whyface.models.embedder import Batch, Embedder
from whyface.xcos.comparison import COSINE, Features
from whyface.xcos.grid import AttentionKind
from whyface.xcos.model import XcosMaps


def layers_from_the_top(score: PairScore) -> list[nn.Module]:
    """Return the layers with weights, from the score down to the pixels, as registered."""
    modules = (layer for part in score.weighted_parts() for layer in part.modules())
    layers = [layer for layer in modules if any(True for _ in layer.parameters(recurse=False))]
    # A split network is part of both trunk and head.
    return list(dict.fromkeys(layers))[::-1]


def randomised_score(score: PairScore, share: float, *, seed: int = 0) -> PairScore:
    """Return a copy of a score with the values in each weight tensor of its topmost layers shuffled.

    Shuffling keeps every layer's range, so that the network still returns finite numbers of the usual size. Raise
    InputError if the share is not in 0..1.

    Parameters
    ----------
    score
        The score; it is not changed.
    share
        Share of the layers, 0..1, rounded up.
    """
    if not 0 <= share <= 1:
        raise InputError(f"the share of layers must be between 0 and 1, got {share:g}")
    changed = copy.deepcopy(score)
    layers = layers_from_the_top(changed)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for layer in layers[: math.ceil(share * len(layers))]:
            for weights in layer.parameters(recurse=False):
                order = torch.from_numpy(rng.permutation(weights.numel())).to(weights.device)
                weights.copy_(weights.flatten()[order].view_as(weights))
    return changed


class ComparisonFromTorch:
    """A torch score for black-box methods; see :class:`~whyface.xcos.comparison.Comparison`."""

    def __init__(self, score: PairScore) -> None:
        self._score = score
        self.embedder: Embedder = score.embedder
        self.attention: AttentionKind | None = score.kind
        self.kind: str = score.kind or COSINE
        self.name, self.sha256 = score.embedder.name, score.embedder.sha256

    @torch.no_grad()
    def features(self, batch: Batch) -> Features:
        """Run the network on faces (N, 3, 112, 112)."""
        return to_array(self._score.features(self._score.embedder.pixels(batch)))

    @torch.no_grad()
    def scores(self, first: Features, second: Features) -> NDArray[np.float32]:
        """Score N pairs of features; a single row on one side is repeated."""
        count = max(len(first), len(second))
        one, other = (self._tensor(part).expand(count, *part.shape[1:]) for part in (first, second))
        return to_array(self._score.score(one, other))

    @torch.no_grad()
    def maps(self, first: Features, second: Features) -> XcosMaps | None:
        """Return S, W and score of N pairs; None for embeddings."""
        found = self._score.cells(self._tensor(first), self._tensor(second))
        return None if found is None else XcosMaps(*(to_array(part) for part in found))

    def _tensor(self, features: Features) -> Tensor:
        return torch.from_numpy(features).to(self._score.embedder.device)


def open_on_torch(
    entry: MethodEntry, score: PairScore, *, threshold: float, seed: int = 0, options: Mapping[str, Any] | None = None
) -> PairMethod:
    """Open any method on a torch score.

    Parameters
    ----------
    score
        The score, with any weights.
    threshold, seed, options
        As for the model itself.
    """
    common: dict[str, Any] = {"threshold": threshold, **(options or {})}
    if "dimensions" in common:
        common["seed"] = seed
    if entry.needs == "xcos":
        return XcosEvidenceMethod(ComparisonFromTorch(score), **common)
    if entry.needs == "torch":
        common["score"] = score
    offered = {"comparison": ComparisonFromTorch(score), "seed": seed} if entry.needs == "any embedder" else {}
    method: PairMethod = entry.make(score.embedder, offered=offered, **common)
    return method
