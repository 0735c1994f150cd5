"""Films: faces are followed, one decision a track with the frame that decided, and what is broken says so."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from helpers.command_line import assert_refused, run_whyface
from helpers.gallery_models import tiny_xcos
from whyface.demo import demo_photo
from whyface.errors import InputError, PhotoError
from whyface.explain.provenance import ThresholdSource
from whyface.faces.detection import Detection
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.faces.photo import read_photo
from whyface.figures.film import strip_figure
from whyface.gallery.enroll import EnrolReport, enroll_faces
from whyface.gallery.gallery import Gallery
from whyface.gallery.opening import open_or_create
from whyface.identify.film import Film, Frame, WatchSettings, overlap_of, watch
from whyface.models.catalogue import FAST_MODEL

OBAMA, SPEECH, BIDEN = (f"{name}.jpg" for name in ("obama-portrait", "obama-speech", "biden-portrait"))
SIZE = (320, 240)
RATE = 10


def picture(name: str, shift: int = 0, blur: float = 0.0) -> NDArray[np.uint8]:
    """Return a frame, BGR, with a photo of the demo somewhere in it."""
    photo = cv2.cvtColor(read_photo(demo_photo(name)), cv2.COLOR_RGB2BGR)
    height = 200
    small = cv2.resize(photo[: photo.shape[1] * 5 // 4], (160, height), interpolation=cv2.INTER_AREA)
    if blur:
        small = cv2.GaussianBlur(small, (0, 0), blur)
    frame = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    frame[20 : 20 + height, 20 + shift : 180 + shift] = small
    return frame


# FFmpeg reads it when the first film of the process is opened; the command sets it, too.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def write_film(path: Path, frames: list[NDArray[np.uint8]]) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE, SIZE)
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def film(root: Path) -> str:
    """A man who moves and is blurred for a while, a cut to another man in the same place, and nobody at the end."""
    obama = [picture(OBAMA, shift=2 * k, blur=3 if 3 <= k < 6 else 0) for k in range(12)]
    biden = [picture(BIDEN, shift=22)] * 6
    return str(write_film(root / "film.avi", [*obama, *biden, *[np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)] * 14]))


@pytest.fixture(scope="module")
def gallery(root: Path) -> str:
    with open_or_create(root / "staff", FAST_MODEL, threads=1) as found:
        enroll_faces(found, list(stack_faces([load_face(demo_photo(SPEECH))])), ["Obama"], [SPEECH], EnrolReport())
    return str(root / "staff")


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_film_names_who_is_known_and_says_which_frame_decided(
    film: str, gallery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    strip = tmp_path / "strip.png"
    code, out, err = run_whyface(monkeypatch, capsys, "watch", film, "-g", gallery, "--figure", str(strip))
    assert (code, err) == (0, "")
    obama, biden, end = events(out)
    assert (obama["name"], biden["name"]) == ("Obama", None)
    assert (obama["verdict"], biden["verdict"]) == ("known", "nobody in the gallery")
    # Every third frame is searched: 0, 3, 6, 9 and 12, 15; the blurred one counts nothing.
    assert (obama["first"]["frame"], obama["last"]["frame"]) == (0, 9)
    assert (biden["first"]["frame"], biden["last"]["frame"]) == (12, 15)
    assert (obama["faces"], obama["used"]) == (4, 3)
    assert obama["deciding"]["frame"] in (0, 6, 9)
    assert obama["deciding"]["score"] > obama["threshold"]
    assert f"is in frame {obama['deciding']['frame']} (" in obama["sentences"][-1]
    # The reasons by region are the margin, up to the places outside the photo.
    assert sum(obama["reasons"].values()) == pytest.approx(obama["score"] - obama["threshold"], abs=0.05)
    assert (end["frames"], end["tracks"], end["names"], end["complete"]) == (32, 2, ["Obama"], True)
    assert strip.stat().st_size > 10_000


def test_a_film_without_faces_says_so(
    gallery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write_film(tmp_path / "empty.avi", [np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)] * 4)
    code, out, err = run_whyface(monkeypatch, capsys, "watch", str(empty), "-g", gallery)
    assert (code, err) == (1, "")
    (end,) = events(out)
    assert end["sentence"] == "No face was found in 4 frames."


def test_a_film_that_breaks_off_is_decided_until_there(
    film: str, gallery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    data = Path(film).read_bytes()
    (tmp_path / "half.avi").write_bytes(data[: len(data) // 2])
    code, out, err = run_whyface(monkeypatch, capfd, "watch", str(tmp_path / "half.avi"), "-g", gallery)
    assert code == 2
    assert err.count("\n") == 1
    assert "broke off after" in err
    found = events(out)
    assert found[0]["name"] == "Obama"
    assert not found[-1]["complete"]


def test_what_is_no_film_is_refused_in_one_line(
    film: str, gallery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.avi").write_text("no film")
    (tmp_path / "zeros.mp4").write_bytes(bytes(5000))
    for message, name in (
        ("cannot be read as a film", str(tmp_path / "text.avi")),
        ("cannot be read as a film", str(tmp_path / "zeros.mp4")),
        ("no such film", str(tmp_path)),
        ("no such film", "http://127.0.0.1/film.mp4"),
        ("no such film", "rtsp://127.0.0.1/film"),
        ("camera 99: gives no picture", "99"),
    ):
        assert_refused(monkeypatch, capfd, message, "watch", name, "-g", gallery)
    assert_refused(monkeypatch, capfd, "no gallery here", "watch", film, "-g", str(tmp_path))
    with pytest.raises(PhotoError, match="exceed the limit of 1000"):
        Film(Path(film), max_pixels=1000)


class Still:
    """A camera that goes away after three pictures."""

    def __init__(self, source: object) -> None:
        self.left = 3

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def get(self, which: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: SIZE[0], cv2.CAP_PROP_FRAME_HEIGHT: SIZE[1]}.get(which, -1)

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, NDArray[np.uint8]]:
        return True, np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)

    def release(self) -> None:
        self.left = 0


def test_a_camera_that_goes_away_ends_with_one_line(
    gallery: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", Still)
    code, out, err = run_whyface(monkeypatch, capsys, "watch", "0", "-g", gallery)
    assert code == 2
    assert err == "whyface: camera 0: broke off after 3 frames; what was seen until then is decided\n"
    assert events(out)[-1]["tracks"] == 0


def test_overlap() -> None:
    assert overlap_of((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert overlap_of((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap_of((0, 0, 2, 2), (2, 2, 3, 3)) == 0
    assert overlap_of((0, 0, 0, 0), (0, 0, 0, 0)) == 0


class Moving:
    """A detector that finds one face, at a place that wanders; on each call the next."""

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        x = 20 + abs(40 - self.calls % 80)
        self.calls += 1
        marks = np.array([[18, 22], [42, 22], [30, 36], [20, 48], [40, 48]], np.float32)
        marks += np.array([x, 20], np.float32)
        return [Detection((x, 20.0, x + 60.0, 80.0), marks, 0.9)]


def test_an_hour_of_one_face_needs_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    pixels = np.asarray(picture(OBAMA)[:120, :160, ::-1])
    kept: list[int] = []

    def frames() -> Iterator[Frame]:
        for number in range(40):
            yield Frame(number, 90.0 * number, pixels)

    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        face = np.random.default_rng(0).integers(0, 255, (1, 3, 112, 112)).astype(np.uint8)
        gallery.add(gallery.features(face), ["x"], ["x"])
        settings = WatchSettings(gap=100)
        given: dict[str, Any] = {"threshold": 0.9, "source": ThresholdSource(), "same": -1.0, "settings": settings}
        for one in watch(gallery, frames(), detector=Moving(), **given):
            kept.append(len(one.track.best))
            assert one.track.seen == 40
        assert kept == [5]
        # Faces that never end their track are decided early.
        few = WatchSettings(gap=1e6, most_tracks=2, overlap=0.999)
        found = list(watch(gallery, frames(), detector=Moving(), **{**given, "settings": few, "threshold": 2.0}))
    assert len(found) > 20


def test_settings_and_an_empty_strip_are_refused() -> None:
    for wrong in ({"every": 0}, {"gap": 0.0}, {"overlap": 1.0}, {"most_tracks": 0}, {"gap": float("nan")}):
        with pytest.raises(InputError, match="must be at least 1"):
            WatchSettings(**wrong)
    with pytest.raises(InputError, match="needs a track"):
        strip_figure([])


def test_an_encrypted_gallery_needs_its_key(
    film: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WHYFACE_KEY", raising=False)
    (tmp_path / "key").write_text("ab" * 32)
    with open_or_create(tmp_path / "g", FAST_MODEL, threads=1, key=bytes.fromhex("ab" * 32)) as found:
        enroll_faces(found, list(stack_faces([load_face(demo_photo(SPEECH))])), ["Obama"], [SPEECH], EnrolReport())
    given = ("watch", film, "-g", str(tmp_path / "g"), "--seconds", "0.5")
    code, out, _ = run_whyface(monkeypatch, capsys, *given, "--key", str(tmp_path / "key"))
    assert code == 0
    obama, end = events(out)
    assert (obama["name"], end["complete"]) == ("Obama", True)
    # Frames 0 and 3 lie within half a second; the one at 0.6 s ends it.
    assert obama["last"]["frame"] == 3
    assert_refused(monkeypatch, capsys, "encrypted; give its key", *given)
