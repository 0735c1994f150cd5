"""Read requests: bodies of bounded size and time, as multipart or JSON with base64, and never a file or an address.

Uploads stay in memory; the multipart parser would write them to disk beyond a megabyte.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from whyface.errors import shortened
from whyface.files.guarded import parse_json
from whyface.service.limits import Limits, RefusedError

MOST_PARTS: Final = 200
_TRUE, _FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")


class _InMemory(MultiPartParser):
    # Larger than any body that is let in: nothing is written to disk.
    spool_max_size = 2**40


@dataclass(frozen=True)
class Form:
    """The parts of a request: photos as bytes, everything else as JSON values."""

    photos: Mapping[str, list[bytes]]
    values: Mapping[str, Any]

    def photo(self, name: str) -> bytes:
        """Return the one photo of this name; raise RefusedError if there is none, or several."""
        found = self.photos.get(name, [])
        if len(found) != 1:
            raise RefusedError(422, "input", f"one photo {name!r} is needed, as a file or in base64; got {len(found)}")
        return found[0]

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return a text; raise RefusedError if the value is something else."""
        value = self.values.get(name, default)
        if value is not None and not isinstance(value, str):
            raise _wrong(name, "a text", value)
        return value

    def flag(self, name: str) -> bool:
        """Return true or false, false by default; raise RefusedError if the value is something else."""
        value = self.values.get(name, False)
        plain = value.lower() if isinstance(value, str) else value
        if plain is True or plain in _TRUE[:1] + _TRUE[1:]:
            return True
        if plain is False or plain in _FALSE:
            return False
        raise _wrong(name, "true or false", value)

    def whole(self, name: str, default: int, *, most: int) -> int:
        """Return a whole number of 0 to ``most``; raise RefusedError if the value is something else."""
        value = self.values.get(name, default)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise _wrong(name, f"a whole number of 0 to {most}", value)
        return value

    def number(self, name: str) -> float | None:
        """Return a number, or None; raise RefusedError if the value is something else."""
        value = self.values.get(name)
        try:
            return None if value is None or isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise _wrong(name, "a number", value) from error


async def read_form(request: Request, limits: Limits, photos: tuple[str, ...]) -> Form:
    """Receive and parse a request.

    Parameters
    ----------
    photos
        Names of the parts that are photos.

    Raises
    ------
    RefusedError
        If the body is too large, too slow, cut off, of another type, or cannot be parsed.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("multipart/form-data", "application/json"):
        raise RefusedError(
            415, "type", f"send multipart/form-data or application/json, not {shortened(kind, 60) or 'nothing'}"
        )
    body = await _read(request, limits)
    if kind == "application/json":
        return _from_json(body, photos)
    return await _from_multipart(request, body, photos)


async def _read(request: Request, limits: Limits) -> bytes:
    declared = request.headers.get("content-length", "0")
    # A length of thousands of digits is no number to convert.
    if not declared.isdecimal() or len(declared) > 15 or int(declared) > limits.body:
        raise RefusedError(413, "size", f"a request may have {limits.body} bytes; make the photos smaller")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.reading_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body:
                    raise RefusedError(413, "size", f"a request may have {limits.body} bytes; make the photos smaller")
    except TimeoutError as error:
        raise RefusedError(
            408, "slow", f"the request did not arrive within {limits.reading_seconds:g} s; send it again"
        ) from error
    except ClientDisconnect as error:
        raise RefusedError(400, "cut off", "the request ended before its body; send it again") from error
    return bytes(body)


def _from_json(body: bytes, photos: tuple[str, ...]) -> Form:
    try:
        document = parse_json(body)
    except ValueError as error:
        raise RefusedError(400, "json", f"the body is not valid JSON ({shortened(str(error), 120)})") from error
    if not isinstance(document, dict):
        raise RefusedError(400, "json", "the body must be an object, such as {'photo': '...base64...'}")
    found, values = {}, {}
    for name, value in document.items():
        if name not in photos:
            values[name] = value
            continue
        pictures = value if isinstance(value, list) else [value]
        if len(pictures) > MOST_PARTS:
            raise RefusedError(422, "input", f"{name}: at most {MOST_PARTS} photos in a request")
        found[name] = [_decoded(name, picture) for picture in pictures]
    return Form(found, values)


def _decoded(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise RefusedError(422, "input", f"{name}: a photo in base64 is needed, as a text")
    start = value.find(";base64,", 0, 200)
    text = value[start + 8 :] if value[:5].lower() == "data:" and start >= 0 else value
    if "://" in text[:40]:
        raise RefusedError(422, "input", f"{name}: an address; the service fetches nothing, send the photo itself")
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError(422, "input", f"{name}: not base64; encode the photo again") from error


async def _from_multipart(request: Request, body: bytes, photos: tuple[str, ...]) -> Form:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(
        request.headers, stream(), max_files=MOST_PARTS, max_fields=MOST_PARTS, max_part_size=len(body) + 1
    )
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError, LookupError) as error:
        message = getattr(error, "message", None) or "it cannot be parsed"
        raise RefusedError(
            400, "multipart", f"the multipart body is damaged ({shortened(str(message), 120)})"
        ) from error
    found: dict[str, list[bytes]] = {}
    values: dict[str, Any] = {}
    for name, part in form.multi_items():
        if isinstance(part, UploadFile):
            data = await part.read()
            await part.close()
            if name not in photos:
                raise RefusedError(422, "input", f"{shortened(name, 60)}: no such photo here; {_named(photos)}")
            found.setdefault(name, []).append(data)
        elif name in photos:
            found.setdefault(name, []).append(_decoded(name, part))
        else:
            values[name] = part
    return Form(found, values)


def _named(photos: tuple[str, ...]) -> str:
    return f"send {' and '.join(photos)}" if photos else "this takes none"


def _wrong(name: str, what: str, value: object) -> RefusedError:
    return RefusedError(422, "input", f"{name} must be {what}, got {shortened(repr(value), 60)}")
