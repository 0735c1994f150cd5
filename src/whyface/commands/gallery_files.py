"""``whyface gallery index``, ``remove``, ``repair``, ``info`` and ``copy``: a gallery's files, without its model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from whyface.commands.options import AsJson, GalleryKey, GalleryPath, Threads, count_of
from whyface.errors import InputError

if TYPE_CHECKING:
    from whyface.gallery.gallery import Gallery

UNREADABLE: Final = "(unreadable)"  # a name or a source that is damaged

Database = Annotated[
    Path | None,
    typer.Option(help="Folder of a LanceDB vector database instead of the gallery's own index.", show_default=False),
]


def index(
    gallery: GalleryPath,
    seed: Annotated[int, typer.Option(help="Seed of the sample to which the index is fitted.")] = 0,
    database: Database = None,
    threads: Threads = None,
    key: GalleryKey = None,
) -> None:
    """Build the index for searches with --shortlist; run it again after adding many faces, or removing any.

    An encrypted gallery has none, for the index would hold its features.
    """
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.gallery.gallery import Gallery  # noqa: PLC0415
    from whyface.gallery.opening import gallery_key  # noqa: PLC0415

    if database is not None:
        from whyface.gallery.vector_table import write_vector_table  # noqa: PLC0415 - an extra

        with (
            Gallery.open(gallery, key=gallery_key(gallery, key)) as opened,
            progress_bar("writing vectors") as progress,
        ):
            table = write_vector_table(opened, database, progress=progress)
        typer.echo(f"{database}: wrote {count_of(table.count, 'face')} of {gallery}")
        return
    from whyface.gallery.shortlist import build_shortlist, save_shortlist  # noqa: PLC0415

    with Gallery.open(gallery, key=gallery_key(gallery, key)) as opened, progress_bar("indexing faces") as progress:
        made = build_shortlist(opened, seed=seed, threads=threads, progress=progress)
        save_shortlist(made, opened)
    typer.echo(f"{gallery}: indexed {count_of(made.count, 'face')}")


def remove(
    gallery: GalleryPath,
    name: Annotated[str | None, typer.Argument(help="The person.", show_default=False)] = None,
    record: Annotated[
        int | None, typer.Option(help="Remove only the face with this record number.", show_default=False)
    ] = None,
    key: GalleryKey = None,
) -> None:
    """Remove a person, or one face, and erase them from the gallery's files.

    The index for --shortlist and the uncertainty of identify, which were computed from all faces, go as well.
    """
    from whyface.gallery.gallery import Gallery  # noqa: PLC0415 - start fast
    from whyface.gallery.opening import gallery_key  # noqa: PLC0415

    who = record if name is None else name
    if who is None or (name is not None and record is not None):
        raise InputError("give either a name or --record NUMBER to remove")
    with Gallery.open(gallery, writable=True, key=gallery_key(gallery, key)) as opened:
        rows = opened.remove(who)
        typer.echo(f"removed {count_of(len(rows), 'face')} of {rows[0].name}; {count_of(len(opened), 'face')} left")


def repair(gallery: GalleryPath, key: GalleryKey = None) -> None:
    """Rewrite the table of names, with checksums. Faces with damaged names or features are dropped and listed."""
    from whyface.gallery.name_rebuild import repair_gallery  # noqa: PLC0415 - start fast
    from whyface.gallery.opening import gallery_key  # noqa: PLC0415

    dropped = repair_gallery(gallery, key=gallery_key(gallery, key))
    for row in dropped:
        typer.echo(f"dropped: record {row.record}, {row.name or UNREADABLE}, {row.source or UNREADABLE}")
    typer.echo(f"{gallery}: repaired, {count_of(len(dropped), 'face')} dropped")


def info(
    gallery: GalleryPath,
    check: Annotated[
        bool, typer.Option("--check", help="Read all records and names and verify their checksums.")
    ] = False,
    people: Annotated[bool, typer.Option("--people", help="List all people.")] = False,
    as_json: AsJson = False,
    key: GalleryKey = None,
) -> None:
    """Show the contents, model and integrity of a gallery. Exit status 1 if something is damaged."""
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.gallery.gallery import Gallery  # noqa: PLC0415
    from whyface.gallery.opening import gallery_key  # noqa: PLC0415

    with Gallery.open(gallery, key=gallery_key(gallery, key)) as opened, progress_bar("checking records") as progress:
        names = opened.names()
        damaged = sorted(opened.check(progress) if check else opened.damaged)
        layout = opened.layout
        document: dict[str, Any] = {
            "faces": len(opened),
            "people": len(names),
            "removed": len(opened.removed),
            "damaged": [_damaged(opened, number) for number in damaged],
            "names_damage": list(opened.names_damage),
            "names_have_checksums": opened.names_table.checked,
            "checked": check,
            "model": layout.model,
            "sha256": dict(layout.sha256),
            "kind": layout.kind,
            "shape": list(layout.shape),
            "storage": layout.storage,
            "encrypted": bool(layout.seal),
            "bytes_per_face": layout.record.itemsize,
        }
    if as_json:
        typer.echo(json.dumps({**document, "names": names}, indent=2, ensure_ascii=False))
    else:
        _print_info(document, gallery)
        for name, count in names.items() if people else ():
            typer.echo(f"{count:6d}  {name}")
    raise typer.Exit(1 if damaged or document["names_damage"] else 0)


def copy(
    gallery: GalleryPath,
    new: Annotated[Path, typer.Argument(help="Folder of the new gallery; it must not exist.", show_default=False)],
    key: GalleryKey = None,
    new_key: Annotated[
        Path | None, typer.Option(help="Encrypt the copy with the key in this file.", show_default=False)
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Leave the copy unencrypted.")] = False,
) -> None:
    """Copy a gallery without the gaps of removed faces, with the same key unless told otherwise.

    So a gallery is made smaller, encrypted, decrypted, or given another key. Faces get new numbers.
    """
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.gallery.copying import copy_gallery  # noqa: PLC0415
    from whyface.gallery.encryption import read_key  # noqa: PLC0415
    from whyface.gallery.gallery import Gallery  # noqa: PLC0415
    from whyface.gallery.opening import gallery_key  # noqa: PLC0415

    if plain and new_key is not None:
        raise InputError("give either --plain or --new-key")
    old = gallery_key(gallery, key)
    other = None if plain else old if new_key is None else read_key(new_key)
    with Gallery.open(gallery, key=old) as opened, progress_bar("copying faces") as progress:
        done = copy_gallery(opened, new, key=other, progress=progress)
        damaged = len(opened.damaged)
    typer.echo(f"{new}: copied {count_of(done, 'face')}{'' if other is None else ', encrypted'}")
    if damaged:
        typer.echo(f"left out: {count_of(damaged, 'damaged face')} (whyface gallery info --check)")


def _print_info(document: Mapping[str, Any], gallery: Path) -> None:
    people = count_of(document["people"], "person")
    typer.echo(f"{count_of(document['faces'], 'face')} of {people}, {document['removed']} removed")
    typer.echo(f"model {document['model']}, {document['kind']} {tuple(document['shape'])}")
    typer.echo(f"stored as {document['storage']}, {document['bytes_per_face']} bytes per face")
    if document["encrypted"]:
        typer.echo("encrypted on disk (AES-256-GCM)")
    for damaged in document["damaged"]:
        name, source = (damaged[key] or UNREADABLE for key in ("name", "source"))
        typer.echo(f"damaged: record {damaged['record']}, {name}, {source}; enroll it again")
    for problem in document["names_damage"]:
        typer.echo(f"damaged: the table of names ({problem}); run: whyface gallery repair {gallery}")
    if not document["names_have_checksums"]:
        typer.echo(
            "names have no checksums: the gallery is of an earlier release. They get them when faces are added or"
        )
        typer.echo(f"removed, or with: whyface gallery repair {gallery}")
    elif document["checked"] and not document["damaged"] and not document["names_damage"]:
        typer.echo("all records are intact")


def _damaged(gallery: Gallery, number: int) -> dict[str, Any]:
    row = gallery.names_table.faces([number]).get(number)
    return {"record": number, "name": row.name if row else None, "source": row.source if row else None}
