"""Networks with layers made random from the top, and methods opened on them (needs the extra ``torch``)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whyface.errors import InputError, ModelError
from whyface.explain.gradient_method import GradientMethod, PairScore, XcosScore, to_array
from whyface.explain.pair_method import PairMaps, PairMethod
from whyface.explain.pair_scorer import Features
from whyface.explain.registry import MethodEntry
from whyface.models.embedder import Batch


def layers_from_the_top(score: PairScore) -> list[nn.Module]:
    """List the layers that have weights of their own, from the score down to the pixels, as they were registered."""
    parts: list[nn.Module] = [score.embedder.trunk, score.embedder.head]
    if isinstance(score, XcosScore):
        # The head only flattens the grid here, and the attention compares the grids.
        parts = [score.embedder.trunk, *([score.attention] if isinstance(score.attention, nn.Module) else [])]
    layers = [layer for part in parts for layer in part.modules() if any(True for _ in layer.parameters(recurse=False))]
    # A split network is part of both trunk and head.
    return list(dict.fromkeys(layers))[::-1]


def randomised_score(score: PairScore, share: float, *, seed: int = 0) -> PairScore:
    """Copy a score and shuffle the values within each weight tensor of its topmost layers.

    Shuffling keeps every layer's range, so that the network still gives finite numbers of the usual size.

    Parameters
    ----------
    score
        The score; it is not changed.
    share
        Which share of the layers, 0..1, rounded up.
    seed
        Of the shuffle.

    Raises
    ------
    InputError
        If the share is not in 0..1.
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


class ScoreFromTorch:
    """A torch score for methods that look from outside; see :class:`~whyface.explain.pair_scorer.PairScorer`."""

    def __init__(self, score: PairScore) -> None:
        self._score = score
        self.name, self.sha256 = score.embedder.name, score.embedder.sha256

    @torch.no_grad()
    def features(self, batch: Batch) -> Features:
        """Run the network on faces (N, 3, 112, 112)."""
        return to_array(self._score.features(self._score.embedder.pixels(batch)))

    @torch.no_grad()
    def scores(self, first: Features, second: Features) -> NDArray[np.float32]:
        """Score N pairs of features; a single row on one side stands for N equal ones."""
        count = max(len(first), len(second))
        device = self._score.embedder.device
        one, other = (torch.from_numpy(part).to(device).expand(count, *part.shape[1:]) for part in (first, second))
        return to_array(self._score.score(one, other))


class EvidenceFromTorch(GradientMethod):
    """:class:`~whyface.explain.cells.XcosEvidenceMethod` on a torch network."""

    name: ClassVar[str] = "xcos"

    @torch.no_grad()
    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        if not isinstance(self.score, XcosScore):
            raise ModelError(f"method {self.name!r} needs an xCos score; open the model with an attention")
        found = self.score.cells(*self.score.features(torch.cat([first, second])).tensor_split(2))
        evidence = to_array((found.similarity - self.threshold) * found.attention)
        return PairMaps(to_array(found.score), evidence, evidence.copy(), forward=2)


def open_on_torch(
    entry: MethodEntry, score: PairScore, *, threshold: float, seed: int = 0, options: Mapping[str, Any] | None = None
) -> PairMethod:
    """Open a method so that it explains a torch score, whatever the method needs.

    Parameters
    ----------
    entry
        The method.
    score
        The score, with any weights.
    threshold, seed, options
        As when it is opened on the model itself.
    """
    common: dict[str, Any] = {"threshold": threshold, **(options or {})}
    if "dimensions" in common:
        common["seed"] = seed
    if entry.needs == "xcos":
        return EvidenceFromTorch(score.embedder, score=score, **common)
    if entry.needs == "torch":
        common["score"] = score
    elif entry.needs == "any embedder":
        common |= {"scorer": ScoreFromTorch(score), "seed": seed}
    method: PairMethod = entry.load()(score.embedder, **common)
    return method
