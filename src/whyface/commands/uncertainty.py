"""``whyface uncertainty``: for each person, how uncertain the answer gets without one word after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyface.commands.options import AcceptPoor, Aligned, ModelFolder, Threads, count_of
from whyface.commands.verify import import_matplotlib
from whyface.errors import InputError, ModelError, OutputError, WhyfaceError

if TYPE_CHECKING:
    from whyface.faces.face import Face
    from whyface.identify.evidential import EvidentialHead
    from whyface.identify.uncertainty_words import Features, UncertaintyWords
    from whyface.words.attribute_model import AttributeReader


def uncertainty(
    photos: Annotated[
        Path, typer.Argument(help="Folder with a subfolder of photos for each person.", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="Folder for PERSON.png and json/PERSON.json.", show_default=False)],
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
    model_dir: ModelFolder = None,
    threads: Threads = None,
) -> None:
    """Draw the uncertainty of each person's first photo, whole and without each word (Sim2Word's Fig. 9)."""
    from whyface.files.photo_folder import list_photos  # noqa: PLC0415 - start fast

    if (gallery is None) == (run is None):
        raise InputError("give either --gallery, or --run with a network that was trained by evidence")
    people: dict[str, str] = {}
    for name in list_photos(photos).photos:
        if "/" in name:
            people.setdefault(name.rsplit("/", 1)[0].replace("/", "-"), name)
    if not people:
        raise InputError(f"{photos}: no folders of people; sort the photos into one folder for each person")
    import_matplotlib()
    try:
        (out / "json").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be made ({error.strerror}); choose another folder") from error
    if run is not None:
        head, features, cells = _of_run(run)
        _draw_all(head, features, cells, people, photos, out, sensitive, aligned, accept_poor, seed, threads)
        return
    from whyface.gallery.opening import gallery_key, open_for_search  # noqa: PLC0415
    from whyface.identify.gallery_people import gallery_head  # noqa: PLC0415
    from whyface.identify.uncertainty_words import gallery_features  # noqa: PLC0415

    assert gallery is not None
    secret = gallery_key(gallery, None)
    with open_for_search(gallery, directory=model_dir, threads=threads, key=secret) as opened:
        found, why = gallery_head(opened)
        if found is None:
            raise InputError(f"{gallery}: {why}")
        if opened.layout.kind != "grid":
            raise InputError("words need a gallery of a model with a grid")
        height, width = opened.layout.shape[1:]
        of_gallery = gallery_features(opened)
        _draw_all(
            found, of_gallery, (height, width), people, photos, out, sensitive, aligned, accept_poor, seed, threads
        )


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


def _draw_all(
    head: EvidentialHead,
    features: Features,
    cells: tuple[int, int] | None,
    people: dict[str, str],
    photos: Path,
    out: Path,
    sensitive: bool,
    aligned: bool,
    accept_poor: bool,
    seed: int,
    threads: int | None,
) -> None:
    from whyface.explain.trust import doubt_about_face  # noqa: PLC0415
    from whyface.faces.load import load_face  # noqa: PLC0415 - start fast
    from whyface.files.integrity import write_atomic  # noqa: PLC0415
    from whyface.words.attribute_model import open_attributes  # noqa: PLC0415

    reader, drawn = open_attributes(threads=threads), 0
    for person, name in sorted(people.items()):
        try:
            face = load_face(photos / name, aligned=aligned, threads=threads)
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
        _draw(told, face, person, out / f"{person}.png")
        document = {"image_path": name, "Ground-Truth-ID": person, "evidential-net": head.record.get("model", "")}
        text = json.dumps({**document, **told.to_dict()}, indent=2, ensure_ascii=False)
        write_atomic(out / "json" / f"{person}.json", f"{text}\n".encode())
        typer.echo(f"{person}: u {told.uncertainty:.3g} ({told.person}). {told.describe()}.")
        drawn += 1
    typer.echo(f"{out}: {drawn} of {count_of(len(people), 'person')}")


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
