"""``whyface page``: write the page that compares photos in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def page(
    out: Annotated[Path, typer.Argument(help="Folder to write; it is made, or must be empty.", show_default=False)],
    runtime: Annotated[
        Path,
        typer.Option(
            help="ONNX Runtime Web: the archive of npm pack onnxruntime-web@1.30.0, or a folder with its files.",
            show_default=False,
        ),
    ],
    model: Annotated[str, typer.Option(help="A known xCos model.")] = "xcos-large",
) -> None:
    """Write a page that compares two photos in the browser; any web server can offer it, also without a network.

    No photo leaves the computer of the person who looks at the page.
    """
    from whyface.page.site import write_site  # noqa: PLC0415 - start fast

    files = write_site(out, runtime, model=model)
    size = sum(path.stat().st_size for path in files) / 1e6
    typer.echo(f"{out}: {len(files)} files, {size:.1f} MB; try it: python -m http.server -d {out}")
