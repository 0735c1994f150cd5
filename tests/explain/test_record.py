"""The record of a verdict: what stands in it, its JSON Schema, and files of earlier versions."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("jsonschema", reason="needs the extra test")

import jsonschema

from whyface.demo import demo_photo
from whyface.errors import DataError, InputError
from whyface.explain.explanation import Explanation
from whyface.explain.record import Record
from whyface.faces.centerface import SHA256 as DETECTOR
from whyface.faces.load import load_face
from whyface.files.integrity import HashedFile
from whyface.verification import Verification, Verifier

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
PHOTOS = "obama-portrait.jpg", "obama-speech.jpg"


def schema() -> dict[str, Any]:
    text = (resources.files("whyface") / "assets/schemas/explanation-2.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier("xcos-mobilefacenet", threads=1, clock=lambda: NOON)


@pytest.fixture(scope="module")
def verified(verifier: Verifier) -> Verification:
    return verifier(*map(demo_photo, PHOTOS), note="counter 3")


def test_photos_are_recorded_by_hash_and_size_of_their_bytes(verified: Verification) -> None:
    for info, name in zip(verified.explanation.faces or (), PHOTOS, strict=True):
        data = demo_photo(name).read_bytes()
        assert info.file is not None
        assert (info.file.sha256, info.file.size) == (hashlib.sha256(data).hexdigest(), len(data))
        assert info.index == 0
        assert info.count == 1


def test_a_picture_from_memory_has_the_hash_of_its_bytes_and_an_array_has_none() -> None:
    data = demo_photo(PHOTOS[0]).read_bytes()
    face = load_face(data)
    assert face.file is not None
    assert face.file.sha256 == hashlib.sha256(data).hexdigest()
    assert load_face(face.image, aligned=True).file is None


def test_crop_and_transform_are_recorded(verified: Verification) -> None:
    assert verified.explanation.faces is not None
    info = verified.explanation.faces[0]
    face = verified.face_a
    assert info.sha256 == hashlib.sha256(face.image.tobytes()).hexdigest()
    assert face.to_photo is not None
    np.testing.assert_array_equal(info.transform, face.to_photo)
    assert info.photo_size == face.photo_size


def test_every_file_behind_the_verdict_has_its_hash(verified: Verification) -> None:
    record = verified.explanation.record
    assert record is not None
    found = {file.role: file for file in record.files}
    assert {"embedder", "pair", "usual", "detector", "quality", "recognisability"} <= found.keys()
    assert found["detector"].sha256 == DETECTOR
    assets = resources.files("whyface") / "assets"
    for role, path in (("embedder", "models/xcos-mobilefacenet.onnx"), ("quality", "quality/quality.json")):
        assert found[role].sha256 == hashlib.sha256((assets / path).read_bytes()).hexdigest()
        assert found[role].name == path.rpartition("/")[2]


def test_time_and_note_come_from_outside(verified: Verification, verifier: Verifier) -> None:
    record = verified.explanation.record
    assert record is not None
    assert record.time == "2026-03-01T12:30:00Z"
    assert record.note == "counter 3"
    assert (record.reviewer, record.decision, record.decided) == (None, None, None)
    east = Record.now(lambda: NOON.astimezone(timezone(timedelta(hours=5))), files=(), request={}, note="")
    assert east.time == record.time


def test_only_the_seconds_that_it_took_differ_between_two_runs(verifier: Verifier) -> None:
    documents = [verifier(*map(demo_photo, PHOTOS)).explanation.to_dict() for _ in range(2)]
    for document in documents:
        del document["cost"]["seconds"]
    assert documents[0] == documents[1]


def test_the_record_survives_json_copies_and_pickles(verified: Verification) -> None:
    one = verified.explanation
    assert Explanation.from_json(one.to_json()) == one
    assert copy.deepcopy(one) == one
    assert pickle.loads(pickle.dumps(one)) == one


def test_a_crop_without_a_detector_records_none(verifier: Verifier, verified: Verification) -> None:
    again = verifier(verified.face_a.image, verified.face_b.image, aligned=True).explanation
    assert again.record is not None
    assert "detector" not in {file.role for file in again.record.files}
    assert "quality" in {file.role for file in again.record.files}


def documents(verifier: Verifier, verified: Verification) -> dict[str, dict[str, Any]]:
    blurred = np.full((112, 112, 3), 90, np.uint8)
    return {
        "match": verified.explanation.to_dict(),
        "aligned": verifier(verified.face_a.image, verified.face_b.image, aligned=True).explanation.to_dict(),
        "undecided": verifier(blurred, blurred, aligned=True).explanation.to_dict(),
    }


def test_real_output_fits_the_published_schema(verifier: Verifier, verified: Verification) -> None:
    checker = jsonschema.Draft202012Validator(schema())
    checker.check_schema(schema())
    for document in documents(verifier, verified).values():
        checker.validate(json.loads(json.dumps(document)))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d.update(verdict="maybe"), "verdict"),
        (lambda d: d["faces"][0]["file"].update(sha256="x"), "sha256"),
        (lambda d: d["record"].update(time="yesterday"), "time"),
        (lambda d: d.pop("score"), "score"),
    ],
)
def test_the_schema_refuses_what_is_wrong(change: Any, where: str, verified: Verification) -> None:
    document = verified.explanation.to_dict()
    change(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())


def test_the_schema_lists_every_key(verified: Verification) -> None:
    document, properties = verified.explanation.to_dict(), schema()["properties"]
    # What other programs' checks found stands beside the explanation, where they were asked for.
    assert {*document, "checks"} == set(properties)
    assert set(document["faces"][0]) == set(schema()["$defs"]["face"]["properties"])
    assert set(document["record"]) == set(schema()["$defs"]["record"]["properties"])


def test_the_schema_in_the_documentation_is_the_same() -> None:
    published = Path(__file__).parents[2] / "docs/reference/explanation-2.json"
    assert json.loads(published.read_text(encoding="utf-8")) == schema()


def test_files_without_a_record_are_still_read(verified: Verification) -> None:
    second = verified.explanation.to_dict()
    del second["record"]
    for face in second["faces"]:
        for key in ("file", "transform", "photo_size"):
            del face[key]
    read = Explanation.from_dict(second)
    assert read.record is None
    assert read.faces is not None
    assert read.faces[0].file is None
    first = {key: value for key, value in second.items() if key not in ("telling", "doubt", "probability_bound")}
    assert Explanation.from_dict({**first, "schema": "whyface/explanation/1"}).score == read.score


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("time", "2026-03-01", "in UTC"),
        ("time", "2026-03-01T12:30:00+02:00", "in UTC"),
        ("time", 5, "must be a string"),
        ("note", "x" * 10_001, "a note of 10001 characters"),
        ("files", {}, "must be a list"),
        ("files", [{"role": "embedder", "name": "a", "sha256": "A"}], "SHA-256"),
        ("request", [], "must be an object"),
        ("reviewer", 7, "must be a string"),
    ],
)
def test_a_damaged_record_is_refused(part: str, value: Any, message: str, verified: Verification) -> None:
    document = verified.explanation.to_dict()
    document["record"][part] = value
    with pytest.raises(DataError, match=message):
        Explanation.from_dict(document)


def test_a_record_needs_utc() -> None:
    with pytest.raises(InputError, match="UTC"):
        Record("noon", (HashedFile("a", "b", None),))
