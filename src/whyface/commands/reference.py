"""``--reference``: a folder of other people's faces, for methods that need to know what all faces have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface.errors import InputError

if TYPE_CHECKING:
    from whyface.models.embedder import Embedder

METHOD = "places"
"""The method that it is for."""

Reference = Annotated[
    Path | None,
    typer.Option(
        help="Method places with an own network: folder of faces of other people, two dozen or more.",
        show_default=False,
    ),
]


def reference_options(
    folder: Path | None,
    embedder: Embedder | None,
    methods: Collection[str] | None,
    *,
    aligned: bool,
    besides: Collection[Path] = (),
    threads: int | None = None,
) -> Mapping[str, Mapping[str, Any]]:
    """Make options from the faces in a folder, by the method that they are for; nothing where none was given.

    Parameters
    ----------
    folder
        What the user gave.
    embedder
        The network; None if it is an xCos model, which the method refuses by itself.
    methods
        Methods asked for; None for all that fit.
    aligned, besides, threads
        See :func:`~whyface.explain.other_photos.other_photos`.

    Raises
    ------
    InputError
        If the method is not among those asked for, or the folder holds too few faces.
    """
    from whyface.evaluate.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.explain.mean_map import mean_map  # noqa: PLC0415
    from whyface.explain.other_photos import other_photos  # noqa: PLC0415
    from whyface.faces.face import stack_faces  # noqa: PLC0415

    if folder is None:
        return {}
    if methods is not None and METHOD not in methods:
        raise InputError(f"--reference is for method {METHOD!r}; add it to --method, or leave --reference out")
    if embedder is None:
        return {}
    with progress_bar("reading faces") as progress:
        faces, left_out = other_photos(folder, besides=besides, aligned=aligned, threads=threads, progress=progress)
    for reason in left_out:
        typer.echo(f"Left out of the reference: {reason}", err=True)
    with progress_bar("mean of faces") as progress:
        return {METHOD: {"reference": mean_map(embedder, stack_faces(faces), progress=progress)}}
