"""Attention P of a trained network: how well each place foretells the teacher (needs the extra ``torch``).

Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021, section 3.3: over training
pairs, the Pearson correlation between a place's cosine and the teacher's.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from whyface.train.pair_sampler import draw_partners
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
        Who is in each picture, (N,).
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
