"""Verification accuracy of a network in training: what the best one is chosen by (needs the extra ``torch``)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.errors import InputError
from whyface.evaluate.folds import fold_accuracy
from whyface.evaluate.pictures import PictureSource
from whyface.evaluate.protocols import PairProtocol
from whyface.train.distillation import PairIndices
from whyface.train.networks import Network
from whyface.train.picture_store import PictureStore
from whyface.xcos.learned import XcosNetwork

FOLDS = 10
_BATCH, _PAIRS, _MOST = 128, 2048, 6000


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Pictures (N, 3, 112, 112) uint8 and P pairs of them; ``genuine`` and ``fold`` (P,) as in protocols."""

    pictures: Tensor
    pairs: PairIndices
    genuine: NDArray[np.bool_]
    fold: NDArray[np.intp]


def from_people(store: PictureStore, *, seed: int) -> ValidationSet:
    """Make pairs of held-out people: all genuine ones, at most 3,000 of them, and as many impostor pairs.

    Raises
    ------
    InputError
        If one of the two kinds cannot be made of them.
    """
    rng = np.random.default_rng(seed)
    labels = store.labels.numpy()
    first, second = np.triu_indices(len(labels), 1)
    same = labels[first] == labels[second]
    count = min(int(same.sum()), int((~same).sum()), _MOST // 2)
    if not count:
        raise InputError("the best network is chosen by pairs of both kinds; hold out at least two people (held_out)")
    chosen = np.concatenate([rng.permutation(np.flatnonzero(kind))[:count] for kind in (same, ~same)])
    chosen = rng.permutation(chosen)
    pairs = PairIndices(torch.from_numpy(first[chosen]), torch.from_numpy(second[chosen]))
    fold = np.arange(len(chosen)) * FOLDS // max(1, len(chosen))
    return ValidationSet(store.read(torch.arange(len(store))), pairs, same[chosen], fold.astype(np.intp))


def from_protocol(source: PictureSource, protocol: PairProtocol) -> ValidationSet:
    """Take the pairs of a protocol."""
    pictures = np.stack([source.read(name).transpose(2, 0, 1) for name in protocol.pictures])
    pairs = PairIndices(
        torch.from_numpy(protocol.left.astype(np.int64)), torch.from_numpy(protocol.right.astype(np.int64))
    )
    return ValidationSet(torch.from_numpy(pictures), pairs, protocol.genuine, protocol.fold)


@torch.no_grad()
def verification_accuracy(network: Network, validation: ValidationSet, *, half: bool = False) -> float:
    """Give the cross-validated accuracy, 0..1, of a network in eval mode."""
    device = next(network.parameters()).device
    parts = []
    for pictures in torch.split(validation.pictures, _BATCH):
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            maps = network.backbone(pictures.to(device).float())
        parts.append(network.head(maps.float()))
    features = torch.cat(parts)
    scores = []
    for first, second in zip(
        torch.split(validation.pairs.first, _PAIRS), torch.split(validation.pairs.second, _PAIRS), strict=True
    ):
        a, b = features[first.to(device)], features[second.to(device)]
        scores.append(network.xcos(a, b).score if isinstance(network, XcosNetwork) else (a * b).sum(dim=1))
    return float(fold_accuracy(torch.cat(scores).cpu().numpy(), validation.genuine, validation.fold).mean)
