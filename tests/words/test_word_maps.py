"""Counterfactual and joint maps, erasing, places: by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE
from whyface.models.catalogue import FAST_MODEL
from whyface.models.embedder import l2_normalise
from whyface.models.linear_head import LinearHead
from whyface.words.attribute_model import ATTRIBUTES
from whyface.words.identity_evidence import (
    IdentityClasses,
    LinearCells,
    XcosCells,
    chosen_classes,
    fit_classes,
    identity_cells,
    mean_class_map,
)
from whyface.words.word_maps import (
    ERASERS,
    PLACES,
    class_activation,
    counterfactual_map,
    erased_faces,
    erased_pixels,
    joint_maps,
    to_pixels,
    to_unit_range,
    weighted_channels,
    word_places,
)
from whyface.xcos.comparison import CosineComparison, XcosComparison
from whyface.xcos.model import open_xcos

OWN = np.array([[[0.0, 2.0], [4.0, -1.0]]])
OTHER = np.array([[[3.0, 0.0], [3.0, 0.0]]])


@pytest.mark.parametrize("kind", ["xcos", "linear"])
def test_slopes_of_classes_are_those_of_small_steps(kind: str) -> None:
    rng = np.random.default_rng(0)
    grid = rng.standard_normal((1, 3, 2, 2)).astype(np.float32)
    cells: Any = XcosCells(None) if kind == "xcos" else LinearCells.__new__(LinearCells)  # type: ignore[arg-type]
    size = 12
    if kind == "linear":
        size = 4
        cells._head = LinearHead(rng.standard_normal((4, 3, 2, 2)).astype(np.float32), np.ones(4, np.float32))
    weights = l2_normalise(rng.standard_normal((2, size)).astype(np.float32))
    slopes = cells.slopes(grid, weights)
    assert slopes.shape == (1, 2, 3, 2, 2)
    for place in np.ndindex(3, 2, 2):
        there, back = grid.copy(), grid.copy()
        there[(0, *place)] += 0.01
        back[(0, *place)] -= 0.01
        rise = (cells.embedding(there) - cells.embedding(back)) @ weights.T / 0.02
        np.testing.assert_allclose(slopes[(0, slice(None), *place)], rise[0], atol=2e-3)
    with pytest.raises(InputError, match="heat map must be one of"):
        weighted_channels(grid, slopes, "evidence")
    mean = mean_class_map(cells, grid, weights, "gradcam")
    np.testing.assert_allclose(mean, weighted_channels(grid, slopes, "gradcam")[0].mean(axis=0))
    averaged = mean_class_map(cells, grid, weights, "gradcam++", average_maps=True)
    assert 0 <= averaged.min() < averaged.max() <= 1


def test_different_by_hand() -> None:
    # g = (0, .5, 1, 0); c = (1, 0, 1, 0), so max c - c = (0, 1, 0, 1): their product is .5 at one place only.
    np.testing.assert_allclose(counterfactual_map(OWN, OTHER), np.array([[[0.0, 1], [0, 0]]]))


def test_alike_by_hand() -> None:
    np.testing.assert_allclose(counterfactual_map(OWN, OTHER, "alike"), np.array([[[0.0, 0], [1, 0]]]))


def test_the_same_identity_leaves_only_what_its_map_weakens() -> None:
    # With c = g the map g * (1 - g) is largest where g is one half.
    own = np.array([[[0.0, 1.0], [2.0, 4.0]]])
    np.testing.assert_allclose(counterfactual_map(own, own), np.array([[[0, 0.75], [1, 0]]]))


def test_maps_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="one shape"):
        counterfactual_map(OWN, OTHER[:, :1])
    with pytest.raises(InputError, match="'different' or 'alike'"):
        counterfactual_map(OWN, OTHER, "other")  # type: ignore[arg-type]


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4), st.floats(0.1, 50), st.floats(-50, 50))
def test_unit_range(values: list[float], scale: float, shift: float) -> None:
    given_map = np.array(values).reshape(1, 2, 2)
    unit = to_unit_range(given_map)
    assert unit.min() == 0
    assert unit.max() in (0, 1)
    np.testing.assert_allclose(to_unit_range(given_map * scale + shift), unit, atol=2e-3)


def test_an_even_map_says_nothing() -> None:
    assert not to_unit_range(np.full((1, 3, 3), 7.0)).any()
    assert not class_activation(np.full((1, 3, 3), -7.0)).any()


def test_joint_map_is_the_stretched_product() -> None:
    place = np.zeros((7, 7), np.float32)
    place[3, 3], place[0, 0] = 1.0, 0.4
    evidence = np.zeros((2, 7, 7), np.float32)
    evidence[0, 3, 3], evidence[0, 0, 0] = 1.0, 2.0
    evidence[1, 0, 0] = 5.0
    joint = joint_maps(place, evidence)
    middle = (slice(48, 64), slice(48, 64))
    # D * H is 1 * .5 in the middle and .4 * 1 in the corner; what is only in the corner is stretched to 1 there.
    assert joint[0].max() == 1 == joint[0][middle].max()
    assert joint[0][0, 0] == pytest.approx(0.85, abs=0.1)
    assert joint[1][0, 0] == 1
    assert not joint[1][middle].any()


def test_kinds_of_maps() -> None:
    rng = np.random.default_rng(0)
    place, evidence = rng.random((7, 7)).astype(np.float32), rng.random((3, 7, 7)).astype(np.float32)
    alone = joint_maps(place, evidence, "no attribute")
    np.testing.assert_allclose(alone, np.repeat(to_unit_range(to_pixels(place[None])), 3, axis=0))
    words = joint_maps(place, evidence, "no counterfactual")
    np.testing.assert_allclose(words, to_unit_range(to_pixels(class_activation(evidence))), atol=1e-6)
    with pytest.raises(InputError, match="kind of map"):
        joint_maps(place, evidence, "neither")  # type: ignore[arg-type]


def test_places_bound_what_is_erased() -> None:
    names = [one.name for one in ATTRIBUTES]
    places = word_places(names)
    evidence = np.random.default_rng(0).uniform(0.5, 1, (len(names), 7, 7)).astype(np.float32)
    joint = joint_maps(np.ones((7, 7), np.float32), evidence, places=places)
    assert erased_pixels(joint, 0.0).any(axis=(1, 2)).all()
    assert not (erased_pixels(joint, 0.0) & ~places).any()
    # With a peaked map the threshold alone leaves next to nothing.
    peak = np.zeros((7, 7), np.float32)
    peak[3, 3] = 1
    peaked = joint_maps(peak + 0.01, evidence + 1 - np.eye(7, dtype=np.float32), places=places)
    nose = names.index("Big_Nose")
    erased = erased_pixels(peaked, 0.95, places=places)
    assert erased_pixels(peaked, 0.95)[nose].sum() < 0.1 * places[nose].sum()
    assert erased[nose].sum() == round(0.25 * places[nose].sum())
    assert not (erased & ~places).any()
    assert peaked[nose][erased[nose]].min() >= peaked[nose][places[nose] & ~erased[nose]].max()
    skin = names.index("Pale_Skin")
    np.testing.assert_array_equal(erased[skin], erased_pixels(peaked, 0.95)[skin])
    assert not erased_pixels(peaked * 0, places=places).any()
    hat, lips = places[names.index("Wearing_Hat")], places[names.index("Big_Lips")]
    assert hat[5, 56]
    assert not lips[5, 56]
    assert lips[92, 56]
    assert not hat[92, 56]
    assert places[names.index("Pale_Skin")].all()
    assert set(PLACES) <= set(names)
    with pytest.raises(InputError, match="places must be"):
        joint_maps(np.ones((7, 7), np.float32), np.ones((2, 7, 7), np.float32), places=places)


def test_the_threshold_is_strict() -> None:
    assert erased_pixels(np.array([0.6, 0.61]), 0.6).tolist() == [False, True]
    with pytest.raises(InputError, match="must be in 0..1"):
        erased_pixels(np.zeros(2), 1.5)


@pytest.mark.parametrize("eraser", ERASERS)
def test_erasing_nothing_changes_nothing(eraser: str) -> None:
    face = np.random.default_rng(0).integers(0, 256, (3, FACE_SIZE, FACE_SIZE), np.uint8)
    masks = np.zeros((2, FACE_SIZE, FACE_SIZE), bool)
    masks[1, 10:20, 10:20] = True
    copies = erased_faces(face, masks, eraser)
    np.testing.assert_array_equal(copies[0], face)
    np.testing.assert_array_equal(copies[1][:, ~masks[1]], face[:, ~masks[1]])
    assert (copies[1][:, masks[1]] != face[:, masks[1]]).mean() > 0.5
    assert copies.dtype == np.uint8


def test_unknown_eraser() -> None:
    with pytest.raises(InputError, match="black, white, mean, random, blur"):
        erased_faces(np.zeros((3, 4, 4), np.uint8), np.zeros((1, 4, 4), bool), "pink")


def test_strategies() -> None:
    chances = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert chosen_classes(chances, "topk", k=2) == [[0, 1], [2, 1]]
    assert chosen_classes(chances, "threshold", share=0.4) == [[0], [2]]
    assert chosen_classes(chances, "threshold", share=0.6) == [[0, 1], [2]]
    assert chosen_classes(chances, "threshold", share=0.95) == [[0, 1, 2], [2, 1, 0]]
    wrongs: tuple[dict[str, Any], ...] = (
        {"strategy": "best"},
        {"strategy": "topk", "k": 4},
        {"strategy": "threshold", "share": 1.0},
    )
    for wrong in wrongs:
        with pytest.raises(InputError):
            chosen_classes(chances, **wrong)


def test_a_classifier_learns_people() -> None:
    rng = np.random.default_rng(1)
    people = rng.standard_normal((6, 40))
    rows = np.repeat(np.arange(6), 8)
    faces = people[rows] + 0.8 * rng.standard_normal((48, 40))
    units = (faces / np.linalg.norm(faces, axis=1, keepdims=True)).astype(np.float32)
    classes = fit_classes(units, [f"p{row}" for row in rows])
    assert classes.names == tuple(f"p{row}" for row in range(6))
    assert (classes.chances(units).argmax(axis=1) == rows).mean() > 0.95
    np.testing.assert_allclose(np.linalg.norm(classes.weights, axis=1), 1, atol=1e-5)
    with pytest.raises(InputError, match="at least two people"):
        fit_classes(units[:8], ["one"] * 8)
    with pytest.raises(InputError, match="two people"):
        IdentityClasses(("one",), np.ones((1, 4), np.float32))


def test_evidence_of_the_default_model_adds_up() -> None:
    model = open_xcos(FAST_MODEL, threads=1)
    faces = np.random.default_rng(3).integers(0, 256, (2, 3, 112, 112), np.uint8)
    comparison = XcosComparison(model)
    cells = identity_cells(comparison)
    assert isinstance(cells, XcosCells)
    features = cells.read(faces)
    swapped = features[::-1].copy()
    scores = comparison.scores(features, swapped)
    np.testing.assert_allclose(cells.other(features, swapped).sum(axis=(1, 2)), scores, atol=1e-5)
    np.testing.assert_allclose(cells.own(features).sum(axis=(1, 2)), 1, atol=1e-5)
    embeddings = cells.embedding(features)
    cosines = cells.of_classes(features, embeddings).sum(axis=(2, 3))
    np.testing.assert_allclose(cosines, embeddings @ embeddings.T, atol=1e-5)


def test_linear_evidence_adds_up_but_for_the_constant() -> None:
    from helpers.coloured_faces import ColourNetwork
    from whyface.models.linear_head import LinearHead

    cells = LinearCells.__new__(LinearCells)
    rng = np.random.default_rng(5)
    cells._grids = ColourNetwork()
    cells._head = LinearHead(rng.standard_normal((4, 3, 7, 7)).astype(np.float32), np.zeros(4, np.float32))
    features = cells.read(rng.integers(0, 256, (2, 3, 112, 112), np.uint8))
    embeddings = cells.embedding(features)
    np.testing.assert_allclose(
        cells.other(features, features[::-1].copy()).sum(axis=(1, 2)),
        np.repeat(embeddings[0] @ embeddings[1], 2),
        atol=1e-5,
    )
    np.testing.assert_allclose(cells.own(features).sum(axis=(1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(
        cells.of_classes(features, embeddings).sum(axis=(2, 3)), embeddings @ embeddings.T, atol=1e-5
    )


def test_a_network_without_places_is_refused() -> None:
    from helpers.coloured_faces import ColourNetwork
    from whyface.errors import ModelError

    with pytest.raises(ModelError, match="without the counterfactual map"):
        identity_cells(CosineComparison(ColourNetwork()))
