"""Verification accuracy of a network in training, and attention P of a trained one (needs the extra ``torch``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.data.protocols import PairProtocol
from whyface.errors import InputError
from whyface.evaluate.rates import fold_accuracy
from whyface.faces.pictures import PictureSource
from whyface.train.corpus import draw_partners
from whyface.train.losses import PairIndices
from whyface.train.networks import Network
from whyface.train.picture_store import PictureStore
from whyface.xcos.attention import PearsonAttention
from whyface.xcos.grid import grid_cosine

_PAIRS: Final = 2000
_ROUNDS: Final = 20


def correlated_attention(
    grids: NDArray[np.float32], embeddings: NDArray[np.float32], people: NDArray[Any], *, seed: int
) -> NDArray[np.float32]:
    """Measure P on 40,000 pairs, half of them of one person where there are such.

    Parameters
    ----------
    grids
        (N, C, H, W).
    embeddings
        Of the teacher, L2-normalised, (N, D).
    people
        Person in each picture, (N,).
    seed
        Draws the pairs.

    Returns
    -------
    Raw P, (H, W), in -1..1.

    Raises
    ------
    InputError
        If there is only one person.
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
