"""``whyface patch``: make a patched protocol such as PatchLFW, measure models on it, and undo the patches."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface.commands.option_blocks import NetworkOptions, takes_options
from whyface.commands.options import AttentionKind
from whyface.commands.verify import check_figure, import_matplotlib
from whyface.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    help="PatchLFW on disk: paste patches, measure what they do, and undo them in the order of a method.",
    no_args_is_help=True,
)

PatchFolder = Annotated[Path, typer.Argument(help="Folder made by whyface patch create.", show_default=False)]
Limit = Annotated[
    float | None,
    typer.Option(help="Match above this score; by default, equal errors on the clean pairs.", show_default=False),
]


class Order(StrEnum):
    """Which pixels are replaced first."""

    BEST_WORST = "best_worst"
    RANDOM = "random"


@app.command()
def create(
    data: Annotated[Path, typer.Argument(help="Folder or tar file of aligned 112 x 112 pictures.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="New folder.", show_default=False)],
    protocol: Annotated[str, typer.Option(help="Protocol of the pairs: lfw, cfp-ff, cfp-fp or pairs:FILE.")] = "lfw",
    pair_file: Annotated[
        Path | None, typer.Option(help="Protocol lfw: the pair file, if not next to the pictures.", show_default=False)
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(min=2, help="Number of pairs, half of them genuine; all if not given.", show_default=False),
    ] = None,
    jpeg: Annotated[bool, typer.Option("--jpeg", help="Store JPEG, as published; PNG keeps every pixel.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of patches and third people.")] = 0,
) -> None:
    """Paste 27 patches of 16 x 16 into the first face of each pair, from the second or, if genuine, from a stranger."""
    import numpy as np  # noqa: PLC0415 - start fast

    from whyface.bench.base import choose_pairs  # noqa: PLC0415
    from whyface.bench.patch_set import write_patch_set  # noqa: PLC0415
    from whyface.data.open_protocol import open_protocol, parse_protocol  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    source, pairing = open_protocol(parse_protocol(protocol), data, pairs=pair_file, folds=2)
    with source, progress_bar("patching") as progress:
        every = np.arange(len(pairing.genuine))
        numbers = every if pairs is None else np.sort(choose_pairs(pairing, pairs, seed))
        write_patch_set(out, pairing, source, numbers, seed=seed, jpeg=jpeg, progress=progress)
    typer.echo(f"{out}: {len(numbers)} pairs; clean, patched, pairs.txt, patch_idx_gen.txt, patch_idx_imp.txt")


@app.command()
@takes_options
def evaluate(
    folder: PatchFolder,
    options: NetworkOptions,
    attention: AttentionKind = None,
    threshold: Limit = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rates as JSON.")] = False,
) -> None:
    """Measure FMR and FNMR of a model without and with the patches."""
    from whyface.bench.patch_set import evaluate_patches, read_patch_set  # noqa: PLC0415 - start fast
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    known = read_patch_set(folder)
    opened = options.open(attention)
    with progress_bar("scoring") as progress:
        found = evaluate_patches(known, opened.comparison(), threshold, progress=progress)
    if as_json:
        document = {
            "model": opened.name,
            "protocol": known.protocol,
            "pairs": len(known.pairs),
            "threshold": found.threshold,
            "clean": found.clean,
            "patched": found.patched,
        }
        typer.echo(json.dumps(document, indent=2, allow_nan=False))
        return
    typer.echo(f"{opened.name}, {known.protocol}, {len(known.pairs)} pairs, threshold {found.threshold:.4f}")
    for name, rates in (("clean", found.clean), ("patched", found.patched)):
        typer.echo(f"{name:8} FMR {100 * rates['FMR']:6.2f} %  FNMR {100 * rates['FNMR']:6.2f} %")


@app.command()
@takes_options
def replace(
    folder: PatchFolder,
    out: Annotated[Path, typer.Argument(help="JSON file for the curve.", show_default=False)],
    options: NetworkOptions,
    strategy: Annotated[
        Order, typer.Option(help="best_worst: in the order of a method's map; random: in a random order.")
    ] = Order.BEST_WORST,
    method: Annotated[str, typer.Option(help="The method; see whyface explain --list.")] = "xssab",
    share: Annotated[
        str | None,
        typer.Option(help="Shares of the pixels with commas between; 0.05 to 0.95 by 0.05.", show_default=False),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Keep the replaced pictures in this folder.", show_default=False)
    ] = None,
    attention: AttentionKind = None,
    threshold: Limit = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the method.")] = 0,
) -> None:
    """Put original pixels back, the most telling first: the sooner the errors go, the better the method."""
    from whyface.bench.patch_set import (  # noqa: PLC0415 - start fast
        PatchCurve,
        evaluate_patches,
        read_patch_set,
        replacement_curve,
    )
    from whyface.bench.planted import STEPS  # noqa: PLC0415
    from whyface.bench.subjects import open_subject  # noqa: PLC0415
    from whyface.faces.face import FACE_SIZE  # noqa: PLC0415
    from whyface.files.integrity import write_atomic  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    known = read_patch_set(folder)
    shares = STEPS[1:] if share is None else parse_shares(share)
    opened = options.open(attention)
    comparison = opened.comparison()
    if threshold is None:
        with progress_bar("threshold") as progress:
            threshold = evaluate_patches(known, comparison, progress=progress).threshold
    # A random order is that of noise with a value of its own for each pixel.
    at_random: Mapping[str, Any] = {"cells": FACE_SIZE}
    subject = open_subject(
        "random" if strategy is Order.RANDOM else method,
        opened,
        comparison,
        threshold=threshold,
        directory=options.model_dir,
        seed=seed,
        workers=options.threads or 2,
        options=at_random if strategy is Order.RANDOM else None,
    )
    with progress_bar("replacing") as progress:
        scores = replacement_curve(known, subject, subject.method.maps, shares, pictures=pictures, progress=progress)
    curve = PatchCurve.of(known, subject, strategy.value, shares, scores)
    write_atomic(out, f"{json.dumps(curve.to_dict(), indent=1, allow_nan=False)}\n".encode())
    for at, fmr, fnmr in zip(curve.shares, curve.fmr, curve.fnmr, strict=True):
        typer.echo(f"{100 * at:3.0f} %  FMR {100 * fmr:6.2f} %  FNMR {100 * fnmr:6.2f} %")
    typer.echo(f"Mean of both over the curve: {100 * curve.area:.2f} %. Written to {out}")


@app.command()
def plot(
    curves: Annotated[list[Path], typer.Argument(help="Files of whyface patch replace.", show_default=False)],
    figure: Annotated[Path, typer.Option(help="Write the figure to this .png, .pdf or .svg.", show_default=False)],
) -> None:
    """Draw the curves of several methods and models in one figure."""
    from whyface.bench.patch_set import PatchCurve  # noqa: PLC0415 - start fast

    check_figure(figure)
    found = [PatchCurve.read(path) for path in curves]
    import_matplotlib()
    from whyface.figures.bench import patch_figure  # noqa: PLC0415 - matplotlib is slow to import
    from whyface.figures.style import save_figure  # noqa: PLC0415

    save_figure(patch_figure(found), figure)
    typer.echo(f"Figure: {figure}")


def parse_shares(text: str) -> tuple[float, ...]:
    """Read ``"0.05,0.5"``. Raise InputError unless they rise and lie between 0 and 1."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"shares must be numbers with commas between, got {text!r}") from error
    if not all(low < high for low, high in zip((0.0, *found), (*found, 1.0), strict=True)):
        raise InputError(f"shares must rise and lie between 0 and 1, got {text!r}")
    return found
