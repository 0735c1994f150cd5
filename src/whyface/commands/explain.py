"""``whyface explain``: explain a verdict by one or several methods side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyface.commands.option_blocks import ModelOptions, takes_options
from whyface.commands.options import Aligned, FaceA, FaceB, Figure, NoPaths, Reference, reference_options
from whyface.commands.verify import (
    UNDECIDED,
    Language,
    LanguageName,
    Prior,
    Report,
    check_figure,
    check_report,
    import_matplotlib,
    print_choices,
    probability_line,
    verdict_line,
)
from whyface.errors import InputError
from whyface.files.progress import duration_text, progress_bar

if TYPE_CHECKING:
    from whyface.explain.explanation import Explanation
    from whyface.explain.methods import Explains
    from whyface.faces.face import Face
    from whyface.verification import Verification, Verifier

SCHEMA = "whyface/explanations/1"
TRIPLET_SCHEMA = "whyface/triplet/1"


def _list(value: bool) -> None:
    if not value:
        return
    from whyface.explain.registry import METHODS  # noqa: PLC0415 - start fast

    width = max(map(len, METHODS))
    for entry in METHODS.values():
        typer.echo(f"{entry.name:{width}}  {entry.summary}\n{'':{width}}  {entry.paper}; needs {entry.needs}")
    raise typer.Exit


@takes_options
def explain(
    photo_a: Annotated[Path, typer.Argument(help="First photo.", show_default=False)],
    photo_b: Annotated[Path, typer.Argument(help="Second photo.", show_default=False)],
    options: ModelOptions,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            "-m",
            help="Methods, comma-separated; see --list. By default xface, and xcos or places if the model has it. "
            "Options follow a colon: xssab:kind=positive, xface:pairing=both:stride=7, corrrise:preset=published.",
            show_default=False,
        ),
    ] = None,
    list_methods: Annotated[
        bool, typer.Option("--list", callback=_list, is_eager=True, help="List the methods and what they need.")
    ] = False,
    prior: Prior = None,
    non_mate: Annotated[
        list[Path] | None,
        typer.Option(
            help="Photo of somebody else, or a folder of photos; may be repeated. The maps then show what in the first "
            "photo speaks for the second rather than for these (a triplet: probe, mate, non-mate).",
            show_default=False,
        ),
    ] = None,
    mate: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --non-mate: one more photo of the second person, or a folder; may be repeated. The mean counts.",
            show_default=False,
        ),
    ] = None,
    reference: Reference = None,
    figure: Figure = None,
    report: Report = None,
    no_paths: NoPaths = False,
    language: Language = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all explanations as JSON.")] = False,
    blend: Annotated[
        bool, typer.Option("--blend", help="Colour the faces in the figure as x-face does: green alike, pink unlike.")
    ] = False,
    aligned: Aligned = False,
    face_a: FaceA = 0,
    face_b: FaceB = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Faces in the network at once; bounds the memory.", show_default=False)
    ] = None,
) -> None:
    """Show where in the faces the reasons for a verdict are, by several methods side by side."""
    from whyface.explain.black_box import BlackBoxMethod  # noqa: PLC0415
    from whyface.explain.methods import default_methods, open_method  # noqa: PLC0415
    from whyface.explain.registry import parse_specs  # noqa: PLC0415
    from whyface.onnx_runtime import usable_cores  # noqa: PLC0415
    from whyface.record_check import without_paths  # noqa: PLC0415

    specs = None if method is None else parse_specs(method)
    if mate and not non_mate:
        raise InputError("--mate is for triplets; give --non-mate, too")
    _check_targets(figure, report, triplet=bool(non_mate))
    cores = options.threads or usable_cores()
    # Black-box methods run it on one core per worker, see whyface.explain.black_box.
    verifier = options.verifier(prior=prior, threads=1)
    compared = verifier.method
    specs = specs or [(name, name, {}) for name in default_methods(compared)]
    names = [name for _, name, _ in specs]
    comparison = compared.comparison
    embedder = comparison.embedder if comparison.attention is None else None
    given = reference_options(
        reference, embedder, names, aligned=aligned, besides=[photo_a, photo_b], threads=options.threads
    )
    # Open all methods first, so that an unusable one is reported before another has taken its time.
    methods = [
        open_method(
            name,
            compared,
            directory=options.model_dir,
            batch_size=batch_size,
            workers=cores,
            seed=seed,
            **chosen,
            **given.get(name, {}),
        )
        for _, name, chosen in specs
    ]
    # The detector runs alone, so it may use all cores.
    load = partial(_face, aligned=aligned, threads=options.threads, no_paths=no_paths)
    probe, other = load(photo_a, index=face_a), load(photo_b, index=face_b)
    titles = [spec for spec, _, _ in specs]
    if non_mate:
        mates = [other, *map(load, _photos(mate or []))]
        _triplet(
            verifier,
            methods,
            titles,
            probe,
            mates,
            [*map(load, _photos(non_mate))],
            figure,
            as_json=as_json,
            blend=blend,
        )
        return
    verdict = verifier.compare(probe, other)
    verification = without_paths(verdict) if no_paths else verdict
    if verification.explanation.undecided:
        _save_report(verification, report, language)
        # Reasons for a verdict that is open would be reasons for nothing.
        if as_json:
            typer.echo(_document([verification.explanation]))
        else:
            _print(verification.explanation, [verification.explanation], None)
            _print_report(report)
        raise typer.Exit(UNDECIDED)
    faces = verification.face_a, verification.face_b
    found = []
    for opened in methods:
        with progress_bar(opened.name) as progress:
            if isinstance(opened, BlackBoxMethod):
                opened.progress = progress
            warned = replace(opened(faces), warnings=verification.explanation.warnings)
            found.append(replace(verifier.judged(warned), record=verification.explanation.record))
    _save_report(verification, report, language, dict(zip(titles, found, strict=True)))
    if figure is not None:
        _save_figure(verification, found, figure, titles, blend=blend)
    if as_json:
        typer.echo(_document(found))
    else:
        _print(verification.explanation, found, figure, titles)
        _print_report(report)


def _face(photo: Path, *, index: int = 0, aligned: bool, threads: int | None, no_paths: bool) -> Face:
    from whyface.faces.load import load_face  # noqa: PLC0415 - start fast

    face = load_face(photo, aligned=aligned, index=index, threads=threads)
    return replace(face, source=photo.name) if no_paths else face


def _check_targets(figure: Path | None, report: Path | None, *, triplet: bool) -> None:
    if figure is not None:
        check_figure(figure)
    if report is not None:
        check_report(report)
        if triplet:
            raise InputError("a report shows two faces; leave out --report or --non-mate, or use --figure")


def _save_figure(
    verification: Verification, found: list[Explanation], path: Path, titles: Sequence[str], *, blend: bool
) -> None:
    import_matplotlib()
    from whyface.figures.methods import methods_figure  # noqa: PLC0415 - matplotlib is slow to import
    from whyface.figures.style import save_figure  # noqa: PLC0415

    faces = verification.face_a.image, verification.face_b.image
    save_figure(methods_figure(found, *faces, titles=titles, blend=blend), path)


def _save_report(
    verification: Verification,
    path: Path | None,
    language: LanguageName | None,
    others: Mapping[str, Explanation] | None = None,
) -> None:
    if path is not None:
        verification.save_report(path, language=None if language is None else language.value, others=others)


def _print_report(report: Path | None) -> None:
    if report is not None:
        typer.echo(f"Report: {report}")


def _photos(given: Sequence[Path]) -> list[Path]:
    """Return photos, and those in folders. Raise InputError if a folder has none."""
    from whyface.files.photo_folder import list_photos  # noqa: PLC0415 - start fast

    photos: list[Path] = []
    for path in given:
        inside = [path / name for name in list_photos(path).photos] if path.is_dir() else [path]
        if not inside:
            raise InputError(f"{path}: no photos in this folder")
        photos += inside
    return photos


def _triplet(
    verifier: Verifier,
    methods: Sequence[Explains],
    titles: Sequence[str],
    probe: Face,
    mates: Sequence[Face],
    non_mates: Sequence[Face],
    figure: Path | None,
    *,
    as_json: bool,
    blend: bool,
) -> None:
    """Explain what in a probe speaks for its mates rather than for its non-mates."""
    from whyface.explain.triplet import explain_triplet  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415 - start fast

    verdicts = {
        role: [verifier.compare(probe, other).explanation for other in others]
        for role, others in (("mates", mates), ("non_mates", non_mates))
    }
    open_ones = any(verdict.undecided for some in verdicts.values() for verdict in some)
    found = []
    # Reasons for a verdict that is open would be reasons for nothing.
    for opened in () if open_ones else methods:
        with progress_bar(opened.name):
            found.append(explain_triplet(opened, probe, mates, non_mates))
    if figure is not None and found:
        import_matplotlib()
        from whyface.figures.methods import triplet_figure  # noqa: PLC0415 - matplotlib is slow to import
        from whyface.figures.style import save_figure  # noqa: PLC0415

        shown = (probe, mates[0], non_mates[0])
        save_figure(triplet_figure(found, shown, list(verdicts.values()), titles=titles, blend=blend), figure)
    if as_json:
        document = {
            "schema": TRIPLET_SCHEMA,
            **{role: [verdict.to_dict() for verdict in some] for role, some in verdicts.items()},
            "maps": [one.to_dict() for one in found],
        }
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
    else:
        for role, others, some in zip(("Mate", "Non-mate"), (mates, non_mates), verdicts.values(), strict=True):
            for other, verdict in zip(others, some, strict=True):
                # One line among several says nothing unless it says of which photo.
                named = f" {other.source}" if len(some) > 1 and other.source is not None else ""
                typer.echo(f"{role}{named}: {verdict_line(verdict)}")
        for title, one in zip(titles, found, strict=False):
            typer.echo(f"{title}\n  {one.sentence}")
        if figure is not None and found:
            typer.echo(f"Figure: {figure}")
    if alike := sum(verdict.verdict == "match" for verdict in verdicts["non_mates"]):
        which = f"{alike} of {len(non_mates)}"
        typer.echo(f"non-mates that match the probe: {which}; leave out photos of the same person", err=True)
    if open_ones:
        raise typer.Exit(UNDECIDED)


def _document(found: list[Explanation]) -> str:
    document = {"schema": SCHEMA, "explanations": [explanation.to_dict() for explanation in found]}
    return json.dumps(document, indent=2, allow_nan=False)


def _print(
    verdict: Explanation, found: list[Explanation], figure: Path | None, names: Sequence[str] | None = None
) -> None:
    typer.echo(verdict_line(verdict))
    if (line := probability_line(verdict)) is not None:
        typer.echo(line)
    print_choices(verdict)
    for explanation, name in zip(found, names or [one.method for one in found], strict=True):
        typer.echo(f"{name} ({_cost(explanation)})")
        for sentence in _sentences(explanation):
            typer.echo(f"  {sentence}")
    if figure is not None:
        typer.echo(f"Figure: {figure}")


def _sentences(explanation: Explanation) -> tuple[str, ...]:
    from whyface.explain.registry import METHODS  # noqa: PLC0415 - start fast

    entry = METHODS.get(explanation.method)
    if entry is not None and entry.is_control:
        # The map of a control must not be read as reasons.
        return (entry.caption,)
    return explanation.sentences


def _cost(explanation: Explanation) -> str:
    cost = explanation.cost
    text = f"{cost.forward} forward passes"
    if cost.backward:
        text += f", {cost.backward} backward"
    return text if cost.seconds is None else f"{text}, {duration_text(cost.seconds)}"
