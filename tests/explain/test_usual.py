"""S against what is usual at each place: how telling it is, in numbers, words and colours."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from whyface.errors import DataError, InputError, ModelError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.explain.shares import explanation_shares, margin_shares, neutral_places
from whyface.explain.usual import LEVELS, Telling, UsualSimilarity, find_usual, read_usual, save_usual
from whyface.figures.panels import FULL_ODDS
from whyface.figures.verdict import verdict_figure
from whyface.models.catalogue import find_entry
from whyface.models.entry import ModelEntry
from whyface.verification import Verifier

FACE = np.full((112, 112, 3), 128, np.uint8)
UNIFORM = np.full((7, 7), 1 / 49)
SHA256 = "ab" * 32


def usual() -> UsualSimilarity:
    """As measured at two kinds of places: in the upper left, strangers have 0.75 and genuine pairs 0.86."""
    strangers, genuine = np.full((7, 7), 0.0), np.full((7, 7), 0.6)
    strangers[0, 0], genuine[0, 0] = 0.75, 0.86
    slope, middle = np.full((7, 7), 10.0), (strangers + genuine) / 2
    slope[0, 0] = 6
    spread = (np.array(LEVELS) - 0.5)[:, None, None] * 0.4
    maps = {"strangers": strangers + spread, "genuine": genuine + spread, "slope": slope, "middle": middle}
    return UsualSimilarity(**{k: np.asarray(v, np.float32) for k, v in maps.items()}, pairs=1000, source="made up")


def explained(similarity: NDArray[np.floating[Any]], threshold: float = 0.25, **changes: Any) -> Explanation:
    return Explanation(
        **{
            "score": float((similarity * UNIFORM).sum()),
            "threshold": threshold,
            "threshold_source": ThresholdSource(),
            "method": "xcos",
            "cost": Cost(2),
            "model": ModelInfo("m"),
            "similarity": similarity,
            "attention": UNIFORM,
            "telling": usual().judge(similarity),
            **changes,
        }
    )


def test_what_is_telling_worked_out_by_hand() -> None:
    s = np.full((7, 7), 0.3)
    s[0, 0], s[1, 1], s[6, 6] = 0.86, 0.6, -1
    found = usual().judge(s)
    np.testing.assert_allclose(found.log_odds[0, :2], [6 * (0.86 - 0.805), 0], atol=1e-6)
    assert found.log_odds[1, 1] == pytest.approx(3)
    assert found.log_odds[6, 6] == pytest.approx(-np.log(1000))
    assert found.strangers[0, 0] == pytest.approx(0.5 + 0.11 / 0.4, abs=1e-5)
    assert found.genuine[0, 0] == pytest.approx(0.5)
    # Beyond the recorded quantiles nothing more is known than the last of them.
    assert (found.strangers[1, 1], found.genuine[6, 6]) == pytest.approx((0.995, 0.005))
    assert found.neutral[0, 0] == pytest.approx(0.805)
    with pytest.raises(InputError, match="places, but"):
        usual().judge(s[:4])


MAPS = arrays(np.float64, (3, 4), elements=st.floats(-1, 1, width=32))


@settings(max_examples=50, deadline=None)
@given(MAPS, arrays(np.float64, (3, 4), elements=st.floats(0.015625, 1, width=32)), MAPS, st.floats(-1, 1))
def test_shares_against_what_is_usual_still_sum_to_the_margin(s: Any, w: Any, neutral: Any, threshold: float) -> None:
    shares = margin_shares(s, w, threshold, neutral)
    assert shares.sum() == pytest.approx((s * w).sum() - threshold, abs=1e-9)
    # What is the same for all places is no evidence of one.
    np.testing.assert_allclose(margin_shares(s, w, threshold, neutral + 0.5), shares, atol=1e-9)
    np.testing.assert_allclose(margin_shares(s, w, threshold, 0.3), margin_shares(s, w, threshold), atol=1e-9)


def test_the_neutral_similarities_make_the_threshold() -> None:
    one = explained(np.full((7, 7), 0.4))
    neutral, shares = neutral_places(one), explanation_shares(one)
    assert neutral is not None
    assert shares is not None
    assert float((neutral * UNIFORM).sum()) == pytest.approx(one.threshold)
    np.testing.assert_allclose(shares, UNIFORM * (0.4 - neutral), atol=1e-7)


def test_a_high_similarity_that_strangers_have_too_is_not_strong_evidence() -> None:
    s = np.full((7, 7), 0.3)
    s[0, 0], s[3, 3] = 0.86, 0.7
    with_record, without = explained(s), explained(s, telling=None)
    known, unknown = explanation_shares(with_record), explanation_shares(without)
    assert known is not None
    assert unknown is not None
    # The corner had the largest share of all; now it has hardly any, and the nose has.
    assert unknown.argmax() == 0
    assert known.argmax() == 3 * 7 + 3
    assert known[0, 0] < 0.3 * known[3, 3]
    assert describe(with_record)[2] == (
        "The most telling place is at the nose bridge: over 99% of strangers are less alike there than these faces "
        "(0.70); the highest similarity (0.86, at the left edge of the picture) says little: 23% of strangers "
        "are even more alike there."
    )
    assert "not on record" in describe(without)[2]


def test_what_tells_two_people_apart() -> None:
    s = np.full((7, 7), 0.2)
    s[6, 3] = -0.1
    said = describe(explained(s, threshold=0.35))[2]
    assert said.startswith(
        "The most telling place is at the chin: over 99% of pairs of one person are more alike there"
    )
    nothing = describe(explained(np.full((7, 7), 0.3), telling=usual().judge(np.full((7, 7), 0.31))))[2]
    assert nothing.startswith("No place is telling: nowhere is the similarity 3 times as common as among strangers")


def test_the_json_holds_it_for_every_place() -> None:
    one = explained(np.full((7, 7), 0.4))
    written = json.loads(one.to_json())
    assert np.shape(written["telling"]["log_odds"]) == np.shape(written["telling"]["strangers"]) == (7, 7)
    assert written["telling"]["source"] == "made up"
    assert Explanation.from_json(one.to_json()) == one
    assert Explanation.from_dict({**written, "telling": None}) != one
    del written["telling"]["genuine"]
    with pytest.raises(DataError, match="lacks 'genuine'"):
        Explanation.from_dict(written)
    small = np.zeros((2, 2), np.float32)
    with pytest.raises(InputError, match="another grid"):
        explained(np.full((7, 7), 0.4), telling=Telling(small, small, small, small, "made up"))
    with pytest.raises(InputError, match="finite map"):
        Telling(small, small, small, np.full((2, 2), np.nan, np.float32), "made up")


def test_the_colours_of_similarity_are_what_it_tells_and_the_numbers_what_it_is() -> None:
    s = np.full((7, 7), 0.3)
    s[0, 0], s[3, 3] = 0.86, 0.8
    figure = verdict_figure(explained(s), FACE, FACE)
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "Similarity"]
    image = axes.images[0]
    values = np.asarray(image.get_array())
    assert float(axes.texts[0].get_text()) == pytest.approx(0.86)
    # Pale in the corner, the full colour at the nose.
    corner, nose, full = np.asarray(image.norm(np.array([values[0, 0], values[3, 3], np.log(FULL_ODDS)])))
    assert abs(corner - 0.5) < 0.06
    assert full == pytest.approx(1)
    assert nose >= 1


def test_a_file_belongs_to_one_network(tmp_path: Path) -> None:
    path = tmp_path / "usual.safetensors"
    save_usual(path, usual(), {"sha256": SHA256})
    found = read_usual(path, SHA256)
    np.testing.assert_array_equal(found.strangers, usual().strangers)
    assert (found.pairs, found.source) == (1000, "made up")
    with pytest.raises(ModelError, match="made for another network"):
        read_usual(path, "cd" * 32)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelError, match="no usual similarities"):
        read_usual(path, SHA256)


def test_quantiles_that_fall_are_refused() -> None:
    good = usual()
    with pytest.raises(InputError, match="rise with their levels"):
        UsualSimilarity(good.strangers[::-1], good.genuine, good.slope, good.middle, good.pairs, good.source)


@pytest.mark.parametrize(
    "name", ["xcos-mobilefacenet", "mobilefacenet-ms1m", "mobilefacenet-large", "mobilefacenet-casia"]
)
def test_known_models_have_a_record_of_their_network(name: str) -> None:
    entry = entry_of(name)
    found = find_usual(entry, entry.files["onnx"].sha256)
    assert found is not None
    assert entry.grid is not None
    assert found.middle.shape == entry.grid.shape[1:]
    assert "CelebA" in found.source
    # Strangers are less alike than photos of one person, at every place.
    middle = LEVELS.index(0.5)
    assert (found.genuine[middle] > found.strangers[middle]).all()
    assert (found.slope > 0).all()


def test_the_upper_left_of_the_default_model_is_known_to_say_little() -> None:
    entry = entry_of("xcos-mobilefacenet")
    found = find_usual(entry, entry.files["onnx"].sha256)
    assert found is not None
    s = np.full((7, 7), 0.75)
    stranger = found.judge(s)
    s[0, 0] = 0.86
    genuine = found.judge(s)
    for told in (stranger, genuine):
        # Less than three times as common among genuine pairs; 0.75 at the nose is more than a hundred times.
        assert abs(told.log_odds[0, 0]) < np.log(3)
        assert told.log_odds[3, 3] > np.log(50)
    assert stranger.strangers[0, 0] < 0.8


def test_a_verdict_of_the_default_model_says_what_is_usual() -> None:
    folder = resources.files("whyface") / "assets/photos"
    with (
        resources.as_file(folder / "obama-portrait.jpg") as one,
        resources.as_file(folder / "biden-portrait.jpg") as two,
    ):
        result = Verifier(threads=1)(one, two)
    told, shares = result.explanation.telling, explanation_shares(result.explanation)
    assert told is not None
    assert shares is not None
    assert shares.sum() == pytest.approx(result.margin, abs=1e-6)
    assert result.sentences[2].startswith("The most telling place is at ")


def test_your_own_network_has_none() -> None:
    assert find_usual(None, SHA256) is None


def entry_of(name: str) -> ModelEntry:
    entry = find_entry(name)
    assert entry is not None
    return entry
