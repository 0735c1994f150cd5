"""The warning about pairs with a child: the head, the verdict's words and JSON, and the shipped heads."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from helpers.picture_files import shared_data
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.explain.childhood import (
    CHILD_AND_ADULT,
    TWO_CHILDREN,
    WARNINGS,
    ChildHead,
    child_warnings,
    read_child_head,
    save_child_head,
    shipped_child_head,
)
from whyface.explain.explanation import Explanation
from whyface.explain.verdict import FaceVerifier
from whyface.faces.face import Face
from whyface.faces.load import load_face
from whyface.faces.pictures import open_pictures

NETWORK = "0" * 64
EVERYBODY = ChildHead(np.zeros(1568, np.float32), 1.0)


@pytest.fixture(scope="module")
def verifier() -> FaceVerifier:
    return FaceVerifier(threads=1)


@pytest.fixture(scope="module")
def faces() -> tuple[Face, Face]:
    first, second = (load_face(demo_photo(f"{name}.jpg")) for name in ("obama-portrait", "obama-speech"))
    return first, second


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (False, False, ()),
        (True, False, (CHILD_AND_ADULT,)),
        (False, True, (CHILD_AND_ADULT,)),
        (True, True, (TWO_CHILDREN,)),
    ],
)
def test_one_child_and_two_children_are_two_warnings(first: bool, second: bool, said: tuple[str, ...]) -> None:
    assert child_warnings(first, second) == said and set(said) <= set(WARNINGS)


def test_the_head_is_linear() -> None:
    head = ChildHead(np.array([1, -2, 0, 0.5], np.float32), -1.0)
    features = np.array([[2, 0, 9, 0.1], [1, 0, 9, 0], [0, -1, 0, -2.1], [0, 0, 0, 2]], np.float32)
    # 2 + 0.05 - 1, exactly 0, 2 - 1.05 - 1 and exactly 0: only what is above 0 counts.
    assert head(features).tolist() == [True, False, False, False]
    assert head(features.reshape(4, 1, 2, 2)).tolist() == head(features).tolist()


def test_a_head_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="features of 3 numbers"):
        ChildHead(np.ones(4, np.float32), 0.0)(np.ones((2, 3), np.float32))
    for weight, bias in ((np.ones((2, 2)), 0.0), (np.array([np.nan]), 0.0), (np.ones(2), np.inf), (np.ones(0), 0.0)):
        with pytest.raises(InputError, match="finite"):
            ChildHead(weight.astype(np.float32), bias)


def test_a_file_gives_it_back_to_its_own_network_only(tmp_path: Path) -> None:
    path, head = tmp_path / "head.safetensors", ChildHead(np.array([0.5, -1.25], np.float32), 0.75)
    save_child_head(path, head, {"sha256": NETWORK})
    again = read_child_head(path, NETWORK)
    assert np.array_equal(again.weight, head.weight) and again.bias == head.bias
    with pytest.raises(ModelError, match="made for another network"):
        read_child_head(path, "1" * 64)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ModelError, match="no head for children"):
        read_child_head(path, NETWORK)


def test_the_verdict_says_so_in_words_and_json(verifier: FaceVerifier, faces: tuple[Face, Face]) -> None:
    plain = verifier.explain(*faces)
    assert plain.warnings == () and json.loads(plain.to_json())["warnings"] == []
    own, verifier.method.children = verifier.method.children, EVERYBODY
    try:
        warned = verifier.explain(*faces)
        black = Face(np.zeros((112, 112, 3), np.uint8))
        undecided = verifier.explain(faces[0], black)
    finally:
        verifier.method.children = own
    assert warned.warnings == (TWO_CHILDREN,) and warned.sentences[-1] == WARNINGS[TWO_CHILDREN]
    assert (warned.score, warned.verdict, warned.probability) == (plain.score, plain.verdict, plain.probability)
    assert Explanation.from_json(warned.to_json()) == warned
    assert undecided.verdict == "undecided" and undecided.warnings == ()


def test_explanations_from_before_the_warning_are_read(verifier: FaceVerifier, faces: tuple[Face, Face]) -> None:
    plain = verifier.explain(*faces)
    record = plain.to_dict()
    del record["warnings"]
    assert Explanation.from_dict(record) == plain


@pytest.mark.parametrize("model", ["xcos-mobilefacenet", "xcos-large"])
def test_shipped_heads_belong_to_their_models(model: str) -> None:
    comparison = FaceVerifier(model, threads=1).method.comparison
    head = read_child_head(shipped_child_head(model), comparison.sha256)
    people = [load_face(demo_photo(f"{name}.jpg")).image for name in ("biden-portrait", "obama-portrait")]
    batch = np.ascontiguousarray(np.stack(people).transpose(0, 3, 1, 2))
    assert head(comparison.features(batch)).tolist() == [False, False]


def test_small_children_are_seen_and_grown_people_are_not(verifier: FaceVerifier) -> None:
    """These pictures are in the fit: the head has to know them, and what it does for others is in the study."""
    labels, pictures = shared_data("fairface-val.csv"), shared_data("fairface-aligned-112.tar")
    with labels.open(encoding="utf-8", newline="") as file:
        age = {row["file"].split("/")[-1]: row["age"] for row in csv.DictReader(file)}
    with open_pictures(pictures) as source:
        names = sorted(source.names())
        for group, least, most in (("0-2", 0.9, 1.0), ("30-39", 0.0, 0.05)):
            some = [name for name in names if age[name.split("/")[-1]] == group][:20]
            batch = np.ascontiguousarray(np.stack([source.read(name).transpose(2, 0, 1) for name in some]))
            found = verifier.method.look_young(verifier.method.comparison.features(batch)).mean()
            assert least <= found <= most
