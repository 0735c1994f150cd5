from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe, distance, points
from whyface.explain.shares import explanation_shares, fewest_to_flip, ranked, region_shares
from whyface.faces.regions import REGIONS, region_masks, region_phrase

UNIFORM = np.full((7, 7), 1 / 49, np.float32)
MASKS = region_masks()


def xcos(similarity: ArrayLike, attention: ArrayLike = UNIFORM, threshold: float = 0.25) -> Explanation:
    s, w = np.asarray(similarity, np.float32), np.asarray(attention, np.float32)
    return bare(float((s.astype(float) * w).sum()), threshold, similarity=s, attention=w)


def bare(score: float, threshold: float = 0.25, **changes: Any) -> Explanation:
    return Explanation(score, threshold, ThresholdSource(), "xcos", Cost(2), ModelInfo("m"), **changes)


def grid(level: float, **regions: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    s = np.full((7, 7), level, np.float32)
    for name, value in regions.items():
        s[MASKS[name.replace("_", " ")]] = value
    return s


def test_a_match_names_what_supports_it_and_what_speaks_against_it() -> None:
    one = xcos(grid(0.25, mouth=1.0, nose_tip=0.9, chin=0.1))
    first, second, *_ = describe(one)
    assert first == (
        "Match: the score of 0.3000 is 5.0 points above the threshold of 0.2500 (1 point = 0.01), "
        "thanks above all to the mouth (+4.6) and the nose tip (+1.3)."
    )
    # 5.0 points are more than any three of the four supporting places less one: 1.53 + 1.53 + 1.53 + 1.33.
    assert second == (
        "Only the chin (-0.9) speaks against it; the verdict would flip if the similarity at the mouth and "
        "the nose tip (4 of the 49 places) fell from 0.97 on average to the threshold."
    )


def test_no_match_turns_the_words_round() -> None:
    one = xcos(grid(0.25, mouth=-0.5, left_eye=0.9))
    first, second, *_ = describe(one)
    assert first == (
        "No match: the score of 0.2173 is 3.3 points below the threshold of 0.2500 (1 point = 0.01), "
        "due above all to the mouth (-4.6)."
    )
    assert second == (
        "Only the left eye (+1.3) speaks for a match; the verdict would flip if the similarity at the mouth "
        "(3 of the 49 places) rose from -0.50 on average to the threshold (left and right as seen in the picture)."
    )


def test_identical_photos() -> None:
    first, second, *_ = describe(xcos(np.ones((7, 7))))
    assert first.startswith("Match: the score of 1.0000 is 75.0 points above")
    assert second == (
        "Nothing speaks against it; the verdict would flip if the similarity fell from 1.00 on average "
        "to the threshold everywhere."
    )


def test_nothing_for_a_match() -> None:
    _, second, *_ = describe(xcos(np.full((7, 7), -0.15)))
    assert second == (
        "Nothing speaks for a match; the verdict would flip only if the similarity rose by more than 0.40 everywhere."
    )


def test_single_places_against_are_not_hidden() -> None:
    s = grid(0.5)
    s[5, 3] = 0.1
    _, second, *_ = describe(xcos(s))
    assert second.startswith("No region as a whole speaks against it (1 place does, -0.3 in all); ")


@pytest.mark.parametrize("seed", range(12))
def test_every_number_follows_from_the_explanation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = rng.uniform(0, 1, (7, 7))
    one = xcos(rng.uniform(-0.4, 0.9, (7, 7)), w / w.sum() * (1 if seed % 2 else 30), 0.25 * (1 if seed % 2 else 30))
    first, second, *_ = describe(one)
    shares = explanation_shares(one)
    assert shares is not None
    regions = region_shares(shares)
    phrases = {region_phrase(name): name for name in REGIONS}
    named = re.findall(r"(the [a-z ]+?) \(([+-]\d+\.\d)\)", first + second)
    assert len(named) >= 2
    for phrase, amount in named:
        assert amount == points(regions[phrases[phrase]])
    top = ranked(regions, positive=one.is_match)[0][0]
    assert f"{region_phrase(top)} ({points(regions[top])})" in first
    assert f"the score of {one.score:.4f} is {distance(one.margin)} " in first
    assert f"threshold of {one.threshold:.4f}" in first
    flip = fewest_to_flip(shares, is_match=one.is_match)
    assert flip is not None
    assert one.similarity is not None
    assert f"from {one.similarity[flip.cells].mean():.2f}" in second
    assert f"{flip.count} " in second
    assert ("left and right as seen in the picture" in first + second) == bool(
        re.search("the (left|right) ", first + second)
    )


@pytest.mark.parametrize("size", [2, 4])
def test_a_coarse_grid_has_quarters_and_no_parts_of_a_face(size: int) -> None:
    s = np.full((size, size), 0.3)
    s[: size // 2, : size // 2] = 0.9
    s[size // 2 :, size // 2 :] = 0.1
    first, second, *_ = describe(xcos(s, np.full((size, size), 1 / size**2)))
    assert "thanks above all to the upper left quarter (+16.2)" in first
    assert second.startswith("Only the lower right quarter (-3.7) speaks against it; ")


def test_negative_weights_change_no_sign() -> None:
    w = np.full((7, 7), 0.5)
    w[5] = -0.2
    s = np.full((7, 7), 0.3)
    s[5] = -0.9
    first, second, *_ = describe(xcos(s, w, threshold=5.0))
    assert "the mouth (+" in first
    assert " changed from " in second


@pytest.mark.parametrize("change", [1e-3, 1e-7, -1e-7, 1e-13])
def test_near_the_threshold_the_numbers_still_differ(change: float) -> None:
    first, *_ = describe(bare(0.25 + change))
    assert re.match("(Match|No match), but only just: the score of", first)
    found = re.findall(r"\d\.\d+", first)
    assert found[0] != found[-2] or "e-" in first
    assert " 0.0 points" not in first


def test_exactly_at_the_threshold() -> None:
    first, second, *_ = describe(bare(0.25))
    assert first.startswith("No match, but only just: the score is exactly the threshold of 0.2500, and a match needs")
    assert second.endswith("the verdict would flip if the score rose at all.")
    first, second, *_ = describe(xcos(np.full((7, 7), 0.25)))
    assert "stands out" in first
    s = np.full((7, 7), 0.25)
    s[5, 3], s[4, 3] = 0.5, 0.0
    first, second, *_ = describe(bare(0.25, similarity=s, attention=UNIFORM))
    assert "; only the nose tip (-0.5) speaks against a match." in first
    assert second.startswith("Only the mouth (+0.5) speaks for a match; ")


def test_a_model_without_a_grid_gives_no_reasons() -> None:
    first, second, *_ = describe(bare(0.41))
    assert first == "Match: the score of 0.4100 is 16.0 points above the threshold of 0.2500 (1 point = 0.01)."
    assert second == (
        "This model compares the faces as a whole and gives no reasons by region; "
        "the verdict would flip if the score fell by 16.0 points."
    )


def test_per_face_maps_are_put_into_words() -> None:
    m = np.zeros((112, 112))
    m[72, 56], m[5, 56] = 3, -1
    first, second, *_ = describe(bare(0.41, map_a=m, map_b=m))
    assert first.endswith(", supported most by the nose tip (75%) of the maps' weight.")
    assert second.startswith("Only the forehead (25%) speaks against it; ")
    first, second, *_ = describe(bare(0.1, map_a=np.abs(m)))
    assert "support" not in first
    assert second.startswith(
        "The nose tip (75%) and the forehead (25%) speak for a match (shares of the maps' weight); "
    )
    _, second, *_ = describe(bare(0.41, map_a=np.abs(m)))
    assert second.startswith("No region of the maps speaks against it; ")


def test_distances_are_never_written_as_nothing() -> None:
    assert distance(0.169) == "16.9 points"
    assert distance(-0.01) == "1.0 point"
    assert distance(2e-5) == "0.002 points"
