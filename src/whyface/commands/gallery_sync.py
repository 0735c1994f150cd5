"""``whyface gallery sync``: bring a gallery up to date with its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from whyface.commands.gallery import Aligned, KeepPoor, print_report
from whyface.commands.option_blocks import GalleryOptions, takes_options
from whyface.commands.options import AsJson, GalleryPath, count_of


@takes_options
def sync(
    gallery: GalleryPath,
    folder: Annotated[Path, typer.Argument(help="Folder or tar file PERSON/PICTURE.", show_default=False)],
    options: GalleryOptions,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the faces of photos that are gone or were replaced.")
    ] = False,
    aligned: Aligned = False,
    accept_poor: KeepPoor = False,
    as_json: AsJson = False,
) -> None:
    """Enroll what is new in the folder, and list photos that were replaced, moved or deleted since."""
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.gallery.sync import sync_folder  # noqa: PLC0415

    with options.open(gallery, writable=True) as opened, progress_bar("comparing pictures") as progress:
        report = sync_folder(
            opened,
            folder,
            aligned=aligned,
            remove=remove,
            accept_poor=accept_poor,
            threads=options.threads,
            progress=progress,
        )
        faces, people = len(opened), len(opened.names())
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    print_report(report.enrolled)
    for old, new in report.moved.items():
        typer.echo(f"moved: {old}, now {new}")
    for what, found in (("replaced", report.changed), ("gone", report.gone)):
        for source, record in found.items():
            typer.echo(f"{what}: {source}, record {record}")
    if report.removed:
        typer.echo(f"removed {count_of(len(report.removed), 'face')}")
    elif report.changed or report.gone:
        typer.echo("Faces of photos that are gone or were replaced are still there; --remove removes them")
    typer.echo(f"{gallery}: {count_of(faces, 'face')} of {count_of(people, 'person')}")
