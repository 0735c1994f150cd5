"""``whyface mask``: covered copies of aligned pictures on disk, under free-form masks, sunglasses or a scarf."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyface.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence


class AccessoryKind(StrEnum):
    """What covers the face."""

    SUNGLASSES = "sunglasses"
    SCARF = "scarf"


class Fill(StrEnum):
    """What is seen in the covered part."""

    BLACK = "black"
    MEAN = "mean"
    NOISE = "noise"


def mask(
    pictures: Annotated[
        Path, typer.Argument(help="Folder or tar file of aligned 112 x 112 pictures.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="New folder.", show_default=False)],
    coverage: Annotated[
        float | None, typer.Option(help="Free-form masks over this share of the face, e.g. 0.3.", show_default=False)
    ] = None,
    accessory: Annotated[
        AccessoryKind | None, typer.Option(help="Cover what sunglasses or a scarf cover.", show_default=False)
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help="Only the pictures in this list, one name a line; by default all.", show_default=False),
    ] = None,
    fill: Annotated[Fill, typer.Option(help="Black, the picture's mean colour, or noise.")] = Fill.BLACK,
    jpeg: Annotated[bool, typer.Option("--jpeg", help="Store JPEG, as published; PNG keeps every pixel.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of masks and noise.")] = 0,
) -> None:
    """Write covered copies of pictures into a new folder, and masks.csv, which says what covers each of them."""
    from whyface.data.covering import write_covered  # noqa: PLC0415 - start fast
    from whyface.data.protocols import read_lines  # noqa: PLC0415
    from whyface.faces.pictures import open_pictures  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    with open_pictures(pictures) as source:
        every: Sequence[str] = source.names()
        chosen = every
        if names is not None:
            wanted = [text for _, text in read_lines(names)]
            missing = set(wanted) - set(every)
            if missing:
                raise DataError(f"{names}: {len(missing)} names are not in {pictures}, first {min(missing)}")
            chosen = sorted(set(wanted))
        if not chosen:
            raise DataError(f"{names or pictures}: no pictures")
        with progress_bar("covering") as progress:
            write_covered(
                out,
                source,
                chosen,
                coverage=coverage,
                accessory=None if accessory is None else accessory.value,
                fill=fill.value,
                seed=seed,
                jpeg=jpeg,
                progress=progress,
            )
    typer.echo(f"{out}: {len(chosen)} pictures and masks.csv")
