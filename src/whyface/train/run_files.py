"""The files of a training run: checkpoints and the trained network (needs the extra ``torch``)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from whyface.errors import DataError, ModelError, OutputError, reason
from whyface.files.guarded import parse_json, read_json, read_tensors
from whyface.files.integrity import check_sha256, sha256_of, write_atomic
from whyface.models.catalogue import DESCRIPTION, read_entry
from whyface.models.weights import save_safetensors
from whyface.train.config import NetworkConfig
from whyface.train.networks import Network, build_network, load_part, read_safetensors
from whyface.xcos.model import CORRELATED_TENSOR

_AT_ONCE: Final = 64
TRAINED: Final = "whyface/trained/1"
"""Format of a trained network's metadata."""

NETWORK: Final = "network.safetensors"
"""The file of the best network in a run's folder."""

BEST: Final = "best.safetensors"
"""The same without attention P, written whenever the network is the best so far."""


def describe_trained(config: NetworkConfig, **more: Any) -> dict[str, str]:
    """Return the metadata of a trained network's file."""
    architecture = config.model_dump(mode="json", exclude={"init"})
    return {"format": "pt", "whyface": json.dumps({"format": TRAINED, "network": architecture, **more})}


def trained_correlation(path: Path | str) -> Tensor | None:
    """Read the raw attention P, (H, W), of a trained network's file; None if it has none."""
    return read_safetensors(_file(path)).get(CORRELATED_TENSOR)


def is_trained(path: Path) -> bool:
    """Return whether a file, or the folder of a run, holds a network that :func:`load_trained` reads."""
    try:
        return "whyface" in read_tensors(_file(path), ())[1]
    except (OSError, ValueError, ModelError):
        return False


def load_trained(path: Path | str) -> tuple[Network, dict[str, Any]]:
    """Rebuild a trained network from its ``.safetensors`` file, the folder of its run, or its model folder.

    Return the network in eval mode, and the metadata of the file. Raise ModelError if the file was not written by
    ``whyface train``.
    """
    path = _file(path)
    try:
        description = parse_json(read_tensors(path, ())[1]["whyface"])
        if description["format"] != TRAINED:
            raise ValueError(f"format {description['format']!r}")  # noqa: TRY301 - same message as for the others
        config = NetworkConfig.model_validate(description["network"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"{path}: not written by whyface train ({reason(error)}); give a run's folder or file"
        ) from error
    network = build_network(config).eval()
    load_part(network, read_safetensors(path), path)
    return network, description


def run_features(network: Network) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return the function from faces (N, 3, 112, 112) to the input (N, D) of a head trained by evidence, unit rows.

    A grid is flattened places first, as whole, not cell by cell.
    """

    @torch.no_grad()
    def read(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = []
        for part in torch.split(torch.from_numpy(np.ascontiguousarray(faces)), _AT_ONCE):
            found = network.features(part.float())
            parts.append(found.permute(0, 2, 3, 1).flatten(1) if found.ndim == 4 else found)
        return np.asarray(functional.normalize(torch.cat(parts)).numpy(), np.float32)

    return read


def _file(path: Path | str) -> Path:
    """Return the file of a run's folder, of a model folder, or the file itself."""
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / NETWORK).exists() and (path / DESCRIPTION).exists():
        entry = read_entry(path)
        if "safetensors" in entry.files:
            return entry.locate("safetensors")
    return path / NETWORK


STATE: Final = "state.json"


@dataclass
class TrainingState:
    """The state that a resumed run needs.

    Attributes
    ----------
    module
        Network and margin head.
    optimisers
        The optimisers, in a fixed order.
    average
        Tensors of the moving average; may be empty.
    step
        Steps done.
    best
        Best verification accuracy so far, 0 before the first.
    """

    module: nn.Module
    optimisers: Sequence[Optimizer]
    average: dict[str, Tensor]
    step: int = 0
    best: float = 0.0


def save_checkpoint(folder: Path, state: TrainingState, digest: str) -> None:
    """Write a checkpoint and remove the previous one.

    Raise OutputError if it cannot be written; the previous checkpoint is kept.
    """
    tensors = {f"module.{name}": tensor for name, tensor in state.module.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in state.average.items()}
    for number, optimiser in enumerate(state.optimisers):
        for index, values in optimiser.state_dict()["state"].items():
            tensors |= {
                f"optimiser.{number}.{index}.{name}": torch.as_tensor(value)
                for name, value in values.items()
                if value is not None
            }
    path = folder / f"state-{state.step:07d}.safetensors"
    save_safetensors(tensors, path)
    document = {"step": state.step, "best": state.best, "config": digest, "file": path.name, "sha256": sha256_of(path)}
    write_atomic(folder / STATE, f"{json.dumps(document, indent=1)}\n".encode())
    _remove_tensors(folder, but=path)


def remove_checkpoint(folder: Path) -> None:
    """Remove the current checkpoint, if there is one, so that no run resumes from it.

    Raise OutputError if it cannot be removed.
    """
    try:
        (folder / STATE).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder / STATE}: cannot be removed ({error.strerror}); choose another folder") from error
    _remove_tensors(folder)


def load_checkpoint(folder: Path, state: TrainingState, digest: str) -> bool:
    """Load the current checkpoint into ``state``; return whether there was one.

    Raise DataError if it is damaged, or comes from a run with other settings, and ModelError if the tensors are missing
    or differ from those on record.
    """
    path = folder / STATE
    if not path.exists():
        return False
    try:
        document = read_json(path)
        step, best, made = int(document["step"]), float(document["best"]), str(document["config"])
        tensors_path, sha256 = folder / str(document["file"]), str(document["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a usable checkpoint ({reason(error)}); start anew with --fresh") from error
    if made != digest:
        raise DataError(f"{folder}: holds a run with other settings; choose another folder or start anew with --fresh")
    check_sha256(tensors_path, sha256)
    tensors = read_safetensors(tensors_path)
    state.module.load_state_dict(_part(tensors, "module."))
    state.average.update(_part(tensors, "average."))
    for number, optimiser in enumerate(state.optimisers):
        values: dict[int, dict[str, Any]] = {}
        for key, tensor in _part(tensors, f"optimiser.{number}.").items():
            index, name = key.split(".", 1)
            values.setdefault(int(index), {})[name] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": values, "param_groups": groups})
    state.step, state.best = step, best
    return True


def _remove_tensors(folder: Path, *, but: Path | None = None) -> None:
    for old in folder.glob("state-*.safetensors"):
        if old != but:
            with contextlib.suppress(OSError):
                old.unlink()


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
