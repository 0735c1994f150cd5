"""The page in the browser for tests: written to a folder, offered by a plain web server, and asked for scores."""

from __future__ import annotations

import base64
import functools
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import pytest

from whyface.demo import demo_photo
from whyface.faces.photo import read_photo
from whyface.page.site import RUNTIME_VERSION, write_site

if TYPE_CHECKING:
    from playwright.sync_api import Page

_FACES = """async photos => {
    const { localEngine } = await import("./local_engine.js");
    window.kept ??= {};
    for (const [name, text] of photos) {
        const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
        window.kept[name] = (await localEngine.faces(new Blob([bytes]), name)).faces;
    }
}"""
_COMPARE = """async pairs => {
    const { localEngine } = await import("./local_engine.js");
    const found = [];
    for (const [a, b] of pairs) {
        const [first, second] = [window.kept[a][0], window.kept[b][0]];
        found.push(first && second ? await localEngine.compare(first, second, null) : null);
    }
    return found;
}"""


def runtime_archive() -> Path:
    """Return ONNX Runtime Web, or skip the test."""
    default = Path(__file__).parents[2] / "out" / f"onnxruntime-web-{RUNTIME_VERSION}.tgz"
    place = Path(os.environ.get("WHYFACE_RUNTIME", default))
    if not place.exists():
        pytest.skip(f"ONNX Runtime Web is not in out/: run make browser, or name it in WHYFACE_RUNTIME ({place.name})")
    return place


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        pass


def camera_film(path: Path) -> Path:
    """Write a film of one photo of the demo in the form that Chromium takes for a camera."""
    photo = read_photo(demo_photo("obama-speech.jpg"))[:834]
    picture = cv2.resize(photo, (480, 640), interpolation=cv2.INTER_AREA)
    planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    path.write_bytes(b"YUV4MPEG2 W480 H640 F10:1 Ip A1:1 C420mpeg2\n" + 2 * (b"FRAME\n" + planes.tobytes()))
    return path


@contextmanager
def served_site(folder: Path, **options: Any) -> Iterator[str]:
    """Write the page into a folder and offer it; yield its address."""
    write_site(folder, runtime_archive(), **options)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def browser_explanations(page: Page, pairs: Sequence[tuple[Path, Path]]) -> list[dict[str, Any] | None]:
    """Return the explanations that the page finds for pairs of photos; None where one shows no face."""
    names = list(dict.fromkeys(path for pair in pairs for path in pair))
    for start in range(0, len(names), 20):
        part = names[start : start + 20]
        page.evaluate(_FACES, [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in part])
    found: list[dict[str, Any] | None] = page.evaluate(_COMPARE, [[a.name, b.name] for a, b in pairs])
    return found
