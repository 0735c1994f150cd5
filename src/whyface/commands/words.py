"""``whyface words``: explain a verdict in attribute words, tested by erasing them."""

from __future__ import annotations

import json
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from whyface.commands.option_blocks import ModelOptions, takes_options
from whyface.commands.options import Aligned, Eraser, FaceA, FaceB, Figure
from whyface.commands.verify import check_figure, import_matplotlib, leave_open, print_choices, verdict_line
from whyface.commands.word_compare import compare
from whyface.errors import InputError

if TYPE_CHECKING:
    from whyface.verification import Verifier
    from whyface.words.identity_evidence import IdentityClasses
    from whyface.words.word_maps import Heatmap
    from whyface.words.word_report import WordSettings


class By(StrEnum):
    """Where words come from."""

    ERASING = "erasing"
    SHARES = "shares"


class Format(StrEnum):
    """Layout of the JSON files of a batch."""

    WHYFACE = "whyface"
    SIM2WORD = "sim2word"


class HeatmapName(StrEnum):
    """Maps of words and of people."""

    EVIDENCE = "evidence"
    GRADCAM = "gradcam"
    GRADCAM_PLUS = "gradcam++"

    @property
    def literal(self) -> Heatmap:
        """The setting."""
        from whyface.words.word_maps import HEATMAPS  # noqa: PLC0415 - start fast

        return next(name for name in HEATMAPS if name == self.value)


MapOption = Annotated[
    HeatmapName,
    typer.Option(
        "--heatmap",
        help="Map of a word, and with --people of a person: exact, or Grad-CAM or Grad-CAM++ as published.",
    ),
]


ERASE_ABOVE: Final = 0.6
DRAWS: Final = 40


class PairByDefault(TyperGroup):
    """A group whose command ``pair`` need not be named: ``whyface words one.jpg other.jpg``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name in where no command is named."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["pair", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=PairByDefault, help="Explain a verdict in attribute words, tested by erasing them.", no_args_is_help=True
)


@app.command("pair")
@takes_options
def words(
    photo_a: Annotated[Path, typer.Argument(help="First photo.", show_default=False)],
    photo_b: Annotated[
        Path,
        typer.Argument(help="Second photo, or a folder: what sets A apart from everybody there.", show_default=False),
    ],
    options: ModelOptions,
    by: Annotated[
        By,
        typer.Option(
            help="erasing: what erasing a word's place does; shares: the score as an exact sum of words and a rest."
        ),
    ] = By.ERASING,
    attribute: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute", "-a", help="Only this attribute, present or not; may be repeated.", show_default=False
        ),
    ] = None,
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="Include words about gender, age and race (see the attribute card).")
    ] = False,
    eraser: Annotated[Eraser, typer.Option(help="What replaces erased pixels.")] = Eraser.BLACK,
    erase_above: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Erase pixels where the word's map, 0 to 1, is above this.")
    ] = ERASE_ABOVE,
    heatmap: MapOption = HeatmapName.EVIDENCE,
    people: Annotated[
        Path | None,
        typer.Option(
            help="Aligned pictures, one subfolder per person (folder or tar): locate identity with a classifier of "
            "these people instead of the similarity.",
            show_default=False,
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --people: number of likely people that represent a face; 1.", show_default=False
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            help="With --people: instead, the fewest that together exceed this probability.", show_default=False
        ),
    ] = None,
    draws: Annotated[int, typer.Option(min=19, help="Random erasures for each word, to measure chance.")] = DRAWS,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random erasures.")] = 0,
    figure: Figure = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    aligned: Aligned = False,
    face_a: FaceA = 0,
    face_b: FaceB = 0,
) -> None:
    """Explain in words what tells two faces apart or makes them alike, and test each word by erasing it."""
    from whyface.words.word_report import WordSettings  # noqa: PLC0415

    if figure is not None:
        check_figure(figure)
    if people is None and (share is not None or top_k is not None):
        raise InputError(f"{'--top-k' if share is None else '--share'} needs --people; give people, or leave it out")
    if share is not None and top_k is not None:
        raise InputError("--top-k and --share are mutually exclusive; give one of them")
    if photo_b.is_dir():
        for name, given in {"--people": people, "--figure": figure}.items():
            if given is not None:
                raise InputError(f"{name} is for two photos, but {photo_b} is a folder; leave {name} out")
    if by is By.SHARES:
        if people is not None:
            raise InputError("--by shares needs no --people: directions are known for everybody; leave it out")
        erasing = {
            "--eraser": eraser is not Eraser.BLACK,
            "--erase-above": erase_above != ERASE_ABOVE,
            "--heatmap": heatmap is not HeatmapName.EVIDENCE,
            "--draws": draws != DRAWS,
        }
        for name, changed in erasing.items():
            if changed:
                raise InputError(f"{name} is about erasing, and --by shares erases nothing; leave it out")
        names = None if attribute is None else tuple(attribute)
        if photo_b.is_dir():
            from whyface.commands.special_words import by_shares, print_special  # noqa: PLC0415 - start fast

            verifier = options.verifier()
            explain = by_shares(verifier, names, seed=seed)
            print_special(verifier, explain, photo_a, photo_b, aligned=aligned, face=face_a, as_json=as_json)
            return
        from whyface.commands.word_shares import print_shares  # noqa: PLC0415 - start fast

        print_shares(
            options.verifier(),
            (photo_a, photo_b),
            (face_a, face_b),
            names,
            accept_poor=options.accept_poor,
            seed=seed,
            aligned=aligned,
            figure=figure,
            as_json=as_json,
        )
        return
    settings = WordSettings(
        identity="similarity" if people is None else "topk" if share is None else "threshold",
        k=1 if top_k is None else top_k,
        share=0.4 if share is None else share,
        heatmap=heatmap.literal,
        threshold=erase_above,
        eraser=eraser.value,
        sensitive=sensitive,
        names=None if attribute is None else tuple(attribute),
        draws=draws,
        seed=seed,
    )
    verifier = options.verifier()
    if photo_b.is_dir():
        from whyface.commands.special_words import by_erasing, print_special  # noqa: PLC0415 - start fast

        explain = by_erasing(verifier, settings)
        print_special(verifier, explain, photo_a, photo_b, aligned=aligned, face=face_a, as_json=as_json)
        return
    classes = None if people is None else _people(verifier, people)
    _pair(
        verifier,
        settings,
        classes,
        (photo_a, photo_b),
        (face_a, face_b),
        aligned=aligned,
        figure=figure,
        as_json=as_json,
    )


@app.command()
@takes_options
def batch(
    pairs: Annotated[
        Path,
        typer.Argument(help="Pair list: two photos and 1 (one person) or 0 (two) in each line.", show_default=False),
    ],
    out: Annotated[Path, typer.Argument(help="New folder for json/, cam/ and visualization/.", show_default=False)],
    options: ModelOptions,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the photos, if not the list's.", show_default=False)
    ] = None,
    layout: Annotated[
        Format,
        typer.Option("--format", help="sim2word: the published files, 30 attributes by number; whyface: as --json."),
    ] = Format.SIM2WORD,
    eraser: Annotated[Eraser, typer.Option(help="What replaces erased pixels.")] = Eraser.BLACK,
    erase_above: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Erase pixels where the word's map, 0 to 1, is above this.")
    ] = ERASE_ABOVE,
    heatmap: MapOption = HeatmapName.EVIDENCE,
    people: Annotated[
        Path | None, typer.Option(help="Locate identity with a classifier of these people.", show_default=False)
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="With --people: people that represent a face.")] = 1,
    pictures: Annotated[
        bool, typer.Option(help="Write cam/, masks and erased faces of every attribute, and visualization/, its maps.")
    ] = True,
    aligned: Aligned = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of random erasures.")] = 0,
) -> None:
    """Explain pairs into json/, cam/ and visualization/, as Sim2Word's code does; its maps lie anywhere on the face."""
    from whyface.commands.word_batch import write_batch  # noqa: PLC0415 - start fast
    from whyface.words.word_report import WordSettings  # noqa: PLC0415

    settings = WordSettings(
        identity="similarity" if people is None else "topk",
        k=top_k,
        heatmap=heatmap.literal,
        average_maps=True,
        fine=True,
        anywhere=True,
        least=0.0,
        threshold=erase_above,
        eraser=eraser.value,
        seed=seed,
    )
    if layout is Format.WHYFACE:
        settings = replace(settings, average_maps=False, fine=False, anywhere=False, least=WordSettings().least)
    verifier = options.verifier()
    classes = None if people is None else _people(verifier, people)
    done, left_out = write_batch(
        verifier,
        settings,
        classes,
        pairs,
        out,
        data=data,
        published=layout is Format.SIM2WORD,
        pictures=pictures,
        aligned=aligned,
    )
    for reason in left_out:
        typer.echo(f"Left out: {reason}", err=True)
    typer.echo(f"{out}: {done} pairs")


@app.command()
def auc(
    folder: Annotated[Path, typer.Argument(help="Folder of whyface words batch, or of Sim2Word.", show_default=False)],
) -> None:
    """Print AUC and TPR before and after erasing the most telling word, as Sim2Word's script does."""
    from whyface.evaluate.rates import auc as area_of  # noqa: PLC0415 - start fast
    from whyface.evaluate.rates import roc_curve  # noqa: PLC0415
    from whyface.words.sim2word import published_scores, read_published_folder  # noqa: PLC0415

    found = published_scores(read_published_folder(folder))
    for when in ("before", "after"):
        scores, labels = found[when], found[f"{when} label"].astype(bool)
        curve = roc_curve(scores, labels)
        rates = [curve.tar[abs(curve.fmr - target).argmin()] for target in RATES]
        typer.echo(f"{when} erasing: AUC {area_of(scores, labels):.5f} ({len(scores)} scores)")
        typer.echo("  TPR at FPR " + ", ".join(f"{at:g}: {rate:.4f}" for at, rate in zip(RATES, rates, strict=True)))
    typer.echo("A lower AUC after erasing: the words told two people apart.")


RATES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)


@app.command()
def top5(
    folder: Annotated[Path, typer.Argument(help="Folder of whyface words batch, or of Sim2Word.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder for the plates, one .png for each pair.", show_default=False)],
    data: Annotated[
        Path | None, typer.Option(help="Folder that the pictures' names are relative to.", show_default=False)
    ] = None,
) -> None:
    """Draw a plate for each pair: both faces with their five most telling words, and those of both."""
    from whyface.commands.word_batch import write_plates  # noqa: PLC0415 - start fast

    typer.echo(f"{out}: {write_plates(folder, out, data)} plates")


app.command()(compare)


def _pair(
    verifier: Verifier,
    settings: WordSettings,
    classes: IdentityClasses | None,
    photos: tuple[Path, Path],
    which: tuple[int, int],
    *,
    aligned: bool,
    figure: Path | None,
    as_json: bool,
) -> None:
    from whyface.explain.childhood import WARNINGS  # noqa: PLC0415
    from whyface.explain.trust import same_picture  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.words.report_writing import describe_words, words_document  # noqa: PLC0415
    from whyface.words.word_explainer import open_words  # noqa: PLC0415

    explainer = open_words(verifier, settings=settings, classes=classes)
    verification = verifier(*photos, aligned=aligned, face_a=which[0], face_b=which[1])
    if verification.explanation.undecided:
        leave_open(verification.explanation.doubt or "", verification.sentences[1], as_json=as_json)
    with progress_bar("erasing") as progress:
        report = explainer(verification.face_a, verification.face_b, progress=progress)
    if figure is not None:
        import_matplotlib()
        from whyface.figures.style import save_figure  # noqa: PLC0415 - matplotlib is slow to import
        from whyface.figures.words import words_figure  # noqa: PLC0415

        save_figure(words_figure(report, verification.face_a.image, verification.face_b.image), figure)
    if as_json:
        document = words_document(report)
        document["whyface"]["warnings"] = list(verification.explanation.warnings)
        document["whyface"]["faces"] = [face.to_dict() for face in verification.explanation.faces or ()]
        typer.echo(json.dumps(document, indent=4, allow_nan=False))
        return
    typer.echo(verdict_line(verification.explanation))
    print_choices(verification.explanation)
    warned = [WARNINGS[warning] for warning in verification.explanation.warnings]
    for sentence in (*describe_words(report), *warned, same_picture(verification.explanation)):
        if sentence is not None:
            typer.echo(sentence)
    if figure is not None:
        typer.echo(f"Figure: {figure}")


def _people(verifier: Verifier, path: Path) -> IdentityClasses:
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.words.word_explainer import classes_of_pictures  # noqa: PLC0415

    with progress_bar("learning people") as progress:
        return classes_of_pictures(verifier, path, progress=progress)
