"""``whyface export``: a trained network as ONNX, ready for all other commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from whyface.errors import InputError


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, or its network.safetensors.")],
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    name: Annotated[
        str | None, typer.Option(help="The model's name; the folder's if not given.", show_default=False)
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence, for the description.")] = "not stated",
    training_data: Annotated[str, typer.Option(help="Training data, for the description.")] = "not stated",
) -> None:
    """Write a trained network as ONNX: a graph per face, for xCos one per pair. Needs the extra train."""
    try:
        from whyface.train.export_trained import export_trained  # noqa: PLC0415 - extras, slow to import
    except ImportError as error:
        raise InputError(f"exporting needs {error.name}; run: pip install 'whyface[train]'") from error
    name = name or out.resolve().name
    if not re.fullmatch(r"[\w.-]+", name):
        raise InputError(f"{name!r} cannot name a model; use letters, digits, '.', '-' and '_' (--name)")
    report = export_trained(run, out, name=name, licence=licence, training_data=training_data)
    for role, file in report.folder.entry.files.items():
        typer.echo(f"{role:12} {file.file_name}  {file.bytes} bytes  SHA-256 {file.sha256}")
    typer.echo(f"Same as torch on three real faces: features to {report.faces:.1g}")
    if report.pair is not None:
        typer.echo(f"S, W and score to {report.pair:.1g}")
    typer.echo(f"Use it: whyface verify A B --model {out} --threshold T; whyface evaluate --model {out} finds a T")
