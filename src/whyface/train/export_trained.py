"""A trained network as a model folder: ONNX graphs, tensors, description, checked on real faces (extra ``torch``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.demo import demo_photo
from whyface.errors import ModelError, OutputError
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.weights import save_safetensors
from whyface.train.networks import FcNetwork, Network
from whyface.train.trained import load_trained, trained_correlation
from whyface.xcos.export import export_faces, export_pair
from whyface.xcos.learned import Xcos, XcosNetwork
from whyface.xcos.model import CORRELATED_TENSOR
from whyface.xcos.model_folder import ModelFolder, write_model_folder

FACE_TOLERANCE: Final = 1e-4
"""Largest difference of a unit vector's numbers between torch and ONNX that is let through."""
PAIR_TOLERANCE: Final = 1e-5
"""Largest difference of S, W and score from the same grids."""

_PHOTOS: Final = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")


@dataclass(frozen=True)
class ExportReport:
    """What was written, and the largest differences from torch on real faces; ``pair`` is None for a baseline."""

    folder: ModelFolder
    faces: float
    pair: float | None


def export_trained(
    source: Path | str, folder: Path, *, name: str, licence: str = "not stated", training_data: str = "not stated"
) -> ExportReport:
    """Write a trained network as ONNX: one graph per face, for xCos another per pair; and check both against torch.

    Parameters
    ----------
    source
        A run's folder, or its ``network.safetensors``.
    folder
        Where the files go; made if it is not there.
    name
        The model's name.
    licence, training_data
        For the description.

    Raises
    ------
    ModelError
        If the source is no trained network, or the graphs differ from it.
    OutputError
        If a file cannot be written.
    """
    network, _ = load_trained(source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used ({error.strerror}); choose another folder") from error
    files = {"onnx": folder / f"{name}.onnx", "safetensors": folder / f"{name}.safetensors"}
    # The description names what is there and comes last; an old one must not speak of new files.
    (folder / "model.json").unlink(missing_ok=True)
    faces = real_faces()
    with torch.no_grad():
        features = (network.grid if isinstance(network, XcosNetwork) else network)(faces)
    output = "grid" if isinstance(network, XcosNetwork) else "embedding"
    export_faces(network.backbone, network.head, files["onnx"], output=output)
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    correlated = trained_correlation(source)
    if correlated is not None:
        state[CORRELATED_TENSOR] = correlated
    save_safetensors(state, files["safetensors"], {"format": "pt", "model": name})
    grid: tuple[str, tuple[int, int, int]] | None = None
    if isinstance(network, XcosNetwork):
        channels, height, width = (int(size) for size in features.shape[1:])
        grid = ("grid", (channels, height, width))
        files["pair"] = folder / f"{name}-pair.onnx"
        export_pair(network, files["pair"], channels=channels, cells=(height, width))
    written = write_model_folder(
        folder,
        files,
        name=name,
        kind="cosine" if isinstance(network, FcNetwork) else "xcos",
        embedding_size=int(features[0].numel()),
        grid=grid,
        licence=licence,
        training_data=training_data,
        source="whyface train",
    )
    return _checked(written, network, faces, features)


def check_xcos(folder: ModelFolder, xcos: Xcos, faces: Tensor, expected: NDArray[np.float32]) -> tuple[float, float]:
    """Compare an exported xCos model with torch on N >= 3 faces.

    Parameters
    ----------
    folder
        What was written.
    xcos
        The metric in torch, in eval mode.
    faces
        (N, 3, 112, 112) float32 in 0..255.
    expected
        Their grids from torch, (N, C, H, W).

    Returns
    -------
    The largest difference of the grids, whose cells are scaled to length 1, and that of S, W and score.

    Raises
    ------
    ModelError
        If one is larger than :data:`FACE_TOLERANCE` or :data:`PAIR_TOLERANCE`.
    """
    model = folder.open_xcos()
    grid = model.grid(faces.numpy())
    unit = [value / np.linalg.norm(value, axis=1, keepdims=True).clip(1e-12) for value in (grid, expected)]
    difference = _close(unit[0], unit[1], FACE_TOLERANCE, "grid")
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    maps = model.compare_grids(grid[first], grid[second], "l")
    with torch.no_grad():
        output = xcos(torch.from_numpy(grid[first]), torch.from_numpy(grid[second]))
    names = ("similarity", "attention", "score")
    return difference, max(
        _close(getattr(maps, name), getattr(output, name).numpy(), PAIR_TOLERANCE, name) for name in names
    )


def real_faces() -> Tensor:
    """Align the demo's three photographs: (3, 3, 112, 112) float32 in 0..255."""
    faces = [load_face(demo_photo(name)) for name in _PHOTOS]
    return torch.from_numpy(np.ascontiguousarray(stack_faces(faces))).float()


def _checked(folder: ModelFolder, network: Network, faces: Tensor, features: Tensor) -> ExportReport:
    if isinstance(network, XcosNetwork):
        return ExportReport(folder, *check_xcos(folder, network.xcos, faces, features.numpy()))
    found = folder.open_embedder().embed(faces.numpy())
    return ExportReport(folder, _close(found, features.numpy(), FACE_TOLERANCE, "embedding"), None)


def _close(found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float, what: str) -> float:
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:
        raise ModelError(
            f"the exported graph's {what} differs from torch by {difference:.2g} (at most {tolerance:g} is let "
            "through); please report this with the network's configuration"
        )
    return difference
