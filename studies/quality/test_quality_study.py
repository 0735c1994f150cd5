"""The study's arithmetic and the fit, on numbers whose answer is known by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fit_quality import components_at, fit_components, fit_scale, turned_away_by
from studies.quality.discard import Decisions, discard_curve, discard_figure
from studies.quality.faces import ROWS, cut
from studies.quality.nonfaces import drawn_face
from whyface.errors import InputError
from whyface.faces.quality import FaceQuality


def good_faces(seed: int, count: int = 1000) -> list[FaceQuality]:
    rng = np.random.default_rng(seed)
    return [
        FaceQuality(
            sharpness=float(rng.normal(0.6, 0.03)),
            noise=float(rng.uniform(1, 3)),
            luminance_mean=0.5,
            luminance_variance=0.03,
            dynamic_range=float(rng.normal(7, 0.2)),
            under_exposure=0,
            over_exposure=0,
            recognisability=float(rng.normal(0.6, 0.02)),
        )
        for _ in range(count)
    ]


def decisions() -> Decisions:
    # The two poorest pairs are decided wrongly, one of each kind.
    return Decisions(
        np.array([0.1, 0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 0.95, 0.85]),
        np.array([True, False, True, False, True, False, True, False, True, False]),
        np.array([False, True, True, False, True, False, True, False, True, False]),
    )


def test_limits_turn_away_as_many_as_asked_of_the_poorest_source() -> None:
    sources = {"one": good_faces(0), "other": [replace(face, sharpness=face.sharpness - 0.1) for face in good_faces(1)]}
    shares = turned_away_by(fit_components(sources, 0.02), sources)
    assert 0.01 < max(shares.values()) <= 0.02
    # The sharper source loses next to none by a limit that the other sets.
    assert shares["one"] < shares["other"]


def test_a_limit_is_a_quantile_and_noise_is_poor_above_it() -> None:
    sources = {"one": good_faces(0)}
    found = components_at(sources, 0.1)
    assert found["sharpness"].middle == pytest.approx(np.quantile([f.sharpness for f in sources["one"]], 0.1), abs=1e-4)
    assert found["noise"].width < 0 < found["sharpness"].width
    assert found["noise"].middle == pytest.approx(np.log1p(2.8), abs=0.05)


def test_the_scale_rises_from_chance_to_good() -> None:
    rng = np.random.default_rng(0)
    odds = rng.uniform(-4, 4, 20000)
    genuine = rng.random(20000) < 0.3
    # Poor faces always match: right for one person, wrong for strangers; good ones are always decided rightly.
    right = genuine | (rng.random(20000) < 1 / (1 + np.exp(-2 * odds)))
    scale = fit_scale(1 / (1 + 10.0**-odds), right, genuine)
    assert scale.scores[0] < 0.05 and scale.scores[-1] == pytest.approx(1, abs=0.01)
    assert scale.value(0.5) == pytest.approx(0.5, abs=0.12)


def test_errors_fall_as_the_poorest_pairs_are_left_out() -> None:
    curve = discard_curve(decisions())
    assert curve.false_matches[0] == pytest.approx(1 / 5) and curve.false_non_matches[0] == pytest.approx(1 / 5)
    at = curve.shares.index(0.1)
    assert curve.false_matches[at] == 0 and curve.false_non_matches[at] == pytest.approx(1 / 5)
    assert curve.false_non_matches[curve.shares.index(0.2)] == 0
    assert decisions().at_limit(0.3) == {
        "turned_away": 0.2,
        "fmr_before": 0.2,
        "fnmr_before": 0.2,
        "fmr_after": 0,
        "fnmr_after": 0,
    }
    assert discard_figure({"made": curve}, {"made": 0.2}).axes[0].get_label() == "made"


def test_a_rate_without_pairs_is_not_known() -> None:
    some = decisions()
    assert np.isnan(some.rates(some.genuine)[0])
    assert discard_curve(Decisions(some.unified[:2], some.match[:2], some.genuine[:2])).to_dict()["fmr"][-1] is None
    with pytest.raises(InputError, match="every pair"):
        Decisions(some.unified, some.match[:3], some.genuine)


def test_rows_change_faces_and_keep_their_shape() -> None:
    face = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    for name, way in ROWS.items():
        worse = way(face, np.random.default_rng(1))
        assert worse.shape == face.shape and worse.dtype == np.uint8
        assert (worse == face).all() == (name == "as they are")
    assert cut(face, 0.25, "bottom")[84:].max() == 0 and (cut(face, 0.25, "right")[:, :84] == face[:, :84]).all()


def test_drawn_faces_follow_their_seed() -> None:
    np.testing.assert_array_equal(drawn_face(3), drawn_face(3))
    assert (drawn_face(3) != drawn_face(4)).any()
