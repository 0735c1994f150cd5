"""A sanity check: a map that stays the same while the network forgets what it learned explains something else.

Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: weights are made random from the output downwards.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from whyface.bench.bench_test import BenchTest, Explain, Rows, Subject, rows
from whyface.bench.pair_chunk import PairChunk
from whyface.bench.pixel_ranking import to_pixels
from whyface.bench.stability import rank_correlation

SHARES: Final = (0.05, 0.25, 0.5, 1.0)
"""Shares of the layers that are made random, from the top."""


class RandomisationTest(BenchTest):
    """How much of the map is left when the network's layers are made random from the top.

    Measures: ``similarity``, the rank correlation of the maps before and after, mean of both faces, by share
    of layers. For methods on networks whose weights can be changed; others have no rows.
    """

    name = "randomisation"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        if subject.randomised is None:
            return []
        plain = explain(chunk.first, chunk.second)
        found = np.empty((len(chunk), len(SHARES)))
        for column, share in enumerate(SHARES):
            after = subject.randomised(share).maps(chunk.first, chunk.second)
            sides = ((plain.map_a, after.map_a), (plain.map_b, after.map_b))
            found[:, column] = np.mean(
                [rank_correlation(to_pixels(one), to_pixels(other)) for one, other in sides], axis=0
            )
        return [rows("similarity", chunk, SHARES, found)]
