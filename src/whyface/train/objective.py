"""The two-branch objective: identity with a margin, and the teacher's cosine (needs the extra ``torch``).

Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, section 3: the sum of both
branches' means. The baseline has the first branch, and the second on its own cosine.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from whyface.errors import InputError
from whyface.models.heads import flatten_grid
from whyface.train.config import LossConfig, NetworkConfig
from whyface.train.losses import MarginHead, PairIndices, all_pairs, balanced_regression, compare_all
from whyface.train.networks import Network, split_trunk


class Losses(NamedTuple):
    """Loss and its branches, each a scalar; a branch of weight 0 is 0."""

    total: Tensor
    identification: Tensor
    similarity: Tensor
    uniform: Tensor


class Objective(nn.Module):
    """Network and margin head; its forward pass is a step's loss, so that several processes can share it.

    Parameters
    ----------
    network
        What is trained.
    margin
        Identity classifier, or None where that branch has weight 0.
    losses, config
        Weights of the branches; what is trainable.
    half
        Run the backbone in bfloat16.
    """

    def __init__(
        self, network: Network, margin: MarginHead | None, losses: LossConfig, config: NetworkConfig, *, half: bool
    ) -> None:
        super().__init__()
        self.network = network
        self.margin = margin
        self.losses = losses
        self.half_precision = half
        self.fixed_norms = config.norms == "fixed"
        early, late = split_trunk(network.backbone)
        early.requires_grad_(config.trainable == "all")
        late.requires_grad_(config.trainable in {"all", "late"})
        self._frozen = [
            half
            for half, learns in ((early, config.trainable == "all"), (late, config.trainable != "head"))
            if not learns
        ]
        if network.xcos is not None and not losses.similarity:
            # Nothing else reaches the attention, and several processes insist on a gradient for whatever learns.
            network.xcos.requires_grad_(False)
            self._frozen.append(network.xcos)

    def train(self, mode: bool = True) -> Objective:
        """Switch modes; with fixed norms, and in parts that do not learn, BatchNorm and dropout stay as in use."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        if self.fixed_norms:
            self.network.eval()
        return self

    def features(self, faces: Tensor) -> Tensor:
        """Return grids (N, C, H, W) of an xCos network, embeddings (N, D) of the baseline."""
        with torch.autocast(faces.device.type, torch.bfloat16, enabled=self.half_precision):
            maps = self.network.backbone(faces)
        features: Tensor = self.network.head(maps.float())
        return features

    def forward(
        self, faces: Tensor, labels: Tensor, known: Tensor, targets: Tensor | None, pairs: PairIndices | None
    ) -> Losses:
        """Compute a step's loss.

        Parameters
        ----------
        faces
            (N, 3, 112, 112) float32 in 0..255.
        labels, known
            (N,) identity, and whether the face shows one (blends of two people do not).
        targets
            (P,) the teacher's cosines, or None.
        pairs
            Which rows meet, P pairs; None stands for all.
        """
        features = self.features(faces)
        zero = features.new_zeros(())
        identification = similarity = uniform = zero
        if self.losses.identification and self.margin is not None:
            embeddings = flatten_grid(features) if features.ndim == 4 else features
            logits = self.margin(embeddings[known], labels[known])
            # There may be nobody known in a small batch of blends.
            summed = functional.cross_entropy(logits, labels[known], reduction="sum")
            identification = summed / known.sum().clamp_min(1)
        if targets is not None and (self.losses.similarity or self.losses.uniform):
            pairs = all_pairs(len(features)) if pairs is None else pairs
            score, mean = self.compare(features, pairs)
            if self.losses.similarity:
                similarity = self._regress(score, targets)
            if self.losses.uniform:
                uniform = self._regress(mean, targets)
        weights = self.losses
        total = weights.identification * identification + weights.similarity * similarity + weights.uniform * uniform
        return Losses(total, identification.detach(), similarity.detach(), uniform.detach())

    def compare(self, features: Tensor, pairs: PairIndices) -> tuple[Tensor, Tensor]:
        """Score pairs (P,), and give the plain mean of S, (P,); for the baseline both are the cosine."""
        if self.network.xcos is None:
            cosine = self.network.scores(features[pairs.first], features[pairs.second])
            return cosine, cosine
        output = compare_all(features, self.network.xcos.attention, pairs)
        return output.score, output.similarity.mean(dim=(1, 2))

    def _regress(self, score: Tensor, targets: Tensor) -> Tensor:
        if self.losses.balanced:
            return balanced_regression(score, targets, floor=-1.0, below=1.0)
        return functional.mse_loss(score, targets)


def build_margin(network: Network, losses: LossConfig, people: int) -> MarginHead | None:
    """Make the identity classifier, if that branch counts.

    Raises
    ------
    InputError
        If there are not at least two people.
    """
    if not losses.identification:
        return None
    if people < 2:
        raise InputError(f"the identification branch needs at least two people, got {people}")
    with torch.no_grad():
        was = network.training
        network.eval()
        features = network.head(network.backbone(torch.zeros(1, 3, 112, 112)))
        network.train(was)
    return MarginHead(features[0].numel(), people, losses.margin_kind, margin=losses.margin, scale=losses.scale)
