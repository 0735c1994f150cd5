"""One picture in every shape that a user may hold it in, and what is refused with a line that says what works."""

from __future__ import annotations

import base64
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.command_line import assert_refused
from whyface import find_faces, load_face, verify
from whyface.demo import demo_photo
from whyface.errors import FaceError, InputError, PhotoError, WhyfaceError
from whyface.faces.face import Face
from whyface.faces.photo import read_photo
from whyface.faces.picture_input import read_picture


def colours() -> NDArray[np.uint8]:
    """All channels differ everywhere, so that no change of order goes unseen."""
    rows, columns = np.mgrid[:112, :112]
    return np.stack([columns, 100 + rows, 255 - columns // 2], axis=2).astype(np.uint8)


def encoded(kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(colours()).save(buffer, kind, **options)
    return buffer.getvalue()


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def at_its_end() -> io.BytesIO:
    file = io.BytesIO(encoded())
    file.seek(0, io.SEEK_END)
    return file


def turned() -> Image.Image:
    """A picture on its side, whose EXIF data say so."""
    picture = Image.fromarray(np.rot90(colours()))
    picture.getexif()[0x0112] = 6
    return picture


def see_through() -> Image.Image:
    return Image.fromarray(np.dstack([colours(), np.full((112, 112), 255, np.uint8)]))


WAYS: dict[str, Callable[[], Any]] = {
    "bytes": encoded,
    "bytearray": lambda: bytearray(encoded()),
    "memoryview": lambda: memoryview(encoded()),
    "BytesIO": lambda: io.BytesIO(encoded()),
    "BytesIO just written to": at_its_end,
    "Pillow": lambda: Image.fromarray(colours()),
    "Pillow, turned": turned,
    "Pillow, RGBA": see_through,
    "array": colours,
    "array of another layout": lambda: np.asfortranarray(colours()),
    "data URI": lambda: uri(encoded()),
    "data URI with line ends": lambda: uri(encoded()).replace("A", "A\n"),
    "data URI in capitals": lambda: uri(encoded()).replace("data:image", "DATA:IMAGE"),
}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_the_same_pixels_every_way(way: str) -> None:
    pixels, name, _ = read_picture(WAYS[way]())
    np.testing.assert_array_equal(pixels, colours())
    assert pixels.flags.c_contiguous and name
    face = load_face(WAYS[way](), aligned=True)
    np.testing.assert_array_equal(face.image, colours())


def test_paths_and_open_files(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded())
    for given in (path, str(path)):
        pixels, name, _ = read_picture(given)
        np.testing.assert_array_equal(pixels, colours())
        assert name == str(path)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_picture(file)[0], colours())
    with Image.open(path) as picture:
        np.testing.assert_array_equal(read_picture(picture)[0], colours())
        # It is the user's, and stays open.
        assert picture.getpixel((0, 0)) == (0, 100, 255)


def test_opencv_s_order(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_picture(colours()[:, :, ::-1], bgr=True)[0], colours())
    np.testing.assert_array_equal(load_face(colours()[:, :, ::-1], aligned=True, bgr=True).image, colours())
    with pytest.raises(InputError, match="bgr is for arrays; a value of type bytes says the order"):
        read_picture(encoded(), bgr=True)
    # With one array and one path, it is about the array.
    (tmp_path / "a.png").write_bytes(encoded())
    found = verify(colours()[:, :, ::-1], tmp_path / "a.png", aligned=True, bgr=True, accept_poor=True)
    assert found.score == pytest.approx(1, abs=1e-6)


def test_an_array_that_changes_later_does_not_change_the_face() -> None:
    array = colours()
    face = load_face(array, aligned=True)
    array[:] = 0
    np.testing.assert_array_equal(face.image, colours())


def test_a_face_is_taken_as_it_is() -> None:
    face = Face(colours(), source="mine", index=2, count=3)
    assert load_face(face) is face and load_face(face, index=2) is face
    assert find_faces(face) == [face]
    with pytest.raises(FaceError, match="a Face is one face, none with index 1"):
        load_face(face, index=1)


def test_faces_are_found_in_every_kind_of_picture() -> None:
    path = demo_photo("obama-portrait.jpg")
    by_path = load_face(path)
    for given in (path.read_bytes(), uri(path.read_bytes(), "image/jpeg"), read_photo(path), Image.open(path)):
        (face,) = find_faces(given)
        np.testing.assert_array_equal(face.image, by_path.image)
    result = verify(path.read_bytes(), Image.open(demo_photo("obama-speech.jpg")))
    assert result.is_match and result.score == verify(path, demo_photo("obama-speech.jpg")).score


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (colours().astype(np.float32), r"float32, \(112, 112, 3\): its scale is not known"),
        (colours() / 255, "float64.*convert it to uint8 in 0..255"),
        (colours().astype(np.int64), "pixels must be uint8 in 0..255"),
        (colours()[:, :, 0], "repeat the grey values"),
        (colours().transpose(2, 0, 1), r"array.transpose\(1, 2, 0\)"),
        (np.dstack([colours(), colours()[:, :, :1]]), "leave out the transparency"),
        (colours()[None], "one picture at a time"),
        (None, "None is not a picture; give a path, the bytes"),
        (7, "a value of type int is not a picture; give a path"),
        ([1, 2], "a value of type list is not a picture"),
        ("data:image/png,abc", "a data URI must be in base64"),
        ("data:;;;", "a data URI must be in base64"),
        (io.StringIO("text"), "open it in binary mode"),
        ("https://example.org/a.jpg", "a URL, and whyface downloads nothing; save the picture"),
        ("HTTP://example.org/a.jpg", "a URL"),
        (Path("https://example.org/a.jpg"), "a URL"),
        ("file:///etc/hostname", "a URL"),
    ],
)
def test_what_is_refused(given: Any, message: str) -> None:
    for read in (read_picture, load_face, find_faces, lambda picture: load_face(picture, aligned=True)):
        with pytest.raises(InputError, match=message) as caught:
            read(given)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (b"", "the bytes: the file is empty"),
        (b"no picture", "the bytes: not a picture"),
        (encoded()[:-40], "the bytes: damaged or cut off"),
        (io.BytesIO(b""), "the open file: the file is empty"),
        ("data:image/png;base64,????", "the data URI: damaged or cut off, it is no base64"),
        ("data:image/png;base64,", "the data URI: the file is empty"),
        (np.zeros((0, 5, 3), np.uint8), "5 x 0 pixels are not a picture"),
        (Image.new("RGB", (0, 0)), "not a picture"),
        ("nowhere.jpg", "nowhere.jpg: no such file"),
    ],
)
def test_pictures_that_cannot_be_read(given: Any, message: str) -> None:
    with pytest.raises(PhotoError, match=message):
        load_face(given)


def test_the_limit_of_pixels_holds_for_all() -> None:
    for way in (colours(), encoded(), Image.fromarray(colours()), uri(encoded())):
        with pytest.raises(PhotoError, match="exceed the limit of 1000"):
            read_picture(way, max_pixels=1000)


def test_a_closed_file(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    with (tmp_path / "a.png").open("rb") as file:
        pass
    with pytest.raises(PhotoError, match="the open file: cannot be read"):
        read_picture(file)


def test_a_url_on_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    photo = str(demo_photo("obama-portrait.jpg"))
    for url in ("https://example.org/a.jpg", "ftp://example.org/a.jpg"):
        assert_refused(monkeypatch, capsys, "a URL, and whyface downloads nothing", "verify", photo, url)


def heic(**options: Any) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(colours())).save(buffer, quality=100, **options)
    return buffer.getvalue()


def avif() -> bytes:
    from PIL import features

    if not features.check("avif"):
        pytest.skip("needs a Pillow with AVIF")
    return encoded("AVIF", quality=100, subsampling="4:4:4")


@pytest.mark.parametrize("make", [heic, avif])
def test_pictures_of_phones(tmp_path: Path, make: Callable[[], bytes]) -> None:
    data = make()
    for name in ("a.heic", "a.jpg"):
        (tmp_path / name).write_bytes(data)
        pixels = read_photo(tmp_path / name)
        assert pixels.shape == (112, 112, 3) and np.abs(pixels.astype(int) - colours()).mean() < 3
    with pytest.raises(PhotoError, match="exceed the limit of 1000"):
        read_picture(data, max_pixels=1000)
    for broken in (data[: len(data) // 2], data[:40], data[:100] + bytes(len(data) - 100)):
        with pytest.raises(PhotoError, match="damaged or cut off|not a picture"):
            read_picture(broken)


def test_a_heic_picture_is_turned_upright_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    pixels = read_picture(heic(exif=exif.tobytes()))[0]
    assert np.abs(pixels[::-1, ::-1].astype(int) - colours()).mean() < 3


def test_without_the_extra_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"HEIC": heic(), "AVIF": avif()}
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    for kind, picture in data.items():
        with pytest.raises(WhyfaceError, match=rf"{kind} needs .*pip install 'whyface\[heif\]'"):
            read_picture(picture)
