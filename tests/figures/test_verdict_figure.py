from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure

from whyface.errors import InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.explain.shares import explanation_shares
from whyface.figures.verdict import WIDTH, verdict_figure

FACE = np.full((112, 112, 3), 128, np.uint8)
SIMILARITY = np.linspace(-0.5, 0.9, 49, dtype=np.float32).reshape(7, 7)
UNIFORM = np.full((7, 7), 1 / 49, np.float32)
SOURCE = ThresholdSource("operating point", "FMR 1e-3", "LFW, 6000 pairs", 0.001, 0.01, (0.0003, 0.0026))


def explanation(attention: Any = UNIFORM, similarity: Any = SIMILARITY, **changes: Any) -> Explanation:
    plain: dict[str, Any] = {
        "score": float((similarity.astype(float) * attention).sum()),
        "threshold": 0.2545,
        "threshold_source": SOURCE,
        "method": "xcos",
        "cost": Cost(2),
        "model": ModelInfo("some-model", "ab" * 32),
        "similarity": similarity,
        "attention": attention,
        "faces": (FaceInfo("photos/one.jpg"), FaceInfo("photos/two.jpg")),
    }
    return Explanation(**(plain | changes))


def bare(score: float = 0.3, **changes: Any) -> Explanation:
    return Explanation(score, 0.2545, SOURCE, "cosine", Cost(2), ModelInfo("some-model"), **changes)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def panel(figure: Figure, label: str) -> Axes:
    (axes,) = [axes for axes in figure.axes if axes.get_label() == label]
    return axes


def scale(axes: Axes) -> CenteredNorm:
    norm = axes.images[-1].norm
    assert isinstance(norm, CenteredNorm)
    return norm


def cell_texts(axes: Axes) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([float(text.get_text()) for text in axes.texts]).reshape(7, 7)


def test_all_panels_are_there() -> None:
    figure = verdict_figure(explanation(), FACE, FACE)
    labels = [str(axes.get_label()) for axes in figure.axes]
    drawn = ["scale", "Face A", "Face B", "Similarity", "Weight", "Contribution", "regions", *["colours"] * 3]
    assert sorted(labels) == sorted(drawn)
    assert figure.get_size_inches()[0] * figure.dpi == pytest.approx(WIDTH)
    assert {"Face A", "Face B", "Similarity", "Weight", "Contribution", "one.jpg", "two.jpg"} <= set(texts(figure))


@pytest.mark.parametrize("threshold", [-0.3, 0.0, 0.2545, 0.95])
def test_the_colours_of_similarity_turn_at_the_threshold(threshold: float) -> None:
    axes = panel(verdict_figure(explanation(threshold=threshold), FACE, FACE), "Similarity")
    image, norm = axes.images[0], scale(axes)
    assert norm(threshold) == 0.5
    assert norm.vmin is not None
    assert norm.vmax is not None
    assert norm.vmax >= 1 - 1e-12
    assert norm.vmax - threshold == pytest.approx(threshold - norm.vmin)
    red, _, blue, _ = image.to_rgba(np.array([[norm.vmin]]))[0, 0]
    assert red > blue
    red, _, blue, _ = image.to_rgba(np.array([[norm.vmax]]))[0, 0]
    assert blue > red


def test_the_numbers_in_the_cells() -> None:
    one = explanation()
    figure = verdict_figure(one, FACE, FACE)
    np.testing.assert_allclose(cell_texts(panel(figure, "Similarity")), SIMILARITY, atol=0.00501)
    np.testing.assert_allclose(cell_texts(panel(figure, "Weight")), 100 / 49, atol=0.0501)
    contributions = cell_texts(panel(figure, "Contribution"))
    assert contributions.sum() == pytest.approx(100 * one.score, abs=49 * 0.05)
    assert one.contributions is not None
    np.testing.assert_allclose(contributions, 100 * one.contributions, atol=0.0501)
    # The colours say what the sentences count: each place's share of the margin.
    shares = explanation_shares(one)
    assert shares is not None
    np.testing.assert_allclose(np.asarray(panel(figure, "Contribution").images[0].get_array()), 100 * shares)


def test_no_cell_says_minus_nothing() -> None:
    figure = verdict_figure(explanation(similarity=np.full((7, 7), -1e-4, np.float32)), FACE, FACE)
    for name in ("Similarity", "Weight", "Contribution"):
        assert not {"-0.00", "-0.0"} & {text.get_text() for text in panel(figure, name).texts}


def test_the_regions_bars_add_up_to_the_margin() -> None:
    one = explanation()
    axes = panel(verdict_figure(one, FACE, FACE), "regions")
    widths = [patch.get_width() for patch in axes.patches]  # type: ignore[attr-defined]
    assert sum(widths) == pytest.approx(100 * one.margin)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[-1] == "8 other regions"
    assert len(names) == len(set(names)) == 10


def test_a_coarse_grid_has_a_bar_for_each_quarter_and_no_empty_ones() -> None:
    s = np.linspace(-0.5, 0.9, 16, dtype=np.float32).reshape(4, 4)
    axes = panel(verdict_figure(explanation(np.full((4, 4), 1 / 16, np.float32), s), FACE, FACE), "regions")
    names = {label.get_text() for label in axes.get_yticklabels()}
    assert names == {"upper left quarter", "upper right quarter", "lower left quarter", "lower right quarter"}


@pytest.mark.parametrize(("score", "verdict", "side"), [(0.3, "Match", "above"), (0.2, "No match", "below")])
def test_the_heading_says_verdict_score_threshold_and_where_it_comes_from(
    score: float, verdict: str, side: str
) -> None:
    found = texts(verdict_figure(bare(score, probability=0.5, probability_source="LFW"), FACE, FACE))
    assert found[0] == verdict
    line = f"Score {score:.4f}, {side} the threshold 0.2545"
    assert line in found
    assert "Probability of the same person: 50.0 % (LFW)" in found
    source = "FMR 1e-3 on LFW, 6000 pairs; 0.1% of impostor pairs score above it (95% interval 0.03 to 0.26%)"
    assert f"Threshold: {source}" in found


def test_only_just_is_said() -> None:
    assert "but only just: the model takes both for the same person" in texts(verdict_figure(bare(0.255), FACE, FACE))


def test_the_sentences_stand_below() -> None:
    for one in (explanation(), bare(), bare(map_a=np.eye(112), map_b=-np.eye(112))):
        joined = " ".join(texts(verdict_figure(one, FACE, FACE)))
        for sentence in describe(one):
            assert sentence in joined
    assert "My own words." in texts(verdict_figure(explanation(sentences=("My own words.",)), FACE, FACE))


def test_without_maps_there_are_faces_and_verdict() -> None:
    figure = verdict_figure(bare(), FACE, FACE)
    assert [axes.get_label() for axes in figure.axes] == ["scale", "Face A", "Face B"]


def test_per_face_maps_lie_on_the_faces() -> None:
    figure = verdict_figure(bare(map_b=np.eye(112)), FACE, FACE)
    assert scale(panel(figure, "Reasons in face B"))(0) == 0.5
    assert not [axes for axes in figure.axes if axes.get_label() == "Reasons in face A"]


def test_raw_weights_move_the_neutral_colour() -> None:
    weights = np.full((7, 7), 0.5, np.float32)
    figure = verdict_figure(explanation(weights, threshold=5.0, attention_kind="p"), FACE, FACE)
    assert scale(panel(figure, "Similarity"))(5 / 24.5) == pytest.approx(0.5)
    np.testing.assert_allclose(cell_texts(panel(figure, "Weight")), 0.5)


@pytest.mark.parametrize("label", ["x" * 500, "$\\frac{", "a\nb\tc", "\u5c71\u7530.jpg", "\ud800.jpg", ""])
def test_any_name_is_drawn_within_its_column(label: str, recwarn: pytest.WarningsRecorder) -> None:
    figure = verdict_figure(bare(), FACE, FACE, labels=(label, "b"))
    figure.canvas.draw()
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x1 <= WIDTH
        if text.get_text().startswith("x"):
            assert box.width <= 246
    assert not recwarn.list


def test_texts_do_not_overlap() -> None:
    rng = np.random.default_rng(1)
    weights = rng.uniform(0, 1, (7, 7))
    figure = verdict_figure(explanation((weights / weights.sum()).astype(np.float32)), FACE, FACE)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    for number, one in enumerate(boxes):
        assert one.x0 >= 0
        assert one.y0 >= 0
        for other in boxes[number + 1 :]:
            # Lines of a paragraph may touch, not more.
            assert min(one.x1, other.x1) <= max(one.x0, other.x0) or min(one.y1, other.y1) - max(one.y0, other.y0) < 2


def test_wrong_faces_are_refused() -> None:
    with pytest.raises(InputError, match="face_b must be an aligned face"):
        verdict_figure(bare(), FACE, FACE[:50])
    with pytest.raises(InputError, match="face_a must be an aligned face"):
        verdict_figure(bare(), FACE.astype(np.float32), FACE)


def test_importing_figures_imports_no_matplotlib() -> None:
    code = "import sys, whyface.figures.verdict; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
