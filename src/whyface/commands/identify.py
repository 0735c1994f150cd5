"""``whyface identify``: identify a face among the people of a gallery, with reasons and uncertainty."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from whyface.commands.option_blocks import GalleryOptions, takes_options
from whyface.commands.options import AcceptPoor, Attention, Figure, count_of
from whyface.commands.verify import UNDECIDED, check_figure, import_matplotlib
from whyface.errors import InputError, ModelError, WhyfaceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from whyface.explain.provenance import ThresholdSource
    from whyface.faces.face import Face
    from whyface.gallery.gallery import Gallery
    from whyface.gallery.search import Candidate
    from whyface.identify.evidential import EvidentialHead
    from whyface.identify.group import GroupIdentification
    from whyface.identify.identification import Identification
    from whyface.identify.uncertainty_words import UncertaintyWords

SOMEBODY: Final = 0
NOBODY: Final = 1

NO_WORD: Final = (
    "None of the words that the attribute model knows well has a place in this photo, so nothing was erased"
)


class Loss(StrEnum):
    """Evidential losses."""

    LOG = "log"
    DIGAMMA = "digamma"
    MSE = "mse"


@takes_options
def identify(
    options: GalleryOptions,
    photo: Annotated[
        Path | None, typer.Argument(help="The photo; may be left out with --fit.", show_default=False)
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option("--gallery", "-g", help="Folder of a gallery (whyface gallery enroll).", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("--top", "-k", min=1, help="Number of people to show.")] = 5,
    fit: Annotated[
        bool,
        typer.Option(
            "--fit", help="First fit the uncertainty to the gallery's people and save it there (whyface[torch])."
        ),
    ] = False,
    loss: Annotated[Loss, typer.Option(help="With --fit: the evidential loss.")] = Loss.LOG,
    divergence: Annotated[
        float, typer.Option(min=0.0, help="With --fit: weight of the divergence on misleading evidence.")
    ] = 1.0,
    words: Annotated[
        bool, typer.Option("--words", help="Erase attribute words one by one to find those the answer depends on.")
    ] = False,
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="With --words: include words about gender, age and race.")
    ] = False,
    attention: Annotated[
        Attention | None, typer.Option(help="u, p or l; by default the best available.", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Match above this score, instead of a measured threshold.", show_default=False),
    ] = None,
    fpir: Annotated[
        float | None,
        typer.Option(
            help="False positive identification rate (FPIR): set the threshold by the size of the gallery; 0.01.",
            show_default=False,
        ),
    ] = None,
    fmr: Annotated[
        float | None,
        typer.Option(
            help="Instead, the threshold measured for a single comparison at this FMR: 1e-2 or 1e-3.",
            show_default=False,
        ),
    ] = None,
    figure: Figure = None,
    photos: Annotated[
        Path | None,
        typer.Option(help="With --figure: the folder that was enrolled, to show the photos.", show_default=False),
    ] = None,
    words_figure: Annotated[
        Path | None, typer.Option(help="With --words: write the chart of the words here.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photo is an aligned 112 x 112 crop.")] = False,
    face: Annotated[
        int | None,
        typer.Option(
            min=0, help="Only this face of the photo; 0 is the largest. All faces if not given.", show_default=False
        ),
    ] = None,
    accept_poor: AcceptPoor = False,
    seed: Annotated[int, typer.Option(min=0, help="With --words: seed of the random places.")] = 0,
) -> None:
    """Identify the person or all people in a photo, with reasons.

    Exit status: 0 somebody, 1 nobody in the gallery, 2 bad input, 3 undecided.
    """
    from whyface.identify.gallery_people import threshold_for  # noqa: PLC0415 - start fast
    from whyface.identify.group import identify_group  # noqa: PLC0415
    from whyface.xcos.open_model import attention_kind  # noqa: PLC0415

    if gallery is None:
        raise InputError("give a gallery: --gallery FOLDER; whyface gallery enroll makes one")
    if photo is None and not fit:
        raise InputError("give a photo, or --fit to only fit the gallery's uncertainty")
    _check_figures(figure, words_figure, photos, words=words)
    with options.open(gallery) as opened:
        if fit:
            _fit(opened, loss, divergence, quiet=as_json)
        if photo is None:
            return
        kind = None if attention is None else attention_kind(attention.value)
        value, source = threshold_for(
            opened, model=options.model, attention=kind, threshold=threshold, fmr=fmr, fpir=fpir
        )
        probes = _faces(photo, face, aligned=aligned, threads=options.threads)
        if len(probes) > 1:
            if words:
                raise InputError(
                    f"--words is for one face, but {photo} shows {len(probes)}; add --face, 0 is the largest"
                )
            group = identify_group(
                opened,
                probes,
                threshold=value,
                source=source,
                k=k,
                attention=kind,
                accept_poor=accept_poor,
                threads=options.threads,
            )
            _tell_group(group, photo, figure, as_json=as_json)
        probe = probes[0]
        found, told = _answer(
            opened,
            probe,
            value,
            source,
            k=k,
            kind=kind,
            words=words,
            sensitive=sensitive,
            seed=seed,
            accept_poor=accept_poor,
            options=options,
        )
    if found.undecided:
        figure = None  # Nobody was compared, so there is nothing to draw.
    elif figure is not None:
        _save_figure(found, probe, figure, photos, aligned=aligned, threads=options.threads)
    if told is None:
        words_figure = None
    elif words_figure is not None:
        _save_words(told, probe, words_figure)
    said = None if not words or found.undecided else NO_WORD if told is None else told.describe()
    if as_json:
        typer.echo(json.dumps(_document(found, told, said), indent=2, ensure_ascii=False))
    else:
        _print(found, said, k, [path for path in (figure, words_figure) if path is not None])
    raise typer.Exit(UNDECIDED if found.verdict == "undecided" else SOMEBODY if found.is_known else NOBODY)


def _check_figures(figure: Path | None, words_figure: Path | None, photos: Path | None, *, words: bool) -> None:
    if words_figure is not None and not words:
        raise InputError("--words-figure needs --words")
    if photos is not None and not photos.is_dir():
        raise InputError(f"{photos}: not a folder; give the folder that was enrolled")
    for path in (figure, words_figure):
        if path is not None:
            check_figure(path)


def _faces(photo: Path, index: int | None, *, aligned: bool, threads: int | None) -> list[Face]:
    from whyface.faces.load import load_face, load_faces  # noqa: PLC0415 - start fast

    if index is None and not aligned:
        return load_faces(photo, threads=threads)
    return [load_face(photo, aligned=aligned, index=index or 0, threads=threads)]


def _tell_group(group: GroupIdentification, photo: Path, figure: Path | None, *, as_json: bool) -> NoReturn:
    if figure is not None:
        from whyface.faces.photo import read_photo  # noqa: PLC0415 - start fast
        from whyface.figures.identify import group_figure  # noqa: PLC0415
        from whyface.figures.style import save_figure  # noqa: PLC0415

        import_matplotlib()
        save_figure(group_figure(group, read_photo(photo)), figure)
    if as_json:
        typer.echo(json.dumps(group.to_dict(), indent=2, ensure_ascii=False))
    else:
        first, *rest = group.sentences()
        for line in (first, *group.lines(), *rest):
            typer.echo(line)
        if figure is not None:
            typer.echo(f"Figure: {figure}")
    raise typer.Exit(UNDECIDED if group.undecided else SOMEBODY if group.names else NOBODY)


def _fit(gallery: Gallery, loss: Loss, divergence: float, *, quiet: bool) -> None:
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    try:
        from whyface.train.evidential_fit import EvidentialSettings, fit_gallery_head  # noqa: PLC0415
    except ImportError as error:
        raise ModelError("--fit needs torch: pip install 'whyface[torch]'") from error
    settings = EvidentialSettings(loss=loss.value, divergence=divergence)
    with progress_bar("fitting"):
        head = fit_gallery_head(gallery, settings)
    if not quiet:
        typer.echo(f"Uncertainty fitted to {head.record['photos']} photos of {count_of(len(head.people), 'person')}")


def _answer(
    gallery: Gallery,
    probe: Face,
    threshold: float,
    source: ThresholdSource,
    *,
    k: int,
    kind: Any,
    words: bool,
    sensitive: bool,
    seed: int,
    accept_poor: bool,
    options: GalleryOptions,
) -> tuple[Identification, UncertaintyWords | None]:
    from whyface.identify.gallery_people import gallery_head  # noqa: PLC0415 - start fast
    from whyface.identify.identification import identify as look_up  # noqa: PLC0415

    found = look_up(
        gallery,
        probe,
        threshold=threshold,
        source=source,
        k=k,
        attention=kind,
        accept_poor=accept_poor,
        threads=options.threads,
    )
    if not words or found.undecided:
        return found, None
    head, why = gallery_head(gallery)
    if head is None:
        raise InputError(f"--words measures how erasing words changes the uncertainty, but there is none. {why}")
    return found, _words(gallery, head, probe, options, sensitive=sensitive, seed=seed)


def _words(
    gallery: Gallery, head: EvidentialHead, probe: Face, options: GalleryOptions, *, sensitive: bool, seed: int
) -> UncertaintyWords | None:
    from whyface.faces.face import stack_faces  # noqa: PLC0415 - start fast
    from whyface.identify.uncertainty_words import (  # noqa: PLC0415
        gallery_features,
        uncertainty_words,
        word_masks,
    )
    from whyface.words.attribute_model import open_attributes  # noqa: PLC0415

    if gallery.layout.kind != "grid":
        raise InputError("--words needs a model with a grid")
    batch = stack_faces([probe])
    features = gallery_features(gallery)
    height, width = gallery.layout.shape[1:]
    reader = open_attributes(threads=options.threads, providers=options.device)
    masks = word_masks(batch, head, features(batch), (height, width), reader, sensitive=sensitive)
    return uncertainty_words(head, features, batch[0], masks, seed=seed) if masks else None


def _document(found: Identification, told: UncertaintyWords | None, said: str | None) -> dict[str, Any]:
    from whyface.identify.identity_sentences import sentences  # noqa: PLC0415 - start fast

    document = {**found.to_dict(), "sentences": [*sentences(found), *([] if said is None else [said])]}
    return document if told is None else {**document, "words": told.to_dict()}


def _print(found: Identification, said: str | None, k: int, figures: list[Path]) -> None:
    from whyface.faces.face import describe_choice  # noqa: PLC0415 - start fast
    from whyface.identify.identity_sentences import (  # noqa: PLC0415
        POOR_ADVICE,
        notes,
        reason_sentence,
        uncertainty_sentence,
        verdict_sentence,
    )

    typer.echo(verdict_sentence(found))
    if found.face is not None and (line := describe_choice(found.face)) is not None:
        typer.echo(line)
    if found.undecided:
        typer.echo(POOR_ADVICE)
    shown = found.candidates[:k]
    width = max((len(candidate.name) for candidate in shown), default=0)
    for rank, candidate in enumerate(shown, start=1):
        belief = found.beliefs.get(candidate.name)
        share = "" if belief is None else f"  belief {100 * belief:5.1f} %"
        above = "+" if candidate.score > found.threshold else " "
        typer.echo(f"{rank:3d}. {candidate.name:{width}s}  {candidate.score:7.4f} {above}{share}  {candidate.source}")
    if not found.undecided:
        for line in (reason_sentence(found), uncertainty_sentence(found), *notes(found)):
            typer.echo(line)
    if said is not None:
        typer.echo(said)
    for path in figures:
        typer.echo(f"Figure: {path}")


def _save_figure(
    found: Identification, probe: Face, path: Path, photos: Path | None, *, aligned: bool, threads: int | None
) -> None:
    from whyface.figures.identify import identification_figure  # noqa: PLC0415 - start fast
    from whyface.figures.style import save_figure  # noqa: PLC0415

    import_matplotlib()

    pictures = {candidate.record: _picture(candidate, photos, aligned, threads) for candidate in found.candidates[:2]}
    save_figure(identification_figure(found, probe.image, pictures), path)


def _picture(candidate: Candidate, photos: Path | None, aligned: bool, threads: int | None) -> NDArray[np.uint8] | None:
    """Load the candidate's photo from where it was enrolled; None if it is gone or in an archive."""
    from whyface.faces.load import load_face  # noqa: PLC0415 - start fast

    try:
        return load_face((photos or Path()) / candidate.source, aligned=aligned, threads=threads).image
    except WhyfaceError:
        return None


def _save_words(told: UncertaintyWords, probe: Face, path: Path) -> None:
    from whyface.figures.style import save_figure  # noqa: PLC0415 - start fast
    from whyface.figures.words import erased_words_figure  # noqa: PLC0415

    import_matplotlib()

    subtitle = f"Each word's place painted {told.eraser}, one at a time; the likeliest person is {told.person}"
    bars = [(word.name, word.uncertainty) for word in told.words[:10]]
    figure = erased_words_figure(
        probe.image,
        bars,
        told.uncertainty,
        title="Which words the answer depends on",
        subtitle=subtitle,
        limits=[word.limit for word in told.words[:10]],
        sentence=f"{told.describe()}.",
    )
    save_figure(figure, path)
