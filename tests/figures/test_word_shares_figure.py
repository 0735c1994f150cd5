from __future__ import annotations

import numpy as np
import pytest

from helpers.figure_boxes import assert_nothing_overlaps
from whyface.explain.provenance import FaceInfo, ModelInfo, ThresholdSource
from whyface.figures.word_shares import word_shares_figure
from whyface.words.attribute_model import attribute
from whyface.words.share_report import ShareReport
from whyface.words.word_shares import WordShare

FACE = np.full((112, 112, 3), 128, np.uint8)
NAMES = ("Smiling", "Male", "Bald", "Eyeglasses", "Goatee", "Blond_Hair", "Big_Nose", "Chubby", "Young", "Mustache")


@pytest.mark.parametrize("count", [1, 5, 10])
def test_nothing_overlaps_and_the_rest_is_in_points_as_the_shares_are(count: int) -> None:
    report = ShareReport(
        similarity=0.2,
        threshold=0.3,
        threshold_source=ThresholdSource("operating point", "FMR 1e-3", "LFW, 6000 pairs"),
        model=ModelInfo("some-model"),
        attributes=ModelInfo("some-model"),
        versions={},
        faces=(FaceInfo("photos/one.jpg"), FaceInfo("photos/two.jpg")),
        words=tuple(WordShare(attribute(name), 0.25 / count, 0.99, 0.99, 1.0, None) for name in NAMES[:count]),
    )
    figure = word_shares_figure(report, FACE, FACE)
    assert_nothing_overlaps(figure)
    assert "The rest is -5.0." in " ".join(text.get_text() for text in figure.texts)
