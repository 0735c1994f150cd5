"""``whyface train`` and ``whyface export``: train xCos, and export the network for the other commands."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from whyface.commands.options import ModelFolder
from whyface.commands.verify import caches_elsewhere
from whyface.errors import InputError, OutputError, reason
from whyface.files.integrity import sha256_of

if TYPE_CHECKING:
    from whyface.train.export import ExportReport
    from whyface.train.foreign import ChannelOrder
    from whyface.train.trainer import Report


_CACHE: Final = "TORCHINDUCTOR_CACHE_DIR"
"""PyTorch creates a folder for compiled code here, and would leave it empty in the temporary folder."""


ModelTitle = Annotated[str | None, typer.Option(help="Name of the model; by default the folder's.", show_default=False)]
Licence = Annotated[str, typer.Option(help="Licence, for the description.")]
TrainingData = Annotated[str, typer.Option(help="Training data, for the description.")]


@caches_elsewhere(_CACHE)
def train(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration in YAML; --print-config prints one.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, logs and the network.")] = Path("runs/xcos"),
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Override a value of the file: key.key=value.", show_default=False)
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start again instead of resuming.")] = False,
    print_config: Annotated[
        str | None,
        typer.Option(help="Print a complete configuration: paper, published-code or fine-tune.", show_default=False),
    ] = None,
    model_dir: ModelFolder = None,
) -> None:
    """Train a network. Run the same command again to resume an interrupted run. Needs the extra train."""
    try:
        from whyface.train.config import preset_text, read_config  # noqa: PLC0415 - extras, slow to import
    except ImportError as error:
        raise _missing(error) from error
    if print_config is not None:
        typer.echo(preset_text(print_config).rstrip())
        return
    if config is None:
        raise InputError("give a configuration, a YAML file; --print-config fine-tune prints one")
    settings = read_config(config, change or ())
    new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be used ({error.strerror}); choose another folder") from error
    from whyface.files.integrity import dropped_if_empty, write_atomic  # noqa: PLC0415
    from whyface.files.progress import progress_bar  # noqa: PLC0415

    try:
        from whyface.train.run_log import RunLog  # noqa: PLC0415 - after the settings, so that mistakes show at once
        from whyface.train.trainer import LOG  # noqa: PLC0415
        from whyface.train.trainer import train as run  # noqa: PLC0415
    except ImportError as error:
        raise _missing(error) from error

    def nothing_made() -> bool:
        return all(path.name == LOG and not path.stat().st_size for path in out.iterdir())

    once: dict[str, Any] = {}
    try:
        with (
            dropped_if_empty(out, nothing_made, new=new),
            RunLog(out) as log,
            progress_bar("Decoding pictures") as decoding,
        ):

            def report(report: Report) -> None:
                if not once:
                    # Not before the first step: a run that is refused must not change that of another run.
                    text = json.dumps(settings.model_dump(mode="json"), indent=1)
                    write_atomic(out / "config.json", f"{text}\n".encode())
                log.report(report)
                once["last"] = report

            best = run(
                settings, out, model_directory=model_dir, fresh=fresh, report=report, say=log.say, decoding=decoding
            )
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written ({reason(error)}); make room and run the same command again"
        ) from error
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
    name: ModelTitle = None,
    licence: Licence = "not stated",
    training_data: TrainingData = "not stated",
) -> None:
    """Export a trained network to ONNX: one graph per face and, for xCos, one per pair. Needs the extra train."""
    try:
        from whyface.train.export import export_trained  # noqa: PLC0415 - extras, slow to import
    except ImportError as error:
        raise InputError(f"exporting needs {error.name}; run: pip install 'whyface[train]'") from error
    name = _model_name(name, out)
    _tell(export_trained(run, out, name=name, licence=licence, training_data=training_data), out)


@caches_elsewhere(_CACHE)
def import_(
    kind: Annotated[
        str, typer.Argument(help="Whose network: xcos, ir, insightface, mobilefacenet or mobilefacenet-large.")
    ],
    file: Annotated[Path, typer.Argument(help="Checkpoint: .pth, .safetensors; .onnx for mobilefacenet-large.")],
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    order: Annotated[
        str | None,
        typer.Option(
            help="Channels that it was trained on, rgb or bgr; by default those of its authors.", show_default=False
        ),
    ] = None,
    name: ModelTitle = None,
    licence: Licence = "not stated",
    training_data: TrainingData = "not stated",
) -> None:
    """Make a model folder of another project's checkpoint, without its code. Needs the extra train."""
    try:
        from whyface.train.export import export_network  # noqa: PLC0415 - extras, slow to import
        from whyface.train.foreign import KINDS, import_network  # noqa: PLC0415
        from whyface.train.run_files import describe_trained  # noqa: PLC0415
    except ImportError as error:
        raise InputError(f"importing needs {error.name}; run: pip install 'whyface[train]'") from error
    if kind not in KINDS:
        raise InputError(f"unknown kind of network {kind!r}; known: {', '.join(KINDS)}")
    if order not in {None, "rgb", "bgr"}:
        raise InputError(f"--order is rgb or bgr, got {order!r}")
    name = _model_name(name, out)
    network, config = import_network(file, kind, order=cast("ChannelOrder | None", order))
    report = export_network(
        network,
        out,
        name=name,
        licence=licence,
        training_data=training_data,
        metadata=describe_trained(config, imported=f"{kind}: {file.name}"),
        source=f"whyface import {kind} {file.name}, SHA-256 {sha256_of(file)}",
    )
    _tell(report, out)


def _model_name(name: str | None, out: Path) -> str:
    # Hide the exporter's remarks on packages that are not needed here.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    name = name or out.resolve().name
    if not re.fullmatch(r"[\w.-]+", name):
        raise InputError(f"{name!r} is not a model name; use letters, digits, '.', '-' and '_' (--name)")
    return name


def _tell(report: ExportReport, out: Path) -> None:
    for role, file in report.entry.files.items():
        typer.echo(f"{role:12} {file.file_name}  {file.bytes} bytes  SHA-256 {file.sha256}")
    typer.echo(f"Same as torch on three real faces: features to {report.faces:.1g}")
    if report.pair is not None:
        typer.echo(f"S, W and score to {report.pair:.1g}")
    typer.echo(f"Use it: whyface verify A B --model {out} --threshold T; whyface evaluate --model {out} measures T")
