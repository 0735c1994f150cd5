"""Clients that misbehave: every one gets a reason in JSON or a closed connection, and the service goes on."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")

from helpers.group_photos import BIDEN, OBAMA, group_photo
from helpers.service import BOUNDARY, Client, multipart, running
from hostile.mutators import BINARY, TEXT, spoil
from hostile.samples import photos
from whyface.demo import demo_photo
from whyface.gallery.gallery import Gallery
from whyface.service.answers import Answers, bounded_detector
from whyface.service.limits import Limits
from whyface.verification import Verifier
from whyface.xcos.open_model import open_model

PHOTO = demo_photo("obama-portrait.jpg").read_bytes()
LIMITS = Limits(body=2**20, workers=1, queue=2, reading=8, reading_seconds=2.0, seconds=300)
TYPE = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture(scope="module")
def answers() -> Answers:
    detector = bounded_detector(LIMITS)
    return Answers(Verifier("xcos-mobilefacenet", threads=1, detector=detector), LIMITS)


@pytest.fixture(scope="module")
def client(answers: Answers) -> Iterator[Client]:
    with running(answers) as found:
        yield found


def still_there(client: Client) -> bool:
    return bool(client.get("/health").json()["status"] == "ok")


def test_spoilt_photos_are_refused_or_answered(client: Client) -> None:
    rng = np.random.default_rng(0)
    samples = [content for files in photos() for content in files.values()]
    statuses = set()
    for number in range(52):
        reply = client.send("/detect", {"photo": spoil(samples[number % len(samples)], BINARY, rng)})
        statuses.add(reply.status)
        if reply.status != 200:
            assert reply.reason
    assert statuses <= {200, 413, 422}
    assert still_there(client)


def test_spoilt_requests_are_refused_or_answered(client: Client) -> None:
    rng = np.random.default_rng(1)
    small = photos()[0]["photo.jpg"]
    document = b'{"photo": "%s", "face": 0}' % base64.b64encode(small)
    for number in range(40):
        if number % 2:
            reply = client.send_json("/detect", spoil(document, TEXT, rng))
        else:
            body = spoil(multipart({"photo": small}, {}), BINARY, rng)
            reply = client.request("POST", "/detect", body, dict([TYPE.split(": ", 1)]))
        assert reply.status in (200, 400, 413, 422)
        if reply.status != 200:
            assert reply.reason
    assert still_there(client)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"photo": ' + b"9" * 5000 + b"}", "64 bits"),
        (b'{"photo": NaN}', "NaN"),
        (b"[]", "must be an object"),
        (b"{}", "one photo 'photo' is needed"),
        (b'{"photo": ["", ""]}', "got 2"),
        (b'{"photo": 5}', "as a text"),
        (b'{"photo": "/etc/passwd"}', "not base64"),
        (b'{"photo": "/etc/passwdx"}', "not a picture"),
        (b'{"photo": "../../etc/passwd"}', "not base64"),
        (b'{"photo": "file:///etc/passwd"}', "fetches nothing"),
        (b'{"photo": "http://127.0.0.1/x.jpg"}', "fetches nothing"),
        (b'{"photo": "\\ud800"}', "not base64"),
        (b'{"photo": ""}', "empty"),
        (b'{"photo": [' + b'"",' * 300 + b'""]}', "at most 200 photos"),
    ],
)
def test_odd_json_gets_a_reason(client: Client, body: bytes, message: str) -> None:
    reply = client.send_json("/detect", body)
    assert reply.status in (400, 422)
    assert message in reply.reason


@pytest.mark.parametrize(
    "options",
    [
        {"face_a": "-1"},
        {"face_a": "9" * 5000},
        {"face_a": "x"},
        {"face_b": "7"},
        {"any_face": "perhaps"},
        {"any_face": "true", "face_a": "1", "aligned": "true"},
        {"note": "x" * 10_001},
        {"figure": "../../x"},
    ],
)
def test_odd_options_get_a_reason(client: Client, options: dict[str, str]) -> None:
    reply = client.send("/explain", {"photo_a": PHOTO, "photo_b": PHOTO}, **options)
    if options.get("aligned"):
        assert reply.status in (200, 422)
    else:
        assert reply.status == 422
        assert reply.reason


@pytest.mark.parametrize(
    ("kind", "status"),
    [("text/plain", 415), ("image/jpeg", 415), ("", 415), ("multipart/form-data", 400), ("application/jsonx", 415)],
)
def test_other_content_types_are_refused(client: Client, kind: str, status: int) -> None:
    reply = client.request("POST", "/detect", PHOTO, {"Content-Type": kind})
    assert reply.status == status
    assert reply.reason


def test_bodies_beyond_the_limit_are_not_read(client: Client) -> None:
    told = f"POST /detect HTTP/1.1\r\nHost: x\r\n{TYPE}\r\nContent-Length: 99999999\r\n\r\n".encode()
    assert client.raw(told, seconds=10).startswith(b"HTTP/1.1 413")
    chunks = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    untold = f"POST /detect HTTP/1.1\r\nHost: x\r\n{TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert b" 413 " in client.raw(untold + chunks * 17, seconds=10)
    assert client.raw(told.replace(b"99999999", b"9" * 5000), seconds=10)[9:12] in (b"400", b"413")
    assert still_there(client)


def test_a_photo_of_too_many_pixels_or_faces_is_refused(answers: Answers) -> None:
    plain = answers.limits
    try:
        with running(answers, replace(plain, pixels=10_000)) as client:
            assert "exceed the limit of 10000" in client.send("/detect", {"photo": PHOTO}).reason
    finally:
        answers.limits = plain


def test_huge_json_is_not_read(client: Client) -> None:
    reply = client.send_json("/detect", b'{"photo": "' + b"A" * (2 * LIMITS.body) + b'"}')
    assert reply.status == 413
    assert reply.reason
    assert still_there(client)


def test_a_photo_of_too_many_faces_is_refused(tmp_path: Path) -> None:
    one = replace(LIMITS, faces=1)
    answers = Answers(Verifier("xcos-mobilefacenet", threads=1, detector=bounded_detector(one)), one)
    both = group_photo(tmp_path / "both.png", OBAMA, BIDEN).read_bytes()
    with running(answers) as client:
        reply = client.send("/detect", {"photo": both})
    assert reply.status == 422
    assert "faces" in reply.reason


def test_names_with_paths_open_nothing(answers: Answers, tmp_path: Path) -> None:
    name = "../../../etc/passwd"
    with Gallery.create(tmp_path / "staff", open_model("xcos-mobilefacenet", threads=1).model) as gallery:
        staff = Answers(answers.verifier, LIMITS, {"staff": gallery})
        with running(staff, writable=True) as client:
            before = sorted(tmp_path.rglob("*"))
            photos = {"photos": [PHOTO]}
            assert client.send("/gallery/staff/add", photos, name=name).json()["added"] == 1
            assert client.get("/gallery/staff").json()["names"] == {name: 1}
            assert "no such gallery" in client.send("/identify", {"photo": PHOTO}, gallery=name).reason
            assert sorted(tmp_path.rglob("*")) == before


def test_slow_and_cut_off_clients_are_let_go(client: Client) -> None:
    start = f"POST /detect HTTP/1.1\r\nHost: x\r\n{TYPE}\r\nContent-Length: 1000\r\n\r\nhalf"
    answer = client.raw(start.encode())
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"did not arrive" in answer
    # Headers that never end: closed without an answer.
    assert client.raw(b"POST /detect HTTP/1.1\r\nHost: x\r\nX-Slow: ") == b""
    assert client.raw(b"") == b""
    client.raw(start.encode(), half_close=True)
    assert still_there(client)


@pytest.mark.parametrize("data", [b"\0" * 100, b"\xff\xfe\r\n\r\n", b"GET /\x01 HTTP/1.1\r\n\r\n", b"X" * 100_000])
def test_what_is_no_http_gets_json(client: Client, data: bytes) -> None:
    answer = client.raw(data, seconds=10)
    assert answer == b"" or (answer.startswith(b"HTTP/1.1 400") and b'"reason"' in answer)
    assert b"Traceback" not in answer
    assert still_there(client)


@pytest.mark.parametrize(
    "path", ["/gallery/..%2f..%2fetc", "/gallery/%00", "/gallery/" + "x" * 5000, "/../../etc/passwd", "/verify/../x"]
)
def test_paths_lead_nowhere(client: Client, path: str) -> None:
    reply = client.get(path)
    assert reply.status in (404, 405, 422)
    assert reply.reason
    assert len(reply.body) < 1000


class Stuck:
    """Answers that wait until they may go on."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.go = threading.Event()

    def detect(self, photo: bytes) -> dict[str, Any]:
        self.go.wait(30)
        return {"faces": []}


def test_beyond_the_queue_the_answer_is_503_with_a_time() -> None:
    stuck = Stuck(LIMITS)
    with running(stuck) as client:  # type: ignore[arg-type]
        replies: list[Any] = []
        callers = [
            threading.Thread(target=lambda: replies.append(client.send("/detect", {"photo": b"x"}))) for _ in range(3)
        ]
        for caller in callers:
            caller.start()
        deadline = time.monotonic() + 20
        while b"whyface_waiting 2.0" not in client.get("/metrics").body:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        refused = client.send("/detect", {"photo": b"x"})
        assert refused.status == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert "too many requests" in refused.reason
        stuck.go.set()
        for caller in callers:
            caller.join(30)
        assert [reply.status for reply in replies] == [200, 200, 200]
        assert client.send("/detect", {"photo": b"x"}).status == 200


def test_an_answer_that_takes_too_long_keeps_its_worker_until_it_ends() -> None:
    stuck = Stuck(replace(LIMITS, seconds=0.3))
    with running(stuck) as client:  # type: ignore[arg-type]
        late = client.send("/detect", {"photo": b"x"})
        assert late.status == 503
        assert "no answer within" in late.reason
        assert b"whyface_running 1.0" in client.get("/metrics").body
        assert client.send("/detect", {"photo": b"x"}).status == 503
        stuck.go.set()
        deadline = time.monotonic() + 20
        while b"whyface_running 0.0" not in client.get("/metrics").body:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert client.send("/detect", {"photo": b"x"}).status == 200


class Broken:
    """Answers that fail in a way that nobody thought of."""

    limits = LIMITS

    def detect(self, photo: bytes) -> dict[str, Any]:
        raise RuntimeError(f"secret {photo!r}")


def test_an_unexpected_error_tells_nobody_what_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    with running(Broken()) as client, caplog.at_level(logging.DEBUG):  # type: ignore[arg-type]
        reply = client.send("/detect", {"photo": b"private"})
        assert reply.status == 500
        assert "logged" in reply.reason
    assert "RuntimeError at " in caplog.text
    assert "private" not in caplog.text
    assert "secret" not in caplog.text
