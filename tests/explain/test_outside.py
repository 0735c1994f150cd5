"""Places outside the photo carry no reason: they are listed, hatched and left out of the sentences."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from whyface.errors import DataError, InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.explain.shares import explanation_shares, fewest_to_flip, map_shares, region_shares
from whyface.faces.face import Face, stack_faces
from whyface.faces.load import find_faces
from whyface.faces.photo import read_photo
from whyface.faces.regions import region_of_cells
from whyface.figures.panels import OUTSIDE
from whyface.figures.verdict import verdict_figure
from whyface.verification import Verification, Verifier

Photo = NDArray[np.uint8]
CROP = np.full((112, 112, 3), 128, np.uint8)
LOWER = tuple((row, column) for row in (5, 6) for column in range(7))
BELOW = {"mouth", "left jaw", "right jaw", "chin"}


def cut_face(height: int, width: int) -> Face:
    """A face whose crop lies at the photo's upper left corner, in a photo of this size."""
    return Face(CROP, to_photo=np.eye(2, 3), photo_size=(height, width))


def explained(outside: Any = LOWER, **changes: Any) -> Explanation:
    s = np.full((7, 7), 0.3)
    s[5:] = 0.9
    s[1] = 0.1
    plain: dict[str, Any] = {
        "similarity": s,
        "attention": np.full((7, 7), 1 / 49),
        "score": float(s.mean()),
        "faces": (FaceInfo("a.jpg", outside=outside), FaceInfo("b.jpg")),
    }
    return Explanation(
        **{
            "threshold": 0.25,
            "threshold_source": ThresholdSource(),
            "method": "xcos",
            "cost": Cost(2),
            "model": ModelInfo("m"),
            **plain,
            **changes,
        }
    )


def test_places_beyond_the_edge_of_the_photo_are_outside() -> None:
    assert not cut_face(112, 112).outside(7, 7).any()
    expected = np.zeros((7, 7), bool)
    expected[5:] = True
    np.testing.assert_array_equal(cut_face(80, 112).outside(7, 7), expected)
    # A place counts as outside if more than half of it is.
    np.testing.assert_array_equal(cut_face(88, 112).outside(7, 7), expected & (np.arange(7) == 6)[:, None])
    np.testing.assert_array_equal(cut_face(112, 56).outside(4, 4), np.tile([False, False, True, True], (4, 1)))
    assert cut_face(80, 60).outside(3, 5).tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [1] * 5]


def test_the_black_of_an_aligned_crop_is_outside() -> None:
    half = CROP.copy()
    half[56:] = 2
    np.testing.assert_array_equal(Face(half).outside(4, 4), np.repeat([False, False, True, True], 4).reshape(4, 4))
    assert not Face(CROP).outside(7, 7).any()
    assert not Face(np.zeros_like(CROP)).outside(7, 7).any()
    # Where the photo's edges are known, black is a colour.
    assert not Face(half, to_photo=np.eye(2, 3), photo_size=(112, 112)).outside(7, 7).any()


def test_sentences_and_regions_leave_out_what_is_outside() -> None:
    one = explained()
    said = describe(one)
    assert not any(f"the {name} (" in " ".join(said) for name in BELOW)
    assert said[-1] == (
        "14 of the 49 places lie outside the first photo and give no reasons; their part in the distance from the "
        "threshold is +18.6 points."
    )
    assert "the chin (+" in " ".join(describe(explained(outside=())))
    shares, unseen = explanation_shares(one), one.unseen
    assert shares is not None
    assert unseen is not None
    seen = region_shares(shares, unseen)
    assert not BELOW & set(seen)
    assert sum(seen.values()) + shares[unseen].sum() == pytest.approx(one.margin)


def test_no_place_outside_is_asked_to_change() -> None:
    shares = np.array([[0.1, 0.1, 0.5]])
    unseen = np.array([[False, False, True]])
    assert fewest_to_flip(shares, is_match=True, unseen=unseen) is None
    flip = fewest_to_flip(np.array([[0.4, -0.1, 0.2]]), is_match=True, unseen=unseen)
    assert flip is None
    flip = fewest_to_flip(np.array([[0.4, -0.3, 0.2]]), is_match=True, unseen=unseen)
    assert flip is not None
    assert flip.cells.tolist() == [[True, False, False]]
    assert "what the photos show of it is too little to flip the verdict" in describe(explained())[1]


def test_maps_of_each_face_leave_out_what_is_outside() -> None:
    maps = np.ones((14, 14), np.float32)
    both = {"similarity": None, "attention": None}
    found = map_shares(explained(map_a=maps, **both))
    assert found is not None
    assert all(found[name] == 0 for name in ("mouth", "chin"))
    assert sum(found.values()) == pytest.approx(1)
    # Face B is whole, so its map counts everywhere.
    other = map_shares(explained(map_b=maps, **both))
    assert other is not None
    assert other["chin"] > 0


def test_the_json_lists_the_places_and_reads_them_again() -> None:
    one = explained()
    written = json.loads(one.to_json())
    assert written["faces"][0]["outside"] == [list(place) for place in LOWER]
    assert written["faces"][1]["outside"] == []
    assert Explanation.from_json(one.to_json()) == one
    written["faces"][0]["outside"] = [[7, 0]]
    with pytest.raises(DataError, match="not on the grid of 7 x 7 places"):
        Explanation.from_dict(written)
    written["faces"][0]["outside"] = [[1]]
    with pytest.raises(DataError, match="a row and a column"):
        Explanation.from_dict(written)
    del written["faces"][0]["outside"]
    assert Explanation.from_dict(written).faces == (FaceInfo("a.jpg"), FaceInfo("b.jpg"))
    with pytest.raises(InputError, match="not on the grid"):
        explained(outside=((0, 9),))


def test_the_figure_hatches_them() -> None:
    figure = verdict_figure(explained(), CROP, CROP)
    hatched = {axes.get_label(): sum(bool(patch.get_hatch()) for patch in axes.patches) for axes in figure.axes}
    assert {name: hatched[name] for name in ("Face A", "Face B", "Similarity", "Weight", "Contribution")} == {
        "Face A": 14,
        "Face B": 0,
        "Similarity": 14,
        "Weight": 14,
        "Contribution": 14,
    }
    (bars,) = [axes for axes in figure.axes if axes.get_label() == "regions"]
    names = [label.get_text() for label in bars.get_yticklabels()]
    assert names[-1] == OUTSIDE
    assert not BELOW & set(names)


@cache
def verifier() -> Verifier:
    return Verifier(threads=1, accept_poor=True)


def demo_photo(name: str) -> Photo:
    with resources.as_file(resources.files("whyface") / "assets/photos" / name) as path:
        return read_photo(path)


def check_no_reason_below(result: Verification, rows: int) -> None:
    faces = result.explanation.faces
    assert faces is not None
    listed = set(faces[0].outside)
    assert listed >= {(row, column) for row in range(rows, 7) for column in range(7)}
    gone = {str(name) for name in np.unique(region_of_cells()[rows:])} - set(region_of_cells()[:rows].ravel())
    assert {"mouth", "chin"} <= gone
    said = " ".join(result.sentences)
    assert not [name for name in gone if f"the {name} (" in said or f"the {name} and" in said]
    assert f"{len(listed)} of the 49 places lie outside the first photo" in said
    # The score is that of the model, unchanged.
    comparison = verifier().method.comparison
    features = comparison.features(stack_faces([result.face_a, result.face_b]))
    assert result.score == pytest.approx(float(comparison.scores(features[:1], features[1:])[0]), abs=1e-5)


def test_a_face_cut_off_below_the_eyes_has_no_mouth_and_no_chin_among_its_reasons() -> None:
    photo, other = demo_photo("obama-portrait.jpg"), demo_photo("obama-speech.jpg")
    face = find_faces(photo, threads=1)[0]
    assert face.landmarks is not None
    mouth = float(face.landmarks[3:, 1].mean())
    cut = photo[: round(mouth - 0.1 * (mouth - float(face.landmarks[:2, 1].mean())))]
    check_no_reason_below(verifier()(cut, other), 5)


def test_half_a_crop_of_black_has_no_mouth_and_no_chin_among_its_reasons() -> None:
    faces = [find_faces(demo_photo(name), threads=1)[0].image for name in ("obama-portrait.jpg", "obama-speech.jpg")]
    faces[0][64:] = 0
    check_no_reason_below(verifier()(faces[0], faces[1], aligned=True), 4)
