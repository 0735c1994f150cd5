"""``whyface train`` and ``whyface export``: train xCos, and write the network for the other commands."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from whyface.commands.options import ModelFolder
from whyface.commands.verify import caches_elsewhere
from whyface.errors import InputError, OutputError

if TYPE_CHECKING:
    from whyface.train.trainer import Report


_CACHE: Final = "TORCHINDUCTOR_CACHE_DIR"
"""PyTorch makes a folder for what it might compile, and would leave it among the temporary files, empty as it is."""


@caches_elsewhere(_CACHE)
def train(
    config: Annotated[
        Path | None, typer.Argument(help="The run, in YAML; --print-config shows one.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, logs and the network.")] = Path("runs/xcos"),
    change: Annotated[
        list[str] | None, typer.Option("--set", help="key.key=value instead of what the file says.", show_default=False)
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew instead of going on.")] = False,
    print_config: Annotated[
        str | None,
        typer.Option(help="Print a complete configuration: paper, published-code or fine-tune.", show_default=False),
    ] = None,
    model_dir: ModelFolder = None,
) -> None:
    """Train a network; the same command goes on where a run was cut off. Needs the extra torch."""
    try:
        from whyface.train.config import preset_text, read_config  # noqa: PLC0415 - extras, slow to import
    except ImportError as error:
        raise _missing(error) from error
    if print_config is not None:
        typer.echo(preset_text(print_config).rstrip())
        return
    if config is None:
        raise InputError("give the run's configuration, a YAML file; --print-config fine-tune shows one")
    settings = read_config(config, change or ())
    try:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(settings.model_dump(mode="json"), indent=1)
        (out / "config.json").write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: cannot be used ({error.strerror}); choose another folder") from error
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    try:
        from whyface.train.run_log import RunLog  # noqa: PLC0415 - after the settings, so that mistakes show at once
        from whyface.train.trainer import train as run  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from error

    once: dict[str, Any] = {}
    try:
        with RunLog(out) as log, progress_bar("Decoding pictures") as decoding:

            def report(report: Report) -> None:
                log.report(report)
                once["last"] = report

            best = run(
                settings, out, model_directory=model_dir, fresh=fresh, report=report, say=log.say, decoding=decoding
            )
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{out}: cannot be written ({reason}); make room and run the same command again") from error
    if "last" in once:
        accuracy = once["last"].values.get("accuracy")
        typer.echo(f"Accuracy on the validation pairs: {accuracy:.2%}" if accuracy is not None else "Done")
    typer.echo(f"Network: {best}")


def _missing(error: ImportError) -> InputError:
    return InputError(f"training needs {error.name}; run: pip install 'whyface[train]'")


@caches_elsewhere(_CACHE)
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
        from whyface.train.export import export_trained  # noqa: PLC0415 - extras, slow to import
    except ImportError as error:
        raise InputError(f"exporting needs {error.name}; run: pip install 'whyface[train]'") from error
    # The exporter's remarks on packages that are not needed here are nothing to the user.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    name = name or out.resolve().name
    if not re.fullmatch(r"[\w.-]+", name):
        raise InputError(f"{name!r} cannot name a model; use letters, digits, '.', '-' and '_' (--name)")
    report = export_trained(run, out, name=name, licence=licence, training_data=training_data)
    for role, file in report.entry.files.items():
        typer.echo(f"{role:12} {file.file_name}  {file.bytes} bytes  SHA-256 {file.sha256}")
    typer.echo(f"Same as torch on three real faces: features to {report.faces:.1g}")
    if report.pair is not None:
        typer.echo(f"S, W and score to {report.pair:.1g}")
    typer.echo(f"Use it: whyface verify A B --model {out} --threshold T; whyface evaluate --model {out} finds a T")
