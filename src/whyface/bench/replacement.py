"""Replacement on patched pairs: a true map undoes the attack with few pixels.

Huber et al., WACV 2024, section 4: where the patched pair matches, the pixels that most support a match are set back to
the original face's; where it does not match, those that most speak against one. Good maps lower FMR and FNMR fast.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from whyface.bench.bench_test import BenchTest, Explain, Rows, Subject, rows
from whyface.bench.pair_chunk import PairChunk
from whyface.bench.patches import patched_faces
from whyface.bench.pixel_ranking import first_pixels

STEPS: Final = tuple(round(0.05 * step, 2) for step in range(20))
_PURPOSE: Final = 3


class ReplacementTest(BenchTest):
    """Scores along the replacement curve, 0 to 95 % of the pixels, and the share of true patch among the first 10 %.

    Measures: ``score`` (by step; step 0 is the patched pair), ``clean`` (the unpatched pair) and ``patch precision``.
    """

    name = "replacement"

    def run(self, chunk: PairChunk, subject: Subject, explain: Explain) -> list[Rows]:
        """Measure a chunk."""
        patched, masks = patched_faces(chunk)
        second = subject.scorer.features(chunk.second)
        before = subject.scorer.scores(subject.scorer.features(patched), second)
        found = explain(patched, chunk.second)
        orders = subject.most_telling_first(found.map_a, before > subject.threshold, chunk.generators(_PURPOSE))
        values = np.empty((len(chunk), len(STEPS)))
        precision = np.empty(len(chunk))
        for row, order in enumerate(orders):
            values[row, 0] = before[row]
            masks_of_steps = [first_pixels(order, step) for step in STEPS[1:]]
            replaced = np.stack([np.where(mask, chunk.first[row], patched[row]) for mask in masks_of_steps])
            values[row, 1:] = subject.scorer.scores(subject.scorer.features(replaced), second[row : row + 1])
            precision[row] = masks[row][first_pixels(order, 0.1)].mean()
        clean = subject.scorer.scores(subject.scorer.features(chunk.first), second).astype(np.float64)
        return [
            rows("score", chunk, STEPS, values),
            rows("clean", chunk, (0.0,), clean),
            rows("patch precision", chunk, (0.1,), precision),
        ]
