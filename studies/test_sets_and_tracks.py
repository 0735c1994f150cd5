"""Rates of sets and of tracks, counted by hand on grids that are easy to tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from studies.sets_and_tracks import People, mean_of, sets_of, tracks_of
from whyface.gallery.kernel import GalleryFeatures
from whyface.models.catalogue import DEFAULT_MODEL
from whyface.xcos.open_model import open_model


@pytest.fixture(scope="module")
def model() -> GalleryFeatures:
    return GalleryFeatures(open_model(DEFAULT_MODEL, threads=1).model)


def people_of(count: int, noise: float) -> People:
    """Make people of four pictures each, whose grids differ from their own mean by noise."""
    rng = np.random.default_rng(0)
    own = np.repeat(rng.standard_normal((count, 32, 7, 7)), 4, axis=0)
    features = (own + noise * rng.standard_normal(own.shape)).astype(np.float32)
    return People(features, np.ones(4 * count), {f"p{one}": list(range(4 * one, 4 * one + 4)) for one in range(count)})


def test_a_poor_picture_has_no_weight_while_there_are_others(model: GalleryFeatures) -> None:
    people = people_of(1, 0.5)
    people.weights[:] = (0, 1, 3, 0)
    plain = mean_of(model, people, [0, 1, 2], by_quality=False)
    np.testing.assert_allclose(plain[0], people.features[1:3].mean(axis=0), rtol=1e-5)
    weighted = mean_of(model, people, [0, 1, 2], by_quality=True)
    np.testing.assert_allclose(weighted[0], (people.features[1] + 3 * people.features[2]) / 4, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean_of(model, people, [0], by_quality=True)[0], people.features[0])


def test_sets_of_more_pictures_miss_fewer_people(model: GalleryFeatures) -> None:
    people = people_of(12, 1.5)
    missed = {}
    for size in (1, 2):
        chosen = {name: (rows[:size], rows[2 : 2 + size]) for name, rows in people.rows.items()}
        found = sets_of(model, people, chosen, {1e-3: 0.4})["at"]["FMR 0.001"]
        assert found["fmr"]["of"] == 12 * 11
        assert found["fmr"]["rate"] == 0
        assert found["fnmr"]["of"] == 12
        missed[size] = found["fnmr"]["rate"]
    assert missed[1] == 1
    assert missed[2] < 1


def test_tracks_of_known_people_get_their_name_and_strangers_none(model: GalleryFeatures) -> None:
    people = people_of(10, 0.2)
    found = tracks_of(model, people, {name: (rows[0], rows[1:]) for name, rows in people.rows.items()}, 0)
    assert (found["gallery"], found["tracks"]) == (5, 20)
    assert (found["fpir"]["rate"], found["fpir"]["of"]) == (0, 10)
    assert (found["fnir"]["rate"], found["fnir"]["of"]) == (0, 10)
    people.weights[people.rows["p3"][1:]] = 0
    found = tracks_of(model, people, {name: (rows[0], rows[1:]) for name, rows in people.rows.items()}, 0)
    # Undecided in both halves: a miss where the person is known, no false alarm where not.
    assert found["undecided_tracks"] == 2
    assert found["fnir"]["rate"] == 0.1
    assert found["fpir"]["rate"] == 0
