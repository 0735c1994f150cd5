"""``whyface audit``: error rates by group of people, from scores or from pairs of photos."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from whyface.commands.option_blocks import ModelOptions, takes_options
from whyface.commands.options import Aligned
from whyface.errors import InputError, OutputError

if TYPE_CHECKING:
    from whyface.data.pair_table import Table

SCHEMA: Final = "whyface/audit/1"
PAIRS, HTML, JSON_FILE, PARQUET = "pairs.parquet", "audit.html", "audit.json", "audit.parquet"

NOTES: Final = (
    "FMR is the false match rate, of non-mated comparisons (impostor pairs); FNMR the false non-match rate, of mated "
    "ones (genuine pairs). A demographic differential is a difference of rates between groups (ISO/IEC 19795-10).",
    "Rates within a group are of pairs of two people of it. Strangers of one group are more alike than strangers of "
    "two, so the FMR within groups is the higher one, and the threshold's own FMR was measured on all strangers.",
    "Intervals are for 95 %, over people: Wilson's, widened where pairs share people; for shifts, differentials and "
    "places by resampling people. Without any error, pairs count as independent and the interval may be too narrow. "
    "None knows anything of people who are not in the sample.",
    "Max over geometric mean (NIST FRVT part 8) is 1 where all rates are equal; by chance it is higher, the more so "
    "the smaller the groups. GARBE is the mean of the Gini coefficients of FMR and FNMR, 0 where all are equal.",
    "Undecided pairs have a face that is too poor for a verdict and are in no error rate: read both columns together.",
    "Groups are as labelled by whoever made the table. This report measures; it claims no compliance with any law.",
)


@takes_options
def audit(
    pairs: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet: scored pairs, such as whyface batch and evaluate write, or a CSV of photos (a, b) to "
            "compare first.",
            show_default=False,
        ),
    ],
    by: Annotated[
        list[str],
        typer.Option(
            help="Column of groups; with commas between several, their crossing. May be given several times.",
            show_default=False,
        ),
    ],
    options: ModelOptions,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet with the groups of each picture or person, if not in PAIRS as NAME_a and NAME_b.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder that photos are relative to; that of PAIRS by default.", show_default=False),
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="Column with the scores, if there are several.", show_default=False)
    ] = None,
    smallest: Annotated[int, typer.Option(min=2, help="Fewest people of a group whose rates are reported.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the report (HTML), JSON and Parquet, and the scores of photos.", show_default=False
        ),
    ] = None,
    aligned: Aligned = False,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates over people.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Measure error rates by group of people: FMR and FNMR with intervals over people, differentials, and why."""
    from whyface.data.pair_table import read_table  # noqa: PLC0415 - start fast
    from whyface.evaluate.group_rates import audit_groups  # noqa: PLC0415
    from whyface.evaluate.group_table import assemble  # noqa: PLC0415
    from whyface.explain.verdict import software_versions  # noqa: PLC0415
    from whyface.files.integrity import check_folder  # noqa: PLC0415
    from whyface.files.parts import require_pyarrow  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    columns = [[name.strip() for name in one.split(",") if name.strip()] for one in by]
    if not all(columns):
        raise InputError("--by needs the name of a column of groups")
    if out is not None:
        require_pyarrow()
        check_folder(out)
    table = read_table(pairs)
    if score is None and not any(name == "score" or name.startswith("score_") for name in table.columns):
        _check_labels(table, groups, columns)
        table = _scored(pairs, options, data, out, aligned=aligned)
    ready = assemble(table, groups=groups, score=score)
    threshold, source = _threshold(table, options)
    audits = []
    with progress_bar("resampling people") as progress:
        for names in columns:
            found = audit_groups(ready.grouped(names), threshold, smallest=smallest, replicates=replicates, seed=seed)
            enrolled = ready.enrolment(names)
            failures = None if enrolled is None else {name: rate.to_dict() for name, rate in enrolled.items()}
            audits.append({"by": names, **found.to_dict(), "failure_to_enrol": failures})
            progress(len(audits), len(columns))
    document = {
        "schema": SCHEMA,
        "command": _command(pairs, by, groups, score, smallest, replicates, seed, options),
        "source": pairs.name,
        "threshold": threshold,
        "threshold_source": source,
        "smallest": smallest,
        "replicates": replicates,
        "seed": seed,
        "pairs": len(ready.score),
        "genuine_pairs": int(ready.genuine.sum()),
        "undecided": int(ready.undecided.sum()),
        "failed": int(ready.failed.sum()),
        "remarks": list(ready.remarks),
        "audits": audits,
        "notes": list(NOTES),
        "versions": software_versions(),
    }
    if out is not None:
        _write(out, document)
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
        return
    typer.echo(_text(document))
    if out is not None:
        typer.echo(f"Written to {out}: {HTML}, {JSON_FILE}, {PARQUET}")


def _check_labels(table: Table, groups: Path | None, columns: list[list[str]]) -> None:
    """Raise, before photos are compared for hours, what the labels of their pairs would raise afterwards."""
    import numpy as np  # noqa: PLC0415

    from whyface.evaluate.group_table import assemble  # noqa: PLC0415

    unscored = {**table.columns, "score": np.full(len(table), "")}
    ready = assemble(replace(table, columns=unscored), groups=groups, score="score")
    for names in columns:
        ready.grouped(names)


def _scored(pairs: Path, options: ModelOptions, data: Path | None, out: Path | None, *, aligned: bool) -> Table:
    """Compare pairs of photos, in resumable parts, and return the table of results."""
    from whyface.batch.pair_source import open_pair_source  # noqa: PLC0415
    from whyface.batch.run import parts_folder, run_batch  # noqa: PLC0415
    from whyface.data.pair_table import read_table  # noqa: PLC0415
    from whyface.files.integrity import make_folder  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415
    from whyface.xcos.open_model import known_entry  # noqa: PLC0415

    if out is None:
        raise InputError(f"{pairs}: has no column 'score', so its photos are compared first: give --out for the scores")
    if pairs.suffix.lower() != ".csv":
        raise InputError(f"{pairs}: has no column 'score'; pairs of photos to compare are a CSV file")
    entry = known_entry(options.model, grid=options.grid, output=options.output, preprocessing=options.preprocessing)
    maps = options.attention is not None or (entry is not None and entry.kind == "xcos")
    if (out / PAIRS).exists() and not parts_folder(out / PAIRS).is_dir():
        raise OutputError(
            f"{out / PAIRS}: exists already, with the scores of a run before; audit it in place of {pairs}, or choose "
            "another --out"
        )
    source = open_pair_source(pairs, folder=data)
    settings = options.comparer_settings(aligned=aligned, maps=maps)
    make_folder(out)
    with progress_bar("comparing pairs") as progress:
        run_batch(source, settings, out / PAIRS, threads=options.threads, progress=progress)
    return read_table(out / PAIRS)


def _threshold(table: Table, options: ModelOptions) -> tuple[float, str]:
    """Return the threshold and where it is from: a number given, the model's at an FMR, or the one in the table."""
    import numpy as np  # noqa: PLC0415

    from whyface.xcos.open_model import known_entry  # noqa: PLC0415

    if options.threshold is not None:
        if options.fmr is not None:
            raise InputError("give a threshold or an FMR, not both")
        if not np.isfinite(options.threshold):
            raise InputError(f"a threshold must be a number, got {options.threshold:g}")
        return options.threshold, "set by the user"
    if options.fmr is None:
        if "threshold" not in table.columns:
            raise InputError(
                f"{table.path}: says no threshold; give one with --threshold, or take a model's with --model and --fmr"
            )
        found = np.unique(table.numbers("threshold"))
        if len(found) != 1 or not np.isfinite(found[0]):
            raise InputError(f"{table.path}: has several thresholds; give one with --threshold")
        return float(found[0]), "as in the table of pairs"
    entry = known_entry(options.model, grid=options.grid, output=options.output, preprocessing=options.preprocessing)
    if entry is None:
        raise InputError(f"{options.model}: no thresholds are on record; give one with --threshold")
    kind = None if options.attention is None else options.attention.value
    point = entry.operating_point(kind, fmr=options.fmr)
    return point.threshold, f"{entry.name}, {point.name} on {point.dataset}"


def _write(out: Path, document: Mapping[str, Any]) -> None:
    from whyface.files.integrity import make_folder, write_atomic  # noqa: PLC0415
    from whyface.files.parts import METADATA_KEY, parquet_modules  # noqa: PLC0415
    from whyface.page.audit_report import audit_html  # noqa: PLC0415

    arrow, parquet = parquet_modules()
    about = {key: value for key, value in document.items() if key not in ("audits", "notes")}
    table = arrow.Table.from_pylist(rows_of(document), arrow.schema(_columns(arrow)))
    buffer = io.BytesIO()
    parquet.write_table(
        table.replace_schema_metadata({METADATA_KEY: json.dumps(about, ensure_ascii=False).encode()}), buffer
    )
    make_folder(out)
    write_atomic(out / PARQUET, buffer.getvalue())
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(out / JSON_FILE, f"{text}\n".encode())
    write_atomic(out / HTML, audit_html(document).encode())


def _columns(arrow: Any) -> list[tuple[str, Any]]:
    texts = [(name, arrow.string()) for name in ("by", "measure", "group", "other")]
    counts = [(name, arrow.int64()) for name in ("place", "errors", "of", "people")]
    return [*texts, *counts, *((name, arrow.float64()) for name in ("value", "low", "high"))]


def rows_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every measured value of an audit as a row of a table."""
    rows: list[dict[str, Any]] = []
    for audit_ in document["audits"]:
        name = ",".join(audit_["by"])

        def add(measure: str, found: Mapping[str, Any] | None, name: str = name, **of: Any) -> None:
            if found is not None:
                low, high = found.get("interval") or (None, None)
                counts = {key: found.get(key) for key in ("errors", "of", "people")}
                value = found.get("rate", found.get("value"))
                rows.append({"by": name, "measure": measure, **of, **counts, "value": value, "low": low, "high": high})

        for measure, rate in audit_["all_pairs"].items():
            add(measure, rate)
        for group in audit_["groups"]:
            for measure in ("fmr", "fmr_others", "fnmr", "undecided", "failed", "shift_genuine", "shift_impostor"):
                add(measure, group.get(measure), group=group["group"])
            if group["withheld"]:
                rows.append({"by": name, "measure": "withheld", "group": group["group"], "people": group["people"]})
        for group_name, rate in (audit_["failure_to_enrol"] or {}).items():
            add("failure to enrol", rate, group=group_name)
        for crossed in audit_["crossed"]:
            add("fmr", crossed, group=crossed["groups"][0], other=crossed["groups"][1])
        for one in audit_["differentials"]:
            add(one["name"], one)
        for places in audit_["places"]:
            ends = zip(places["low"] or [], places["high"] or [], strict=True)
            for place, (value, interval) in enumerate(zip(places["difference"] or [], ends, strict=True)):
                found = {"value": value, "interval": interval, "errors": places["false_matches"]}
                add("S x W of false matches less all", found, group=places["group"], place=place)
    return rows


def _text(document: Mapping[str, Any]) -> str:
    lines = [
        f"{document['source']}: {document['pairs']} pairs, {document['genuine_pairs']} genuine; match above "
        f"{document['threshold']:.4f} ({document['threshold_source']})",
        *document["remarks"],
    ]
    if document["undecided"] or document["failed"]:
        undecided, failed = document["undecided"], document["failed"]
        lines.append(f"undecided pairs: {undecided}; pairs with a photo that cannot be used: {failed}")
    for one in document["audits"]:
        rows: list[tuple[str, ...]] = [
            ("by " + " and ".join(one["by"]), "people", "FMR within, %", "FNMR, %", "undecided, %")
        ]
        every = one["all_pairs"]
        rows.append(("all within one group", "", *(_shown(every[key]) for key in ("fmr_within", "fnmr", "undecided"))))
        for group in one["groups"]:
            values = (
                (f"not reported: {group['withheld']}", "", "")
                if group["withheld"]
                else tuple(_shown(group[key]) for key in ("fmr", "fnmr", "undecided"))
            )
            rows.append((group["group"], str(group["people"]), *values))
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines += [
            "",
            *("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows),
        ]
        for measure in one["differentials"]:
            if measure["value"] is not None:
                ends = measure["interval"]
                known = "" if ends is None else f" ({ends[0]:.2f} to {ends[1]:.2f})"
                lines.append(f"{measure['name']}: {measure['value']:.2f}{known}")
        lines += [f"{count} pairs are in no group: {why}" for why, count in one["left_out"].items() if count]
    return "\n".join([*lines, "", "In brackets: 95 % intervals over people. No claim of compliance with any law."])


def _shown(rate: Mapping[str, Any]) -> str:
    if rate["rate"] is None:
        return "no pairs"
    low, high = rate["interval"]
    return f"{100 * rate['rate']:.3g} ({100 * low:.3g} to {100 * high:.3g})"


def _command(
    pairs: Path,
    by: list[str],
    groups: Path | None,
    score: str | None,
    smallest: int,
    replicates: int,
    seed: int,
    options: ModelOptions,
) -> str:
    """Return the command line that was run, with file names but without folders."""
    words = ["whyface", "audit", pairs.name, *(word for name in by for word in ("--by", name))]
    given = {
        "groups": None if groups is None else groups.name,
        "score": score,
        "model": Path(options.model).name,
        "threshold": options.threshold,
        "fmr": options.fmr,
        "smallest": smallest,
        "replicates": replicates,
        "seed": seed,
    }
    return shlex.join(
        [*words, *(word for key, one in given.items() if one is not None for word in (f"--{key}", str(one)))]
    )
