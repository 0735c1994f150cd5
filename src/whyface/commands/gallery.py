"""``whyface gallery``: enroll people, search among them, list and remove them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface.commands.gallery_files import Database, copy, index, info, remove, repair
from whyface.commands.option_blocks import EngineOptions, GalleryOptions, NetworkOptions, takes_options
from whyface.commands.options import (
    AcceptPoor,
    AsJson,
    Attention,
    GalleryKey,
    GalleryPath,
    count_of,
)
from whyface.commands.verify import UNDECIDED
from whyface.errors import DataError, InputError

if TYPE_CHECKING:
    from whyface.faces.face import Face
    from whyface.gallery.enroll import Doubt, EnrolReport
    from whyface.gallery.feature_file import Storage
    from whyface.gallery.gallery import Gallery
    from whyface.gallery.search import Candidate

app = typer.Typer(help="Enroll people in a gallery on disk and search among them.", no_args_is_help=True)

Aligned = Annotated[bool, typer.Option("--aligned", help="The pictures are aligned 112 x 112 crops.")]


class Bits(StrEnum):
    """How many bits a number of a feature has on disk."""

    EIGHT = "8"
    SIXTEEN = "16"
    THIRTY_TWO = "32"

    def storage(self) -> Storage:
        """Return the name of this storage."""
        names: dict[Bits, Storage] = {Bits.EIGHT: "int8", Bits.SIXTEEN: "int16", Bits.THIRTY_TWO: "float32"}
        return names[self]


FaceIndex = Annotated[int, typer.Option(min=0, help="Index of the face in a photo; 0 is the largest.")]

KeepPoor = Annotated[bool, typer.Option("--accept-poor", help="Add also faces that are too poor to be recognised by.")]


@app.command()
@takes_options
def enroll(
    gallery: GalleryPath,
    folder: Annotated[Path, typer.Argument(help="Folder or tar file PERSON/PICTURE.", show_default=False)],
    options: NetworkOptions,
    workers: EngineOptions,
    aligned: Aligned = False,
    exact: Annotated[bool, typer.Option("--float32", help="The same as --bits 32.")] = False,
    bits: Annotated[
        Bits | None,
        typer.Option(help="Bits of a stored number, 16 by default; 32 stores features unrounded.", show_default=False),
    ] = None,
    doubts: Annotated[bool, typer.Option(help="Search for people enrolled under two names.")] = True,
    accept_poor: KeepPoor = False,
    as_json: AsJson = False,
    key: GalleryKey = None,
) -> None:
    """Enroll everybody in a folder; create the gallery if it does not exist. Run it again to add new pictures.

    With a key, a new gallery is encrypted on disk (whyface[encrypt]).
    """
    from whyface.faces.pictures import open_pictures  # noqa: PLC0415 - start fast
    from whyface.files.integrity import dropped_if_empty  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415
    from whyface.gallery.enroll import enroll_folder, people_of  # noqa: PLC0415
    from whyface.gallery.opening import gallery_key, open_or_create  # noqa: PLC0415

    if not folder.exists():
        raise InputError(f"{folder}: no such folder or tar file")
    if exact and bits not in (None, Bits.THIRTY_TWO):
        raise InputError(f"--float32 stores 32 bits and --bits {bits} stores {bits}; leave one of them out")
    # Do not create a gallery if there is nobody to enroll, or with options that do not go together.
    engine = workers.open()
    with open_pictures(folder) as photos:
        people_of(photos, folder)
    new = not gallery.exists()
    opened = open_or_create(
        gallery,
        options.model,
        storage="float32" if exact else (bits or Bits.SIXTEEN).storage(),
        directory=options.model_dir,
        grid=options.grid,
        output=options.output,
        preprocessing=options.preprocessing,
        unchecked=options.unchecked,
        providers=options.device,
        threads=options.threads,
        key=gallery_key(gallery, key),
    )
    # A gallery without faces would still fix the model and the bits.
    with (
        dropped_if_empty(gallery, lambda: not len(opened.records), new=new),
        opened,
        progress_bar("enrolling pictures") as progress,
    ):
        report = enroll_folder(
            opened,
            folder,
            aligned=aligned,
            find_doubts=doubts,
            accept_poor=accept_poor,
            threads=options.threads,
            engine=engine,
            opener=options.opener(threads=options.threads or 1),
            progress=progress,
        )
        faces, people = len(opened), len(opened.names())
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
        return
    print_report(report)
    typer.echo(f"{gallery}: {count_of(faces, 'face')} of {count_of(people, 'person')}")
    if people == 1:
        typer.echo("There is only one person: a search can say how similar a face is, but not who else it could be.")


@app.command()
@takes_options
def add(
    gallery: GalleryPath,
    name: Annotated[str, typer.Argument(help="The person.", show_default=False)],
    photos: Annotated[list[Path], typer.Argument(help="Photos of that person.", show_default=False)],
    options: GalleryOptions,
    aligned: Aligned = False,
    face: FaceIndex = 0,
    accept_poor: KeepPoor = False,
) -> None:
    """Add photos of one person to an existing gallery, and warn about similar people with another name."""
    from whyface.explain.trust import doubt_about_face  # noqa: PLC0415 - start fast
    from whyface.faces.face import describe_choice, stack_faces  # noqa: PLC0415
    from whyface.faces.load import load_face  # noqa: PLC0415
    from whyface.gallery.enroll import EnrolReport, enroll_faces  # noqa: PLC0415

    faces = [load_face(photo, aligned=aligned, index=face, threads=options.threads) for photo in photos]
    poor = {} if accept_poor else {one.source: fault for one in faces if (fault := doubt_about_face(one)) is not None}
    good = [one for one in faces if one.source not in poor]
    if not good:
        source, reason = next(iter(poor.items()))
        raise DataError(f"{source}: {reason}; give better photos, or --accept-poor to add it all the same")
    batch = stack_faces(good)
    with options.open(gallery, writable=True) as opened:
        report = EnrolReport(refused=poor)
        enroll_faces(opened, list(batch), [name] * len(batch), [one.source for one in good], report)
        typer.echo(f"{name}: added {count_of(report.added, 'face')}, {count_of(opened.names()[name], 'face')} in all")
        for line in filter(None, map(describe_choice, faces)):
            typer.echo(line)
        _print_skipped(report)
        _print_refused(report)
        _print_doubts(report.doubts)


@app.command()
@takes_options
def search(
    gallery: GalleryPath,
    photo: Annotated[Path, typer.Argument(help="The photo to look for.", show_default=False)],
    options: GalleryOptions,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of candidates to show.")] = 5,
    attention: Annotated[
        Attention | None, typer.Option(help="u, p or l; by default the best available.", show_default=False)
    ] = None,
    faces: Annotated[bool, typer.Option("--faces", help="Show every face instead of the best of each person.")] = False,
    shortlist: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Compare only this many faces, chosen by an index (whyface gallery index); start with 100 or more.",
            show_default=False,
        ),
    ] = None,
    database: Database = None,
    aligned: Aligned = False,
    face: FaceIndex = 0,
    accept_poor: AcceptPoor = False,
    as_json: AsJson = False,
) -> None:
    """Find the most similar people, each with the reasons; exact, unless --shortlist is given.

    Exit status 3 if the face is too poor to be looked for.
    """
    from whyface.explain.trust import doubt_about_face  # noqa: PLC0415 - start fast
    from whyface.faces.face import describe_choice, stack_faces  # noqa: PLC0415
    from whyface.faces.load import load_face  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.gallery.search import with_cells  # noqa: PLC0415
    from whyface.xcos.open_model import attention_kind  # noqa: PLC0415

    probe = load_face(photo, aligned=aligned, index=face, threads=options.threads)
    doubt = doubt_about_face(probe)
    if doubt is not None and not accept_poor:
        document = {"photo": probe.source, "verdict": "undecided", "doubt": doubt, "candidates": []}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False) if as_json else f"UNDECIDED: {doubt}")
        raise typer.Exit(UNDECIDED)
    if database is not None and shortlist is None:
        raise InputError("--database gives a shortlist; say how many faces to compare exactly, such as --shortlist 100")
    batch = stack_faces([probe])
    with options.open(gallery) as opened:
        kind = None if attention is None else attention_kind(attention.value)
        if shortlist is None:
            features = opened.features(batch)
            with progress_bar("comparing faces") as progress:
                (found,) = opened.search(
                    features, k, attention=kind, threads=options.threads, one_per_person=not faces, progress=progress
                )
        else:
            from whyface.gallery.shortlist import FaceIndex as Index  # noqa: PLC0415 - start fast
            from whyface.gallery.shortlist import open_shortlist, search_shortlist  # noqa: PLC0415
            from whyface.gallery.vector_table import open_vector_table  # noqa: PLC0415

            chosen: Index = open_shortlist(opened) if database is None else open_vector_table(opened, database)
            (found,) = search_shortlist(
                opened,
                chosen,
                opened.features(batch),
                k,
                size=shortlist,
                attention=kind,
                threads=options.threads,
                one_per_person=not faces,
            )
        found = with_cells(opened, batch[0], found)
        if as_json:
            typer.echo(json.dumps(_search_document(opened, probe, doubt, found), indent=2, ensure_ascii=False))
        else:
            if (line := describe_choice(probe)) is not None:
                typer.echo(line)
            _print_candidates(found)
            if doubt is not None:
                typer.echo(f"Accepted as asked, although {doubt}: poor faces resemble anybody's")
            if opened.damaged:
                typer.echo(
                    f"Left out: {count_of(len(opened.damaged), 'damaged record')} (whyface gallery info --check)"
                )


for command in (index, remove, repair, info, copy):
    app.command()(command)


def print_report(report: EnrolReport) -> None:
    """Print what an enrolment did."""
    from whyface.files.photo_folder import describe_passed_over  # noqa: PLC0415 - start fast

    typer.echo(f"added {count_of(report.added, 'face')}")
    _print_skipped(report)
    for name, reason in report.failures.items():
        typer.echo(f"not used: {name}: {reason}")
    _print_refused(report)
    if report.passed_over:
        typer.echo(describe_passed_over(report.passed_over))
    for name, count in report.several_faces.items():
        typer.echo(f"{name}: {count} faces found, used the largest")
    for person in report.without_photo:
        typer.echo(f"no usable photo: {person}")
    _print_doubts(report.doubts)


def _print_skipped(report: EnrolReport) -> None:
    if report.skipped:
        typer.echo(f"{count_of(len(report.skipped), 'picture')} skipped: already in the gallery")


def _print_refused(report: EnrolReport) -> None:
    for name, reason in report.refused.items():
        typer.echo(f"refused: {name}: {reason}")
    if report.refused:
        typer.echo("Such faces look like anybody's; --accept-poor adds them all the same")


def _print_doubts(doubts: Sequence[Doubt]) -> None:
    for doubt in doubts:
        typer.echo(doubt.describe())


def _print_candidates(found: Sequence[Candidate]) -> None:
    width = max((len(candidate.name) for candidate in found), default=0)
    for place, candidate in enumerate(found, 1):
        typer.echo(f"{place:3d}. {candidate.name:{width}s}  {candidate.score:7.4f}  {candidate.source}")


def _search_document(gallery: Gallery, probe: Face, doubt: str | None, found: Sequence[Candidate]) -> dict[str, Any]:
    from whyface.explain.verdict import software_versions  # noqa: PLC0415 - start fast

    return {
        "photo": probe.source,
        "doubt": doubt,
        "face": {"index": probe.index, "count": probe.count},
        "gallery": {"faces": len(gallery), "people": len(gallery.names()), "storage": gallery.layout.storage},
        "model": gallery.layout.model,
        "sha256": dict(gallery.layout.sha256),
        "candidates": [candidate.to_dict() for candidate in found],
        "damaged": sorted(gallery.damaged),
        "versions": software_versions(),
    }
