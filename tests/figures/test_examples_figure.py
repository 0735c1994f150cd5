"""Examples of verdicts: who is in which block, and what is drawn."""

from __future__ import annotations

import numpy as np

from whyface.figures.examples import OUTCOMES, Example, examples_figure, outcomes
from whyface.xcos.model import XcosMaps


def test_every_pair_has_one_outcome() -> None:
    genuine = np.array([True, True, False, False, True])
    matched = np.array([True, False, True, False, True])
    found = outcomes(genuine, matched)
    assert {name: numbers.tolist() for name, numbers in found.items()} == {
        "True positives": [0, 4],
        "False positives": [2],
        "True negatives": [3],
        "False negatives": [1],
    }


def test_panels_of_each_pair_and_blocks_without_any() -> None:
    maps = XcosMaps(np.full((1, 7, 7), 0.5, np.float32), np.full((1, 7, 7), 1 / 49, np.float32), np.array([0.5]))
    example = Example(("a/1.jpg", "b/2.jpg"), np.zeros((2, 112, 112, 3), np.uint8), maps, 0.25)
    drawn = {OUTCOMES[0]: [example, example], OUTCOMES[1]: [], OUTCOMES[2]: [example], OUTCOMES[3]: []}
    figure = examples_figure(drawn, title="model on lfw", subtitle="seed 0")
    assert len(figure.axes) == 3 * 4
    said = [text.get_text() for text in figure.texts]
    assert said.count("none") == 2
    assert said.count("W in %") == 3
    assert "S; score 0.500, threshold 0.250" in said
    assert set(OUTCOMES) <= set(said)
