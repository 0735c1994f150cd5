"""``whyface evaluate``: accuracy and error rates of a model on a verification protocol."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from whyface.commands.option_blocks import NetworkOptions, takes_options
from whyface.commands.options import Attention, Sets
from whyface.commands.verify import import_matplotlib
from whyface.errors import InputError, OutputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from whyface.data.open_protocol import OpenedProtocol
    from whyface.data.protocols import PairProtocol
    from whyface.evaluate.rates import Grid
    from whyface.evaluate.sample import RatesAt
    from whyface.evaluate.summary import Summary
    from whyface.xcos.open_model import OpenedModel

SCORES, REPORT, ROC, DET = "scores.parquet", "report.json", "roc.png", "det.png"
EXAMPLES: Final = "examples.png"
_FIGURE_DPI: Final = 200


class Thresholds(StrEnum):
    """How the folds' thresholds are chosen."""

    EXACT = "exact"
    PUBLISHED = "published"

    def grid(self) -> Grid:
        """Return the name that :func:`~whyface.evaluate.rates.fold_accuracy` has for it."""
        return "exact" if self is Thresholds.EXACT else "published"


@takes_options
def evaluate(
    options: NetworkOptions,
    protocol: Annotated[
        str,
        typer.Option(
            help="lfw, cfp-ff, cfp-fp, pairs:FILE (one line 'pathA pathB 1|0' per pair, or a .csv or .parquet with the "
            "columns a, b, genuine), names:FILE (pairs drawn from a list of pictures), bin:FILE (insightface), "
            "bcolz:FOLDER (the xCos authors' sets), or ytf:FILE (videos).",
            show_default=False,
        ),
    ] = "",
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder or uncompressed tar file of aligned 112 x 112 pictures; not for bin and bcolz.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Protocol lfw: the pair file, if not next to the pictures.", show_default=False),
    ] = None,
    attention: Annotated[
        Attention | None,
        typer.Option(help="u uniform, p correlated, l learned; by default all that the model has.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for scores (Parquet), report (JSON), ROC and DET figures.", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Also measure both rates above this score.", show_default=False)
    ] = None,
    fmr: Annotated[
        float | None,
        typer.Option(
            help="Which of the model's own thresholds both rates are measured at: that for this FMR; 1e-3.",
            show_default=False,
        ),
    ] = None,
    plan: Annotated[
        str | None,
        typer.Option(
            help="Only say how many pairs are needed to measure a rate, such as fmr=1e-4 or fnmr=0.01.",
            show_default=False,
        ),
    ] = None,
    record: Annotated[
        bool,
        typer.Option("--record", help="Write the thresholds into your own model's file; verify then needs no number."),
    ] = False,
    mirror: Annotated[bool, typer.Option("--mirror", help="Average over each picture and its mirror image.")] = False,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Protocols pairs, names, bin and bcolz: number of folds; 10.", show_default=False),
    ] = None,
    sets: Annotated[
        Sets, typer.Option(help="Protocol ytf: compare the mean grids of videos, or average the scores of all frames.")
    ] = Sets.GRIDS,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Protocol ytf: maximum number of frames per video.", show_default=False),
    ] = None,
    thresholds: Annotated[
        Thresholds,
        typer.Option(
            help="Thresholds of the folds: every one that makes a difference, or -1, -0.995 ... 0.995 as in the xCos "
            "authors' evaluation."
        ),
    ] = Thresholds.EXACT,
    examples: Annotated[
        int,
        typer.Option(
            min=0, max=10, help="With --out: draw so many right and wrong verdicts of each kind, with S and W."
        ),
    ] = 0,
    align: Annotated[bool, typer.Option("--align", help="The pictures are photos: find and align faces.")] = False,
    align_cache: Annotated[
        Path | None, typer.Option(help="With --align: folder that caches the aligned faces.", show_default=False)
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates for intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Measure a model on a verification protocol: accuracy, error rates, intervals, ROC and DET."""
    from whyface.data.open_protocol import FOLDED, open_any_protocol, parse_protocol  # noqa: PLC0415
    from whyface.evaluate.report import (  # noqa: PLC0415
        report_document,
        report_text,
        run_metadata,
    )
    from whyface.evaluate.scoring import score_pairs  # noqa: PLC0415
    from whyface.evaluate.set_scoring import score_sets  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    if plan is not None:
        _print_plan(plan, as_json=as_json)
        return
    name = parse_protocol(protocol)
    if record and (mirror or name.kind == "ytf"):
        raise InputError("--record is for scores as verify gives them; leave out --mirror and protocol ytf")
    if examples and (out is None or name.kind == "ytf"):
        raise InputError("--examples draws pairs of pictures into the folder of --out; give one, and no protocol ytf")
    scoring = options.open(attention)
    opened = open_any_protocol(
        name,
        data,
        pairs=pairs,
        folds=folds,
        frames=frames,
        align=align,
        align_cache=align_cache,
        threads=options.threads,
    )
    with opened:
        if out is not None:
            _prepare(out)
        if align:
            opened = _aligned(opened)
        with progress_bar("Reading faces") as progress:
            if opened.sets is None:
                scores = score_pairs(scoring, opened.source, opened.pairs, mirror=mirror, progress=progress)
            else:
                scores = score_sets(
                    scoring,
                    opened.source,
                    opened.sets,
                    aggregation=sets.aggregation(),
                    mirror=mirror,
                    progress=progress,
                )
        pairing = opened.pairs
        if examples and out is not None:
            _draw(out, examples, scoring, opened, scores, thresholds, seed)
    settings: dict[str, Any] = {"thresholds": thresholds.value}
    settings |= {} if opened.sets is None else {"sets": sets.value, "frames": frames}
    metadata = run_metadata(
        scoring,
        pairing,
        data=opened.data,
        mirror=mirror,
        replicates=replicates,
        seed=seed,
        about=opened.describe(),
        settings=settings,
    )
    summaries = _summaries(pairing, scores, thresholds, replicates, seed)
    at = _at_thresholds(scoring, pairing, scores, threshold, fmr)
    command = _command(
        protocol=name.kind if name.file is None else f"{name.kind}:{name.file.name}",
        data=None if data is None else data.name,
        model=Path(options.model).name,
        pairs=None if pairs is None else pairs.name,
        attention=None if attention is None else attention.value,
        mirror=mirror,
        folds=(folds or 10) if name.kind in FOLDED else None,
        sets=None if opened.sets is None else sets.value,
        frames=frames,
        align=align,
        thresholds=None if thresholds is Thresholds.EXACT else thresholds.value,
        examples=examples or None,
        threshold=threshold,
        fmr=fmr,
        replicates=replicates,
        seed=seed,
        grid=options.grid,
        output=options.output,
        pixels=None if options.pixels is None else options.pixels.value,
        size=options.size,
        unchecked=options.unchecked,
    )
    document = report_document(metadata, summaries, at=at, command=command)
    if out is not None:
        _write(out, pairing, scores, summaries, document)
    recorded = _record(options.model, scoring, pairing, scores) if record else None
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        return
    typer.echo(report_text(metadata, summaries, at=at))
    if out is not None:
        typer.echo(f"Written to {out}: {SCORES}, {REPORT}, {ROC}, {DET}{f', {EXAMPLES}' if examples else ''}")
    if recorded is not None:
        typer.echo(recorded)


def _print_plan(wanted: str, *, as_json: bool) -> None:
    from whyface.evaluate.sample import describe_plan, plan  # noqa: PLC0415 - start fast

    document = plan(wanted)
    typer.echo(json.dumps(document, indent=2) if as_json else describe_plan(document))


def _at_thresholds(
    scoring: OpenedModel,
    protocol: PairProtocol,
    scores: Mapping[str, NDArray[Any]],
    threshold: float | None,
    fmr: float | None,
) -> dict[str, list[RatesAt]]:
    """Measure both rates at the model's own threshold, where it has one, and at the one given."""
    from whyface.evaluate.sample import rates_at  # noqa: PLC0415 - start fast
    from whyface.models.operating_point import DEFAULT_FMR  # noqa: PLC0415

    pairs = protocol.genuine, protocol.people_left.tolist(), protocol.people_right.tolist()
    found: dict[str, list[RatesAt]] = {}
    for kind, values in scores.items():
        wanted: list[tuple[float, str]] = []
        if scoring.entry is not None and (fmr is not None or DEFAULT_FMR in scoring.entry.measured(kind)):
            point = scoring.entry.operating_point(kind, fmr=DEFAULT_FMR if fmr is None else fmr)
            wanted.append((point.threshold, f"{point.name} on {point.dataset}"))
        elif fmr is not None:
            raise InputError(f"{scoring.name}: no thresholds are on record; give one with --threshold")
        if threshold is not None:
            wanted.append((threshold, "set by the user"))
        found[kind] = [rates_at(values, *pairs, number, origin) for number, origin in wanted]
    return found


def _draw(
    out: Path,
    count: int,
    scoring: OpenedModel,
    opened: OpenedProtocol,
    scores: Mapping[str, NDArray[Any]],
    thresholds: Thresholds,
    seed: int,
) -> None:
    """Draw examples of all outcomes, by the last kind of score, which is learned attention where there is one."""
    import numpy as np  # noqa: PLC0415 - start fast

    from whyface.evaluate.rates import fold_accuracy  # noqa: PLC0415
    from whyface.figures.examples import draw_examples, examples_figure  # noqa: PLC0415
    from whyface.figures.style import save_figure  # noqa: PLC0415
    from whyface.files.integrity import make_folder  # noqa: PLC0415

    import_matplotlib()
    kind = list(scoring.comparisons)[-1]
    pairing, values = opened.pairs, scores[kind]
    folds = fold_accuracy(values, pairing.genuine, pairing.fold, grid=thresholds.grid())
    limits = folds.thresholds[np.unique(pairing.fold, return_inverse=True)[1]]
    drawn = draw_examples(scoring.comparisons[kind], opened.source, pairing, values, limits, count=count, seed=seed)
    figure = examples_figure(
        drawn,
        title=f"{scoring.name} on {pairing.name}",
        subtitle=f"Drawn at random (seed {seed}) among {len(values)} pairs; S is blue above the threshold of the fold",
    )
    make_folder(out)
    save_figure(figure, out / EXAMPLES, dpi=_FIGURE_DPI)


def _summaries(
    protocol: PairProtocol,
    scores: Mapping[str, NDArray[Any]],
    thresholds: Thresholds,
    replicates: int,
    seed: int,
) -> dict[str, Summary]:
    from whyface.evaluate.summary import summarise  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    found: dict[str, Summary] = {}
    rows = protocol.genuine, protocol.fold, protocol.people_left, protocol.people_right
    with progress_bar("Resampling people") as progress:
        for kind, values in scores.items():
            found[kind] = summarise(values, *rows, replicates=replicates, seed=seed, grid=thresholds.grid())
            progress(len(found), len(scores))
    return found


def _record(model: str, scoring: OpenedModel, protocol: PairProtocol, scores: Mapping[str, NDArray[Any]]) -> str:
    """Write the thresholds that the pairs support into the model's file; say in one line which and where."""
    from whyface.evaluate.summary import operating_points  # noqa: PLC0415
    from whyface.models.recorded_thresholds import record_thresholds  # noqa: PLC0415

    dataset = f"{protocol.name}, {len(protocol.genuine)} pairs"
    points = {
        kind: [
            point
            for point in operating_points(
                values, protocol.genuine, protocol.people_left.tolist(), protocol.people_right.tolist(), dataset=dataset
            )
            # Too few impostor pairs for the rate.
            if not point.note
        ]
        for kind, values in scores.items()
    }
    path = record_thresholds(model, scoring.comparison().embedder, points)
    said = "; ".join(f"{kind}: {', '.join(point.name for point in found)}" for kind, found in points.items())
    return f"Thresholds written to {path}: {said}"


def _command(**given: str | float | bool | None) -> str:
    """Return the command line that was run, with file names but without folders."""
    words = ["whyface", "evaluate"]
    for name, value in given.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return shlex.join(words)


def _aligned(opened: OpenedProtocol) -> OpenedProtocol:
    """Find and align all faces, leaving out pictures without one."""
    from whyface.data.aligning import AligningPictures  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    assert isinstance(opened.source, AligningPictures)
    with progress_bar("Aligning faces") as progress:
        return opened.without(opened.source.prepare(opened.pictures, progress))


def _prepare(out: Path) -> None:
    """Check before the work that the results can be written."""
    from whyface.files.integrity import check_folder  # noqa: PLC0415
    from whyface.files.parts import require_pyarrow  # noqa: PLC0415

    require_pyarrow()
    check_folder(out)
    for file in (SCORES, REPORT, ROC, DET):
        if (out / file).is_dir():
            raise OutputError(f"{out / file}: is a folder, but a result file needs this name; move it")


def _write(
    out: Path,
    protocol: PairProtocol,
    scores: Mapping[str, NDArray[Any]],
    summaries: Mapping[str, Summary],
    document: Mapping[str, Any],
) -> None:
    from whyface.evaluate.report import write_scores  # noqa: PLC0415
    from whyface.figures.error_curves import det_figure, roc_figure  # noqa: PLC0415
    from whyface.figures.style import save_figure  # noqa: PLC0415
    from whyface.files.integrity import make_folder, write_atomic  # noqa: PLC0415

    import_matplotlib()
    make_folder(out)
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
