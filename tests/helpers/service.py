"""A service on a port of this computer, in a thread, and a client that can also misbehave."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whyface.service.answers import Answers
from whyface.service.app import create_app
from whyface.service.limits import Limits
from whyface.service.server import make_server

BOUNDARY = "part-of-a-test"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def reason(self) -> str:
        """The reason of a refusal; every refusal has one, in one line, without a trace."""
        error = self.json()["error"]
        assert set(error) == {"kind", "reason"}
        assert error["reason"]
        assert "\n" not in error["reason"]
        assert b"Traceback" not in self.body
        return str(error["reason"])


@dataclass(frozen=True)
class Client:
    port: int

    def request(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            # A server that refuses a body answers before all of it is sent, and closes; its answer is still there.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, headers=headers)

    def send(self, path: str, photos: Mapping[str, bytes | Sequence[bytes]], **options: Any) -> Reply:
        """Send as multipart."""
        headers = options.pop("headers", {})
        body = multipart(photos, options)
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.request("POST", path, body, {**kind, **headers})

    def send_json(self, path: str, document: Any) -> Reply:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.request("POST", path, body, {"Content-Type": "application/json"})

    def raw(self, data: bytes, *, seconds: float = 30, half_close: bool = False) -> bytes:
        """Send bytes as they are and return what comes back until the server closes, or so long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            found = b""
            try:
                while part := connection.recv(65536):
                    found += part
            except (TimeoutError, ConnectionResetError):
                pass
            return found


def multipart(photos: Mapping[str, bytes | Sequence[bytes]], fields: Mapping[str, Any]) -> bytes:
    lines = []
    for name, given in photos.items():
        for photo in [given] if isinstance(given, bytes) else given:
            about = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="../../x.jpg"\r\n\r\n'
            lines += [about.encode(), photo, b"\r\n"]
    for name, value in fields.items():
        lines.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode())
    return b"".join([*lines, f"--{BOUNDARY}--\r\n".encode()])


@contextmanager
def running(answers: Answers, limits: Limits | None = None, **options: Any) -> Iterator[Client]:
    """Serve until the block ends."""
    if limits is not None:
        answers.limits = limits
    app = create_app(answers, **options)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = make_server(app, answers.limits)
        # Only the main thread may handle signals.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield Client(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def write_page(folder: Path) -> Path:
    """A web page, beside a file that it must not give away."""
    (folder.parent / "secret.txt").write_text("secret")
    folder.mkdir()
    (folder / "index.html").write_text("<title>page</title>")
    return folder
