"""What two faces cannot support is left undecided: the rule, the explanation, its words and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from whyface.errors import DataError, InputError
from whyface.explain.explanation import Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.explain.sentences import describe
from whyface.explain.trust import doubt_about, measured, with_doubt
from whyface.explain.usual import Telling
from whyface.faces.face import Face
from whyface.faces.quality import FaceQuality, HeadPose, measure_crop
from whyface.models.calibration import LikelihoodRatio

PLAIN = measure_crop(np.full((112, 112, 3), 90, np.uint8))
GOOD = replace(PLAIN, unified=0.9, pose=HeadPose(1.0, -2.0, 3.0), inter_eye_distance=41.5)
BLURRED, DARK = (replace(PLAIN, unified=0.0, shortcoming=fault) for fault in ("too blurred", "too dark"))
CUT = replace(PLAIN, unified=0.0, shortcoming="cut off by the edge of the photo")
GRID: dict[str, Any] = {
    "similarity": np.full((7, 7), 0.6, np.float32),
    "attention": np.full((7, 7), 1 / 49, np.float32),
    "attention_kind": "u",
}


def explanation(first: FaceQuality | None, second: FaceQuality | None, **changes: Any) -> Explanation:
    plain: dict[str, Any] = {
        "score": 0.6,
        "threshold": 0.35,
        "threshold_source": ThresholdSource(),
        "method": "xcos",
        "cost": Cost(2, 0, 0.5),
        "model": ModelInfo("any"),
        "probability": 0.99,
        "probability_source": "somewhere",
        "likelihood": LikelihoodRatio(2.0, -3.0, 4.0, "somewhere"),
        "faces": (FaceInfo(quality=first), FaceInfo(quality=second)),
        "sentences": ("One.", "Two."),
        **GRID,
    }
    return Explanation(**(plain | changes))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (GOOD, GOOD, None),
        (None, None, None),
        (BLURRED, BLURRED, "both faces are too blurred to compare"),
        (CUT, CUT, "both faces are cut off by the edge of the photo"),
        (BLURRED, GOOD, "the first face is too blurred to compare"),
        (None, DARK, "the second face is too dark to compare"),
        (BLURRED, DARK, "the first face is too blurred to compare and the second face is too dark to compare"),
    ],
)
def test_one_poor_face_is_enough_for_a_doubt(
    first: FaceQuality | None, second: FaceQuality | None, said: str | None
) -> None:
    assert doubt_about([first, second]) == said


def test_what_is_undecided_keeps_its_score_and_nothing_else() -> None:
    found = with_doubt(explanation(BLURRED, BLURRED))
    assert (found.verdict, found.is_match, found.undecided) == ("undecided", False, True)
    assert found.score == 0.6 and found.doubt == "both faces are too blurred to compare"
    assert found.probability is None and found.probability_source is None and found.log10_lr is None
    assert not found.has_grid and found.contributions is None and found.attention_kind is None
    assert found.sentences == describe(found)
    assert found.sentences[0] == "Undecided: both faces are too blurred to compare."
    assert "0.6" not in " ".join(found.sentences)


def test_accepting_poor_faces_keeps_the_verdict_and_marks_it() -> None:
    found = with_doubt(explanation(BLURRED, GOOD), accept_poor=True)
    assert (found.verdict, found.undecided) == ("match", False) and found.has_grid
    assert found.doubt == "the first face is too blurred to compare"
    assert found.probability is None and found.log10_lr is None
    assert found.sentences[:2] == ("One.", "Two.") and "the first face is too blurred" in found.sentences[2]


@pytest.mark.parametrize("faces", [(GOOD, GOOD), (None, None)])
def test_good_and_unmeasured_faces_change_nothing(faces: tuple[FaceQuality | None, FaceQuality | None]) -> None:
    plain = explanation(*faces)
    assert with_doubt(plain) is plain and with_doubt(plain, accept_poor=True) is plain


def test_no_reasons_or_probability_can_be_given_for_what_is_undecided() -> None:
    bare = {"probability": None, "probability_source": None, "likelihood": None, **dict.fromkeys(GRID)}
    with pytest.raises(InputError, match="needs the doubt"):
        explanation(GOOD, GOOD, undecided=True, **bare)
    ratio = {"likelihood": LikelihoodRatio(1.0, -3.0, 4.0, "x")}
    for kept in (GRID, {"probability": 0.5, "probability_source": "x"}, ratio):
        given = bare | kept
        with pytest.raises(InputError, match="no reasons and no probability"):
            explanation(GOOD, GOOD, undecided=True, doubt="why", **given)


@pytest.mark.parametrize("accept_poor", [False, True])
def test_json_gives_it_back(accept_poor: bool) -> None:
    found = with_doubt(explanation(BLURRED, GOOD), accept_poor=accept_poor)
    again = Explanation.from_json(found.to_json())
    assert again == found and again.faces is not None and again.faces[1].quality == GOOD
    record = json.loads(found.to_json())
    assert record["verdict"] == ("match" if accept_poor else "undecided")
    assert record["faces"][0]["quality"]["shortcoming"] == "too blurred"


def test_what_tells_at_places_does_not_multiply_into_the_likelihood_ratio() -> None:
    """Places are not independent: neighbours see the same, so their ratios are shown and never combined."""
    plain = explanation(GOOD, GOOD)
    flat = np.zeros((7, 7), np.float32)
    telling = replace(Telling(flat, flat, flat, flat, "made up"), log_odds=np.full((7, 7), 2.0, np.float32))
    found = replace(plain, telling=telling)
    np.testing.assert_allclose(telling.log10_lr, 2 / np.log(10), rtol=1e-6)
    assert found.log10_lr == plain.log10_lr == 2.0
    again = Explanation.from_json(found.to_json())
    assert again.likelihood == found.likelihood and again == found


def test_explanations_of_the_first_schema_are_read() -> None:
    record = explanation(None, None).to_dict()
    del record["doubt"]
    for face in record["faces"]:
        del face["quality"]
    with pytest.raises(DataError, match="'doubt'"):
        Explanation.from_dict(record)
    old = Explanation.from_dict({**record, "schema": "whyface/explanation/1"})
    assert old == explanation(None, None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": "much"}, "must be a number"),
        ({"noise": None}, "lacks 'noise'"),
        ({"pose": [1, 2, 3]}, "must be an object"),
        ({"pose": {"yaw": 1}}, "must be a number"),
        ({"shortcoming": 5}, "must be a string"),
    ],
)
def test_a_wrong_quality_in_a_file_is_named(change: dict[str, Any], message: str) -> None:
    record = explanation(GOOD, None).to_dict()
    record["faces"][0]["quality"] |= change
    with pytest.raises(DataError, match=f"'quality' of face.*{message}"):
        Explanation.from_dict(record)


def test_a_face_without_quality_is_measured_by_its_crop() -> None:
    face = Face(np.zeros((112, 112, 3), np.uint8))
    quality = measured(face).quality
    assert quality is not None and quality.shortcoming == "too dark"
    known = replace(face, quality=GOOD)
    assert measured(known) is known
