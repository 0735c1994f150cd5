"""Photos and aligned crops go through one decoder, with one list of formats, one scale and one set of limits."""

from __future__ import annotations

import ast
import io
import math
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.command_line import assert_refused
from whyface.demo import demo_photo
from whyface.errors import DataError, FaceError, InputError, PhotoError, WhyfaceError
from whyface.faces.load import load_face
from whyface.faces.photo import MAX_SCANS, decode_photo, read_photo
from whyface.faces.pictures import FolderPictures, decode_aligned

ROOT = Path(__file__).resolve().parents[2]
NOISY_TIFF = Path(__file__).parent / "files" / "libtiff-noise-error.tif"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 112 112\n%%EndComments\nshowpage\n%%EOF\n"


def smooth() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:112, :112]
    return np.stack([columns * 2, rows * 2, 255 - columns - rows], axis=2).astype(np.uint8)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(Image.fromarray(smooth()), "PNG", exif=exif)


def see_through() -> bytes:
    alpha = np.mgrid[:112, :112][0].astype(np.uint8) * 2
    return saved(Image.fromarray(np.dstack([smooth(), alpha])), "PNG")


CROPS: dict[str, Callable[[], bytes]] = {
    **{f"turned {number}": partial(turned, number) for number in range(1, 9)},
    "see-through": see_through,
    "16 bit": lambda: saved(Image.fromarray(smooth()[:, :, 0].astype(np.uint16) * 257), "PNG"),
    "float to 1": lambda: saved(Image.fromarray(smooth()[:, :, 0].astype(np.float32) / 255), "TIFF"),
    "float to 255": lambda: saved(Image.fromarray(smooth()[:, :, 0].astype(np.float32)), "TIFF"),
    "grey": lambda: saved(Image.fromarray(smooth()[:, :, 1]), "BMP"),
    "JPEG": lambda: saved(Image.fromarray(smooth()), "JPEG"),
}


@pytest.mark.parametrize("case", CROPS)
def test_a_crop_is_the_same_whichever_way_it_is_read(case: str, tmp_path: Path) -> None:
    data = CROPS[case]()
    (tmp_path / "a.png").write_bytes(data)
    expected = read_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(decode_photo(data, "a"), expected)
    np.testing.assert_array_equal(decode_aligned(data, "a"), expected)
    np.testing.assert_array_equal(FolderPictures(tmp_path).read("a.png"), expected)
    np.testing.assert_array_equal(load_face(tmp_path / "a.png", aligned=True).image, expected)


def test_a_16_bit_crop_is_the_8_bit_one(tmp_path: Path) -> None:
    grey = smooth()[:, :, 0]
    found = decode_aligned(CROPS["16 bit"](), "a")
    np.testing.assert_array_equal(found, np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize("read", ["photo", "aligned", "folder"])
def test_postscript_under_a_pictures_name_starts_no_program(
    read: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.name != "posix":
        pytest.skip("the stand-in for Ghostscript is a shell script")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    (tmp_path / "a.jpg").write_bytes(EPS)
    readers: dict[str, Callable[[], object]] = {
        "photo": lambda: read_photo(tmp_path / "a.jpg"),
        "aligned": lambda: load_face(tmp_path / "a.jpg", aligned=True),
        "folder": lambda: FolderPictures(tmp_path).read("a.jpg"),
    }
    with pytest.raises(WhyfaceError, match=r"a\.jpg: not a picture that can be read"):
        readers[read]()
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("size", [(113, 112), (7000, 7000)])
def test_a_crop_of_another_size_is_refused_from_its_header(size: tuple[int, int], tmp_path: Path) -> None:
    whole = saved(Image.new("RGB", size), "PNG")
    header = whole[: whole.index(b"IDAT") - 4]
    broken = header + (5).to_bytes(4, "big") + b"IDATxxxxx" + zlib.crc32(b"IDATxxxxx").to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(broken)
    with pytest.raises(DataError, match=f"{size[0]} x {size[1]} pixels, but aligned pictures must be 112 x 112"):
        decode_aligned(broken, "a")
    with pytest.raises(FaceError, match=f"{size[0]} x {size[1]} pixels, but an aligned face must be 112 x 112"):
        load_face(tmp_path / "a.png", aligned=True)
    with pytest.raises(PhotoError, match="damaged"):
        read_photo(tmp_path / "a.png")


def with_scans(count: int, *, before: bytes = b"") -> bytes:
    """Make a progressive JPEG file of this many scans by repeating its last one."""
    whole = saved(Image.fromarray(smooth()), "JPEG", progressive=True)
    markers = [found.start() for found in re.finditer(rb"\xff\xda", whole)]
    last = whole[markers[-1] : -2]
    return whole[:2] + before + whole[2:-2] + last * (count - len(markers)) + whole[-2:]


def test_as_many_scans_as_the_limit_are_read() -> None:
    assert decode_photo(with_scans(MAX_SCANS), "a").shape == (112, 112, 3)


@pytest.mark.parametrize("count", [MAX_SCANS + 1, 300])
def test_more_scans_are_refused_before_they_are_decoded(count: int) -> None:
    for decode in (decode_photo, decode_aligned):
        with pytest.raises((PhotoError, DataError), match=f"a: a JPEG file of more than {MAX_SCANS} scans"):
            decode(with_scans(count), "a")


def test_bytes_that_look_like_scans_are_none() -> None:
    """A small picture within the metadata, and whatever phones append to a photo, may hold any bytes."""
    segment = b"\xff\xe5" + (2 + 3000).to_bytes(2, "big") + b"\xff\xda\xff" * 1000
    data = with_scans(10, before=segment) + b"\xff\xda\x00\x02" * 1000
    assert data.count(b"\xff\xda") > 2000
    assert decode_photo(data, "a").shape == (112, 112, 3)


@pytest.mark.parametrize("tail", [b"\xff" * 3_000_000, b"\xff\xd8" * 100_000, b"\xff\xe0\0\0" * 50_000])
def test_counting_scans_ends_whatever_the_bytes(tail: bytes) -> None:
    data = with_scans(10)[:-2] + tail
    try:
        assert decode_photo(data, "a").shape == (112, 112, 3)
    except PhotoError as error:
        assert str(error).startswith("a: ")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere Pillow may have libtiff built in")
def test_libtiff_writes_nothing_of_its_own(tmp_path: Path) -> None:
    code = f"from PIL import Image\ntry:\n    Image.open({str(NOISY_TIFF)!r}).load()\nexcept OSError:\n    pass\n"
    alone = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert "TIFF" in alone.stderr, "libtiff reports nothing about this file any more, so this test shows nothing"
    command = [sys.executable, "-m", "whyface", "verify", str(NOISY_TIFF), str(NOISY_TIFF)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"whyface: {NOISY_TIFF}: damaged or cut off")
    assert done.stderr.count("\n") == 1


def test_pillow_logs_nothing_to_standard_error() -> None:
    photo = str(Path(__file__).parents[1] / "hostile" / "cases" / "tiff-samples.tif")
    done = subprocess.run(
        [sys.executable, "-m", "whyface", "verify", photo, photo], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"whyface: {photo}: ")


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf, 0, -1])
def test_limits_that_are_none_are_refused(limit: float, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(CROPS["grey"]())
    for read in (
        lambda: read_photo(tmp_path / "a.png", max_pixels=limit),  # type: ignore[arg-type]
        lambda: decode_photo(CROPS["grey"](), "a", max_pixels=limit),  # type: ignore[arg-type]
        lambda: load_face(tmp_path / "a.png", aligned=True, max_pixels=limit),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match="max_pixels"):
            read()


@pytest.mark.parametrize("value", ["inf", "nan", "-inf", "-1"])
def test_the_command_line_refuses_them_too(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = str(demo_photo("obama-portrait.jpg"))
    assert_refused(monkeypatch, capsys, "--max-megapixels", "verify", photo, photo, "--max-megapixels", value)


def test_nothing_else_opens_pictures() -> None:
    openers = {("Image", "open"), ("cv2", "imread"), ("cv2", "imdecode"), ("image", "imread"), ("pyplot", "imread")}
    found = set()
    for folder in ("src", "scripts", "studies", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            # Parsing takes long, and what does not have both names does not call one of the other.
            if not any(module in text and name in text for module, name in openers):
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Attribute) and (getattr(node.value, "id", ""), node.attr) in openers:
                    found.add(path.relative_to(ROOT).as_posix())
    # Degrading reads back only the bytes that it has just made.
    assert found == {"src/whyface/faces/photo.py", "src/whyface/data/degradations.py"}
