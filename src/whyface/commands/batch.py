"""``whyface batch``: compare many pairs of photos and write the results to one file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whyface.commands.option_blocks import EngineOptions, ModelOptions, takes_options
from whyface.commands.options import Aligned, count_of
from whyface.commands.verify import Language, Prior, check_writable


class FolderChoice(StrEnum):
    """Which pairs of a folder to compare."""

    ALL = "all"
    GENUINE = "genuine"


@takes_options
def batch(
    pairs: Annotated[
        Path, typer.Argument(help="CSV file with the columns a and b, or a folder of photos.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The .csv or .parquet file to write.", show_default=False)],
    options: ModelOptions,
    workers: EngineOptions,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder that the names in the CSV file are relative to; its own by default.", show_default=False
        ),
    ] = None,
    which: Annotated[
        FolderChoice, typer.Option("--pairs", help="For a folder: all pairs, or only pairs of the same person.")
    ] = FolderChoice.ALL,
    prior: Prior = None,
    aligned: Aligned = False,
    reports: Annotated[
        Path | None,
        typer.Option(help="Also write a report about each pair into this folder, with an index.", show_default=False),
    ] = None,
    language: Language = None,
    maps: Annotated[bool, typer.Option("--maps", help="Keep S and W of every pair.")] = False,
) -> None:
    """Compare many pairs. A bad photo gives a row with the reason. Run it again to resume a run that was stopped."""
    from whyface.batch.pair_source import open_pair_source  # noqa: PLC0415 - start fast
    from whyface.batch.result_file import result_ending  # noqa: PLC0415
    from whyface.batch.run import run_batch  # noqa: PLC0415
    from whyface.files.integrity import check_folder  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415
    from whyface.page.batch_reports import INDEX, write_reports  # noqa: PLC0415

    check_writable(out, "results")
    result_ending(out)
    if reports is not None:
        check_folder(reports, empty=True)
    source = open_pair_source(pairs, folder=data, pairs="all" if which is FolderChoice.ALL else "genuine")
    settings = options.comparer_settings(prior=prior, aligned=aligned, maps=maps)
    with progress_bar("comparing pairs") as progress:
        report = run_batch(source, settings, out, threads=options.threads, engine=workers.open(), progress=progress)
    before = f", {report.resumed} of them from an earlier run" if report.resumed else ""
    typer.echo(f"{out}: {count_of(report.rows, 'row')}{before}: {report.describe()}")
    if reports is not None:
        opening = None if language is None else language.value
        with progress_bar("writing reports") as progress:
            count = write_reports(
                source, settings, reports, threads=options.threads, language=opening, progress=progress
            )
        typer.echo(f"{reports / INDEX}: {count_of(count, 'report')}")
    if left := source.passed_over():
        typer.echo(left)
    if report.undecided:
        typer.echo("why a row is undecided is in the column doubt; --accept-poor decides all the same")
    if report.errors:
        typer.echo("why a row failed is in the column error")
