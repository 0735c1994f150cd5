"""``whyface uncertainty``: for each person, how uncertain the answer gets without one word after the other."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyface.commands.option_blocks import GalleryOptions, takes_options
from whyface.commands.options import AcceptPoor, Aligned, count_of
from whyface.commands.verify import import_matplotlib
from whyface.errors import InputError, ModelError, WhyfaceError

if TYPE_CHECKING:
    from whyface.faces.face import Face
    from whyface.gallery.gallery import Gallery
    from whyface.identify.evidential import EvidentialHead
    from whyface.identify.uncertainty_words import Features, UncertaintyWords
    from whyface.words.attribute_model import AttributeReader


@takes_options
def uncertainty(
    photos: Annotated[
        Path, typer.Argument(help="Folder with a subfolder of photos for each person.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="Folder for PERSON.png and json/PERSON.json.", show_default=False)],
    options: GalleryOptions,
    gallery: Annotated[
        Path | None,
        typer.Option("--gallery", "-g", help="Gallery with a fitted uncertainty (identify --fit).", show_default=False),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Instead: the run of a network that was trained by evidence.", show_default=False),
    ] = None,
    sensitive: Annotated[bool, typer.Option("--sensitive", help="Include words about gender, age and race.")] = False,
    aligned: Aligned = False,
    accept_poor: AcceptPoor = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random places.")] = 0,
) -> None:
    """Draw the uncertainty of each person's first photo, whole and without each word (Sim2Word's Fig. 9)."""
    from whyface.explain.trust import doubt_about_face  # noqa: PLC0415 - start fast
    from whyface.faces.load import load_face  # noqa: PLC0415
    from whyface.files.integrity import check_folder, make_folder, write_atomic  # noqa: PLC0415
    from whyface.files.photo_folder import list_photos  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415
    from whyface.words.attribute_model import open_attributes  # noqa: PLC0415

    if (gallery is None) == (run is None):
        raise InputError("give either --gallery, or --run with a network that was trained by evidence")
    people: dict[str, str] = {}
    for name in list_photos(photos).photos:
        if "/" in name:
            people.setdefault(name.rsplit("/", 1)[0].replace("/", "-"), name)
    if not people:
        raise InputError(f"{photos}: no folders of people; sort the photos into one folder for each person")
    import_matplotlib()
    check_folder(out)
    drawn = 0
    with ExitStack() as stack:
        if gallery is not None:
            head, features, cells = _of_gallery(stack.enter_context(options.open(gallery)))
        else:
            assert run is not None
            head, features, cells = _of_run(run)
        reader = open_attributes(threads=options.threads, providers=options.device)
        progress = stack.enter_context(progress_bar("erasing words"))
        for number, (person, name) in enumerate(sorted(people.items())):
            progress(number, len(people))
            try:
                face = load_face(photos / name, aligned=aligned, threads=options.threads)
            except WhyfaceError as error:
                typer.echo(f"Left out: {error}", err=True)
                continue
            if not accept_poor and (doubt := doubt_about_face(face)) is not None:
                typer.echo(f"Left out: {name}: {doubt}", err=True)
                continue
            told = _words(head, features, cells, face, reader, sensitive=sensitive, seed=seed)
            if told is None:
                typer.echo(f"{person}: no word fits the photo")
                continue
            make_folder(out / "json")
            _draw(told, face, person, out / f"{person}.png")
            document = {"image_path": name, "Ground-Truth-ID": person, "evidential-net": head.record.get("model", "")}
            text = json.dumps({**document, **told.to_dict()}, indent=2, ensure_ascii=False)
            write_atomic(out / "json" / f"{person}.json", f"{text}\n".encode())
            typer.echo(f"{person}: u {told.uncertainty:.3g} ({told.person}). {told.describe()}.")
            drawn += 1
    typer.echo(f"{out}: {drawn} of {count_of(len(people), 'person')}")


def _of_gallery(gallery: Gallery) -> tuple[EvidentialHead, Features, tuple[int, int] | None]:
    """Return the head of a gallery, the function from faces to its input, and the places of the grid."""
    from whyface.identify.gallery_people import gallery_head  # noqa: PLC0415 - start fast
    from whyface.identify.uncertainty_words import gallery_features  # noqa: PLC0415

    head, why = gallery_head(gallery)
    if head is None:
        raise InputError(f"{gallery.path}: {why}")
    if gallery.layout.kind != "grid":
        raise InputError("words need a gallery of a model with a grid")
    height, width = gallery.layout.shape[1:]
    return head, gallery_features(gallery), (height, width)


def _of_run(run: Path) -> tuple[EvidentialHead, Features, tuple[int, int] | None]:
    """Return the head of a run, the function from faces to its input, and the places of the grid, if it has one."""
    from whyface.files.integrity import sha256_of  # noqa: PLC0415
    from whyface.gallery.name_rebuild import HEAD_NAME  # noqa: PLC0415
    from whyface.identify.evidential import load_evidential_head  # noqa: PLC0415 - start fast

    try:
        from whyface.train.run_files import BEST, load_trained, run_features  # noqa: PLC0415 - imports torch
    except ImportError as error:
        raise InputError(f"--run needs {error.name}; run: pip install 'whyface[train]'") from error
    if not (run / HEAD_NAME).is_file():
        raise ModelError(f"{run}: no {HEAD_NAME}; train with losses: {{identification: evidential}}")
    head = load_evidential_head(run / HEAD_NAME)
    head.require_model(sha256_of(run / BEST), run / HEAD_NAME)
    network, _ = load_trained(run)
    return head, run_features(network), None if network.xcos is None else (7, 7)


def _words(
    head: EvidentialHead,
    features: Features,
    cells: tuple[int, int] | None,
    face: Face,
    reader: AttributeReader,
    *,
    sensitive: bool,
    seed: int,
) -> UncertaintyWords | None:
    from whyface.faces.face import stack_faces  # noqa: PLC0415 - start fast
    from whyface.identify.uncertainty_words import uncertainty_words, word_masks  # noqa: PLC0415

    batch = stack_faces([face])
    masks = word_masks(batch, head, features(batch), cells, reader, sensitive=sensitive)
    return uncertainty_words(head, features, batch[0], masks, seed=seed) if masks else None


def _draw(told: UncertaintyWords, face: Face, person: str, path: Path) -> None:
    from whyface.figures.style import save_figure  # noqa: PLC0415 - start fast
    from whyface.figures.words import erased_words_figure  # noqa: PLC0415

    shown = told.words[:10]
    figure = erased_words_figure(
        face.image,
        [(word.name, word.uncertainty) for word in shown],
        told.uncertainty,
        title=person,
        subtitle=f"Each word's place painted {told.eraser}, one at a time; the likeliest person is {told.person}",
        limits=[word.limit for word in shown],
        sentence=f"{told.describe()}.",
    )
    save_figure(figure, path)
