"""What holds for every method that looks from outside, and analytic cases of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.made_up_networks import CornerEmbedder, LinearEmbedder, both_maps, noisy_face, quartered_face
from whyface.errors import InputError
from whyface.explain.black_box import BlackBoxMethod
from whyface.explain.controls import CentreMethod, RandomMethod
from whyface.explain.corrrise import (
    CorrRiseMethod,
    StreamedCorrelation,
    average_ranks,
    random_masks,
    square_masks,
)
from whyface.explain.dise import DiseMethod
from whyface.explain.explanation import Explanation
from whyface.explain.xface import PAIRINGS, XfaceMethod
from whyface.faces.face import stack_faces

QUICK: dict[str, Any] = {
    "xface": lambda embedder, **options: XfaceMethod(embedder, patch_sizes=(16,), stride=16, **options),
    "corrrise": lambda embedder, **options: CorrRiseMethod(embedder, masks=24, **options),
    "dise": lambda embedder, **options: DiseMethod(embedder, masks=24, density="uniform", **options),
    "random": RandomMethod,
    "centre": CentreMethod,
}


@pytest.fixture(params=QUICK)
def make(request: pytest.FixtureRequest) -> Any:
    return QUICK[request.param]


def test_contract(make: Any) -> None:
    embedder = LinearEmbedder()
    steps: list[tuple[int, int]] = []
    method: BlackBoxMethod = make(embedder, batch_size=5, progress=lambda done, total: steps.append((done, total)))
    explanation = method((noisy_face(1), noisy_face(2)))
    assert explanation.method == method.name
    assert explanation.cost.forward == sum(embedder.seen) == method.passes
    assert steps[-1] == (method.passes, method.passes)
    assert max(embedder.seen) <= 5
    assert explanation.map_a is not None
    assert explanation.map_a.shape == (112, 112)
    assert Explanation.from_json(explanation.to_json()) == explanation
    one, other = embedder.embed(stack_faces([noisy_face(1), noisy_face(2)]))
    assert explanation.score == pytest.approx(float(one @ other), abs=1e-6)


def test_batches_and_workers_change_nothing(make: Any) -> None:
    pairs = [(noisy_face(1), noisy_face(2)), (noisy_face(3), noisy_face(4))]
    expected = [make(LinearEmbedder())(pair) for pair in pairs]
    for options in ({"batch_size": 1}, {"batch_size": 7}, {"workers": 2}):
        found = make(LinearEmbedder(), **options).explain(pairs, at_once=2)
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(one.map_a, other.map_a, atol=1e-5)
            np.testing.assert_allclose(one.map_b, other.map_b, atol=1e-5)


def test_swap(make: Any) -> None:
    method = make(LinearEmbedder())
    first, second = noisy_face(1), noisy_face(2)
    forth, back = method((first, second)), method((second, first))
    np.testing.assert_allclose(forth.map_a, back.map_b, atol=1e-6)
    np.testing.assert_allclose(forth.map_b, back.map_a, atol=1e-6)


def test_one_face_twice(make: Any) -> None:
    face = noisy_face(5)
    explanation = make(LinearEmbedder())((face, face))
    assert explanation.score == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(*both_maps(explanation), atol=1e-6)


def test_seed(make: Any) -> None:
    pair = noisy_face(1), noisy_face(2)
    one, again, other = (make(LinearEmbedder(), seed=seed, fill="noise")(pair) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.map_a, again.map_a)
    assert (one.method == "centre") == np.array_equal(one.map_a, other.map_a)


@pytest.mark.parametrize("name", ["xface", "corrrise"])
def test_uint8_and_float_agree(name: str) -> None:
    first, second = (stack_faces([noisy_face(seed)]) for seed in (1, 2))
    method = QUICK[name](LinearEmbedder(), fill=100)
    plain = method.maps(first, second)
    floats = method.maps(first.astype(np.float32), second.astype(np.float32))
    np.testing.assert_allclose(plain.map_a, floats.map_a, atol=1e-5)


@pytest.mark.parametrize("options", [{"fill": "red"}, {"fill": 300}, {"workers": 0}, {"batch_size": 0}])
def test_bad_options(make: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        make(LinearEmbedder(), **options)


def test_no_pairs_and_uneven_pairs(make: Any) -> None:
    method = make(LinearEmbedder())
    with pytest.raises(InputError, match="no pairs"):
        method.explain([])
    batch = stack_faces([noisy_face(1), noisy_face(2)])
    with pytest.raises(InputError, match="cannot pair"):
        method.maps(batch, batch[:1])
    with pytest.raises(InputError, match="no pairs"):
        method.maps(batch[:0], batch[:0])


# x-face


def test_xface_by_hand() -> None:
    # Quarters 90, 120, 0, 0 against 90, 0, 0, 0: the cosine is 90 / 150. Without the first quarter nothing is left in
    # common; without the second they are equal; the others are black already.
    first, second = quartered_face(90, 120, 0, 0), quartered_face(90, 0, 0, 0)
    method = XfaceMethod(LinearEmbedder(), patch_sizes=(56,), stride=56, fill=0, smooth=False)
    explanation = method((first, second))
    assert explanation.score == pytest.approx(0.6, abs=1e-6)
    expected = np.kron([[0.6, -0.4], [0, 0]], np.ones((56, 56)))
    map_a, map_b = both_maps(explanation)
    np.testing.assert_allclose(map_a, expected, atol=1e-6)
    np.testing.assert_allclose(map_b, np.kron([[0.6, 0], [0, 0]], np.ones((56, 56))), atol=1e-6)


@pytest.mark.parametrize("pairing", PAIRINGS)
def test_xface_agrees_with_a_plain_loop(pairing: Any) -> None:
    first, second = noisy_face(1), noisy_face(2)
    embedder = LinearEmbedder(3, 3)
    method = XfaceMethod(embedder, patch_sizes=(40, 50), stride=31, pairing=pairing, fill=0, smooth=False)
    found = method((first, second))
    faces = [face.image.astype(np.float64) for face in (first, second)]
    plain = [_embed(embedder, face) for face in faces]
    sums = np.zeros((2, 112, 112))
    for size in (40, 50):
        masks = []
        for row in (0, 31, 62, 112 - size):
            for column in (0, 31, 62, 112 - size):
                mask = np.ones((112, 112, 1))
                mask[row : row + size, column : column + size] = 0
                masks.append(mask)
        masks = list({mask.tobytes(): mask for mask in masks}.values())
        covered = [[_embed(embedder, face * mask) for mask in masks] for face in faces]
        for side in range(2):
            total, count = np.zeros((112, 112)), np.zeros((112, 112))
            for number, mask in enumerate(masks):
                if pairing == "one":
                    loss = plain[side] @ plain[1 - side] - covered[side][number] @ plain[1 - side]
                elif pairing == "both":
                    loss = plain[0] @ plain[1] - covered[0][number] @ covered[1][number]
                else:
                    loss = np.mean([(plain[side] - covered[side][number]) @ other for other in covered[1 - side]])
                total += loss * (1 - mask[..., 0])
                count += 1 - mask[..., 0]
            sums[side] += total / count / 2
    map_a, map_b = both_maps(found)
    np.testing.assert_allclose(map_a, sums[0], atol=2e-6)
    np.testing.assert_allclose(map_b, sums[1], atol=2e-6)


def _embed(embedder: LinearEmbedder, face: Any) -> Any:
    return embedder.embed(face.astype(np.float32).transpose(2, 0, 1)[None])[0].astype(np.float64)


def test_xface_sees_nothing_where_the_network_does_not_look() -> None:
    method = XfaceMethod(CornerEmbedder(20), fill=0)
    first, second = quartered_face(200, 10, 60, 250), quartered_face(100, 90, 30, 20)
    found = method((first, second))
    assert found.map_a is not None
    # Patches reach 27 pixels beyond the corner, the smoothing 2 more.
    reach = 20 + 27 + 2
    assert np.abs(found.map_a[:20, :20]).min() > 1e-4
    assert not found.map_a[reach:].any()
    assert not found.map_a[:, reach:].any()


def test_xface_all_pairings_for_the_price_of_one() -> None:
    first, second = noisy_face(1), noisy_face(2)
    embedder = LinearEmbedder(3, 3)
    method = XfaceMethod(embedder, patch_sizes=(30,), stride=20)
    batch = stack_faces([first, second])
    plain = method.comparison.features(batch)
    embedder.seen.clear()
    found = method.explain_pairings((batch[0], batch[1]), (plain[:1], plain[1:]))
    assert sum(embedder.seen) == method.passes - 2
    for pairing, (map_a, _) in found.items():
        alone = XfaceMethod(embedder, patch_sizes=(30,), stride=20, pairing=pairing)((first, second))
        np.testing.assert_array_equal(alone.map_a, map_a)


@pytest.mark.parametrize("stride", [4, 5])
@pytest.mark.parametrize("shape", ["rectangle", "circle"])
def test_xface_even_and_odd_strides(stride: int, shape: Any) -> None:
    method = XfaceMethod(CornerEmbedder(), patch_sizes=(28,), stride=stride, shape=shape, batch_size=256)
    explanation = method((noisy_face(1), noisy_face(2)))
    assert explanation.settings["shape"] == shape


@pytest.mark.parametrize("options", [{"pairing": "some"}, {"patch_sizes": ()}, {"patch_sizes": (0,)}, {"stride": 0}])
def test_xface_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        XfaceMethod(LinearEmbedder(), **options)


# CorrRISE


@given(
    data=st.lists(st.tuples(*[st.floats(-1e3, 1e3)] * 3), min_size=2, max_size=30),
    cuts=st.sets(st.integers(1, 29)),
    offset=st.sampled_from([0.0, 1e6]),
)
@settings(max_examples=100, deadline=None)
def test_streamed_correlation_is_numpys(data: list[tuple[float, ...]], cuts: set[int], offset: float) -> None:
    table = np.round(np.array(data), 3)
    values, masks = table[:, 0] + offset, table[:, 1:]
    stream = StreamedCorrelation((2,))
    for masks_part, values_part in zip(
        np.split(masks, [c for c in sorted(cuts) if c < len(table)]),
        np.split(values, [c for c in sorted(cuts) if c < len(table)]),
        strict=True,
    ):
        stream.update(masks_part, values_part)
    for column, found in enumerate(stream.result()):
        if np.ptp(values) == 0 or np.ptp(masks[:, column]) == 0:
            assert found == 0
        else:
            assert found == pytest.approx(np.corrcoef(masks[:, column], values)[0, 1], abs=1e-5)


def test_streamed_correlation_of_nothing() -> None:
    stream = StreamedCorrelation((2, 2))
    stream.update(np.empty((0, 2, 2)), np.empty(0))
    np.testing.assert_array_equal(stream.result(), np.zeros((2, 2)))


def test_masks_depend_on_the_seed_only() -> None:
    options: dict[str, Any] = {"cells": 7, "visible": 0.5}
    one, other = (np.concatenate(list(random_masks(50, seed=1, at_once=size, **options))) for size in (50, 7))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (50, 112, 112)
    assert 0 <= one.min() <= one.max() <= 1
    assert one.mean() == pytest.approx(0.5, abs=0.05)
    different = next(iter(random_masks(50, seed=2, at_once=50, **options)))
    assert (different != one).any()


def test_corrrise_finds_the_corner() -> None:
    # Bright in both corners: seeing them raises the score. A dark fill, so that hiding them lowers it.
    first, second = quartered_face(200, 10, 60, 250), quartered_face(200, 90, 30, 20)
    method = CorrRiseMethod(CornerEmbedder(30), masks=300, fill=0, batch_size=300)
    found = method((first, second))
    assert found.map_a is not None
    assert found.map_a[8:22, 8:22].min() > 0.5
    # Chance only: 4 standard errors of 1 / sqrt(300).
    assert np.abs(found.map_a[60:, 60:]).max() < 0.24
    assert np.abs(found.map_a).max() <= 1


def test_corrrise_tells_what_speaks_against() -> None:
    # Bright against dark: what lowers the score is seeing it.
    first, second = quartered_face(250, 10, 60, 250), quartered_face(0, 90, 30, 20)
    found = CorrRiseMethod(CornerEmbedder(30), masks=100, fill=0)((first, second))
    assert found.map_a is not None
    assert found.map_a[8:22, 8:22].max() < -0.5


def test_corrrise_of_a_score_that_never_changes_is_zero() -> None:
    flat = quartered_face(0, 0, 0, 0)
    found = CorrRiseMethod(CornerEmbedder(), masks=10, fill=0)((flat, flat))
    assert not both_maps(found)[0].any()


def test_published_masks_hide_three_squares_inside_the_face() -> None:
    masks = np.concatenate(list(square_masks(200, seed=0, at_once=64)))
    assert masks.shape == (200, 112, 112)
    hidden = (masks == 0).sum(axis=(1, 2))
    assert 900 <= hidden.min() <= hidden.max() <= 2700
    assert hidden.max() > 2600
    np.testing.assert_array_equal(masks, np.concatenate(list(square_masks(200, seed=0, at_once=7))))
    assert set(np.unique(masks)) == {0.0, 1.0}


def test_published_map_is_spearmans_correlation() -> None:
    first, second = quartered_face(0, 90, 30, 20), quartered_face(0, 10, 60, 250)
    embedder = CornerEmbedder(30)
    method = CorrRiseMethod(embedder, preset="published", masks=40, batch_size=16)
    assert method.settings["fill"] == 0
    found = both_maps(method((first, second)))[0]
    masks = np.concatenate(list(square_masks(40, seed=0, at_once=40)))
    covered = first.image.transpose(2, 0, 1).astype(np.float32) * masks[:, None]
    scores = (embedder.embed(covered) * embedder.embed(stack_faces([second]))).sum(axis=1)
    ranks = np.array([(scores < one).sum() + ((scores == one).sum() + 1) / 2 for one in scores])
    np.testing.assert_array_equal(average_ranks(scores), ranks)
    for row, column in ((10, 10), (25, 3), (60, 80)):
        seen = masks[:, row, column]
        expected = np.corrcoef(seen, ranks)[0, 1] if ranks.std() and seen.std() else 0.0
        assert found[row, column] == pytest.approx(expected, abs=1e-5)


def test_presets_have_numbers_of_masks_of_their_own() -> None:
    assert CorrRiseMethod(LinearEmbedder()).masks == 1000
    assert CorrRiseMethod(LinearEmbedder(), preset="published").masks == 500
    assert CorrRiseMethod(LinearEmbedder(), preset="published", fill="mean").fill == "mean"


@pytest.mark.parametrize(
    "options", [{"masks": 1}, {"preset": "x"}, {"cells": 0}, {"cells": 113}, {"visible": 0}, {"visible": 1}]
)
def test_corrrise_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        CorrRiseMethod(LinearEmbedder(), **options)


# Controls


def test_random_differs_between_faces_and_not_between_runs() -> None:
    method = RandomMethod(LinearEmbedder())
    first, second, third = (noisy_face(seed) for seed in (1, 2, 3))
    one, other = method((first, second)), method((first, third))
    np.testing.assert_array_equal(one.map_a, other.map_a)
    assert one.map_b is not None
    assert other.map_b is not None
    assert np.abs(one.map_b - other.map_b).max() > 0.1


def test_centre_is_a_hill() -> None:
    found = CentreMethod(LinearEmbedder(), sigma=10)((noisy_face(1), noisy_face(2))).map_a
    assert found is not None
    assert found.max() == found[55, 56]
    np.testing.assert_array_equal(found, found[::-1])
    np.testing.assert_array_equal(found, found.T)
    assert found.min() > 0


@pytest.mark.parametrize(("kind", "options"), [(RandomMethod, {"cells": 0}), (CentreMethod, {"sigma": 0})])
def test_controls_bad_options(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        kind(LinearEmbedder(), **options)
