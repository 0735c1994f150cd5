"""``whyface detect``, ``represent``, ``analyse`` and ``find``: what is in photos, without a gallery."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface.commands.option_blocks import ModelOptions, NetworkOptions, takes_options
from whyface.commands.options import AcceptPoor, Aligned, Device, Threads
from whyface.commands.verify import UNDECIDED, check_writable, print_choices, verdict_line
from whyface.errors import FaceError, InputError, PhotoError

if TYPE_CHECKING:
    from whyface.faces.face import Face

SCHEMA = "whyface/faces/1"
_BATCH = 32

Photos = Annotated[list[Path], typer.Argument(help="Photos, or folders of photos.", show_default=False)]
Out = Annotated[Path | None, typer.Option(help="Write the JSON here instead of printing it.", show_default=False)]


def detect(photos: Photos, out: Out = None, aligned: Aligned = False, threads: Threads = None) -> None:
    """Find all faces in photos: box, landmarks, quality, and why a face could not support a verdict; as JSON.

    Exit status: 0 every photo was read, 1 some were not, 2 bad input.
    """
    from whyface.words.analysis import described_face  # noqa: PLC0415 - start fast

    _describe(photos, lambda faces: [described_face(face) for face in faces], out, {}, aligned=aligned, threads=threads)


def analyse(
    photos: Photos,
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="Include what a face was taken for: gender, race and age.")
    ] = False,
    out: Out = None,
    aligned: Aligned = False,
    accept_poor: AcceptPoor = False,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Read attributes from all faces in photos, each with its probability and how well it was learnt; as JSON.

    Exit status: 0 every photo was read, 1 some were not, 2 bad input.
    """
    from whyface.words.analysis import WARNING, analysed_faces  # noqa: PLC0415 - start fast
    from whyface.words.attribute_model import open_attributes  # noqa: PLC0415

    reader = open_attributes(threads=threads, providers=device)
    typer.echo(WARNING, err=True)

    def analysed(faces: list[Face]) -> list[dict[str, Any]]:
        return analysed_faces(faces, reader, sensitive=sensitive, accept_poor=accept_poor)

    about = {"warning": WARNING, "attributes_from": str(reader.heads.record.get("backbone", ""))}
    _describe(photos, analysed, out, about, aligned=aligned, threads=threads)


@takes_options
def represent(
    photos: Photos,
    options: NetworkOptions,
    out: Annotated[Path, typer.Option(help="Write the vectors to this .npy or .parquet.", show_default=False)],
    aligned: Aligned = False,
) -> None:
    """Compute the vector of every face in photos; the dot product of two is the score with uniform weights.

    Beside an .npy, OUT.json says which face each row is. Exit status: 0 every photo was read, 1 some were not, 2 bad
    input.
    """
    from whyface.faces.face import stack_faces  # noqa: PLC0415 - start fast
    from whyface.files.vectors import VectorWriter  # noqa: PLC0415
    from whyface.words.analysis import described_face  # noqa: PLC0415
    from whyface.xcos.comparison import unit_vectors  # noqa: PLC0415

    check_writable(out, "vectors")
    names = _listed(photos)
    comparison = options.open(None).comparison()
    failures: dict[str, str] = {}
    about = {"model": {"name": comparison.name, "sha256": comparison.sha256}}
    with VectorWriter(out) as writer:
        for batch in _batches(_faces(names, failures, aligned=aligned, threads=options.threads)):
            vectors = unit_vectors(comparison, comparison.features(stack_faces(batch)))
            writer.add(vectors, [described_face(face) for face in batch])
        writer.finish({**about, "failures": failures})
    typer.echo(f"{out}: {writer.count} vectors of {len(names)} photos")
    _end(failures)


@takes_options
def find(
    photo: Annotated[Path, typer.Argument(help="The photo of the person to find.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Folder of photos, at any depth.", show_default=False)],
    options: ModelOptions,
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Maximum number of results.")] = 20,
    face: Annotated[int, typer.Option(min=0, help="Index of the face in the photo; 0 is the largest.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Find the photos of a folder that show the person of another photo, each with the reasons.

    Exit status: 0 somebody matches, 1 nobody, 2 bad input, 3 undecided.
    """
    from whyface.explain.trust import doubt_about_face  # noqa: PLC0415 - start fast
    from whyface.faces.load import load_face  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415
    from whyface.folder_search import find_in_folder  # noqa: PLC0415

    verifier = options.verifier()
    probe = load_face(photo, index=face, threads=options.threads)
    doubt = doubt_about_face(probe)
    if doubt is not None and not options.accept_poor:
        typer.echo(json.dumps({"verdict": "undecided", "doubt": doubt}) if as_json else f"UNDECIDED: {doubt}")
        raise typer.Exit(UNDECIDED)
    with progress_bar("comparing photos") as progress:
        result = find_in_folder(verifier, probe, folder, top=top, progress=progress)
    if as_json:
        document = {
            "schema": "whyface/find/1",
            "compared": result.compared,
            "photos": result.photos,
            "note": result.note(),
            "left_out": list(result.left_out),
            "found": [one.explanation.to_dict() for one in result.found],
        }
        typer.echo(json.dumps(document, allow_nan=False))
        raise typer.Exit(0 if result.matches else 1)
    for one in result.matches:
        typer.echo(f"{one.face_b.source}: {verdict_line(one.explanation)}")
        print_choices(one.explanation)
        typer.echo(f"  {one.sentences[0]}")
    if not result.matches:
        nearest = result.found[0]
        typer.echo(f"NOBODY: the nearest is {nearest.face_b.source}: {verdict_line(nearest.explanation)}")
    typer.echo(result.note())
    for reason in result.left_out:
        typer.echo(f"Left out: {reason}")
    raise typer.Exit(0 if result.matches else 1)


def _describe(
    photos: list[Path],
    describe: Callable[[list[Face]], list[dict[str, Any]]],
    out: Path | None,
    about: dict[str, Any],
    *,
    aligned: bool,
    threads: int | None,
) -> None:
    from whyface.files.integrity import write_atomic  # noqa: PLC0415 - start fast

    if out is not None:
        check_writable(out, "JSON")
    failures: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    for batch in _batches(_faces(_listed(photos), failures, aligned=aligned, threads=threads)):
        found += describe(batch)
    document = json.dumps({"schema": SCHEMA, **about, "faces": found, "failures": failures}, indent=2)
    if out is None:
        typer.echo(document)
    else:
        write_atomic(out, f"{document}\n".encode())
        typer.echo(f"{out}: {len(found)} faces")
    _end(failures)


def _listed(photos: list[Path]) -> list[Path]:
    from whyface.files.photo_folder import describe_passed_over, list_photos  # noqa: PLC0415 - start fast

    found: list[Path] = []
    for path in photos:
        if not path.is_dir():
            found.append(path)
            continue
        listed = list_photos(path)
        found += [path / name for name in listed.photos]
        if listed.passed_over:
            typer.echo(f"{path}: {describe_passed_over(listed.passed_over)}", err=True)
    if not found:
        raise InputError("there are no photos here; give photos, or folders that hold some")
    return found


def _faces(photos: list[Path], failures: dict[str, str], *, aligned: bool, threads: int | None) -> Iterator[Face]:
    """Yield all faces of all photos, and note the photos that cannot be read or show none."""
    from whyface.faces.load import load_face, load_faces  # noqa: PLC0415 - start fast
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    with progress_bar("reading photos") as progress:
        for number, photo in enumerate(photos, start=1):
            try:
                yield from [load_face(photo, aligned=True)] if aligned else load_faces(photo, threads=threads)
            except (PhotoError, FaceError) as error:
                if len(photos) == 1:
                    raise
                failures[str(photo)] = str(error)
            if progress is not None:
                progress(number, len(photos))


def _batches(faces: Iterator[Face]) -> Iterator[list[Face]]:
    batch: list[Face] = []
    for face in faces:
        batch.append(face)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _end(failures: dict[str, str]) -> None:
    for reason in failures.values():
        typer.echo(f"not used: {reason}", err=True)
    if failures:
        raise typer.Exit(1)
