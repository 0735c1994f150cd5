"""Decode picture files into upright RGB pixels, or say in one line why that fails.

All photos and aligned crops are decoded here, so the same formats and limits apply to all of them. By itself, Pillow
would pass a PostScript file to Ghostscript, whatever the file's name.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from whyface.errors import InputError, PhotoError, shortened
from whyface.files.photo_folder import ENDINGS, LARGEST_PHOTO

FORMATS: Final = tuple(ENDINGS)
"""The formats that are read, by Pillow's names; MPO, the multi-picture JPEG of many phones, counts as JPEG."""

MAX_PIXELS: Final = 50_000_000
"""Maximum number of pixels of a picture, unless the caller allows more."""

MAX_SCANS: Final = 100
"""Maximum number of scans of a progressive JPEG file, the same as libtiff's: cameras and programs write about ten, and
each costs a pass over all pixels, however few bytes it has."""

SizeCheck = Callable[[int, int], None]
"""Takes width and height from the file's header and raises a ``WhyfaceError`` if they do not fit; called before
anything is decoded."""

READABLE: Final = "JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC or AVIF"
_PILLOWS: Final = tuple(kind for kind in FORMATS if kind not in ("HEIF", "AVIF"))
"""What every Pillow reads."""
# ISO/IEC 23008-12 and AVIF: a file begins with the box "ftyp", which lists brands.
_HEIF_BRANDS: Final = frozenset((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"))
_AVIF_BRANDS: Final = frozenset((b"avif", b"avis"))
_LONGEST_BOX: Final = 256
_ORIENTATION: Final = 0x0112
# Within a scan, 0xFF is followed by 0, and restart markers (D0 to D7) are part of the scan.
_JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_JPEG_END, _JPEG_SCAN, _JPEG_BARE = 0xD9, 0xDA, (0xD8, 0x01)
_BROKEN_FILE: Final = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    RuntimeError,
    KeyError,
    IndexError,
    TypeError,
    struct.error,
    Warning,
)
"""What Pillow's decoders raise on damaged files (UnidentifiedImageError is an OSError).

Warnings are raised only if the program's warning filters turn them into errors.
"""


def read_photo(
    path: str | Path, *, max_pixels: int = MAX_PIXELS, check_size: SizeCheck | None = None
) -> NDArray[np.uint8]:
    """Read a picture file as upright RGB.

    JPEG, PNG, WebP, BMP, TIFF and GIF are read, and with the extra ``heif`` HEIC and AVIF; of an animation, the first
    frame. The EXIF orientation is applied. Transparent pixels are composited on white. 16-bit values are scaled to 8
    bits. Floating-point pictures (grey TIFF) are read as 0..1 if no value is above 1, otherwise as 0..255. Colour
    profiles are ignored. Raise PhotoError if the file is missing, a folder, empty, unreadable, damaged, truncated, too
    large or of another format, and InputError if ``max_pixels`` is not a positive number.

    Parameters
    ----------
    max_pixels
        Maximum of width times height; checked from the file's header, before anything is decoded.

    Returns
    -------
    ndarray
        RGB uint8, shape (H, W, 3), C-contiguous.
    """
    _check_limit(max_pixels)
    return decode_photo(photo_bytes(path), shortened(str(path)), max_pixels=max_pixels, check_size=check_size)


def photo_bytes(path: str | Path) -> bytes:
    """Return the content of a picture file: what is hashed and what is decoded are the same bytes.

    Raise PhotoError if the file is missing, a folder, empty, too large or unreadable.
    """
    _check_file(path)
    name = shortened(str(path))
    try:
        with Path(path).open("rb") as file:
            data = file.read(LARGEST_PHOTO + 1)
    except PermissionError as error:
        raise PhotoError(f"{name}: no permission to read it; change the file's permissions") from error
    except OSError as error:
        raise _damaged(name, error) from error
    if len(data) > LARGEST_PHOTO:
        raise PhotoError(f"{name}: it grew beyond the limit of {LARGEST_PHOTO} bytes while it was read; try again")
    return data


def decode_photo(
    data: bytes, name: str, *, max_pixels: int = MAX_PIXELS, check_size: SizeCheck | None = None
) -> NDArray[np.uint8]:
    """Decode a picture from memory in the same way as :func:`read_photo`.

    Raise PhotoError if the bytes are not a picture, damaged, truncated, too large or of another format, and InputError
    if ``max_pixels`` is not a positive number.

    Returns
    -------
    ndarray
        RGB uint8, shape (H, W, 3), C-contiguous.
    """
    _check_limit(max_pixels)
    if not data:
        raise PhotoError(f"{name}: the file is empty; fetch or save the picture again")
    return _decode(io.BytesIO(data), name, max_pixels, check_size)


def _check_limit(max_pixels: int) -> None:
    # Comparisons with NaN are false, so NaN would let every picture pass.
    if not math.isfinite(max_pixels) or max_pixels < 1:
        raise InputError(f"max_pixels must be a number of at least 1, got {max_pixels}")


def decode_picture(
    picture: Image.Image, name: str, *, max_pixels: int = MAX_PIXELS, check_size: SizeCheck | None = None
) -> NDArray[np.uint8]:
    """Convert a picture that Pillow has opened in the same way as :func:`read_photo`.

    Raise PhotoError if it is damaged, truncated or too large, and InputError if ``max_pixels`` is not a positive
    number.

    Returns
    -------
    ndarray
        RGB uint8, shape (H, W, 3), C-contiguous.
    """
    with _told(name):
        check_pixels(picture.size, max_pixels, name, check_size)
        return _pixels(picture, name)


def _decode(file: BinaryIO, name: str, max_pixels: int, check_size: SizeCheck | None) -> NDArray[np.uint8]:
    _hush_pillow()
    with _told(name):
        brands = _brands(file)
        avif = not brands.isdisjoint(_AVIF_BRANDS)
        if not avif and not brands.isdisjoint(_HEIF_BRANDS):
            heif = _heif_module(name).open_heif(file)
            check_pixels(heif.size, max_pixels, name, check_size)
            # It decodes here, and it turns the picture upright itself.
            return _pixels(heif.to_pillow(), name)
        if avif and not features.check("avif"):
            raise PhotoError(f"{name}: AVIF needs a newer Pillow; run: pip install 'whyface[heif]'")
        with Image.open(file, formats=("AVIF",) if avif else _PILLOWS) as picture:
            check_pixels(picture.size, max_pixels, name, check_size)
            if picture.format in ("JPEG", "MPO"):
                file.seek(0)
                _check_scans(file.read(), name)
            elif picture.format == "TIFF":
                _hush_libtiff()
            return _pixels(picture, name)


def _brands(file: BinaryIO) -> frozenset[bytes]:
    """Return the brands of an HEIF or AVIF file; none of another."""
    head = file.read(_LONGEST_BOX)
    file.seek(0)
    if head[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return frozenset(head[start : start + 4] for start in range(8, end, 4))


def _heif_module(name: str) -> Any:
    try:
        import pillow_heif  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise PhotoError(f"{name}: HEIC needs pillow-heif; run: pip install 'whyface[heif]'") from error
    return pillow_heif


def _pixels(picture: Image.Image, name: str) -> NDArray[np.uint8]:
    picture.load()
    return np.ascontiguousarray(_upright(_rgb(picture, name), _orientation(picture)))


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn what decoders raise into one line about the picture."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise PhotoError(f"{name}: not a picture that can be read; give a {READABLE} file") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"{name}: far too many pixels; make the picture smaller first") from error
    except MemoryError as error:
        raise PhotoError(f"{name}: not enough memory to decode it; make the picture smaller first") from error
    except _BROKEN_FILE as error:
        raise _damaged(name, error) from error


def _check_scans(data: bytes, name: str) -> None:
    """Count a JPEG file's scans without decoding them."""
    scans, position = 0, 0
    while (found := _JPEG_MARKER.search(data, position)) is not None and found[1][0] != _JPEG_END:
        position = found.end()
        marker = found[1][0]
        scans += marker == _JPEG_SCAN
        if scans > MAX_SCANS:
            raise PhotoError(
                f"{name}: a JPEG file of more than {MAX_SCANS} scans takes too long to decode; save it again"
            )
        if marker not in _JPEG_BARE:
            # A segment may hold anything, such as a thumbnail with its own scans.
            position += int.from_bytes(data[position : position + 2], "big")


@cache
def _hush_pillow() -> None:
    """Keep Pillow's log from standard error, where Python writes what no handler takes; it raises what matters."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())


@cache
def _hush_libtiff() -> None:
    """Keep libtiff from writing errors to standard error, once per process.

    Pillow raises them anyway; it silences libtiff's warnings in this way, but not its errors. If Pillow was built
    without a separate libtiff, this has no effect.
    """
    import ctypes  # noqa: PLC0415 - for TIFF files only

    from PIL import _imaging  # noqa: PLC0415

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def _damaged(name: str, error: Exception) -> PhotoError:
    return PhotoError(f"{name}: damaged or cut off ({_reason(error)}); fetch or save the picture again")


def _reason(error: Exception) -> str:
    # An OSError's own text repeats the path.
    text = getattr(error, "strerror", None) or str(error)
    return shortened(" ".join(text.split()), 120) or type(error).__name__


def _check_file(path: str | Path) -> None:
    name = shortened(str(path))
    try:
        file = Path(path)
        if not file.exists():
            raise PhotoError(f"{name}: no such file; check the path")
        if file.is_dir():
            raise PhotoError(f"{name}: this is a folder; give a picture file")
        if not file.is_file():
            raise PhotoError(f"{name}: not a regular file; give a picture file")
        size = file.stat().st_size
        if size == 0:
            raise PhotoError(f"{name}: the file is empty; fetch or save the picture again")
        if size > LARGEST_PHOTO:
            raise PhotoError(f"{name}: {size} bytes exceed the limit of {LARGEST_PHOTO}; make the file smaller")
    except (OSError, ValueError) as error:
        raise PhotoError(f"{name!r}: cannot be read ({_reason(error)}); check the path and its permissions") from error


def check_pixels(size: tuple[int, int], max_pixels: int, path: str | Path, check: SizeCheck | None) -> None:
    """Check a picture's width and height.

    Raise PhotoError if the picture is empty or has too many pixels, and InputError if ``max_pixels`` is not a positive
    number.
    """
    _check_limit(max_pixels)
    width, height = size
    if width < 1 or height < 1:
        raise PhotoError(f"{path}: {width} x {height} pixels are not a picture; give another file")
    if width * height > max_pixels:
        raise PhotoError(
            f"{path}: {width} x {height} pixels exceed the limit of {max_pixels}; "
            "make the picture smaller or raise the limit"
        )
    if check is not None:
        check(width, height)


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, 1..8; 1 (upright) if there is none or it is damaged."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except _BROKEN_FILE:
        # A photo with broken EXIF data is still a photo.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation: 5 to 8 swap rows and columns, and both may run backwards."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _rgb(picture: Image.Image, path: str | Path) -> NDArray[np.uint8]:
    if picture.mode == "F" or picture.mode.startswith("I"):
        grey = _grey_8bit(np.asarray(picture), path)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return np.asarray(Image.alpha_composite(white, layer).convert("RGB"), dtype=np.uint8)
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def _grey_8bit(values: NDArray[np.generic], path: str | Path) -> NDArray[np.uint8]:
    """Scale 16-bit or floating-point grey values to 0..255."""
    grey = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0, posinf=255.0, neginf=0.0)
    if np.issubdtype(values.dtype, np.floating):
        scale = 255.0 if grey.max() <= 1 else 1.0
    elif grey.max() <= 65_535:
        scale = 255 / 65_535
    else:
        raise PhotoError(f"{path}: 32 bits per pixel are not supported; save it with 8 or 16 bits")
    return np.asarray(np.clip(np.rint(grey * scale), 0, 255), dtype=np.uint8)
