"""The command line: parse, call, print.

Exit status: 0 match (or done), 1 no match, 2 bad input, with one line on stderr.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface import __version__
from whyface.commands.choices import Attention, Pixels
from whyface.commands.evaluate import evaluate
from whyface.errors import OutputError, WhyfaceError

if TYPE_CHECKING:
    from whyface.verification import Verification

app = typer.Typer(
    name="whyface",
    help="Explainable face verification: is it the same person, and why does the model say so?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

MATCH, NO_MATCH, BAD_INPUT = 0, 1, 2


def _version(value: bool) -> None:
    if value:
        typer.echo(f"whyface {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def verify(
    photo_a: Annotated[Path, typer.Argument(help="First photo.", show_default=False)],
    photo_b: Annotated[Path, typer.Argument(help="Second photo.", show_default=False)],
    model: Annotated[
        str, typer.Option(help="Known model, or path of an ONNX network of your own.")
    ] = "xcos-mobilefacenet",
    attention: Annotated[
        Attention | None,
        typer.Option(help="u uniform, p correlated, l learned; the model's own if not given.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Match above this score, instead of a measured threshold.", show_default=False)
    ] = None,
    fmr: Annotated[
        float | None,
        typer.Option(
            help="Take the threshold measured for this false match rate: 1e-2 or 1e-3 (default).", show_default=False
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Write the figure here (.png, .pdf or .svg).", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole explanation as JSON.")] = False,
    aligned: Annotated[bool, typer.Option("--aligned", help="The photos are aligned 112 x 112 crops.")] = False,
    face_a: Annotated[int, typer.Option(min=0, help="Which face of photo A; 0 is the largest.")] = 0,
    face_b: Annotated[int, typer.Option(min=0, help="Which face of photo B; 0 is the largest.")] = 0,
    max_megapixels: Annotated[float, typer.Option(min=0.01, help="Refuse larger photos.")] = 50.0,
    model_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="WHYFACE_MODELS", help="Folder of models that do not come with whyface.", show_default=False
        ),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="Own ONNX network: the tensor with its last spatial map.", show_default=False)
    ] = None,
    pixels: Annotated[
        Pixels | None, typer.Option(help="Own ONNX network: what it wants done to the pixels.", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to use.", show_default=False)] = None,
) -> None:
    """Say whether two photos show one person, and why. Exit status: 0 match, 1 no match, 2 bad input."""
    from whyface.verification import Verifier  # noqa: PLC0415 - start fast

    if figure is not None:
        _check_writable(figure)
    verifier = Verifier(
        model,
        attention=None if attention is None else attention.value,
        threshold=threshold,
        fmr=fmr,
        model_directory=model_dir,
        grid=grid,
        preprocessing=None if pixels is None else pixels.preprocessing(),
        threads=threads,
    )
    result = verifier(
        photo_a, photo_b, aligned=aligned, face_a=face_a, face_b=face_b, max_pixels=int(max_megapixels * 1e6)
    )
    if figure is not None:
        result.save_figure(figure)
    if as_json:
        typer.echo(result.explanation.to_json(indent=2))
    else:
        _print_result(result, figure)
    raise typer.Exit(MATCH if result.is_match else NO_MATCH)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path(),
) -> None:
    """Verify three public-domain photos that come with whyface: one man twice, and another man."""
    from whyface.demo import DEMO_PAIRS, demo_photo  # noqa: PLC0415
    from whyface.verification import Verifier  # noqa: PLC0415

    for pair in DEMO_PAIRS:
        _check_writable(out / pair.figure)
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


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything on record as JSON.")] = False,
    model_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="WHYFACE_MODELS", help="Folder of models that do not come with whyface.", show_default=False
        ),
    ] = None,
) -> None:
    """List the known models: licence, files, accuracy, thresholds."""
    from whyface.models.zoo import known_models, model_file, zoo_path  # noqa: PLC0415

    if as_json:
        typer.echo(zoo_path().read_text(encoding="utf-8").rstrip())
        return
    for entry in known_models():
        try:
            for role in entry.files:
                model_file(entry, role, directory=model_dir)
            state = "comes with whyface" if entry.shipped else "found"
        except WhyfaceError as error:
            state = f"not usable: {error}"
        typer.echo(f"{entry.name}\n  {entry.summary}\n  licence  {entry.licence}\n  data     {entry.training_data}")
        typer.echo(f"  files    {state}")
        for attention, points in entry.thresholds.items():
            for point in points:
                typer.echo(f"  {attention:8} {_describe_point(point)}")
        typer.echo("")


app.command()(evaluate)


def _describe_point(point: Any) -> str:
    rates = []
    for name in ("fmr", "fnmr"):
        low, high = point[f"{name}_interval"]
        rates.append(f"{name.upper()} {point[name]:.2%} ({low:.2%} to {high:.2%})")
    return f"{point['name']}: threshold {point['threshold']:.4f}, {', '.join(rates)}; {point['dataset']}"


def _print_result(result: Verification, figure: Path | None) -> None:
    explanation = result.explanation
    relation = ">" if result.is_match else "<="
    typer.echo(
        f"{explanation.verdict.upper()}: score {explanation.score:.4f} {relation} "
        f"threshold {explanation.threshold:.4f} ({explanation.threshold_source.describe()})"
    )
    for face in (result.face_a, result.face_b):
        if face.count > 1:
            which = "the largest" if face.index == 0 else f"number {face.index}"
            typer.echo(f"{face.source}: {face.count} faces found, used {which}")
    for sentence in result.sentences:
        typer.echo(sentence)
    if figure is not None:
        typer.echo(f"Figure: {figure}")


def _check_writable(path: Path) -> None:
    """Find out before the work, not after it, that the result has nowhere to go."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder; give a file name for the figure")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} cannot be written to; choose another")


def main() -> None:
    """Run the command line; every error that a user can cause ends in one line and status 2."""
    try:
        status = app(standalone_mode=False)
    except WhyfaceError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        # Typer's usage errors have moved between libraries; they all carry their message this way.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        _fail(message() or "see whyface --help")
    else:
        sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    print(f"whyface: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
