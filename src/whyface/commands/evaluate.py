"""``whyface evaluate``: accuracy and error rates of a model on a verification protocol."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from whyface.commands.choices import Attention, GridTensor, ModelFolder, ModelName, OwnPixels, Threads
from whyface.errors import OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from whyface.evaluate.protocols import PairProtocol
    from whyface.evaluate.summary import Summary

SCORES, REPORT, ROC, DET = "scores.parquet", "report.json", "roc.png", "det.png"
_FIGURE_DPI: Final = 200


def evaluate(
    protocol: Annotated[
        str, typer.Option(help="lfw, cfp-ff, cfp-fp, or pairs:FILE with a line 'pathA pathB 1|0' per pair.")
    ],
    data: Annotated[Path, typer.Option(help="Folder or uncompressed tar file of aligned 112 x 112 pictures.")],
    model: ModelName = "xcos-mobilefacenet",
    pairs: Annotated[
        Path | None,
        typer.Option(help="Protocol lfw: the pair file, if it lies not with the pictures.", show_default=False),
    ] = None,
    attention: Annotated[
        Attention | None,
        typer.Option(
            help="u uniform, p correlated, l learned; all that the model has if not given.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write scores (Parquet), report (JSON), ROC and DET figures here.", show_default=False),
    ] = None,
    mirror: Annotated[bool, typer.Option("--mirror", help="Look at every picture mirrored too.")] = False,
    folds: Annotated[int, typer.Option(min=2, help="Protocol pairs:FILE: number of folds.")] = 10,
    replicates: Annotated[int, typer.Option(min=100, help="How often people are resampled for intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    model_dir: ModelFolder = None,
    grid: GridTensor = None,
    pixels: OwnPixels = None,
    threads: Threads = None,
) -> None:
    """Measure a model on a verification protocol: accuracy, error rates, intervals, ROC and DET."""
    from whyface.evaluate.progress import progress_bar  # noqa: PLC0415 - start fast
    from whyface.evaluate.protocol_names import open_protocol, parse_protocol  # noqa: PLC0415
    from whyface.evaluate.report import report_document, run_metadata  # noqa: PLC0415
    from whyface.evaluate.scoring_model import open_scoring_model, score_pairs  # noqa: PLC0415
    from whyface.evaluate.summary import summarise  # noqa: PLC0415
    from whyface.evaluate.text_table import report_text  # noqa: PLC0415

    name = parse_protocol(protocol)
    opened = open_scoring_model(
        model,
        attention=None if attention is None else attention.value,
        directory=model_dir,
        grid=grid,
        preprocessing=None if pixels is None else pixels.preprocessing(),
        threads=threads,
    )
    source, pairing = open_protocol(name, data, pairs=pairs, folds=folds)
    with source:
        if out is not None:
            _prepare(out)
        with progress_bar("Reading faces") as progress:
            scores = score_pairs(opened, source, pairing, mirror=mirror, progress=progress)
    metadata = run_metadata(opened, pairing, data=data.name, mirror=mirror, replicates=replicates, seed=seed)
    summaries = {
        kind: summarise(
            values,
            pairing.genuine,
            pairing.fold,
            pairing.people_left,
            pairing.people_right,
            replicates=replicates,
            seed=seed,
        )
        for kind, values in scores.items()
    }
    document = report_document(metadata, summaries)
    if out is not None:
        _write(out, pairing, scores, summaries, document)
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        return
    typer.echo(report_text(metadata, summaries))
    if out is not None:
        typer.echo(f"Written to {out}: {SCORES}, {REPORT}, {ROC}, {DET}")


def _prepare(out: Path) -> None:
    """Find out before the work, not after it, that the results have nowhere to go."""
    from whyface.evaluate.score_table import require_pyarrow  # noqa: PLC0415

    require_pyarrow()
    try:
        out.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise OutputError(f"{out}: the folder {out.parent} does not exist; create it first") from error
    except FileExistsError as error:
        raise OutputError(f"{out}: is a file; give a folder for the results") from error
    except OSError as error:
        raise OutputError(f"{out}: cannot be created ({error.strerror}); choose another folder") from error
    if not os.access(out, os.W_OK):
        raise OutputError(f"{out}: the folder cannot be written to; choose another")
    for file in (SCORES, REPORT, ROC, DET):
        if (out / file).is_dir():
            raise OutputError(f"{out / file}: is a folder, but a result of this name is to be written; move it")


def _write(
    out: Path,
    protocol: PairProtocol,
    scores: Mapping[str, NDArray[Any]],
    summaries: Mapping[str, Summary],
    document: Mapping[str, Any],
) -> None:
    from whyface.evaluate.score_table import write_scores  # noqa: PLC0415
    from whyface.figures.det import det_figure  # noqa: PLC0415 - matplotlib is slow to import
    from whyface.figures.roc import roc_figure  # noqa: PLC0415
    from whyface.figures.save import save_figure  # noqa: PLC0415
    from whyface.models.atomic_write import write_atomic  # noqa: PLC0415

    metadata = {key: document[key] for key in ("model", "protocol", "settings", "versions")}
    write_scores(out / SCORES, protocol, scores, metadata)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(out / REPORT, f"{text}\n".encode())
    about = metadata["protocol"]
    title = f"{metadata['model']['name']} on {about['name']}"
    subtitle = (
        f"{about['genuine_pairs']} genuine and {about['impostor_pairs']} impostor pairs of {about['people']} people"
    )
    save_figure(roc_figure(summaries, title=f"ROC: {title}", subtitle=subtitle), out / ROC, dpi=_FIGURE_DPI)
    save_figure(det_figure(summaries, title=f"DET: {title}", subtitle=subtitle), out / DET, dpi=_FIGURE_DPI)
