"""The two-branch objective, and a network's verification accuracy in training (needs the extra ``torch``).

Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, section 3: the sum of the
means of both branches. The baseline has the first branch, and the second with its own cosine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from whyface.data.protocols import PairProtocol
from whyface.errors import InputError
from whyface.evaluate.rates import fold_accuracy
from whyface.faces.pictures import PictureSource
from whyface.identify.evidential import EvidentialHead
from whyface.models.heads import flatten_grid
from whyface.train.config import LossConfig, NetworkConfig
from whyface.train.corpus import draw_partners
from whyface.train.losses import (
    EvidentialLayer,
    Hint,
    MarginHead,
    PairIndices,
    all_pairs,
    balanced_regression,
    compare_all,
)
from whyface.train.networks import Network, split_trunk
from whyface.train.picture_store import PictureStore
from whyface.xcos.grid import PearsonAttention, grid_cosine


class Losses(NamedTuple):
    """The loss and its branches, each a scalar; a branch of weight 0 is 0."""

    total: Tensor
    identification: Tensor
    similarity: Tensor
    uniform: Tensor
    hint: Tensor


class Objective(nn.Module):
    """Network and margin head. The forward pass returns the loss of a step, so that several processes can share it.

    Parameters
    ----------
    network
        The network to train.
    margin
        Identity classifier, or None if that branch has weight 0.
    losses, config
        Weights of the branches, and which parts are trained.
    half
        Run the backbone in bfloat16.
    hint
        The loss that learns from the teacher's maps, if it has a weight.
    apart
        The first and the second half of a batch, which are the two sides of its pairs, go through the network one after
        the other, as in the public code: BatchNorm then sees one side at a time.
    """

    def __init__(
        self,
        network: Network,
        margin: IdentityHead | None,
        losses: LossConfig,
        config: NetworkConfig,
        *,
        half: bool,
        hint: Hint | None = None,
        apart: bool = False,
    ) -> None:
        super().__init__()
        self.apart = apart
        self.network = network
        self.margin = margin
        self.hint = hint
        self.losses = losses
        self.half_precision = half
        self.epoch, self.progress = 0, 0.0
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
            # No other branch reaches the attention, and several processes need a gradient for every trainable tensor.
            network.xcos.requires_grad_(False)
            self._frozen.append(network.xcos)

    def train(self, mode: bool = True) -> Objective:
        """Switch modes; with fixed norms, and in frozen parts, BatchNorm and dropout stay in eval mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        if self.fixed_norms:
            self.network.eval()
        return self

    def forward(
        self,
        faces: Tensor,
        labels: Tensor,
        known: Tensor,
        targets: Tensor | None,
        pairs: PairIndices | None,
        seen: tuple[Tensor, Tensor] | None = None,
    ) -> Losses:
        """Compute a step's loss.

        Parameters
        ----------
        labels, known
            (N,) identity, and whether the face has one (blends of two people do not).
        targets
            The teacher's cosines, (P,), or None.
        pairs
            The P pairs of rows; None stands for all.
        seen
            The teacher's embeddings and maps of the faces, for a hint.
        """
        sides = faces.chunk(2) if self.apart else (faces,)
        with torch.autocast(faces.device.type, torch.bfloat16, enabled=self.half_precision):
            maps = torch.cat([self.network.backbone(side) for side in sides])
        # Grids (N, C, H, W) of an xCos network, embeddings (N, D) of the baseline.
        features = torch.cat([self.network.head(side) for side in maps.float().chunk(len(sides))])
        zero = features.new_zeros(())
        identification = similarity = uniform = hint = zero
        if self.losses.identification and self.margin is not None:
            embeddings = flatten_grid(features) if features.ndim == 4 else features
            summed = self.margin.summed_loss(embeddings[known], labels[known], epoch=self.epoch, progress=self.progress)
            # A small batch may consist of blends only.
            identification = summed / known.sum().clamp_min(1)
        if targets is not None and (self.losses.similarity or self.losses.uniform):
            pairs = all_pairs(len(features), features.device) if pairs is None else pairs
            score, mean = self.compare(features, pairs)
            if self.losses.similarity:
                similarity = self._regress(score, targets)
            if self.losses.uniform:
                uniform = self._regress(mean, targets)
        if seen is not None and self.hint is not None:
            hint = self.hint(maps.float(), seen[1], seen[0])
        weights = self.losses
        total = weights.identification * identification + weights.similarity * similarity + weights.uniform * uniform
        total = total + weights.hint * hint
        return Losses(total, identification.detach(), similarity.detach(), uniform.detach(), hint.detach())

    def compare(self, features: Tensor, pairs: PairIndices) -> tuple[Tensor, Tensor]:
        """Return the scores (P,) and the unweighted mean of S, (P,); for the baseline both are the cosine."""
        if self.network.xcos is None:
            cosine = self.network.scores(features[pairs.first], features[pairs.second])
            return cosine, cosine
        if self.apart:
            output = self.network.xcos(features[pairs.first], features[pairs.second])
        else:
            output = compare_all(features, self.network.xcos.attention, pairs)
        return output.score, output.similarity.mean(dim=(1, 2))

    def _regress(self, score: Tensor, targets: Tensor) -> Tensor:
        if self.losses.balanced:
            return balanced_regression(score, targets, floor=-1.0, below=1.0)
        return functional.mse_loss(score, targets)


IdentityHead = MarginHead | EvidentialLayer


def build_margin(network: Network, losses: LossConfig, people: int) -> IdentityHead | None:
    """Return the identity classifier, by margins or evidence, or None if that branch has weight 0.

    Raise InputError if there are not at least two people.
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
    if losses.evidential is not None:
        return EvidentialLayer(
            features[0].numel(),
            people,
            losses.evidential,
            evidence=losses.evidence,
            limit=losses.clamp,
            divergence=losses.divergence,
            avu=losses.avu,
        )
    return MarginHead(features[0].numel(), people, losses.margin_kind, margin=losses.margin, scale=losses.scale)


def trained_head(
    network: Network, layer: IdentityHead | None, people: Sequence[str], record: Mapping[str, Any]
) -> EvidentialHead | None:
    """Return the head of a network that was trained by evidence, else None.

    Of a grid, directions are places first, as :func:`whyface.train.run_files.run_features` gives faces.
    """
    if not isinstance(layer, EvidentialLayer):
        return None
    directions = functional.normalize(layer.weight.detach().cpu())
    if network.xcos is not None:
        directions = directions.reshape(len(people), -1, 7, 7).permute(0, 2, 3, 1).flatten(1)
    scale = float(layer.raw[0].detach().exp())
    shift = scale * float(layer.raw[1].detach())
    rows = np.ascontiguousarray(directions.numpy(), np.float32)
    return EvidentialHead(tuple(people), rows, scale, shift, layer.evidence, dict(record), layer.limit)


_PAIRS: Final = 2000
_ROUNDS: Final = 20


def correlated_attention(
    grids: NDArray[np.float32], embeddings: NDArray[np.float32], people: NDArray[Any], *, seed: int
) -> NDArray[np.float32]:
    """Measure P on 40,000 pairs, half of them genuine if there are any.

    Return raw P, (H, W), in -1..1. Raise InputError if there is only one person.

    Parameters
    ----------
    grids
        (N, C, H, W).
    embeddings
        Embeddings of the teacher, L2-normalised, (N, D).
    people
        Person in each picture, (N,).
    """
    labels = torch.from_numpy(np.unique(people, return_inverse=True)[1].astype(np.int64))
    rows = torch.split(torch.argsort(labels, stable=True), torch.bincount(labels).tolist())
    generator = torch.Generator().manual_seed(seed)
    pearson = PearsonAttention()
    for _ in range(_ROUNDS):
        drawn = torch.randint(len(labels), (_PAIRS,), generator=generator)
        second = draw_partners(drawn, labels, rows, genuine=0.5, generator=generator).numpy()
        first = drawn.numpy()
        cosine = (embeddings[first] * embeddings[second]).sum(axis=1)
        pearson.update(grid_cosine(grids[first], grids[second]), cosine)
    return pearson.raw()


FOLDS = 10
_BATCH, _VALIDATION_PAIRS, _MOST = 128, 2048, 6000


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Pictures (N, 3, 112, 112) uint8 and P pairs of them; ``genuine`` and ``fold`` (P,) as in protocols."""

    pictures: Tensor
    pairs: PairIndices
    genuine: NDArray[np.bool_]
    fold: NDArray[np.intp]


def from_people(store: PictureStore, *, seed: int) -> ValidationSet:
    """Make pairs of held-out people: all genuine pairs, at most 3,000, and as many impostor pairs.

    Raise InputError if there are no pairs of one of the two kinds.
    """
    rng = np.random.default_rng(seed)
    labels = store.labels.numpy()
    first, second = np.triu_indices(len(labels), 1)
    same = labels[first] == labels[second]
    count = min(int(same.sum()), int((~same).sum()), _MOST // 2)
    if not count:
        raise InputError("the best network is chosen on pairs of both kinds; hold out at least two people (held_out)")
    chosen = np.concatenate([rng.permutation(np.flatnonzero(kind))[:count] for kind in (same, ~same)])
    chosen = rng.permutation(chosen)
    pairs = PairIndices(torch.from_numpy(first[chosen]), torch.from_numpy(second[chosen]))
    fold = np.arange(len(chosen)) * FOLDS // max(1, len(chosen))
    return ValidationSet(store.read(torch.arange(len(store))), pairs, same[chosen], fold.astype(np.intp))


def from_protocol(source: PictureSource, protocol: PairProtocol) -> ValidationSet:
    """Return the pictures and pairs of a protocol."""
    pictures = np.stack([source.read(name).transpose(2, 0, 1) for name in protocol.pictures])
    pairs = PairIndices(
        torch.from_numpy(protocol.left.astype(np.int64)), torch.from_numpy(protocol.right.astype(np.int64))
    )
    return ValidationSet(torch.from_numpy(pictures), pairs, protocol.genuine, protocol.fold)


@torch.no_grad()
def verification_accuracy(network: Network, validation: ValidationSet, *, half: bool = False) -> float:
    """Return the cross-validated accuracy, 0..1, of a network in eval mode."""
    device = next(network.parameters()).device
    parts = []
    for pictures in torch.split(validation.pictures, _BATCH):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            maps = network.backbone(pictures.to(device).float())
        parts.append(network.head(maps.float()))
    features = torch.cat(parts)
    scores = []
    for first, second in zip(
        torch.split(validation.pairs.first, _VALIDATION_PAIRS),
        torch.split(validation.pairs.second, _VALIDATION_PAIRS),
        strict=True,
    ):
        a, b = features[first.to(device)], features[second.to(device)]
        scores.append(network.scores(a, b))
    return float(fold_accuracy(torch.cat(scores).cpu().numpy(), validation.genuine, validation.fold).mean)
