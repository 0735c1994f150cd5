"""Replacement on patched pairs: a true map undoes the attack with few pixels.

Huber et al., WACV 2024, section 4: where the patched pair matches, the pixels that most support a match are set back to
the original face's; where it does not match, those that most speak against one. Good maps lower FMR and FNMR fast.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from whyface.bench.bench_test import BenchTest, Explain, Rows, Subject, rows
from whyface.bench.pair_chunk import PairChunk
from whyface.bench.patches import patch_chance, patched_faces
from whyface.bench.pixel_ranking import first_pixels

STEPS: Final = tuple(round(0.05 * step, 2) for step in range(20))
POINTED: Final = 0.1
"""Share of the pixels that is looked at for patches."""

_PURPOSE, _TRUTH_PURPOSE = 3, 7


class ReplacementTest(BenchTest):
    """Scores along the replacement curve, 0 to 95 % of the pixels, and whether the map knows where the patches are.

    A stranger's patches on a genuine pair must speak against a match, whatever the verdict, and the other face's own
    patches on an impostor pair for one. Measures: ``score`` (by step; step 0 is the patched pair), ``clean`` (the
    unpatched pair), ``patch precision`` (share of patch among the 10 % of pixels that speak most that way) and ``patch
    chance`` (what it would be if the patches had fallen anew).
    """

    name = "replacement"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        patched, masks = patched_faces(chunk)
        second = subject.scorer.features(chunk.second)
        before = subject.scorer.scores(subject.scorer.features(patched), second)
        found = explain(patched, chunk.second)
        orders = subject.most_telling_first(found.map_a, before > subject.threshold, chunk.generators(_PURPOSE))
        truth = subject.most_telling_first(found.map_a, ~chunk.genuine, chunk.generators(_TRUTH_PURPOSE))
        pointed = np.stack([first_pixels(order, POINTED) for order in truth])
        precision, chance = ((where * pointed).sum(axis=(1, 2)) / pointed[0].sum() for where in (masks, patch_chance()))
        values = np.empty((len(chunk), len(STEPS)))
        for row, order in enumerate(orders):
            values[row, 0] = before[row]
            masks_of_steps = [first_pixels(order, step) for step in STEPS[1:]]
            replaced = np.stack([np.where(mask, chunk.first[row], patched[row]) for mask in masks_of_steps])
            values[row, 1:] = subject.scorer.scores(subject.scorer.features(replaced), second[row : row + 1])
        clean = subject.scorer.scores(subject.scorer.features(chunk.first), second).astype(np.float64)
        return [
            rows("score", chunk, STEPS, values),
            rows("clean", chunk, (0.0,), clean),
            rows("patch precision", chunk, (POINTED,), precision),
            rows("patch chance", chunk, (POINTED,), chance),
        ]
