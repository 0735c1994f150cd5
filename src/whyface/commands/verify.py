"""``whyface verify``, ``whyface demo`` and ``whyface models``: verify two photos, and list the models."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from whyface.commands.option_blocks import ModelOptions, takes_options
from whyface.commands.options import Aligned, FaceA, FaceB, Figure, ModelFolder, NoPaths
from whyface.errors import InputError, OutputError, WhyfaceError

if TYPE_CHECKING:
    from whyface.explain.explanation import Explanation
    from whyface.models.operating_point import OperatingPoint
    from whyface.verification import Verification, Verifier


MATCH: Final = 0
NO_MATCH: Final = 1
UNDECIDED: Final = 3


class LanguageName(StrEnum):
    """The languages of a report."""

    EN = "en"
    DE = "de"


Language = Annotated[
    LanguageName | None,
    typer.Option(help="Language that the report opens in; by default the reader's.", show_default=False),
]

Report = Annotated[
    Path | None,
    typer.Option(
        help="Write an interactive report that needs nothing else, .html, or the same on paper, .pdf.",
        show_default=False,
    ),
]

Prior = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Prior probability that two photos show the same person; by default that of the calibration (0.5).",
        show_default=False,
    ),
]


@takes_options
def verify(
    options: ModelOptions,
    photo_a: Annotated[Path | None, typer.Argument(help="First photo.", show_default=False)] = None,
    photo_b: Annotated[Path | None, typer.Argument(help="Second photo.", show_default=False)] = None,
    set_a: Annotated[
        Path | None, typer.Option(help="Instead: folder with photos of one person.", show_default=False)
    ] = None,
    set_b: Annotated[
        Path | None, typer.Option(help="With --set-a: folder to compare it with.", show_default=False)
    ] = None,
    prior: Prior = None,
    likelihood: Annotated[
        bool, typer.Option("--likelihood", help="Print the likelihood ratio, with a phrase of ENFSI's scale.")
    ] = False,
    threshold_from: Annotated[
        Path | None,
        typer.Option(
            help="Take the threshold at --fmr, with its error rates, from a report.json of whyface evaluate.",
            show_default=False,
        ),
    ] = None,
    figure: Figure = None,
    report: Report = None,
    language: Language = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole explanation as JSON.")] = False,
    aligned: Aligned = False,
    face_a: FaceA = 0,
    face_b: FaceB = 0,
    any_face: Annotated[
        bool, typer.Option("--any-face", help="Compare all faces of both photos and take the most alike pair.")
    ] = False,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="Refuse larger photos.")] = 50.0,
    no_paths: NoPaths = False,
    note: Annotated[str, typer.Option(help="A note for the record in the JSON.", show_default=False)] = "",
    checks: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            help="Also run this check of an installed package on both photos; the verdict never depends on it. May be "
            "given several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Decide whether two photos, or two sets of photos, show the same person, with reasons.

    Exit status: 0 match, 1 no match, 2 bad input, 3 undecided.
    """
    _check_options(figure, report, max_megapixels, any_face=any_face, one_face=aligned or face_a or face_b)
    if set_a is not None and set_b is not None:
        if photo_a is not None or any_face or face_a or face_b or checks or prior is not None:
            raise InputError(
                "--set-a and --set-b compare the largest face of each photo; give two folders and no photo, "
                "--any-face, --face-a, --face-b, --check or --prior"
            )
        result = _verify_sets(
            options.verifier(measured=threshold_from), set_a, set_b, aligned=aligned, note=note, no_paths=no_paths
        )
    elif photo_a is None or photo_b is None or set_a is not None or set_b is not None:
        raise InputError("give two photos, or two folders: --set-a FOLDER --set-b FOLDER")
    else:
        result = options.verifier(prior=prior, measured=threshold_from)(
            photo_a,
            photo_b,
            aligned=aligned,
            face_a=face_a,
            face_b=face_b,
            any_face=any_face,
            max_pixels=int(max_megapixels * 1e6),
            note=note,
            checks=checks or (),
        )
    if no_paths:
        from whyface.record_check import without_paths  # noqa: PLC0415 - start fast

        result = without_paths(result)
    if figure is not None:
        import_matplotlib()
        result.save_figure(figure)
    if report is not None:
        result.save_report(report, language=None if language is None else language.value)
    if as_json:
        plain = result.explanation.to_dict()
        plain |= {"checks": [check.to_dict() for check in result.checks]} if checks else {}
        typer.echo(json.dumps(plain, allow_nan=False, indent=2))
    else:
        _print_result(result, figure, likelihood=likelihood)
        if report is not None:
            typer.echo(f"Report: {report}")
    raise typer.Exit(exit_status(result.explanation))


def _check_options(
    figure: Path | None, report: Path | None, max_megapixels: float, *, any_face: bool, one_face: bool | int
) -> None:
    if not math.isfinite(max_megapixels):
        raise InputError(f"--max-megapixels must be a number, got {max_megapixels}")
    if figure is not None:
        check_figure(figure)
    if report is not None:
        check_report(report)
    if any_face and one_face:
        raise InputError("--any-face compares all faces of both photos; leave out --aligned, --face-a and --face-b")


def _verify_sets(
    verifier: Verifier, set_a: Path, set_b: Path, *, aligned: bool, note: str, no_paths: bool
) -> Verification:
    from whyface.faces.face import describe_choices  # noqa: PLC0415
    from whyface.faces.load import other_photos  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415
    from whyface.set_verification import verify_sets  # noqa: PLC0415 - start fast

    sides = []
    for folder in (set_a, set_b):
        with progress_bar(f"reading {folder.name}") as progress:
            faces, left_out = other_photos(folder, aligned=aligned, threads=verifier.threads, progress=progress)
        for reason in left_out:
            typer.echo(f"Left out: {reason}", err=True)
        if (several := describe_choices(faces)) is not None:
            typer.echo(several, err=True)
        sides.append([replace(face, source=Path(face.source).name) for face in faces] if no_paths else faces)
    return verify_sets(verifier, *sides, note=note)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path(),
) -> None:
    """Verify the public-domain photos that come with whyface: two of one man, and one of another."""
    from whyface.demo import DEMO_PAIRS, demo_photo  # noqa: PLC0415
    from whyface.verification import Verifier  # noqa: PLC0415

    for pair in DEMO_PAIRS:
        check_figure(out / pair.figure)
    import_matplotlib()
    verifier = Verifier()
    expected = True
    for pair in DEMO_PAIRS:
        result = verifier(demo_photo(pair.photo_a), demo_photo(pair.photo_b))
        result.save_figure(out / pair.figure)
        typer.echo(f"{pair.title}")
        _print_result(result, out / pair.figure)
        typer.echo("")
        expected &= result.is_match == pair.same_person
    raise typer.Exit(0 if expected else 1)


def exit_status(explanation: Explanation) -> int:
    """Return what the process says about a verdict."""
    if explanation.undecided:
        return UNDECIDED
    return MATCH if explanation.is_match else NO_MATCH


def _print_result(result: Verification, figure: Path | None, *, likelihood: bool = False) -> None:
    typer.echo(verdict_line(result.explanation))
    if (line := probability_line(result.explanation)) is not None:
        typer.echo(line)
    ratio = result.explanation.likelihood
    if likelihood and not result.explanation.undecided:
        typer.echo(
            f"Likelihood ratio: {'none is on record' if ratio is None else f'{ratio.describe()} ({ratio.source})'}"
        )
    print_choices(result.explanation)
    for sentence in result.sentences[1 if result.explanation.undecided else 0 :]:
        typer.echo(sentence)
    for check in result.checks:
        typer.echo(check.describe())
    if figure is not None:
        typer.echo(f"Figure: {figure}")


def print_choices(explanation: Explanation) -> None:
    """Print for each photo with several faces which was taken."""
    from whyface.faces.face import describe_choice  # noqa: PLC0415 - start fast

    for face in explanation.faces or ():
        if (line := describe_choice(face)) is not None:
            typer.echo(line)


def verdict_line(explanation: Explanation) -> str:
    """Return the verdict, the score and the threshold in one line; an undecided verdict has neither."""
    if explanation.undecided:
        return f"UNDECIDED: {explanation.doubt}"
    relation = ">" if explanation.is_match else "<="
    return (
        f"{explanation.verdict.upper()}: score {explanation.score:.4f} {relation} "
        f"threshold {explanation.threshold:.4f} ({explanation.threshold_source.describe()})"
    )


def probability_line(explanation: Explanation) -> str | None:
    """Return the probability and its calibration in one line, or None if there is none."""
    from whyface.models.calibration import percent  # noqa: PLC0415 - start fast

    if explanation.probability is None:
        return None
    given = percent(explanation.probability, explanation.probability_bound)
    return f"Probability of the same person: {given} ({explanation.probability_source})"


def check_figure(path: Path) -> None:
    """Check before the work that a figure can be written, and as this kind of file."""
    from whyface.figures.style import check_kind  # noqa: PLC0415 - start fast

    check_writable(path, "figure")
    check_kind(path.suffix.lower(), str(path))


def check_writable(path: Path, what: str) -> None:
    """Check before the work that the result can be written."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give a file name for the {what}")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} cannot be written to; choose another")


def check_report(path: Path) -> None:
    """Check before the work that a report can be written."""
    from whyface.page.printing import check_report_path  # noqa: PLC0415 - start fast

    check_writable(path, "report")
    check_report_path(path)


def import_matplotlib() -> None:
    """Import matplotlib before a figure is drawn, so that it writes nothing to the user's home.

    By default it creates a settings folder there and a list of all fonts; figures only use the fonts that come with it.
    Only the command line does this. Programs that use whyface as a library decide for themselves with ``MPLCONFIGDIR``.
    """
    if "MPLCONFIGDIR" in os.environ or "matplotlib" in sys.modules:
        return
    with caches_elsewhere("MPLCONFIGDIR"):
        os.environ["MPL_IGNORE_SYSTEM_FONTS"] = "1"
        import matplotlib.font_manager  # noqa: PLC0415

        # matplotlib caches these folders, and does not need them once the fonts are known.
        matplotlib.get_configdir()
        matplotlib.get_cachedir()


@contextmanager
def caches_elsewhere(*variables: str) -> Iterator[None]:
    """Redirect caches of other packages to a temporary folder by environment variables, unless the user set them."""
    import tempfile  # noqa: PLC0415 - start fast

    own = [name for name in variables if name not in os.environ]
    with tempfile.TemporaryDirectory(prefix="whyface-") as folder:
        os.environ.update(dict.fromkeys(own, folder))
        try:
            yield
        finally:
            for name in own:
                del os.environ[name]


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything on record as JSON.")] = False,
    model_dir: ModelFolder = None,
) -> None:
    """List the known models: licence, files, accuracy, thresholds."""
    from whyface.models.catalogue import known_models, zoo_path  # noqa: PLC0415

    if as_json:
        typer.echo(zoo_path().read_text(encoding="utf-8").rstrip())
        return
    for entry in known_models():
        try:
            for role in entry.files:
                entry.locate(role, directory=model_dir)
            state = "comes with whyface" if entry.shipped else "found"
        except WhyfaceError as error:
            state = f"not usable: {error}"
        typer.echo(f"{entry.name}\n  {entry.summary}\n  licence  {entry.licence}\n  data     {entry.training_data}")
        typer.echo(f"  files    {state}")
        for attention, points in entry.thresholds.items():
            for point in points:
                typer.echo(f"  {attention:8} {_describe_point(point)}")
        typer.echo("")


def _describe_point(point: OperatingPoint) -> str:
    rates = []
    for name, rate, interval in (("FMR", point.fmr, point.fmr_interval), ("FNMR", point.fnmr, point.fnmr_interval)):
        known = "" if interval is None else f" ({interval[0]:.2%} to {interval[1]:.2%})"
        rates.append(f"{name} {rate:.2%}{known}")
    return f"{point.name}: threshold {point.threshold:.4f}, {', '.join(rates)}; {point.dataset}"


def leave_open(doubt: str, advice: str, *, as_json: bool) -> NoReturn:
    """Say why there are no words, and end with the exit status of an undecided verdict.

    Parameters
    ----------
    doubt, advice
        The reason, and what to do about it.
    as_json
        Print JSON.
    """
    document = {"verdict": "undecided", "doubt": doubt}
    typer.echo(json.dumps(document, indent=4) if as_json else f"UNDECIDED: {doubt}\n{advice}")
    raise typer.Exit(UNDECIDED)
