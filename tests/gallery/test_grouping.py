"""Groups of faces whose right answer is known by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.gallery_models import TinyGrids, faces
from whyface.errors import InputError
from whyface.gallery.feature_file import Layout, make_records
from whyface.gallery.grouping import group_faces, groups_of, mean_between
from whyface.gallery.kernel import GalleryFeatures, score_records
from whyface.gallery.neighbours import ChosenRecords, Neighbours, as_probes, find_neighbours
from whyface.xcos.model import XcosModel


def known(scores: dict[tuple[int, int], float], count: int) -> tuple[Neighbours, Callable[..., float]]:
    """Neighbours with the scores given, all others 0, and the exact mean between groups."""
    matrix = np.zeros((count, count), np.float32)
    for (one, other), score in scores.items():
        matrix[one, other] = matrix[other, one] = score
    hidden = matrix - 2 * np.eye(count, dtype=np.float32)
    order = sorted(scores, key=lambda pair: -scores[pair])
    found = Neighbours(
        np.array(order, np.int64).reshape(-1, 2),
        np.array([scores[pair] for pair in order], np.float32),
        hidden.argmax(axis=1) if count > 1 else np.full(count, -1),
        hidden.max(axis=1),
    )
    return found, lambda one, other: float(matrix[np.ix_(list(one), list(other))].mean())


def grouped(scores: dict[tuple[int, int], float], count: int, **options: object) -> list[list[int]]:
    found, mean = known(scores, count)
    return list(groups_of(group_faces(found, mean, threshold=0.5, least_mean=0.4, **options)))  # type: ignore[arg-type]


def test_pairs_tie_groups() -> None:
    assert grouped({(0, 1): 0.9, (2, 3): 0.6, (1, 2): 0.3}, 5) == [[0, 1], [2, 3], [4]]


def test_one_lucky_pair_does_not_tie_two_groups() -> None:
    scores = {(0, 1): 0.9, (2, 3): 0.9, (1, 2): 0.8, (0, 2): 0.1, (0, 3): 0.1, (1, 3): 0.1}
    assert grouped(scores, 4) == [[0, 1], [2, 3]]


def test_nobody_is_twice_in_one_photo_unless_joined_by_hand() -> None:
    scores = {(0, 1): 0.9, (1, 2): 0.8, (0, 2): 0.8}
    assert grouped(scores, 3, photos=[0, 1, 0]) == [[0, 1], [2]]
    assert grouped(scores, 3, photos=[0, 1, 0], together=[(0, 2)]) == [[0, 1, 2]]


def test_what_was_said_by_hand_holds() -> None:
    scores = {(0, 1): 0.9, (2, 3): 0.9}
    assert grouped(scores, 4, apart=[([0], [1])], together=[(1, 2)]) == [[1, 2, 3], [0]]
    assert grouped({(0, 1): 0.9, (1, 2): 0.7, (0, 2): 0.7}, 3, names={0: "Ann", 2: "Bob"}) == [[0, 1], [2]]
    with pytest.raises(InputError, match="put apart by hand, or have different names"):
        grouped(scores, 4, apart=[([0], [1])], together=[(0, 1)])


def test_every_join_and_every_refusal_has_its_pair() -> None:
    found, mean = known({(0, 1): 0.9, (1, 2): 0.6, (0, 2): 0.1, (3, 4): 0.45, (5, 6): 1.0, (5, 7): 0.9, (6, 7): 0.9}, 8)
    result = group_faces(found, mean, threshold=0.5, least_mean=0.4, photos=[0, 1, 2, 3, 4, 5, 6, 6])
    ties, refusals = result.ties(), result.refusals
    assert (ties[0].other, ties[0].why) == (1, "alike")
    assert ties[0].score == pytest.approx(0.9)
    assert ties[5].why == "same picture"
    assert (refusals[2].other, refusals[2].why) == (1, "the others of the group are less like it")
    assert refusals[2].mean == pytest.approx((0.6 + 0.1) / 2)
    assert (refusals[3].other, refusals[3].why) == (4, "below the threshold")
    assert (refusals[7].other, refusals[7].why) == (5, "in the same photo")
    assert set(ties) | set(refusals) == set(range(8))
    assert not set(ties) & set(refusals)


@given(st.integers(2, 24), st.integers(0, 10_000))
def test_groups_are_a_partition_and_keep_every_rule(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    photos = rng.integers(0, max(2, count // 2), count).tolist()
    scores = {(i, j): float(rng.uniform(-0.2, 1)) for i in range(count) for j in range(i + 1, count)}
    apart = [([0], [1])]
    groups = grouped(scores, count, photos=photos, apart=apart)
    assert sorted(face for group in groups for face in group) == list(range(count))
    for group in groups:
        assert len({photos[face] for face in group}) == len(group)
        assert not {0, 1} <= set(group)


def records_of(model: XcosModel, count: int) -> tuple[NDArray[np.void], GalleryFeatures, NDArray[np.float32]]:
    features = GalleryFeatures(model)
    grids = features.features(faces(count))
    return features.records(features.layout(grids.shape[1:], "float32"), 0, grids), features, grids


def test_records_as_probes_give_the_scores_of_a_search() -> None:
    model = XcosModel(TinyGrids(), weighed=True)
    records, features, grids = records_of(model, 12)
    layout = features.layout(grids.shape[1:], "float32")
    expected = score_records(records, features.probes(grids, "l"), None)
    np.testing.assert_allclose(score_records(records, as_probes(records, layout), None), expected, atol=1e-6)
    between = mean_between(records, layout)
    assert between([0, 1], [5, 6, 7]) == pytest.approx(expected[np.ix_([0, 1], [5, 6, 7])].mean(), abs=1e-6)


def test_without_weighed_grids_attention_is_uniform() -> None:
    model = XcosModel(TinyGrids())
    records, features, grids = records_of(model, 9)
    layout = features.layout(grids.shape[1:], "float32")
    expected = model.compare_grids(np.repeat(grids[:1], 9, 0), grids, "u").score
    np.testing.assert_allclose(score_records(records, as_probes(records[:1], layout), None)[0], expected, atol=1e-6)
    assert mean_between(records, layout)([0], [3, 4]) == pytest.approx(expected[[3, 4]].mean(), abs=1e-6)


@pytest.mark.parametrize("neighbours", [3, 100])
def test_neighbours_are_the_best_pairs_of_each_face(neighbours: int) -> None:
    model = XcosModel(TinyGrids(), weighed=True)
    records, features, grids = records_of(model, 70)
    layout = features.layout(grids.shape[1:], "float32")
    scores = score_records(records, features.probes(grids, "l"), None)
    np.fill_diagonal(scores, -np.inf)
    found = find_neighbours(records, layout, -1, neighbours=neighbours)
    wanted = {
        (min(face, int(other)), max(face, int(other)))
        for face in range(70)
        for other in np.argsort(-scores[face])[: min(neighbours, 69)]
    }
    assert {tuple(pair) for pair in found.pairs.tolist()} == wanted
    assert (np.diff(found.scores) <= 0).all()
    np.testing.assert_array_equal(found.nearest, scores.argmax(axis=1))


@pytest.mark.parametrize("weighed", [True, False])
def test_a_shortlist_of_all_finds_what_comparing_all_finds(weighed: bool) -> None:
    pytest.importorskip("faiss")
    records, features, grids = records_of(XcosModel(TinyGrids(), weighed=weighed), 60)
    layout = features.layout(grids.shape[1:], "float32")
    expected = find_neighbours(records, layout, -1, neighbours=5)
    shuffled = ChosenRecords(np.concatenate([records[:3], records]), np.arange(3, 63))
    for few in (records, shuffled):
        found = find_neighbours(few, layout, -1, neighbours=5, shortlist=100, threads=1)
        assert {tuple(pair) for pair in found.pairs.tolist()} == {tuple(pair) for pair in expected.pairs.tolist()}
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        np.testing.assert_array_equal(found.nearest, expected.nearest)
    fewer = find_neighbours(records, layout, -1, neighbours=5, shortlist=2, threads=1)
    assert len(fewer.pairs) <= 2 * 60
    assert {tuple(pair) for pair in fewer.pairs.tolist()} & {tuple(pair) for pair in expected.pairs.tolist()}
    with pytest.raises(InputError, match="at least one face"):
        find_neighbours(records, layout, 0, shortlist=0)
    assert len(find_neighbours(records[:1], layout, 0, shortlist=3, threads=1).pairs) == 0


def test_many_faces_are_found_through_lists() -> None:
    """People of three pictures each, far from one another: the index sorts them into lists and loses no pair."""
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    people = rng.standard_normal((7000, 16)).astype(np.float32)
    vectors = np.repeat(people, 3, axis=0) + rng.normal(0, 0.1, (21000, 16)).astype(np.float32)
    layout = Layout("embedding", "any", {}, (16,), 0, "float32")
    records = make_records(layout, 0, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    found = find_neighbours(records, layout, 0.97, shortlist=30, threads=1)
    pairs = {(3 * one + a, 3 * one + b) for one in range(7000) for a, b in ((0, 1), (0, 2), (1, 2))}
    same = {tuple(pair) for pair in found.pairs.tolist()} & pairs
    exact = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    alike = {pair for pair in pairs if float(exact[pair[0]] @ exact[pair[1]]) >= 0.97}
    assert len(same) >= 0.99 * len(alike) > 10_000


def test_a_face_alone_has_no_neighbour() -> None:
    model = XcosModel(TinyGrids(), weighed=True)
    records, features, grids = records_of(model, 1)
    found = find_neighbours(records, features.layout(grids.shape[1:], "float32"), 0.5)
    assert len(found.pairs) == 0
    assert found.nearest.tolist() == [-1]

    def mean(one: Sequence[int], other: Sequence[int]) -> float:
        raise AssertionError((one, other))

    result = group_faces(found, mean, threshold=0.5, least_mean=0.4)
    assert result.groups.tolist() == [0]
    assert result.refusals == {}
