"""``whyface gallery index``: what names the faces that a search with ``--shortlist`` compares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from whyface.commands.options import Threads

Database = Annotated[
    Path | None,
    typer.Option(help="Folder of a LanceDB vector database instead of the gallery's own index.", show_default=False),
]


def index(
    gallery: Annotated[Path, typer.Argument(help="Folder of the gallery.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Seed of the sample to which the index is fitted.")] = 0,
    database: Database = None,
    threads: Threads = None,
) -> None:
    """Build the index for searches with --shortlist; run it again after adding many faces."""
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.gallery.gallery import Gallery  # noqa: PLC0415

    if database is not None:
        from whyface.gallery.vector_table import write_vector_table  # noqa: PLC0415 - an extra

        with Gallery.open(gallery) as opened, progress_bar("writing vectors") as progress:
            table = write_vector_table(opened, database, progress=progress)
        typer.echo(f"{database}: wrote {_faces(table.count)} of {gallery}")
        return
    from whyface.gallery.shortlist import build_shortlist, save_shortlist  # noqa: PLC0415

    with Gallery.open(gallery) as opened, progress_bar("indexing faces") as progress:
        made = build_shortlist(opened, seed=seed, threads=threads, progress=progress)
        save_shortlist(made, opened)
    typer.echo(f"{gallery}: indexed {_faces(made.count)}")


def _faces(count: int) -> str:
    return f"{count} face" if count == 1 else f"{count} faces"
