"""``whyface cluster`` and ``whyface album``: group the faces of a folder into people, and correct it by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyface.commands.option_blocks import EngineOptions, takes_options
from whyface.commands.options import AcceptPoor, Aligned, Device, ModelFolder, Threads, count_of
from whyface.errors import InputError, OutputError

if TYPE_CHECKING:
    from whyface.albums.album import Album
    from whyface.gallery.gallery import Gallery
    from whyface.xcos.open_model import OpenedModel

app = typer.Typer(help="Correct an album by hand: what is said here is kept by every later run.", no_args_is_help=True)

AlbumPath = Annotated[Path, typer.Argument(help="Folder of the album.", show_default=False)]
Who = Annotated[str, typer.Argument(help="A person's name or number, or a face, PHOTO#INDEX.", show_default=False)]


@takes_options
def cluster(
    folder: Annotated[Path, typer.Argument(help="Folder of photos, at any depth.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Folder of the album; an old one is continued.", show_default=False)],
    workers: EngineOptions,
    model: Annotated[str, typer.Option(help="Name of a known model.")] = "xcos-large",
    model_dir: ModelFolder = None,
    threshold: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Score above which a pair ties two faces.", show_default=False)
    ] = None,
    least_mean: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Mean score that two groups need.", show_default=False)
    ] = None,
    parquet: Annotated[bool, typer.Option("--parquet", help="Also write faces.parquet.")] = False,
    folders: Annotated[
        Path | None, typer.Option(help="Write a folder of photos for each person here.", show_default=False)
    ] = None,
    links: Annotated[bool, typer.Option("--links", help="With --folders: links instead of copies.")] = False,
    gallery: Annotated[
        Path | None, typer.Option(help="Write a gallery of the people here, for identify.", show_default=False)
    ] = None,
    shortlist: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Compare each face with this many others that an index names (extra ann), not with all: for albums of "
            "more than about 50,000 faces.",
            show_default=False,
        ),
    ] = None,
    aligned: Aligned = False,
    accept_poor: AcceptPoor = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Group every face of every photo in a folder into people, each with the reason: an album with a page and a table.

    New photos join in when it is run again, and what was changed by hand (whyface album) stays.
    """
    from whyface.albums.album import STATE, open_album  # noqa: PLC0415 - start fast
    from whyface.albums.filling import (  # noqa: PLC0415
        album_attention,
        open_features,
        photos_of,
        start_album,
        update_album,
    )
    from whyface.albums.outputs import write_folders, write_gallery, write_page, write_table  # noqa: PLC0415
    from whyface.files.integrity import dropped_if_empty  # noqa: PLC0415
    from whyface.files.photo_folder import describe_passed_over  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415
    from whyface.models.catalogue import model_entry  # noqa: PLC0415

    # Start no album if there is nobody to put into it, or with options that do not go together.
    listed = photos_of(folder)
    engine = workers.open()
    for target in (folders, gallery):
        if target is not None and target.exists():
            raise OutputError(f"{target}: already exists; choose another name")
    for target in (out, folders):
        # Crops and copies would be photos of the next run.
        if target is not None and target.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{target}: lies in the folder of the photos, {folder}; choose a folder outside")
    if gallery is not None and album_attention(model_entry(model)) is not None:
        raise InputError(f"--gallery: an album of {model} does not hold what that takes; enroll what --folders writes")
    network = _opener(model, model_dir, threads, device)().model
    new = not (out / STATE).is_file()
    album = start_album(out, model_entry(model)) if new else open_album(out)
    if album.model != model:
        raise InputError(f"{out}: this album was made with {album.model}; continue it with --model {album.model}")
    album.threshold = album.threshold if threshold is None else threshold
    album.least_mean = album.least_mean if least_mean is None else least_mean
    ours: list[Gallery] = []
    with (
        # An album that another process has begun in the meantime is not ours to drop.
        dropped_if_empty(album.path, lambda: bool(ours) and not album.faces, new=new),
        open_features(album.path, network) as features,
        progress_bar("reading photos") as reading,
        progress_bar("comparing faces") as comparing,
    ):
        ours.append(features)
        update_album(
            album,
            features,
            folder,
            aligned=aligned,
            accept_poor=accept_poor,
            shortlist=shortlist,
            threads=threads,
            engine=engine,
            opener=_opener(model, model_dir, threads or 1, device),
            reading=reading,
            comparing=comparing,
        )
        write_table(album)
        if parquet:
            write_table(album, parquet=True)
        page = write_page(album, folder)
        if folders is not None:
            write_folders(album, folder, folders, links=links)
        if gallery is not None:
            write_gallery(album, features, network, gallery)
    people = album.people()
    several = sum(len(faces) > 1 for faces in people.values())
    report = album.report
    typer.echo(
        f"people with several faces: {several}; faces alone: {len(people) - several}; "
        f"undecided: {report['undecided']}; of {count_of(len(album.faces), 'face')} in "
        f"{count_of(report['photos'], 'photo')} "
        f"({report['new']} read, {report['gone']} gone)"
    )
    for name, failure in sorted(album.failures.items()):
        typer.echo(f"not used: {name}: {failure}", err=True)
    if listed.passed_over:
        typer.echo(describe_passed_over(listed.passed_over), err=True)
    typer.echo(f"{page}")


@app.command()
def merge(album: AlbumPath, one: Who, other: Who) -> None:
    """Join two people; the result has the first one's name. Run whyface cluster again to see the groups."""
    _edit(album, lambda opened: opened.merge(one, other))


@app.command()
def split(
    album: AlbumPath,
    faces: Annotated[list[str], typer.Argument(help="Faces of one person, PHOTO#INDEX.", show_default=False)],
) -> None:
    """Put faces apart from the rest of their person. Run whyface cluster again to see the groups."""
    _edit(album, lambda opened: opened.split(faces))


@app.command()
def rename(
    album: AlbumPath, who: Who, name: Annotated[str, typer.Argument(help="The new name.", show_default=False)]
) -> None:
    """Name a person. Groups of different names are never joined by whyface itself."""
    _edit(album, lambda opened: opened.rename(who, name))


@app.command()
def why(
    album: AlbumPath,
    who: Who,
    as_json: Annotated[bool, typer.Option("--json", help="Print S and W of each pair, too.")] = False,
    model_dir: ModelFolder = None,
    device: Device = "cpu",
) -> None:
    """Say why faces are with their person, or alone: the pair that tied them or came nearest, and its score."""
    from whyface.albums.album import open_album  # noqa: PLC0415 - start fast
    from whyface.albums.filling import open_features  # noqa: PLC0415
    from whyface.albums.outputs import explain_face, reason  # noqa: PLC0415

    opened = open_album(album)
    faces = opened.find(who)
    if not as_json:
        for face in faces:
            typer.echo(f"{face.key}: {reason(opened, face)}")
        return
    with open_features(opened.path, _opener(opened.model, model_dir, None, device)().model) as features:
        typer.echo(json.dumps([explain_face(opened, features, face) for face in faces], ensure_ascii=False))


def _edit(path: Path, change: Callable[[Album], None]) -> None:
    from whyface.albums.album import open_album  # noqa: PLC0415 - start fast

    album = open_album(path)
    change(album)
    album.save()
    typer.echo(f"{path}: noted; whyface cluster FOLDER --out {path} groups again")


def _opener(model: str, directory: Path | None, threads: int | None, device: str) -> Callable[[], OpenedModel]:
    from whyface.albums.filling import album_attention  # noqa: PLC0415 - start fast
    from whyface.models.catalogue import model_entry  # noqa: PLC0415
    from whyface.xcos.open_model import open_model  # noqa: PLC0415

    attention = album_attention(model_entry(model))
    return partial(open_model, model, attention=attention, directory=directory, threads=threads, providers=device)
