"""The study's arms, its comparison at equal area, and its numbers, on faces whose answer is planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.coloured_faces import COLOURS, colour_words, planted_pair
from studies.words.arms import WordArm, arm_scores, word_arms
from studies.words.figure import words_study_figure
from studies.words.report import words_markdown
from studies.words.results import attribute_rows, most_telling, separation
from whyface.errors import InputError
from whyface.explain.pair_method import PairMaps, PairMethod
from whyface.faces.face import stack_faces
from whyface.models.embedder import Batch
from whyface.words.method_comparison import candidate_words, compare_methods, read_side, top_pixels
from whyface.words.word_report import WordSettings

RED, GREEN = (slice(5, 7), slice(2, 4)), (slice(0, 2), slice(4, 6))
NUMBER = COLOURS.index("Red")


def planted_sides(count: int = 4) -> Any:
    pairs = [planted_pair(seed, RED, GREEN) for seed in range(count)]
    explainer = colour_words()
    sides = tuple(read_side(explainer, stack_faces([pair[side] for pair in pairs])) for side in (0, 1))
    return explainer, sides, np.arange(count), pairs


def test_arms_agree_with_the_single_report() -> None:
    explainer, sides, numbers, pairs = planted_sides()
    arm = WordArm("words", WordSettings(eraser="mean", draws=20))
    found = arm_scores(explainer, arm, sides, numbers, "different")
    assert found.score.shape == (4, 2, 3)
    assert candidate_words(explainer, sides[0])[:, NUMBER].all()
    assert not candidate_words(explainer, sides[1])[:, NUMBER].any()
    assert np.isnan(found.score[:, 1, NUMBER]).all()
    report = explainer(*pairs[2])
    assert found.score[2, 0, NUMBER] == pytest.approx(report.scores.single[0, NUMBER], abs=1e-6)
    assert found.area[2, 0, NUMBER] == pytest.approx(report.masks[0, NUMBER].mean(), abs=1e-6)


def test_random_places_have_the_words_areas() -> None:
    explainer, sides, numbers, _ = planted_sides()
    settings = WordSettings(eraser="mean", draws=20)
    words = arm_scores(explainer, WordArm("words", settings), sides, numbers, "different")
    chance = arm_scores(explainer, WordArm("random", settings, is_random=True), sides, numbers, "different")
    np.testing.assert_array_equal(words.area, chance.area)
    assert (words.score[:, 0, NUMBER] > chance.score[:, 0, NUMBER]).all()
    again = arm_scores(explainer, WordArm("random", settings, is_random=True), sides, numbers, "different")
    np.testing.assert_array_equal(again.score, chance.score)


def test_without_attribute_map_there_is_one_entry() -> None:
    _, sides, numbers, _ = planted_sides(2)
    explainer = colour_words(kind="no attribute")
    found = arm_scores(explainer, WordArm("no", explainer.settings), sides, numbers, "different")
    assert (~np.isnan(found.score)).sum(axis=2).tolist() == [[1, 1], [1, 1]]
    with pytest.raises(InputError, match="a face for every pair"):
        arm_scores(explainer, WordArm("no", explainer.settings), sides, numbers[:1], "different")


def test_the_study_has_every_arm() -> None:
    names = {arm.name for arm in word_arms()}
    assert {"words", "random places", "without attribute map", "without counterfactual map", "top 9 people"} <= names
    assert {f"eraser {name}" for name in ("white", "mean", "random", "blur")} <= names
    assert all(arm.control in names for arm in word_arms() if not arm.is_random)


def test_top_pixels_are_as_many_as_asked_for() -> None:
    maps = np.random.default_rng(0).random((2, 112, 112))
    maps[1] = 0  # All ties.
    masks = top_pixels(maps, 0.05, np.random.default_rng(1))
    assert masks.sum(axis=(1, 2)).tolist() == [627, 627]
    assert maps[0][masks[0]].min() >= maps[0][~masks[0]].max()
    # A face may have no word at all.
    assert top_pixels(maps[:0], 0.05, np.random.default_rng(1)).shape == (0, 112, 112)


class Knowing(PairMethod):
    """Says that the red places speak against a match."""

    name = "knowing"

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        cells = np.zeros((len(first), 7, 7), np.float32)
        cells[:, RED[0], RED[1]] = -1
        return PairMaps(np.zeros(len(first), np.float32), cells, cells.copy(), forward=0)


def test_methods_at_equal_area() -> None:
    explainer, sides, numbers, _ = planted_sides()
    method = Knowing(explainer.attributes.network)
    genuine = np.zeros(4, bool)
    found = compare_methods(explainer, {"knowing": method}, sides, numbers, genuine, shares=(0.05,))
    plain = explainer.comparison.scores(sides[0].features, sides[1].features)
    assert set(found) == {
        "knowing",
        "counterfactual map",
        "first word",
        "words",
        "words anywhere",
        "words without counterfactual map",
        "random",
        "random, best of as many",
    }
    assert (found["knowing"][:, 0, 0] > plain).all()
    assert (found["knowing"][:, 0, 0] > found["random"][:, 0, 0]).all()
    assert (found["words"][:, 0, 0] >= found["first word"][:, 0, 0] - 1e-6).all()
    assert (found["random, best of as many"] >= found["random"]).all()
    # Of genuine pairs what supports a match goes first, so that the knowing method's places stay.
    kept = compare_methods(explainer, {"knowing": method}, sides, numbers, ~genuine, shares=(0.05,))
    assert (kept["knowing"][:, 0, 0] < found["knowing"][:, 0, 0]).all()
    assert (kept["random, best of as many"] <= kept["random"]).all()
    # Nothing is above 1, and whatever the map, most of the face is above 0.
    none, most = (
        compare_methods(explainer, {"knowing": method}, sides, numbers, genuine, above=above)["counterfactual map"]
        for above in (1.0, 0.0)
    )
    np.testing.assert_allclose(none[:, 0, 0], plain, atol=1e-5)
    assert np.abs(most[:, 0, 0] - plain).max() > 0.01


class ByTurns(Knowing):
    """Knows in every other pair, and says something else in the rest."""

    name = "by turns"

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        told = super().maps(first, second)
        told.map_a[1::2] = 0
        told.map_a[1::2, 6, 0] = -1
        return told


def test_what_is_said_of_another_pair_is_erased_too() -> None:
    explainer, sides, numbers, _ = planted_sides()
    network = explainer.attributes.network
    methods = {"knowing": Knowing(network), "by turns": ByTurns(network)}
    here, there = (
        compare_methods(explainer, methods, sides, numbers, np.zeros(4, bool), elsewhere=elsewhere)
        for elsewhere in (False, True)
    )
    # One map for all pairs gains nothing of its own.
    np.testing.assert_array_equal(here["knowing"], there["knowing"])
    gained = (here["by turns"] - there["by turns"])[:, 0, 0]
    assert (gained[::2] > 0).all()
    assert (gained[1::2] < 0).all()
    genuine = np.array([False, True, True, True])
    alone = compare_methods(explainer, methods, sides, numbers, genuine, elsewhere=True)
    assert np.isnan(alone["knowing"][0]).all()
    assert np.isfinite(alone["knowing"][1:]).all()


def test_most_telling_by_hand() -> None:
    plain = np.array([0.2, 0.5])
    erased = np.array([[[0.1, 0.4], [np.nan, np.nan]], [[0.4, np.nan], [0.3, 0.7]]])
    np.testing.assert_allclose(most_telling(plain, erased, genuine=False), [[0.4, 0.2], [0.5, 0.7]])
    np.testing.assert_allclose(most_telling(plain, erased, genuine=True), [[0.1, 0.2], [0.4, 0.3]])


def test_separation_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    impostors, genuine = rng.normal(0, 1, (60, 2)), rng.normal(2, 1, (40, 2))
    people = np.array([f"p{n}" for n in range(100)])
    others = np.array([f"q{n}" for n in range(100)])
    found = separation(
        impostors,
        genuine,
        (people[:60], others[:60]),
        (people[60:], people[60:]),
        control=impostors - 0.5,
        replicates=200,
    )
    scores = np.concatenate([impostors.ravel(), genuine.ravel()])
    labels = np.repeat([0, 1], [120, 80])
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, scores))
    low, high = found["auc_interval"]
    assert low < found["auc"] < high
    assert found["auc_minus_control"] < 0
    # The control is easier to tell apart, so that the measured AUC is lower and the mean higher.
    assert found["auc_minus_control_interval"][1] < 0
    assert found["mean_minus_control"] == pytest.approx(0.5)
    assert found["mean_impostor_score"] == pytest.approx(impostors.mean())
    # 120 impostor scores cannot show an FPR of one in a thousand.
    assert list(found["tpr_at_fpr"]) == ["0.01", "0.1", "0.2", "0.4"]


def test_attributes_by_hand() -> None:
    plain, genuine = np.array([0.1, 0.2]), np.array([0.3, 0.4])
    erased = np.array([[[0.35, 0.05], [np.nan, 0.2]], [[0.1, np.nan], [np.nan, np.nan]]])
    rows = attribute_rows(plain, erased, genuine, ["a", "b"])
    assert rows["a"]["faces"] == 2
    assert rows["a"]["beats_original"] == 0.5
    # Impostor scores .35, .1, .1, .2 and genuine ones .3, .3, .4, .4: 14 of 16 comparisons are right.
    assert rows["a"]["auc"] == pytest.approx(14 / 16)
    assert (rows["a"]["wins"], rows["b"]["wins"]) == (1, 1)
    assert rows["b"]["mean_change"] == pytest.approx((-0.05 + 0.1) / 2)


def test_figure() -> None:
    row = {
        "auc": 0.99,
        "auc_interval": [0.985, 0.993],
        "mean_impostor_score": 0.05,
    }
    beyond = {
        "mean_minus_control": 0.01,
        "mean_minus_control_interval": [0.0, 0.02],
        "auc_minus_control": -0.001,
        "auc_minus_control_interval": [-0.002, 0.0],
    }
    arms = {"before": row, "words": row | beyond, "random places": row}
    shares = {"0.05": {"before": row, "ebp": row | beyond, "random": row}}
    figure = words_study_figure({"words": {"arms": arms}, "comparison": {"shares": shares}})
    texts = [text.get_text() for text in figure.texts]
    assert {"words, the most telling", "excitation backprop (EBP)"} <= set(texts)
    # Chance is the line that rows are measured from, not a row.
    assert "random places" not in texts
    assert len(figure.axes) == 4
    with pytest.raises(InputError, match="no results to draw"):
        words_study_figure({})


@pytest.mark.parametrize(("gain", "verdict"), [(0.3, "more than chance does"), (0.0, "no more than chance does")])
def test_the_reading_follows_from_the_numbers(gain: float, verdict: str) -> None:
    rng = np.random.default_rng(0)
    impostors, genuine = rng.normal(0, 0.1, (80, 2)), rng.normal(0.7, 0.1, (80, 2))
    people = np.array([f"p{n}" for n in range(80)])
    others = np.array([f"q{n}" for n in range(80)])
    chance = impostors + rng.normal(0, 0.05, (80, 2))

    def row(values: Any, control: Any = None) -> dict[str, Any]:
        found = separation(values, genuine, (people, others), (people, people), control=control, replicates=100)
        return found | {"area": 0.02, "words_per_face": 3.0, "control": "random places"}

    words = chance + gain + rng.normal(0, 0.01, (80, 2))
    arms = {"before": row(impostors), "words": row(words, chance), "random places": row(chance)}
    attributes = {"Wearing_Hat": {"faces": 200, "auc": 0.9, "mean_change": 0.01, "beats_original": 0.6, "wins": 3}}
    report: dict[str, Any] = {
        "dataset": "toy",
        "settings": {"model": "toy", "seed": 0},
        "threshold": 0.4,
        "command": "none",
        "words": {
            "pairs": 160,
            "genuine": 80,
            "arms": arms,
            "genuine_falls": {"words": {"mean_fall": 0.1, "standard_error": 0.01}},
            "attributes": attributes,
            "words_that_beat_the_original_per_face": 2.0,
            "random_that_beat_the_original_per_face": 1.5,
        },
        "comparison": {
            "pairs": 160,
            "genuine": 80,
            "shares": {"0.05": {"before": arms["before"], "ebp": arms["words"], "random": arms["random places"]}},
        },
    }
    text = words_markdown(report)
    assert f": {verdict}" in text
    assert "| Wearing_Hat | 200 | 0.9000 | +0.0100 | 60 | 3 |" in text
    assert f"{arms['words']['auc']:.4f}" in text
    assert ("Raise the similarity of two people more than their chance: EBP" in text) == (gain > 0)
