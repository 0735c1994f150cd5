from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.figure_boxes import assert_nothing_overlaps
from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.registry import METHODS
from whyface.explain.triplet import TripletExplanation
from whyface.faces.face import Face
from whyface.figures import panels
from whyface.figures.methods import PER_BAND, full_colour, methods_figure, triplet_figure

FACE = np.full((112, 112, 3), 128, np.uint8)
SOURCE = ThresholdSource("operating point", "FMR 1e-3", "LFW, 6000 pairs")
RNG = np.random.default_rng(0)


def explanation(method: str = "xface", **changes: Any) -> Explanation:
    plain: dict[str, Any] = {
        "score": 0.6,
        "threshold": 0.3,
        "threshold_source": SOURCE,
        "method": method,
        "cost": Cost(2500, seconds=4.2),
        "model": ModelInfo("some-model", "ab" * 32),
        "map_a": RNG.normal(0, 1, (112, 112)).astype(np.float32),
        "map_b": RNG.normal(0, 2, (112, 112)).astype(np.float32),
        "faces": (FaceInfo("photos/one.jpg"), FaceInfo("photos/two.jpg")),
    }
    return Explanation(**(plain | changes))


def panel(figure: Figure, label: str) -> Axes:
    (axes,) = [axes for axes in figure.axes if axes.get_label() == label]
    return axes


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts)


def test_both_faces_of_a_method_share_one_scale() -> None:
    one = explanation()
    figure = methods_figure([one], FACE, FACE)
    assert one.map_a is not None
    assert one.map_b is not None
    reach = full_colour((one.map_a, one.map_b))
    for label in ("xface A", "xface B"):
        norm = panel(figure, label).images[-1].norm
        assert (norm.vmin, norm.vmax) == pytest.approx((-reach, reach))
    together = np.abs(np.concatenate([one.map_a.ravel(), one.map_b.ravel()]))
    assert (together > reach).mean() == pytest.approx(0.01, abs=1e-3)


def test_the_scale_of_few_places_and_of_nothing() -> None:
    cells = np.zeros((7, 7), np.float32)
    assert full_colour((cells, cells)) > 0
    cells[3, 3] = -2
    assert full_colour((cells, cells)) == 2
    one_place = np.zeros((112, 112), np.float32)
    one_place[0, 0] = 5
    assert full_colour((one_place, one_place)) == 5


def test_xcos_is_drawn_as_shares_of_the_margin() -> None:
    similarity, attention = np.full((7, 7), 0.5, np.float32), np.full((7, 7), 1 / 49, np.float32)
    similarity[0, 0] = 0.1
    xcos = explanation(
        "xcos", map_a=None, map_b=None, similarity=similarity, attention=attention,
        score=float((similarity * attention).sum()),
    )  # fmt: skip
    shown = panel(methods_figure([xcos], FACE, FACE), "xcos B").images[-1].get_array()
    assert shown is not None
    assert shown[0, 0] == pytest.approx((0.1 - 0.3) / 49, abs=1e-6)
    assert shown[3, 3] == pytest.approx((0.5 - 0.3) / 49, abs=1e-6)


@pytest.mark.parametrize("count", [1, 2, PER_BAND, PER_BAND + 1, 2 * PER_BAND + 1])
def test_every_text_and_panel_lies_on_the_sheet_and_none_overlap(count: int) -> None:
    names = [*METHODS, *[f"some-other-method-{number}" for number in range(20)]][:count]
    assert_nothing_overlaps(methods_figure([explanation(name) for name in names], FACE, FACE))


@pytest.mark.parametrize("photos", [1, 2, 300])
def test_nothing_overlaps_in_a_triplet(photos: int) -> None:
    found = [TripletExplanation(name, {}, RNG.normal(0, 1, (112, 112)).astype(np.float32)) for name in ("xcos", "ebp")]
    figure = triplet_figure(found, [Face(FACE)] * 3, [[explanation()] * photos, [explanation(score=-0.123)] * photos])
    assert "score -0.123" in words(figure)
    assert_nothing_overlaps(figure)


def test_bands_are_about_equally_full() -> None:
    figure = methods_figure([explanation(name) for name in list(METHODS)[: PER_BAND + 1]], FACE, FACE)
    columns = {round(axes.get_position().x0, 3) for axes in figure.axes}
    assert len(columns) == 1 + (PER_BAND + 1) // 2


def test_the_head_names_whole_parts_of_the_threshold_s_origin() -> None:
    parts = [
        "FMR 1e-3 on a set",
        "all pairs of 13,195 pictures",
        *(f"a rule that takes room, number {n}" for n in range(4)),
    ]
    source = ThresholdSource("user", ", ".join(parts))
    shown = words(methods_figure([explanation(threshold_source=source)], FACE, FACE))
    assert "(FMR 1e-3 on a set, all pairs of 13,195 pictures, a rule that takes room)" in shown
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_words() -> None:
    shown = words(methods_figure([explanation()], FACE, FACE))
    cost = "2500 forward passes"
    for part in ("Match", "0.6000", "FMR 1e-3 on LFW", "one.jpg", "two.jpg", "of the score", cost, "xface"):
        assert part in shown
    assert "No match" in words(methods_figure([explanation(score=0.1)], FACE, FACE))
    assert "3 backward" in words(methods_figure([explanation(cost=Cost(2, 3))], FACE, FACE))


def test_bad_input() -> None:
    with pytest.raises(InputError, match="no explanations"):
        methods_figure([], FACE, FACE)
    with pytest.raises(InputError, match="face_b must be"):
        methods_figure([explanation()], FACE, FACE[:50])
    with pytest.raises(InputError, match="gave no maps"):
        methods_figure([explanation("cosine", map_a=None, map_b=None)], FACE, FACE)


def test_blended_faces_keep_their_lightness_and_take_the_maps_hue() -> None:
    rng = np.random.default_rng(0)
    face = rng.integers(30, 220, (112, 112, 3), np.uint8)
    ramp = np.tile(np.linspace(-2, 2, 112, dtype=np.float32), (112, 1))
    found = panels.blended(face, ramp, 2.0)
    before, after = (cv2.cvtColor(one.astype(np.float32) / 255, cv2.COLOR_RGB2HLS) for one in (face, found))
    np.testing.assert_allclose(before[..., 1], after[..., 1], atol=0.01)
    # Pink is near 320 degrees, green near 90; a value of 0 takes the colour away.
    assert np.median(after[:, 8:16, 0]) > 300
    assert 80 < np.median(after[:, -16:-8, 0]) < 120
    assert after[:, 55:57, 2].max() < 0.1


def test_blended_figure_speaks_of_green_and_pink() -> None:
    shape = (112, 112, 3)
    faces = np.full(shape, 90, np.uint8), np.full(shape, 120, np.uint8)
    drawn = methods_figure([explanation()], *faces, titles=["xface:stride=7"], blend=True)
    said = words(drawn)
    assert "Green" in said
    assert "xface:stride=7" in said
    assert not re.search(r"\b([Bb]lue|[Rr]ed)\b", said)


def test_one_method_fills_the_sheet() -> None:
    for methods in (["xface"], ["xface", "xcos"], ["xface"] * 3):
        figure = methods_figure([explanation(name) for name in methods], FACE, FACE)
        right = max(axes.get_position().x1 for axes in figure.axes if str(axes.get_label()).endswith((" A", " B")))
        assert right > 0.94
