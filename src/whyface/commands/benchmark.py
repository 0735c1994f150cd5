"""``whyface benchmark``: measure how faithful explanation methods are to a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whyface.commands.options import (
    Attention,
    NetworkOptions,
    Reference,
    reference_options,
    takes_model,
)
from whyface.commands.verify import import_matplotlib
from whyface.errors import InputError

if TYPE_CHECKING:
    from whyface.bench.base import BenchTest
    from whyface.bench.summary import MethodSummary

TESTS = ("replacement", "erasure", "erasure-blur", "erasure-noise", "pointing", "stability", "randomisation")
COMPARED = ("replacement", "deletion", "insertion", "deletion blur", "deletion noise")


class EffortChoice(StrEnum):
    """Amount of work."""

    FULL = "full"
    LIGHT = "light"


@takes_model
def benchmark(
    data: Annotated[Path, typer.Option(help="Folder or uncompressed tar file of aligned 112 x 112 pictures.")],
    out: Annotated[Path, typer.Option(help="Folder for the results; an interrupted run is resumed.")],
    options: NetworkOptions,
    protocol: Annotated[str, typer.Option(help="Protocol of the pairs: lfw, cfp-ff, cfp-fp or pairs:FILE.")] = "lfw",
    method: Annotated[
        str | None,
        typer.Option(help="Methods, comma-separated; by default all that fit the model.", show_default=False),
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
    attention: Annotated[
        Attention | None, typer.Option(help="u, p or l; the model's default if not given.", show_default=False)
    ] = None,
    replicates: Annotated[int, typer.Option(min=100, help="Bootstrap replicates for intervals.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random draws.")] = 0,
    reference: Reference = None,
) -> None:
    """Measure explanation methods on a model: patches, erasure, pointing, stability, random weights, cost."""
    from whyface.bench.base import choose_pairs  # noqa: PLC0415
    from whyface.bench.run import CHUNK, EFFORTS, SLOW, run_bench  # noqa: PLC0415
    from whyface.bench.subjects import (  # noqa: PLC0415
        equal_error_threshold,
        fitting_methods,
        open_subject,
    )
    from whyface.bench.summary import differences, summarise_method, summary_document, summary_table  # noqa: PLC0415
    from whyface.data.open_protocol import open_protocol, parse_protocol  # noqa: PLC0415
    from whyface.explain.registry import METHODS, parse_methods  # noqa: PLC0415
    from whyface.explain.verdict import software_versions  # noqa: PLC0415
    from whyface.files.parts import (  # noqa: PLC0415
        open_folder,
        parquet_modules,
        read_results,
    )
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    parquet_modules()
    chosen_tests = open_tests(tests)
    work = EFFORTS[effort.value]
    wanted = None if method is None else parse_methods(method)
    threads, model_dir = options.threads, options.model_dir
    opened = options.open(attention)
    comparison = opened.comparison()
    source, pairing = open_protocol(parse_protocol(protocol), data, pairs=pair_file, folds=2)
    with source:
        numbers = choose_pairs(pairing, pairs, seed)
        with progress_bar("Threshold") as progress:
            threshold = equal_error_threshold(comparison, pairing, source, numbers, progress=progress)
        embedder = comparison.embedder if comparison.attention is None else None
        given = reference_options(reference, embedder, wanted, aligned=True, threads=threads)
        names = fitting_methods(opened, directory=model_dir, options=given) if wanted is None else wanted
        common: dict[str, Any] = {
            "model": {"name": opened.name, "sha256": dict(opened.sha256)},
            "attention": comparison.attention,
            "threshold": {"value": threshold, "from": "equal error on the same pairs"},
            "protocol": pairing.name,
            "pairs": len(numbers),
            "tests": [test.name for test in chosen_tests],
            "effort": effort.value,
            "first pairs only": {
                test.name: work.limits[test.name] for test in chosen_tests if test.name in work.limits
            },
            "seed": seed,
            "versions": software_versions(),
        }
        tables, efforts = {}, {}
        for name in names:
            efforts[name] = dict(work.options.get(name, {}))
            subject = open_subject(
                name,
                opened,
                comparison,
                threshold=threshold,
                directory=model_dir,
                seed=seed,
                workers=threads or 2,
                options={**efforts[name], **given.get(name, {})},
            )
            few = (slow_pairs or work.slow_pairs) if name in SLOW else None
            folder = out / name
            settings = {**common, "method": name, "settings": dict(subject.method.settings), "slow pairs": few}
            open_folder(folder, settings, growing="slow pairs", step=CHUNK)
            with progress_bar(name) as progress:
                run_bench(
                    subject,
                    chosen_tests,
                    pairing,
                    source,
                    numbers[:few],
                    folder,
                    seed=seed,
                    limits=work.limits,
                    progress=progress,
                )
            tables[name] = read_results(folder)
        judged: dict[str, Any] = {"threshold": threshold, "replicates": replicates, "seed": seed}
        summaries = {name: summarise_method(table, pairing, **judged) for name, table in tables.items()}
        compared = differences(tables, pairing, COMPARED, **judged)
    document = summary_document({**common, "options": efforts}, summaries, compared)
    table = summary_table(summaries)
    _write(out, document, table)
    controls = [name for name in names if METHODS[name].is_control]
    draw_figures(f"{out}/", opened.name, pairing.name, len(numbers), summaries, controls)
    typer.echo(table)
    typer.echo(f"Written to {out}: summary.json, summary.md, merits.png, curves.png, and one folder per method")


def open_tests(names: str) -> list[BenchTest]:
    """Return the tests with these names, separated by commas.

    Raises
    ------
    InputError
        If a test is unknown or none is given.
    """
    from whyface.bench.inpainting import InpaintingTest  # noqa: PLC0415
    from whyface.bench.planted import (  # noqa: PLC0415
        ErasureTest,
        PointingTest,
        ReplacementTest,
    )
    from whyface.bench.sanity import RandomisationTest, StabilityTest  # noqa: PLC0415

    tests: list[BenchTest] = [
        ReplacementTest(),
        *(ErasureTest("mean"), ErasureTest("blur"), ErasureTest("noise")),
        *(PointingTest(), StabilityTest(), RandomisationTest(), InpaintingTest()),
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
    fewer: dict[int, list[str]] = {}
    for name, found in summaries.items():
        if found.pairs < pairs:
            fewer.setdefault(found.pairs, []).append(name)
    rest = "".join(f"; {', '.join(names)}: the first {count}" for count, names in fewer.items())
    known = protocol in ("lfw", "cfp-ff", "cfp-fp")
    return f"{protocol.upper() if known else protocol}, {pairs:,} pairs{rest}"


def _write(out: Path, document: Mapping[str, Any], table: str) -> None:
    from whyface.files.integrity import write_atomic  # noqa: PLC0415 - start fast

    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / "summary.json", f"{text}\n".encode())
    write_atomic(out / "summary.md", f"{table}\n".encode())


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
