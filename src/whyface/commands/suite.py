"""``whyface test``: several models on several protocols, from one YAML file."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from whyface.commands.options import Device, ModelFolder, Threads
from whyface.errors import InputError


def test(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file; --print-config prints one.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the results to this JSON file.", show_default=False)] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print an example of the file.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    model_dir: ModelFolder = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Measure several models on several protocols and print one table of accuracies. Needs PyYAML."""
    from whyface.evaluate.suite import EXAMPLE, read_suite, run_suite, suite_document, suite_table  # noqa: PLC0415
    from whyface.files.integrity import write_atomic  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    if print_config:
        typer.echo(EXAMPLE.rstrip())
        return
    if config is None:
        raise InputError("give a configuration, a YAML file; --print-config prints one")
    try:
        suite = read_suite(config)
    except ImportError as error:
        raise InputError(f"the file needs {error.name}; run: pip install pyyaml") from error
    with ExitStack() as stack:
        rows = run_suite(
            suite,
            directory=model_dir,
            threads=threads,
            providers=device,
            progress=lambda name: stack.enter_context(progress_bar(name)),
        )
    document = json.dumps(suite_document(suite, rows), indent=2, ensure_ascii=False)
    if out is not None:
        write_atomic(out, f"{document}\n".encode())
    typer.echo(document if as_json else suite_table(rows))
