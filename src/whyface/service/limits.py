"""The bounds of the service, and the refusal of a request in one reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from whyface.errors import FaceError, InputError, PhotoError, WhyfaceError


@dataclass(frozen=True)
class Limits:
    """Bounds of the service.

    Attributes
    ----------
    body
        Bytes of a request's body.
    pixels
        Pixels of a photo, checked before it is decoded.
    faces
        Faces of a photo.
    workers
        Requests that are computed at the same time, each with one thread.
    queue
        Requests that wait for a worker; beyond, the answer is 503 with ``Retry-After``.
    reading
        Requests whose bodies are being received or are in memory; beyond, the same. Bounds the memory with ``body``.
    connections
        Open connections; beyond, new ones are closed.
    reading_seconds
        Time for receiving a request.
    seconds
        Time for computing an answer, waiting included.

    Raises
    ------
    InputError
        If a bound is not a positive number.
    """

    body: int = 20 * 2**20
    pixels: int = 25_000_000
    faces: int = 100
    workers: int = 2
    queue: int = 16
    reading: int = 64
    connections: int = 512
    reading_seconds: float = 20.0
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value) or value <= 0:
                raise InputError(f"the limit {field.name} must be a positive number, got {value}")


class RefusedError(Exception):
    """A request that gets no answer, but a status and a reason.

    Attributes
    ----------
    status
        The HTTP status.
    kind
        One word for programs, such as ``"busy"``.
    reason
        One line for people.
    retry_after
        Seconds after which to try again, or None.
    """

    def __init__(self, status: int, kind: str, reason: str, *, retry_after: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.retry_after = retry_after

    @classmethod
    def of(cls, error: WhyfaceError) -> RefusedError:
        """Return the refusal for an error of the library: 422, the request is well-formed but cannot be answered."""
        kind = {PhotoError: "photo", FaceError: "face", InputError: "input"}.get(type(error), "data")
        return cls(422, kind, str(error))

    def document(self) -> dict[str, dict[str, str]]:
        """Return the body of the answer."""
        return {"error": {"kind": self.kind, "reason": self.reason}}
