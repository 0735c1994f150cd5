"""Scores of the ways to compare turned faces, by hand."""

from __future__ import annotations

import numpy as np

from studies.cross_pose import ways, weighed_scores


def test_the_score_is_a_weighed_mean_of_cosines() -> None:
    # One channel, 1 x 2 places: cosines 1 and -1 with weights 6 and 2.
    first, second = np.array([[[[2.0, 1.0]]]]), np.array([[[[3.0, -2.0]]]])
    np.testing.assert_allclose(weighed_scores(first, second), [(6 - 2) / 8])
    np.testing.assert_allclose(weighed_scores(first, second, np.array([[[0.0, 1.0]]])), [-1])


def test_ways() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 3, 4, 7, 7))
    mirrored = first[..., ::-1]
    straight = ways(first, mirrored, second, (np.zeros(3), np.zeros(3)))
    np.testing.assert_allclose(straight["visibility, +2"], straight["nothing"])
    np.testing.assert_allclose(straight["mirror image where turned apart"], straight["nothing"])
    assert (straight["the better of both"] >= straight["mean with the mirror image"] - 1e-12).all()
    apart = ways(first, mirrored, second, (np.full(3, 40.0), np.full(3, -40.0)))
    np.testing.assert_allclose(apart["mirror image where turned apart"], weighed_scores(mirrored, second))
    turned = ways(first, mirrored, second, (np.full(3, 40.0), np.full(3, 20.0)))
    assert np.abs(turned["visibility, +1"] - turned["nothing"]).max() > 1e-3
