"""Every kind of picture that is read, made on the fly, and every kind of file that is refused."""

import os
import struct
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from whyface.errors import InputError, PhotoError
from whyface.faces.photo import read_photo

HEIGHT, WIDTH = 40, 60


def picture() -> NDArray[np.uint8]:
    """Smooth colours that differ in all four corners, so that JPEG hardly changes them."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([columns * 4, rows * 6, 255 - columns * 2 - rows * 2], axis=2).astype(np.uint8)


def close(found: NDArray[np.uint8], expected: NDArray[np.generic], tolerance: float = 0) -> None:
    assert found.dtype == np.uint8 and found.shape == expected.shape and found.flags.c_contiguous
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "tolerance"), [("a.png", 0), ("a.bmp", 0), ("a.tiff", 0), ("a.jpg", 9), ("a.webp", 12), ("a.gif", 60)]
)
def test_formats(tmp_path: Path, name: str, tolerance: float) -> None:
    Image.fromarray(picture()).save(tmp_path / name, quality=95)
    close(read_photo(tmp_path / name), picture(), tolerance)
    close(read_photo(str(tmp_path / name)), picture(), tolerance)


def test_the_suffix_does_not_matter(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    close(read_photo(tmp_path / "a.jpg"), picture())


def stored_for(orientation: int, upright: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Store a picture so that this EXIF orientation makes it upright (EXIF 2.3, table of row 0 and column 0)."""
    return {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(stored_for(orientation, picture()))
    Image.fromarray(stored).save(tmp_path / f"a.{suffix}", exif=exif, quality=95)
    close(read_photo(tmp_path / f"a.{suffix}"), picture(), {"jpg": 9, "webp": 12}.get(suffix, 0))


@pytest.mark.parametrize("value", [0, 9, 77])
def test_a_senseless_orientation_is_none(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=exif)
    close(read_photo(tmp_path / "a.png"), picture())


def test_damaged_exif_is_ignored(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.jpg", quality=95, exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff\0\0")
    close(read_photo(tmp_path / "a.jpg"), picture(), 9)


def test_grey_and_black_and_white(tmp_path: Path) -> None:
    grey = picture()[:, :, 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    close(read_photo(tmp_path / "grey.png"), np.repeat(grey[:, :, None], 3, axis=2))
    Image.fromarray(grey > 100).save(tmp_path / "one.png")
    close(read_photo(tmp_path / "one.png"), np.repeat(255 * (grey > 100)[:, :, None], 3, axis=2))


def test_palette(tmp_path: Path) -> None:
    indexed = Image.fromarray(picture()).quantize(16)
    indexed.save(tmp_path / "a.png")
    close(read_photo(tmp_path / "a.png"), np.asarray(indexed.convert("RGB")))


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    pixels = np.dstack([picture(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    pixels[:10, :, 3] = 0
    pixels[10:20, :, 3] = 128
    expected = picture().astype(float)
    expected[:10] = 255
    expected[10:20] = expected[10:20] * 128 / 255 + 255 * 127 / 255
    for name in ("a.png", "a.webp", "a.tiff"):
        Image.fromarray(pixels).save(tmp_path / name, lossless=True)
        close(read_photo(tmp_path / name), expected, 2)
    grey = np.stack([pixels[:, :, 0], pixels[:, :, 3]], axis=2)
    Image.fromarray(grey, "LA").save(tmp_path / "grey.png")
    close(read_photo(tmp_path / "grey.png"), np.repeat(expected[:, :, :1], 3, axis=2), 2)


def test_one_transparent_colour(tmp_path: Path) -> None:
    pixels = picture()
    pixels[:5] = (10, 20, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png", transparency=(10, 20, 30))
    expected = pixels.copy()
    expected[:5] = 255
    close(read_photo(tmp_path / "a.png"), expected)


def test_cmyk(tmp_path: Path) -> None:
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    close(read_photo(tmp_path / "a.jpg"), picture(), 12)


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits(tmp_path: Path, suffix: str) -> None:
    grey = (picture()[:, :, 0].astype(np.uint16) * 257).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / f"grey.{suffix}")
    close(read_photo(tmp_path / f"grey.{suffix}"), np.repeat(picture()[:, :, :1], 3, axis=2))
    deep = picture().astype(np.uint16) * 257
    assert cv2.imwrite(str(tmp_path / f"colour.{suffix}"), deep[:, :, ::-1])
    close(read_photo(tmp_path / f"colour.{suffix}"), picture(), 1)


def test_sixteen_bits_with_alpha(tmp_path: Path) -> None:
    deep = np.dstack([picture()[:, :, ::-1], np.full((HEIGHT, WIDTH), 255, np.uint8)]).astype(np.uint16) * 257
    assert cv2.imwrite(str(tmp_path / "a.png"), deep)
    close(read_photo(tmp_path / "a.png"), picture(), 1)


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_floating_point(tmp_path: Path, top: float) -> None:
    grey = picture()[:, :, 0].astype(np.float32)
    grey[0, 0], grey[0, 1] = 255, 0
    stored = grey / 255 * top
    stored[0, 1] = np.nan
    Image.fromarray(stored.astype(np.float32)).save(tmp_path / "a.tiff")
    close(read_photo(tmp_path / "a.tiff"), np.repeat(grey[:, :, None], 3, axis=2))


def test_thirty_two_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 2**30, np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(PhotoError, match="32 bits"):
        read_photo(tmp_path / "a.tiff")


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_the_first_frame_of_an_animation(tmp_path: Path, suffix: str) -> None:
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second], lossless=True, duration=50)
    close(read_photo(tmp_path / f"a.{suffix}"), np.full((8, 8, 3), (255, 0, 0)), 2)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 10_000), (2**31 - 1, 2**31 - 1), (7_072, 7_072)])
def test_too_many_pixels_are_refused_from_the_header(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(png_header(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PhotoError, match="pixels"):
            read_photo(tmp_path / "a.png")


def test_the_limit_is_inclusive(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png", max_pixels=HEIGHT * WIDTH).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(PhotoError, match=f"a.png: {WIDTH} x {HEIGHT} pixels exceed the limit"):
        read_photo(tmp_path / "a.png", max_pixels=HEIGHT * WIDTH - 1)
    with pytest.raises(InputError, match="max_pixels"):
        read_photo(tmp_path / "a.png", max_pixels=0)


def test_pillows_own_limit_is_left_alone(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    (tmp_path / "a.png").write_bytes(png_header(60_000, 60_000))
    with pytest.raises(PhotoError):
        read_photo(tmp_path / "a.png")
    assert before == Image.MAX_IMAGE_PIXELS


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    for name, reason in (("none.jpg", "no such file"), ("", "folder"), ("empty.jpg", "empty")):
        with pytest.raises(PhotoError, match=reason):
            read_photo(tmp_path / name)
    with pytest.raises(PhotoError, match="no such file|cannot be read"):
        read_photo("a\0b.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PhotoError, match="regular"):
        read_photo(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("content", [b"a text, renamed", b"\xff\xd8\xff", b"<svg/>", b"%PDF-1.4", b"\0" * 500])
def test_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(PhotoError, match="a.jpg: (not a picture|damaged)"):
        read_photo(tmp_path / "a.jpg")


def test_formats_that_are_not_read(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.ppm")
    with pytest.raises(PhotoError, match="JPEG, PNG"):
        read_photo(tmp_path / "a.ppm")


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_cut_off_files(tmp_path: Path, suffix: str, share: float) -> None:
    random = np.random.default_rng(0).integers(0, 256, (80, 90, 3)).astype(np.uint8)
    Image.fromarray(random).save(tmp_path / f"a.{suffix}")
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(PhotoError) as caught:
        read_photo(tmp_path / f"a.{suffix}")
    assert "\n" not in str(caught.value) and f"a.{suffix}" in str(caught.value)


def test_damaged_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    for suffix in ("jpg", "png", "webp", "bmp", "tiff", "gif"):
        Image.fromarray(picture()).save(tmp_path / f"a.{suffix}")
        whole = np.frombuffer((tmp_path / f"a.{suffix}").read_bytes(), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[random.integers(0, min(len(whole), 200), 4)] = random.integers(0, 256, 4)
            (tmp_path / f"b.{suffix}").write_bytes(damaged.tobytes())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    read_photo(tmp_path / f"b.{suffix}")
                except PhotoError as error:
                    assert "\n" not in str(error)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # The superuser may read everything, so the refusal is put on by hand.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PhotoError, match="permission"):
        read_photo(tmp_path / "a.png")
