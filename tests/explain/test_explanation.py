from __future__ import annotations

import copy
import hashlib
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whyface.errors import DataError, InputError
from whyface.explain.explanation import SCHEMA, Explanation
from whyface.explain.provenance import Cost, FaceInfo, ModelInfo, ThresholdSource
from whyface.faces.face import Face
from whyface.models.operating_point import OperatingPoint

SIMILARITY = np.linspace(-0.5, 0.9, 49, dtype=np.float32).reshape(7, 7)
ATTENTION = np.full((7, 7), 1 / 49, np.float32)
POINT = OperatingPoint(
    name="FMR 1e-3",
    threshold=0.25,
    fmr=0.001,
    fnmr=0.012,
    fmr_interval=(0.0003, 0.0026),
    fnmr_interval=(0.008, 0.018),
    genuine_pairs=3000,
    impostor_pairs=3000,
    dataset="LFW, 6000 pairs",
)


def explanation(**changes: Any) -> Explanation:
    plain: dict[str, Any] = {
        "score": 0.2,
        "threshold": 0.25,
        "threshold_source": ThresholdSource.from_operating_point(POINT),
        "method": "xcos",
        "cost": Cost(2, 0, 0.5),
        "model": ModelInfo("xcos-mobilefacenet", "0f" * 32),
        "similarity": SIMILARITY,
        "attention": ATTENTION,
        "attention_kind": "u",
        "settings": {"steps": [1, 2.5, None], "nested": {"deep": [True, "x"]}},
        "versions": {"whyface": "0.1.0"},
        "faces": (FaceInfo("a.jpg", (0, 1, 2.5, 3), ((1, 2),) * 5, 0.99, 0, 2), FaceInfo()),
        "sentences": ("One.", "Two."),
    }
    return Explanation(**(plain | changes))


BARE = {"similarity": None, "attention": None, "attention_kind": None}


def test_the_rule_is_strict() -> None:
    for score, match in ((0.25, False), (np.nextafter(0.25, 1), True), (np.nextafter(0.25, -1), False)):
        one = explanation(**BARE, score=score)
        assert one.is_match is match
        assert one.verdict == ("match" if match else "no match")
        assert one.margin == score - 0.25


def test_contributions_are_similarity_times_attention_and_add_up_to_the_score() -> None:
    one = explanation()
    assert one.has_grid
    assert one.contributions is not None
    np.testing.assert_array_equal(one.contributions, (SIMILARITY.astype(float) * ATTENTION).astype(np.float32))
    assert one.contributions.sum() == pytest.approx(one.score, abs=1e-6)


def test_arrays_are_read_only_copies() -> None:
    given_map = np.zeros((112, 112), np.float64)
    one = explanation(map_a=given_map)
    given_map[0, 0] = 5
    assert one.map_a is not None
    assert one.map_a.dtype == np.float32
    assert one.map_a[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        one.map_a[0, 0] = 1


def test_settings_are_a_read_only_copy() -> None:
    given_settings = {"a": [1]}
    one = explanation(settings=given_settings)
    given_settings["a"].append(2)
    assert one.settings["a"] == (1,)
    with pytest.raises(TypeError):
        one.settings["a"] = 1  # type: ignore[index]


def test_equality_goes_field_by_field() -> None:
    assert explanation() == explanation()
    assert hash(explanation()) == hash(explanation())
    assert explanation() != explanation(sentences=())
    assert explanation() != explanation(map_a=np.zeros((2, 2)))
    assert explanation(map_a=np.zeros((2, 2))) != explanation(map_a=np.zeros((2, 3)))
    assert explanation() != "explanation"


def test_copies_and_pickles_stay_equal_and_read_only() -> None:
    one = explanation(map_a=np.ones((3, 4)))
    for other in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert other == one
        assert other.map_a is not None
        assert not other.map_a.flags.writeable
        assert other.settings == one.settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": 0.3}, "contributions add up to 0.2, not to the score 0.3"),
        ({"score": float("nan")}, "score must be finite"),
        ({"threshold": float("inf")}, "threshold must be finite"),
        ({"attention": None, "attention_kind": None}, "similarity and attention go together"),
        ({"similarity": None, "attention": None}, "similarity and attention go together"),
        ({"attention": ATTENTION[:6]}, r"similarity \(7, 7\) and attention \(6, 7\) differ"),
        ({"contributions": np.zeros((7, 7))}, "are not similarity times attention"),
        ({"contributions": np.zeros((6, 7))}, "are not similarity times attention"),
        ({"map_a": np.full((2, 2), np.nan)}, "map_a has values that are not finite"),
        ({"map_b": np.zeros(4)}, r"map_b must be a 2-D array that is not empty, got shape \(4,\)"),
        ({"map_b": np.zeros((0, 4))}, "map_b must be a 2-D array that is not empty"),
        ({"map_b": [["x"]]}, "map_b is not an array of numbers"),
        ({"attention_kind": "q"}, "unknown kind of attention 'q'"),
        ({"probability": 0.5}, "go together"),
        ({"probability": 1.5, "probability_source": "LFW"}, "probability 1.5"),
        ({"settings": {"a": np.float32(1)}}, "settings or versions cannot hold"),
        ({"settings": {"a": float("nan")}}, "must be a finite number"),
        ({"settings": {1: 2}}, "must have strings as keys"),
        ({"versions": {"numpy": 2}}, "must be a string, not 2"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        explanation(**changes)
    assert "\n" not in str(caught.value)


def test_raw_weights_need_not_sum_to_one() -> None:
    weights = np.full((7, 7), 0.7, np.float32)
    score = float((SIMILARITY.astype(float) * weights).sum())
    assert explanation(attention=weights, attention_kind="p", score=score).score == score


def test_json_round_trip() -> None:
    for one in (explanation(), explanation(**BARE, faces=None, probability=0.9, probability_source="LFW")):
        assert Explanation.from_json(one.to_json()) == one
        assert Explanation.from_json(one.to_json(indent=1)) == one


def test_json_says_what_a_reader_looks_for() -> None:
    plain = json.loads(explanation().to_json())
    assert plain["schema"] == SCHEMA
    assert plain["verdict"] == "no match"
    assert plain["margin"] == 0.2 - 0.25
    assert np.sum(plain["contributions"]) == pytest.approx(plain["score"])
    # The shortest decimals, not those of the float64 that a float32 widens to.
    assert plain["attention"][0][0] == float("0.020408163")


def test_operating_points_come_back_and_may_be_missing_or_damaged() -> None:
    one = explanation(operating_points=(POINT,))
    again = Explanation.from_json(one.to_json())
    assert again == one
    assert again.operating_points[0].fnmr_interval == (0.008, 0.018)
    plain = one.to_dict()
    del plain["operating_points"]
    assert Explanation.from_dict(plain).operating_points == ()
    with pytest.raises(DataError, match="'operating_points' of the file holds a damaged point"):
        Explanation.from_dict(one.to_dict() | {"operating_points": [{"name": "FMR 1e-3"}]})


@settings(max_examples=40, deadline=None)
@given(
    arrays(np.float32, (4, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.text(max_size=20),
)
def test_any_float32_comes_back_bit_for_bit(
    values: np.ndarray[Any, np.dtype[np.float32]], score: float, threshold: float, name: str
) -> None:
    faces = (FaceInfo(name), FaceInfo(name))
    one = explanation(**BARE, map_a=values, map_b=-values, score=score, threshold=threshold, faces=faces)
    other = Explanation.from_json(one.to_json())
    assert other == one
    assert other.map_a is not None
    assert other.map_a.tobytes() == values.tobytes()
    assert other.to_json() == one.to_json()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "must be an object"),
        ("null", "must be an object"),
        ("{}", "has no 'schema'"),
        ('{"schema": "whyface/explanation/9"}', "unknown schema 'whyface/explanation/9'"),
        ('{"schema": 1}', "'schema' of the file must be a string, not 1"),
        ('{"score": NaN}', "NaN is not strict JSON"),
    ],
)
def test_malformed_json_is_refused_in_one_line(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        Explanation.from_json(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "key",
    sorted(set(explanation().to_dict()) - {"margin", "operating_points", "record", "warnings", "likelihood_ratio"}),
)
def test_every_key_is_needed(key: str) -> None:
    plain = explanation().to_dict()
    del plain[key]
    with pytest.raises(DataError, match=f"the file has no {key!r}"):
        Explanation.from_dict(plain)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("verdict",), "match", "contradicts score 0.2 and threshold 0.25"),
        (("score",), True, "'score' of the file must be a number, not True"),
        (("score",), 10**400, "'score' of the file must be a finite number"),
        (("score",), 0.4, "add up to"),
        (("similarity",), [[1, 2], [3]], "'similarity' of the file must be rows of equal length"),
        (("similarity",), [], "must be rows of equal length"),
        (("map_a",), [[1e300]], "too large for float32"),
        (("map_a",), [["1"]], "must be a number, not '1'"),
        (("map_a",), 3, "must be a list, not 3"),
        (("faces",), [], "must be two faces, not 0"),
        (("faces", 0, "box"), [1, 2], "'box' of face must have 4 numbers, got 2"),
        (("faces", 0, "index"), 7, "no face 7 among 2"),
        (("faces", 0, "landmarks"), [[1, 2]], "five landmarks"),
        (("threshold_source", "kind"), "guess", "unknown kind of threshold 'guess'"),
        (("threshold_source", "fmr"), 2, "fmr 2.0 is not a rate"),
        (("threshold_source", "fmr_interval"), [0.5, 0.1], "is not an interval"),
        (("model", "sha256"), "abc", "is not a SHA-256"),
        (("cost", "forward"), 1.5, "'forward' of cost must be a whole number"),
        (("cost", "backward"), -1, "must not be negative"),
        (("cost",), [], "'cost' of the file must be an object"),
        (("sentences",), "One.", "must be a list"),
        (("attention_kind",), "x", "unknown kind of attention"),
        (("versions",), {"a": 1}, "must be a string"),
    ],
)
def test_wrong_values_are_refused_in_one_line(path: tuple[Any, ...], value: Any, message: str) -> None:
    plain = explanation().to_dict()
    place = plain
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(DataError, match=message) as caught:
        Explanation.from_dict(plain)
    assert "\n" not in str(caught.value)


def test_the_threshold_says_where_it_comes_from() -> None:
    source = ThresholdSource.from_operating_point(POINT)
    assert source.describe() == "FMR 1e-3 on LFW, 6000 pairs"
    assert source.fmr_interval == (0.0003, 0.0026)
    assert ThresholdSource().describe() == "set by the user"


def test_a_face_gives_its_facts() -> None:
    image = np.zeros((112, 112, 3), np.uint8)
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    info = FaceInfo.from_face(Face(image, "a.jpg", (0, 0, 9, 9), points, 0.5, None, 1, 3))
    digest = hashlib.sha256(image.tobytes()).hexdigest()
    five = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    assert info == FaceInfo("a.jpg", (0, 0, 9, 9), five, 0.5, 1, 3, sha256=digest)
    plain = FaceInfo.from_face(Face(image))
    assert plain == FaceInfo(sha256=digest)
    assert FaceInfo.from_dict(plain.to_dict()) == plain


def test_impossible_costs_and_faces_are_refused() -> None:
    with pytest.raises(InputError, match="is not a cost"):
        Cost(-1)
    with pytest.raises(InputError, match="is not a cost"):
        Cost(1, 0, float("nan"))
    with pytest.raises(InputError, match="must be finite"):
        FaceInfo(score=float("nan"))
