"""``whyface models``: what is on record about the known models."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from whyface.commands.choices import ModelFolder
from whyface.errors import WhyfaceError


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything on record as JSON.")] = False,
    model_dir: ModelFolder = None,
) -> None:
    """List the known models: licence, files, accuracy, thresholds."""
    from whyface.models.zoo import known_models, model_file, zoo_path  # noqa: PLC0415

    if as_json:
        typer.echo(zoo_path().read_text(encoding="utf-8").rstrip())
        return
    for entry in known_models():
        try:
            for role in entry.files:
                model_file(entry, role, directory=model_dir)
            state = "comes with whyface" if entry.shipped else "found"
        except WhyfaceError as error:
            state = f"not usable: {error}"
        typer.echo(f"{entry.name}\n  {entry.summary}\n  licence  {entry.licence}\n  data     {entry.training_data}")
        typer.echo(f"  files    {state}")
        for attention, points in entry.thresholds.items():
            for point in points:
                typer.echo(f"  {attention:8} {_describe_point(point)}")
        typer.echo("")


def _describe_point(point: Any) -> str:
    rates = []
    for name in ("fmr", "fnmr"):
        low, high = point[f"{name}_interval"]
        rates.append(f"{name.upper()} {point[name]:.2%} ({low:.2%} to {high:.2%})")
    return f"{point['name']}: threshold {point['threshold']:.4f}, {', '.join(rates)}; {point['dataset']}"
