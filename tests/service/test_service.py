"""The service answers what the library answers, and keeps nothing."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("jsonschema", reason="needs the extra test")

import jsonschema

from helpers.command_line import assert_refused
from helpers.service import Client, running, write_page
from whyface.commands.serve import KEY_VARIABLE
from whyface.demo import demo_photo
from whyface.explain.explanation import Explanation
from whyface.gallery.gallery import Gallery
from whyface.service.answers import Answers, bounded_detector
from whyface.service.limits import Limits
from whyface.verification import Verification, Verifier
from whyface.xcos.open_model import open_model

NAMES = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")
SAME, OTHER, STRANGER = (demo_photo(name).read_bytes() for name in NAMES)
PAIR = {"photo_a": SAME, "photo_b": OTHER}
MODEL = "xcos-mobilefacenet"
# Tests may share the processor with others.
LIMITS = Limits(seconds=300)


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(MODEL, threads=1, detector=bounded_detector(LIMITS))


@pytest.fixture(scope="module")
def client(verifier: Verifier) -> Iterator[Client]:
    with running(Answers(verifier, LIMITS)) as found:
        yield found


@pytest.fixture(scope="module")
def expected(verifier: Verifier) -> Verification:
    return verifier(SAME, OTHER)


def coded(photo: bytes) -> str:
    return base64.b64encode(photo).decode()


def test_the_verdict_is_the_library_s(client: Client, expected: Verification) -> None:
    reply = client.send("/verify", PAIR)
    assert reply.status == 200
    found = reply.json()
    assert found["verified"] is True
    assert found["whyface"]["score"] == expected.score
    assert found["whyface"]["sentences"] == list(expected.sentences)
    assert {**found, "time": None} == {**expected.to_dict(), "time": None}


@pytest.mark.parametrize("way", [coded, lambda photo: f"data:image/jpeg;base64,{coded(photo)}"])
def test_base64_gives_the_same_as_multipart(client: Client, expected: Verification, way: Any) -> None:
    reply = client.send_json("/verify", {"photo_a": way(SAME), "photo_b": way(OTHER)})
    assert reply.json()["distance"] == 1 - expected.score


def test_the_explanation_is_a_record(client: Client, expected: Verification) -> None:
    found = client.send("/explain", PAIR, note="desk 2").json()
    text = (resources.files("whyface") / "assets/schemas/explanation-2.json").read_text(encoding="utf-8")
    jsonschema.validate(found, json.loads(text))
    assert found["record"]["note"] == "desk 2"
    read = Explanation.from_dict(found)
    np.testing.assert_array_equal(read.contributions, expected.explanation.contributions)
    assert read.faces is not None
    assert expected.explanation.faces is not None
    assert [face.file for face in read.faces] == [face.file for face in expected.explanation.faces]
    assert [face.source for face in read.faces] == ["photo_a", "photo_b"]


def test_crops_and_figure_on_request(client: Client) -> None:
    found = client.send("/explain", PAIR, crops="true", figure="svg").json()
    assert b"<svg" in base64.b64decode(found["figure"])
    assert [base64.b64decode(crop)[:4] for crop in found["crops"]] == [b"\x89PNG"] * 2


def test_an_undecided_verdict_is_an_answer(client: Client, expected: Verification) -> None:
    found = client.send("/verify", {"photo_a": dull(), "photo_b": dull()}, aligned="true").json()
    assert found["verdict"] == "undecided"
    assert found["verified"] is None
    assert found["whyface"]["doubt"]


def dull() -> bytes:
    return as_png(np.full((112, 112, 3), 90, np.uint8))


def as_png(pixels: Any) -> bytes:
    import io

    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def test_faces_are_found_with_landmarks_and_quality(client: Client, expected: Verification) -> None:
    (face,) = client.send("/detect", {"photo": SAME}).json()["faces"]
    assert expected.explanation.faces is not None
    assert face["box"] == list(expected.explanation.faces[0].box or ())
    assert face["doubt"] is None
    assert face["quality"]["unified"] > 0.5


def test_vectors_have_the_uniform_score_as_their_product(client: Client, expected: Verification) -> None:
    vectors = [
        np.array(client.send("/represent", {"photo": photo}).json()["faces"][0]["embedding"]) for photo in (SAME, OTHER)
    ]
    uniform = Verifier(MODEL, attention="u", threads=1).compare(expected.face_a, expected.face_b)
    assert math.isclose(float(vectors[0] @ vectors[1]), uniform.score, abs_tol=1e-5)
    assert math.isclose(float(vectors[0] @ vectors[0]), 1, abs_tol=1e-5)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.create(tmp_path / "staff", open_model(MODEL, threads=1).model) as found:
        (tmp_path / "staff" / "model.json").write_text(
            json.dumps({"model": MODEL, "grid": None, "output": None, "preprocessing": None})
        )
        yield found


def test_people_are_added_found_named_and_removed(verifier: Verifier, gallery: Gallery) -> None:
    with running(Answers(verifier, LIMITS, {"staff": gallery}), writable=True) as client:
        assert client.get("/gallery").json() == {"galleries": ["staff"], "writable": True}
        added = client.send("/gallery/staff/add", {"photos": [SAME, SAME]}, name="Barack").json()
        assert added["added"] == 1
        assert len(added["skipped"]) == 1
        client.send_json("/gallery/staff/add", {"name": "Joe", "photos": [coded(STRANGER)]})
        assert client.get("/gallery/staff").json()["names"] == {"Barack": 1, "Joe": 1}
        (first, _) = client.send("/gallery/staff/search", {"photo": OTHER}).json()["candidates"]
        assert first["name"] == "Barack"
        assert client.send("/identify", {"photo": OTHER}).json()["names"] == ["Barack"]
        refused = client.send("/gallery/staff/add", {"photos": dull()}, name="Nobody")
        assert refused.json()["added"] == 0
        assert client.send_json("/gallery/staff/remove", {"name": "Barack"}).json() == {"removed": [0]}
        assert client.get("/gallery/staff").json()["names"] == {"Joe": 1}
        assert "nobody" in client.send_json("/gallery/staff/remove", {"name": "Barack"}).reason
    # A photo's own name is not kept, nor a path in it.
    assert all(row.source.startswith("upload ") for row in gallery.rows([1]).values())


def test_galleries_are_read_only_unless_asked(verifier: Verifier, gallery: Gallery) -> None:
    with running(Answers(verifier, LIMITS, {"staff": gallery})) as client:
        for reply in (
            client.send("/gallery/staff/add", {"photos": SAME}, name="x"),
            client.send_json("/gallery/staff/remove", {"name": "x"}),
        ):
            assert reply.status == 403
            assert "--writable" in reply.reason
        assert "no such gallery" in client.get("/gallery/other").reason


def test_a_key_is_needed_where_one_is_set(verifier: Verifier) -> None:
    key = "a-key-of-some-length"
    with running(Answers(verifier, LIMITS), key=key) as client:
        for path in ("/metrics", "/gallery", "/openapi.json", "/"):
            assert client.get(path).status == 401
            assert client.get(path, **{"X-API-Key": key + "x"}).status == 401
            assert client.get(path, **{"X-API-Key": "é"}).status == 401
            assert client.get(path, **{"X-API-Key": key}).status == 200
            assert client.get(path, Authorization=f"Bearer {key}").status == 200
        assert client.get("/health").status == 200


def test_health_metrics_and_openapi(client: Client) -> None:
    assert client.get("/health").json()["model"] == MODEL
    client.send("/verify", PAIR)
    text = client.get("/metrics").body.decode()
    assert 'whyface_requests_total{path="/verify",status="200"}' in text
    assert 'whyface_verdicts_total{verdict="match"}' in text
    document = client.get("/openapi.json").json()
    assert {"/verify", "/explain", "/represent", "/detect", "/identify"} <= set(document["paths"])
    content = document["paths"]["/verify"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json"}
    assert b"/gallery/{gallery}/search" in client.get("/").body


def test_no_other_site_may_read_answers(client: Client) -> None:
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    for reply in (client.request("OPTIONS", "/verify", headers=asked), client.get("/health", **asked)):
        assert not any(name.startswith("access-control") for name in reply.headers)


def test_a_page_is_served_and_nothing_beside_it(verifier: Verifier, tmp_path: Path) -> None:
    with running(Answers(verifier, LIMITS), page=write_page(tmp_path / "page")) as client:
        assert b"<title>page</title>" in client.get("/").body
        for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "//etc/passwd", "/\\..\\secret.txt"):
            reply = client.get(path)
            assert reply.status == 404
            assert reply.reason


def test_nothing_is_written_even_for_large_uploads(
    verifier: Verifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made: list[Any] = []
    plain = tempfile.NamedTemporaryFile

    def noted(*given: Any, **options: Any) -> Any:
        made.append(given)
        return plain(*given, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", noted)
    with running(Answers(verifier, LIMITS)) as client:
        # Above a megabyte, parsers of uploads write to the disk.
        assert client.send("/detect", {"photo": SAME + bytes(3 * 2**20)}).status == 200
    assert made == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gallery", "staff"], "NAME=FOLDER"),
        (["--gallery", "a/b=x"], "NAME=FOLDER"),
        (["--gallery", "staff=/nowhere"], "no gallery here"),
        (["--page", "/nowhere"], "no index.html"),
        (["--api-key-file", "/nowhere"], "cannot be read"),
        (["--max-megabytes", "nan"], "max-megabytes"),
    ],
)
def test_the_command_refuses_what_cannot_be_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert_refused(monkeypatch, capsys, message, "serve", *options)


def test_a_short_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("short\n")
    assert_refused(monkeypatch, capsys, "16 characters", "serve", "--api-key-file", str(tmp_path / "key"))
