"""Pictures as users hold them: paths, bytes, open files, arrays, pictures of Pillow, data URIs."""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyface.errors import InputError, PhotoError, shortened
from whyface.faces.photo import MAX_PIXELS, SizeCheck, check_pixels, decode_photo, decode_picture, photo_bytes
from whyface.files.integrity import ContentHash
from whyface.files.photo_folder import LARGEST_PHOTO

PictureInput = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[np.uint8]
"""What :func:`read_picture` takes."""

WHAT_WORKS: Final = (
    "give a path, the bytes of a picture file, a file opened in binary mode, an RGB array of uint8 with the shape "
    "(H, W, 3), a picture of Pillow, a data URI in base64, or a Face"
)

_URI: Final = re.compile(r"data:[^,]{0,200}?;base64,", re.IGNORECASE)
# A path object has lost one of the slashes. One letter is a drive.
_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


class ReadPicture(NamedTuple):
    """A picture and where it comes from.

    Attributes
    ----------
    pixels
        RGB uint8, (H, W, 3), C-contiguous.
    name
        The path, or what else the picture was, for messages.
    file
        Hash and size of the picture file, as it was read; None for arrays and pictures of Pillow.
    """

    pixels: NDArray[np.uint8]
    name: str
    file: ContentHash | None = None


def read_picture(
    picture: PictureInput, *, bgr: bool = False, max_pixels: int = MAX_PIXELS, check_size: SizeCheck | None = None
) -> ReadPicture:
    """Read a picture from what a user holds.

    Raise InputError if it is none of these; the message says what works. Raise PhotoError if it is a picture that
    cannot be read.

    Parameters
    ----------
    picture
        A path; the bytes of a picture file; a file opened in binary mode, or a ``BytesIO``; a picture of Pillow; an
        array of uint8, (H, W, 3); or a text ``data:image/...;base64,...``. Nothing is downloaded: a URL is refused.
    bgr
        The array's channels are in OpenCV's order: blue, green, red.
    max_pixels, check_size
        As for :func:`whyface.faces.photo.read_photo`.
    """
    if bgr and not isinstance(picture, np.ndarray):
        raise InputError(f"bgr is for arrays; {_kind(picture)} says the order of its channels, so leave bgr out")
    limits: dict[str, Any] = {"max_pixels": max_pixels, "check_size": check_size}
    if isinstance(picture, np.ndarray):
        name = "the array"
        return ReadPicture(_array(picture, bgr, max_pixels, check_size), name)
    if isinstance(picture, Image.Image):
        name = getattr(picture, "filename", "") or "the picture of Pillow"
        return ReadPicture(decode_picture(picture, shortened(str(name)), **limits), str(name))
    if isinstance(picture, bytes | bytearray | memoryview):
        return _decoded(bytes(picture), "the bytes", **limits)
    if isinstance(picture, str) and picture[:5].lower() == "data:":
        return _decoded(_data_of(picture), "the data URI", **limits)
    if isinstance(picture, str | os.PathLike):
        path = os.fspath(picture)
        if isinstance(path, str):
            return _decoded(photo_bytes(_local(path)), path, **limits)
    if callable(getattr(picture, "read", None)):
        return _decoded(_content(picture), "the open file", **limits)
    raise InputError(f"{_kind(picture)} is not a picture; {WHAT_WORKS}")


def _decoded(data: bytes, name: str, **limits: Any) -> ReadPicture:
    return ReadPicture(decode_photo(data, shortened(name), **limits), name, ContentHash.of(data))


def _array(array: NDArray[Any], bgr: bool, max_pixels: int, check_size: SizeCheck | None) -> NDArray[np.uint8]:
    got = f"an array of {array.dtype}, {array.shape}"
    if np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"{got}: its scale is not known, 0..1, -1..1 or 0..255; convert it to uint8 in 0..255, for 0..1 by "
            "(255 * array).round().astype('uint8')"
        )
    if array.dtype != np.uint8:
        raise InputError(f"{got}: pixels must be uint8 in 0..255; convert it")
    if array.ndim != 3 or array.shape[2] != 3:
        raise InputError(f"{got}: the shape must be (H, W, 3), with the colours last; {_shape_hint(array.shape)}")
    check_pixels((array.shape[1], array.shape[0]), max_pixels, "the array", check_size)
    return np.ascontiguousarray(array[:, :, ::-1] if bgr else array)


def _shape_hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 2:
        return "repeat the grey values: np.dstack([array] * 3)"
    if len(shape) == 3 and shape[0] == 3:
        return "move the colours: array.transpose(1, 2, 0)"
    if len(shape) == 3 and shape[2] == 4:
        return "leave out the transparency: array[:, :, :3]"
    return "give one picture at a time"


def _data_of(uri: str) -> bytes:
    found = _URI.match(uri)
    if found is None:
        raise InputError(f"{shortened(uri, 40)!r}: a data URI must be in base64: data:image/jpeg;base64,...")
    if (len(uri) - found.end()) * 3 // 4 > LARGEST_PHOTO:
        raise PhotoError(f"the data URI: more than {LARGEST_PHOTO} bytes; make the picture smaller")
    try:
        return base64.b64decode("".join(uri[found.end() :].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PhotoError("the data URI: damaged or cut off, it is no base64; encode the picture again") from error


def _local(path: str) -> Path:
    if _URL.match(path) and not Path(path).parent.is_dir():
        raise InputError(
            f"{shortened(path)}: a URL, and whyface downloads nothing; save the picture and give the path of the file"
        )
    return Path(path)


def _content(file: Any) -> bytes:
    try:
        data = file.getvalue() if isinstance(file, io.BytesIO) else file.read(LARGEST_PHOTO + 1)
    except (OSError, ValueError) as error:
        raise PhotoError(f"the open file: cannot be read ({shortened(str(error), 120)}); open it again") from error
    if not isinstance(data, bytes | bytearray):
        raise InputError("the open file gives text, not bytes; open it in binary mode, 'rb'")
    if len(data) > LARGEST_PHOTO:
        raise PhotoError(f"the open file: more than {LARGEST_PHOTO} bytes; make the picture smaller")
    return bytes(data)


def _kind(value: object) -> str:
    return f"a value of type {type(value).__name__}" if value is not None else "None"
