"""The gate before the routes: key, room, headers, and one JSON reason for whatever goes wrong."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from whyface.errors import WhyfaceError
from whyface.service.limits import RefusedError
from whyface.service.metrics import Metrics
from whyface.service.workplace import Workplace

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("whyface.service")

OPEN: Final = ("/health",)
"""Paths that need no key."""

HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"x-frame-options", b"DENY"),
)


class Gate:
    """ASGI middleware that lets in what has the key and for which there is room.

    Parameters
    ----------
    app
        The routes.
    key
        The key that requests must carry, or None.
    workplace
        Says how long to wait where there is no room.
    metrics
        Counts the answers.
    """

    def __init__(self, app: App, *, key: str | None, workplace: Workplace, metrics: Metrics) -> None:
        self.app = app
        self.workplace = workplace
        self.metrics = metrics
        self._key = None if key is None else _digest(key)
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status = 0

        async def counted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                given = {name.lower() for name, _ in message.get("headers", ())}
                own = [pair for pair in HEADERS if pair[0] not in given]
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        self._inside += 1
        try:
            self._check(scope)
            await self.app(scope, receive, counted)
        except RefusedError as error:
            await _refuse(error, status, counted)
        except WhyfaceError as error:
            await _refuse(RefusedError.of(error), status, counted)
        except Exception as error:  # A client gets no trace, whatever happened.
            _log_place(error)
            await _refuse(RefusedError(500, "internal", "something went wrong here; it was logged"), status, counted)
        finally:
            self._inside -= 1
            path = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - start)

    def _check(self, scope: Scope) -> None:
        if scope["path"] in OPEN:
            return
        if self._inside > self.workplace.limits.reading:
            raise self.workplace.busy()
        if self._key is None:
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        # Of equal length, so that the time tells nothing, not even the key's length.
        if not hmac.compare_digest(_digest(given.decode("latin-1")), self._key):
            raise RefusedError(401, "key", "an API key is needed: X-API-Key, or Authorization: Bearer")


def refusal_bytes(error: RefusedError) -> bytes:
    """Return the body of a refusal."""
    return json.dumps(error.document()).encode()


async def _refuse(error: RefusedError, status: int, send: Send) -> None:
    if status:  # The answer has begun; the connection ends.
        return
    body = refusal_bytes(error)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if error.status in (408, 413, 503):
        # What is left of the body is not read.
        headers.append((b"connection", b"close"))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _log_place(error: Exception) -> None:
    """Log the kind of an error and where it happened, without its message, which may hold what was sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "?" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    log.error("%s at %s", type(error).__name__, where)
