"""``whyface serve``: verdicts, vectors and galleries over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from whyface.commands.option_blocks import ModelOptions, takes_options
from whyface.errors import InputError, ModelError
from whyface.files.guarded import read_guarded

KEY_VARIABLE = "WHYFACE_API_KEY"


@takes_options
def serve(
    options: ModelOptions,
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other computers in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 8000,
    gallery: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER of a gallery; may be repeated.", show_default=False)
    ] = None,
    writable: Annotated[bool, typer.Option("--writable", help="Let clients add and remove people.")] = False,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help=f"File with the key that clients must send; or set {KEY_VARIABLE}.", show_default=False),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Folder of the web page (whyface page) to serve at /.", show_default=False)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Requests computed at the same time; one a core.", show_default=False)
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="Requests that may wait; beyond, 503 with Retry-After.")] = 16,
    max_megabytes: Annotated[float, typer.Option(min=0.01, help="Refuse larger requests.")] = 20.0,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="Refuse larger photos.")] = 25.0,
    max_faces: Annotated[int, typer.Option(min=1, help="Refuse photos with more faces.")] = 100,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for an answer.")] = 30.0,
) -> None:
    """Answer over HTTP: /verify, /explain, /represent, /detect, /identify, /gallery/...; stop it with Ctrl-C.

    No photo is stored or logged, and nothing is fetched.
    """
    try:
        from whyface.service.app import create_app  # noqa: PLC0415 - an extra
        from whyface.service.server import make_server  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(f"serve needs {error.name}: pip install 'whyface[serve]'") from error
    from whyface.commands.verify import import_matplotlib  # noqa: PLC0415
    from whyface.gallery.opening import gallery_key, open_for_search  # noqa: PLC0415
    from whyface.onnx_runtime import usable_cores  # noqa: PLC0415
    from whyface.service.answers import Answers, bounded_detector  # noqa: PLC0415
    from whyface.service.limits import Limits  # noqa: PLC0415

    limits = Limits(
        body=int(max_megabytes * 2**20),
        pixels=int(max_megapixels * 1e6),
        faces=max_faces,
        workers=workers or usable_cores(),
        queue=queue,
        reading=queue + (workers or usable_cores()) + 32,
        seconds=seconds,
    )
    if page is not None and not (page / "index.html").is_file():
        raise InputError(f"{page}: no index.html here; whyface page makes such a folder")
    key = _key(api_key_file)
    import_matplotlib()
    folders = dict(_named(text) for text in gallery or ())
    verifier = options.verifier(threads=options.threads or 1)
    verifier.detector = bounded_detector(limits)
    opened = {
        name: open_for_search(folder, writable=writable, threads=1, key=gallery_key(folder, None))
        for name, folder in folders.items()
    }
    try:
        app = create_app(Answers(verifier, limits, opened), key=key, writable=writable, page=page)
        typer.echo(f"http://{host}:{port}  {'with a key' if key else 'without a key'}; Ctrl-C stops it")
        make_server(app, limits, host=host, port=port).run()
    finally:
        for one in opened.values():
            one.close()


def _named(text: str) -> tuple[str, Path]:
    name, sign, folder = text.partition("=")
    if not sign or not name or not folder or "/" in name:
        raise InputError(f"--gallery takes NAME=FOLDER, got {text!r}")
    return name, Path(folder)


def _key(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(KEY_VARIABLE) or None
    try:
        key = read_guarded(file, most=2**16).decode("utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: the key cannot be read; give a text file") from error
    if len(key) < 16:
        raise InputError(f"{file}: a key needs 16 characters or more; Python's secrets.token_urlsafe() makes one")
    return key
