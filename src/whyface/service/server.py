"""Run the service with uvicorn: bounded connections, slow clients cut off, and errors in JSON below the application."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from whyface.service.gate import refusal_bytes
from whyface.service.limits import Limits, RefusedError


def bounded_protocol(limits: Limits) -> type[H11Protocol]:
    """Return uvicorn's HTTP protocol with a time for the headers and a number of connections."""

    class BoundedProtocol(H11Protocol):
        """Closes connections beyond the limit, and those whose request does not arrive in time."""

        _late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.close()
            else:
                self._expect_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._late is not None:
                self._late.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._late is None and self._between():
                self._expect_headers()

        def send_400_response(self, msg: str) -> None:
            body = refusal_bytes(RefusedError(400, "http", "this is not a valid HTTP request"))
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _between(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _expect_headers(self) -> None:
            self._late = self.loop.call_later(limits.reading_seconds, self._close_if_late)

        def _close_if_late(self) -> None:
            self._late = None
            if self._between():
                self.transport.close()

    return BoundedProtocol


def make_server(app: FastAPI, limits: Limits, *, host: str = "127.0.0.1", port: int = 8000) -> uvicorn.Server:
    """Return a server; ``run()`` serves until it is interrupted.

    Parameters
    ----------
    app
        From :func:`whyface.service.app.create_app`.
    limits
        Its limits.
    host, port
        Where to listen; by default, only this computer can connect.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=bounded_protocol(limits),
        ws="none",
        # A line for each request would hold paths; counts are in the metrics.
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )
    return uvicorn.Server(config)
