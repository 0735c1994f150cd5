"""``whyface benchmark``: measure how faithful explanation methods are to a model."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface.commands.option_blocks import NetworkOptions, takes_options
from whyface.commands.options import Attention, Reference, reference_options
from whyface.commands.verify import import_matplotlib
from whyface.errors import InputError, ModelError, OutputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from whyface.bench.base import BenchTest, Remembered, Subject
    from whyface.bench.other_maps import Substitutes
    from whyface.bench.summary import MethodSummary
    from whyface.data.protocols import PairProtocol
    from whyface.faces.pictures import PictureSource
    from whyface.files.parts import ResultTable
    from whyface.xcos.open_model import OpenedModel

TESTS = (
    *("replacement", "erasure", "erasure-blur", "erasure-noise", "saco", "pointing", "painting", "partner"),
    *("stability", "randomisation"),
)
THRESHOLD_PAIRS = 1000
"""Number of pairs, other than those judged, from which the threshold comes."""


THRESHOLD = "threshold.json"
"""Name of the file with the bench's threshold."""

OTHER_PAIRS = "other-pairs"
"""Folder in a method's folder with its maps of other pairs."""


class EffortChoice(StrEnum):
    """Amount of work."""

    FULL = "full"
    LIGHT = "light"


@takes_options
def benchmark(
    data: Annotated[Path, typer.Option(help="Folder or uncompressed tar file of aligned 112 x 112 pictures.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; an interrupted run is resumed.")],
    options: NetworkOptions,
    protocol: Annotated[str, typer.Option(help="Protocol of the pairs: lfw, cfp-ff, cfp-fp or pairs:FILE.")] = "lfw",
    method: Annotated[
        str | None,
        typer.Option(
            help="Methods, comma-separated, with options as NAME:OPTION=VALUE; by default all that fit the model.",
            show_default=False,
        ),
    ] = None,
    tests: Annotated[str, typer.Option(help="Tests, comma-separated; inpainting is the inpainting game.")] = ",".join(
        TESTS
    ),
    pairs: Annotated[int, typer.Option(min=2, help="Number of pairs, half of them genuine.")] = 1000,
    effort: Annotated[
        EffortChoice, typer.Option(help="light: fewer forward passes per pair, and fewer pairs for costly tests.")
    ] = EffortChoice.FULL,
    slow_pairs: Annotated[
        int | None,
        typer.Option(min=2, help="Number of pairs for slow methods; light: 100.", show_default=False),
    ] = None,
    pair_file: Annotated[
        Path | None, typer.Option(help="Protocol lfw: the pair file, if not next to the pictures.", show_default=False)
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(
            min=2,
            help="Measure only the first of these pairs, in whole tens; a later run with more, or without, goes on.",
            show_default=False,
        ),
    ] = None,
    attention: Annotated[
        Attention | None, typer.Option(help="u, p or l; the model's default if not given.", show_default=False)
    ] = None,
    others: Annotated[
        int,
        typer.Option(
            min=0, help="Pairs, not judged, whose maps are put in place of a pair's own; 0 for no such controls."
        ),
    ] = 40,
    other_model: Annotated[
        str | None,
        typer.Option(
            help="A model whose maps are put in place of the model's own, too: is the map about this network?",
            show_default=False,
        ),
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates for intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
    reference: Reference = None,
) -> None:
    """Measure explanation methods on a model: patches, erasure, pointing, stability, random weights, cost."""
    from whyface.bench.base import choose_pairs, pairs_set_aside  # noqa: PLC0415
    from whyface.bench.run import CHUNK, EFFORTS, SLOW, limit_of_gains  # noqa: PLC0415
    from whyface.bench.subjects import equal_error_threshold, fitting_methods, open_subject  # noqa: PLC0415
    from whyface.data.open_protocol import open_protocol, parse_protocol  # noqa: PLC0415
    from whyface.explain.registry import parse_specs  # noqa: PLC0415
    from whyface.explain.verdict import software_versions  # noqa: PLC0415
    from whyface.files.parts import open_folder, parquet_modules, read_results  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    parquet_modules()
    _require_results(out)
    chosen_tests = open_tests(tests)
    work = EFFORTS[effort.value]
    # Each method, or method with options, has a folder of its own.
    specs = None if method is None else {_folder(spec): (name, own) for spec, name, own in parse_specs(method)}
    wanted = None if specs is None else {name for name, _ in specs.values()}
    threads, model_dir = options.threads, options.model_dir
    opened = options.open(attention)
    comparison = opened.comparison()
    other = None if other_model is None else replace(options, model=other_model).open(None)
    source, pairing = open_protocol(parse_protocol(protocol), data, pairs=pair_file, folds=2)
    with source:
        numbers = choose_pairs(pairing, pairs, seed)
        aside = pairs_set_aside(pairing, numbers, THRESHOLD_PAIRS, seed)
        judging = numbers if not len(aside) else aside
        embedder = comparison.embedder if comparison.attention is None else None
        given = reference_options(reference, embedder, wanted, aligned=True, threads=threads)
        if specs is None:
            specs = {name: (name, {}) for name in fitting_methods(opened, directory=model_dir, options=given)}
        efforts = {label: {**work.options.get(name, {}), **own} for label, (name, own) in specs.items()}
        for label, (name, _) in specs.items():
            # A method that cannot be opened is refused before anything is written.
            chosen = {**efforts[label], **given.get(name, {})}
            open_subject(name, opened, comparison, threshold=0.0, directory=model_dir, options=chosen)
        with progress_bar("Threshold") as progress:
            threshold = equal_error_threshold(
                comparison, pairing, source, judging, known=out / THRESHOLD, progress=progress
            )
        common: dict[str, Any] = {
            "model": {"name": opened.name, "sha256": dict(opened.sha256)},
            "attention": comparison.attention,
            "threshold": {
                "value": threshold,
                "from": f"equal error on {len(aside)} other pairs"
                if len(aside)
                else "equal error on the same pairs, since the protocol has no others",
            },
            "other pairs' maps": min(others, len(aside)),
            "other model": None if other is None else {"name": other.name, "sha256": dict(other.sha256)},
            "protocol": pairing.name,
            "pairs": len(numbers),
            "tests": [test.name for test in chosen_tests],
            "effort": effort.value,
            "first pairs only": {
                name: work.limits[name]
                for test in chosen_tests
                for name in (test.name, limit_of_gains(test.name))
                if name in work.limits
            },
            "seed": seed,
            "versions": software_versions(),
        }
        most = len(numbers) if first is None else min(len(numbers), -(-first // CHUNK) * CHUNK)
        features: dict[bytes, NDArray[np.float32]] = {}
        runs: dict[str, tuple[dict[str, Any], NDArray[np.intp]]] = {}
        for label, (name, _) in specs.items():
            opening: dict[str, Any] = {
                "threshold": threshold,
                "directory": model_dir,
                "seed": seed,
                "workers": threads or 2,
                "options": {**efforts[label], **given.get(name, {})},
            }
            # The methods share the features of faces: the changed faces are the same for all.
            subject = replace(open_subject(name, opened, comparison, **opening), known=features)
            few = (slow_pairs or work.slow_pairs) if name in SLOW else None
            settings = {**common, "method": name, "settings": dict(subject.method.settings), "slow pairs": few}
            open_folder(out / label, settings, growing="slow pairs", step=CHUNK)
            asked: dict[str, Any] = {"source": source, "seed": seed, "folder": out / label, "tests": chosen_tests}
            asked["substitutes"] = _other_pairs(
                subject, pairing, aside[:others], _on_other(name, other, opening), **asked
            )
            runs[label] = {"subject": subject, **asked}, numbers[: min(most, few or most)]
        _measure(runs.values(), most, CHUNK, protocol=pairing, limits=work.limits)
    tables = {label: read_results(out / label).only(own) for label, (_, own) in runs.items()}
    resampling = {"replicates": replicates, "seed": seed}
    _report(out, {**common, "pairs": most, "options": efforts}, tables, pairing, resampling)


def _require_results(out: Path) -> None:
    """Refuse a folder of other things, such as the pictures: a folder for each method would go into it."""
    from whyface.files.parts import SETTINGS  # noqa: PLC0415 - start fast

    if out.is_dir() and any(out.iterdir()) and not (out / THRESHOLD).exists() and not any(out.glob(f"*/{SETTINGS}")):
        raise OutputError(f"{out}: holds other things than results of a benchmark; choose a new folder")


def _on_other(name: str, model: OpenedModel | None, opening: Mapping[str, Any]) -> Remembered | None:
    """Return the method's maps on the other model; None if there is none, or the method does not fit it."""
    from whyface.bench.base import Remembered  # noqa: PLC0415
    from whyface.bench.subjects import open_subject  # noqa: PLC0415

    with contextlib.suppress(ModelError):
        return None if model is None else Remembered(open_subject(name, model, model.comparison(), **opening).method)
    return None


def _measure(
    runs: Collection[tuple[Mapping[str, Any], NDArray[np.intp]]], most: int, chunk_size: int, **common: Any
) -> None:
    """Measure all methods, each on its own first pairs.

    All take the same chunk before the next one, so that a run that is stopped has compared them.
    """
    from whyface.bench.run import run_bench  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    with progress_bar("Pairs") as progress:
        for end in range(chunk_size, most + chunk_size, chunk_size):
            for asked, own in runs:
                run_bench(numbers=own[:end], chunk_size=chunk_size, **asked, **common)
            progress(min(end, most), most)


def _report(
    out: Path,
    settings: Mapping[str, Any],
    tables: Mapping[str, ResultTable],
    protocol: PairProtocol,
    resampling: Mapping[str, int],
) -> None:
    """Summarise and compare the methods, and write and print what was found."""
    from whyface.bench.leaderboard import leaderboard_page  # noqa: PLC0415
    from whyface.bench.merits import merit_names  # noqa: PLC0415
    from whyface.bench.summary import differences, summarise_method, summary_document, summary_table  # noqa: PLC0415
    from whyface.explain.registry import METHODS  # noqa: PLC0415
    from whyface.files.integrity import write_atomic  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    judged: dict[str, Any] = {"threshold": settings["threshold"]["value"], **resampling}
    summaries = {}
    with progress_bar("Resampling people") as progress:
        for name, table in tables.items():
            summaries[name] = summarise_method(table, protocol, **judged)
            progress(len(summaries), len(tables))
        document = summary_document(settings, summaries, differences(tables, protocol, merit_names(), **judged))
    text_table, model = summary_table(summaries), settings["model"]["name"]
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / "summary.json", f"{text}\n".encode())
    write_atomic(out / "summary.md", f"{text_table}\n".encode())
    write_atomic(out / "leaderboard.html", leaderboard_page({model: document}).encode())
    controls = [name for name in tables if name in METHODS and METHODS[name].is_control]
    draw_figures(f"{out}/", model, protocol.name, settings["pairs"], summaries, controls)
    typer.echo(text_table)
    typer.echo(f"Written to {out}: leaderboard.html, summary.json, summary.md, figures, and one folder per method")


def _folder(spec: str) -> str:
    """Return a file name for a method with options."""
    return re.sub(r"[^\w.=+-]+", " ", spec).strip()


def _other_pairs(
    subject: Subject,
    protocol: PairProtocol,
    numbers: NDArray[np.intp],
    network: Remembered | None,
    *,
    tests: Sequence[BenchTest],
    source: PictureSource,
    folder: Path,
    seed: int,
) -> Substitutes | None:
    """Explain the pairs that are not judged; None if there are none."""
    from whyface.bench.other_maps import Substitutes, fill_bank  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    if not len(numbers):
        return None
    place = folder / OTHER_PAIRS
    place.mkdir(exist_ok=True)
    with progress_bar(f"{subject.method.name}, other pairs") as progress:
        banks = fill_bank(subject, tests, protocol, source, numbers, place, seed=seed, progress=progress)
    return Substitutes(banks, protocol, subject, network)


def open_tests(names: str) -> list[BenchTest]:
    """Return the tests with these names, separated by commas.

    Raises
    ------
    InputError
        If a test is unknown or none is given.
    """
    from whyface.bench.inpainting import InpaintingTest  # noqa: PLC0415
    from whyface.bench.planted import ErasureTest, ReplacementTest, SaCoTest  # noqa: PLC0415
    from whyface.bench.pointing import PointingTest  # noqa: PLC0415
    from whyface.bench.sanity import RandomisationTest, StabilityTest  # noqa: PLC0415

    tests: list[BenchTest] = [
        ReplacementTest(),
        *(ErasureTest("mean"), ErasureTest("blur"), ErasureTest("noise")),
        *(SaCoTest(), PointingTest(), PointingTest("painting"), PointingTest("partner")),
        *(StabilityTest(), RandomisationTest(), InpaintingTest()),
    ]
    known = {test.name: test for test in tests}
    chosen = list(dict.fromkeys(part.strip() for part in names.split(",") if part.strip()))
    for name in chosen:
        if name not in known:
            raise InputError(f"unknown test {name!r}; known: {', '.join(known)}")
    if not chosen:
        raise InputError(f"no test given; known: {', '.join(known)}")
    return [known[name] for name in chosen]


def _whose(protocol: str, pairs: int, summaries: Mapping[str, Any]) -> str:
    from whyface.bench.leaderboard import protocol_title  # noqa: PLC0415 - start fast

    fewer: dict[int, list[str]] = {}
    for name, found in summaries.items():
        if found.pairs < pairs:
            fewer.setdefault(found.pairs, []).append(name)
    rest = "".join(f"; {', '.join(names)}: the first {count}" for count, names in fewer.items())
    return f"{protocol_title(protocol)}, {pairs:,} pairs{rest}"


def draw_figures(
    start: str, model: str, protocol: str, pairs: int, summaries: Mapping[str, MethodSummary], controls: Sequence[str]
) -> None:
    """Write ``merits.png`` and, if curves were measured, ``curves.png``; ``start`` precedes these names."""
    from whyface.figures.bench import curves_figure, merits_figure  # noqa: PLC0415
    from whyface.figures.style import save_figure  # noqa: PLC0415

    import_matplotlib()
    title, subtitle = f"Which explanation tells the truth? {model}", _whose(protocol, pairs, summaries)
    merits = merits_figure(summaries, title=title, subtitle=subtitle, controls=frozenset(controls))
    save_figure(merits, Path(f"{start}merits.png"), dpi=200)
    if any(found.curves for found in summaries.values()):
        curves = curves_figure(summaries, title=title, subtitle=subtitle, controls=controls)
        save_figure(curves, Path(f"{start}curves.png"), dpi=200)


def leaderboard(
    results: Annotated[list[Path], typer.Argument(help="Folders of whyface benchmark, or their summary.json.")],
    out: Annotated[Path, typer.Option(help="The page, an HTML file.")],
) -> None:
    """Put the results of several benchmarks on one page that can be sorted: who is better than whom, in words."""
    from whyface.bench.leaderboard import leaderboard_page, read_summary, section_names  # noqa: PLC0415
    from whyface.files.integrity import write_atomic  # noqa: PLC0415 - start fast

    found = [read_summary(path) for path in results]
    documents = dict(zip(section_names(found), (document for _, document in found), strict=True))
    write_atomic(out, leaderboard_page(documents).encode())
    typer.echo(f"Written to {out}: {'; '.join(documents)}")
