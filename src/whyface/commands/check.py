"""``whyface check``: compute a recorded verdict again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from whyface.commands.options import ModelFolder

if TYPE_CHECKING:
    from whyface.explain.explanation import Explanation
    from whyface.record_check import Finding

_WORDS = {"same": "same", "close": "within 1e-6", "different": "DIFFERENT", "not checked": "not checked"}


def check(
    record: Annotated[Path, typer.Argument(help="JSON of a verdict (whyface verify --json).", show_default=False)],
    photos: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            help="Both photos, or both folders of two sets; by default from the paths on record, or beside the record.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="New path of the model, if it was moved.", show_default=False)
    ] = None,
    model_dir: ModelFolder = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", "--providers", help="Where the network runs, if not where it ran then.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compute a recorded verdict again from the photos, and say what is the same.

    Exit status: 0 all is the same to the bit or within 1e-6, 1 something differs, 2 no usable record, 3 nothing
    differs, but something could not be checked.
    """
    from whyface.record_check import check_record, read_recorded, status_of  # noqa: PLC0415 - start fast

    recorded = read_recorded(record)
    findings = check_record(
        recorded, photos, model=model, model_directory=model_dir, providers=device, beside=record.parent
    )
    status = status_of(findings)
    if as_json:
        document = {"record": str(record), "status": status, "findings": [finding.to_dict() for finding in findings]}
        typer.echo(json.dumps(document, indent=2))
    else:
        _print(recorded, findings)
    raise typer.Exit(status)


def _print(recorded: Explanation, findings: list[Finding]) -> None:
    from whyface.explain.verdict import software_versions  # noqa: PLC0415 - start fast

    about = recorded.record
    assert about is not None
    typer.echo(f"{recorded.verdict.upper()} of {about.time}")
    signed = ("Reviewer", about.reviewer), ("Decision", about.decision), ("Decided", about.decided)
    for name, text in (("Note", about.note), *signed):
        if text:
            typer.echo(f"{name}: {text}")
    for finding in findings:
        detail = f": {finding.detail}" if finding.detail else ""
        typer.echo(f"{_WORDS[finding.state]:12} {finding.part}{detail}")
    now = software_versions()
    others = [f"{name} {was}, now {now[name]}" for name, was in recorded.versions.items() if now.get(name, was) != was]
    if others:
        typer.echo(f"Other versions of software: {'; '.join(others)}")
    count = {state: sum(finding.state == state for finding in findings) for state in _WORDS}
    typer.echo(", ".join(f"{number} {_WORDS[state].lower()}" for state, number in count.items() if number))
