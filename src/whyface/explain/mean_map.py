"""The mean of a network's last spatial map over faces: what all faces have in common at each place.

Those of the known models come with whyface; for any other network two dozen aligned faces give one.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from whyface.errors import InputError, ModelError
from whyface.models.atomic_write import write_atomic
from whyface.models.embedder import Batch, Embedder, require_grid
from whyface.models.zoo import known_models

if TYPE_CHECKING:
    from whyface.evaluate.progress import ProgressCallback

FEWEST: Final = 12
"""Fewer faces than this are refused: their mean would be about them, not about faces."""

_TENSOR: Final = "mean_map"


def mean_map(
    embedder: Embedder, faces: Batch, *, batch_size: int = 64, progress: ProgressCallback | None = None
) -> NDArray[np.float32]:
    """Average the last spatial map over faces.

    Parameters
    ----------
    embedder
        A network with a grid.
    faces
        (N, 3, 112, 112), RGB, 0..255: at least :data:`FEWEST`, of as many people as there are pictures at best, and
        nobody who is to be compared.
    batch_size
        Faces in the network at once.
    progress
        Called with the number of faces done and their total.

    Returns
    -------
    (C, H, W) float32.

    Raises
    ------
    InputError
        If there are too few faces.
    ModelError
        If the network has no grid.
    """
    if len(faces) < FEWEST:
        raise InputError(f"{len(faces)} faces are too few for a mean; give at least {FEWEST} of different people")
    grids = require_grid(embedder)
    total: NDArray[np.float64] | float = 0.0
    for start in range(0, len(faces), batch_size):
        total = total + grids.grid(faces[start : start + batch_size]).sum(axis=0, dtype=np.float64)
        if progress is not None:
            progress(min(start + batch_size, len(faces)), len(faces))
    return np.asarray(total / len(faces), np.float32)


def known_mean_map(embedder: Embedder) -> NDArray[np.float32] | None:
    """Give the mean map that comes with whyface for this very network; None if there is none."""
    path = mean_map_file(embedder)
    return None if path is None else read_mean_map(path)


def mean_map_file(embedder: Embedder) -> Path | None:
    """Find the mean map that comes with whyface for this very network, known by its SHA-256; None if there is none."""
    for entry in known_models():
        if embedder.sha256 in {file.sha256 for file in entry.files.values()}:
            path = shipped_mean_maps() / f"{entry.name}.safetensors"
            return path if path.is_file() else None
    return None


def read_mean_map(path: Path | str) -> NDArray[np.float32]:
    """Read a file of :func:`save_mean_map`: (C, H, W) float32.

    Raises
    ------
    ModelError
        If it cannot be read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(_TENSOR), np.float32)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: no mean map ({error}); make it again with scripts/mean_maps.py") from error


def save_mean_map(path: Path | str, values: NDArray[np.float32], record: dict[str, str]) -> None:
    """Write a mean map (C, H, W) in half precision, with how it came about.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    write_atomic(path, save({_TENSOR: np.ascontiguousarray(values, np.float16)}, metadata=record))


def shipped_mean_maps() -> Path:
    """Return the folder of the mean maps that are part of the package."""
    return Path(str(resources.files("whyface"))) / "assets" / "mean_maps"


def check_mean_map(values: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """Return a mean map as float32, or raise InputError if it does not fit the network's last map or is not finite."""
    if values.shape != shape or not np.isfinite(values).all():
        raise InputError(
            f"model {name!r}: its last map is {shape}, but the mean map is {values.shape} or not finite; "
            "make it with whyface.explain.mean_map.mean_map and the same network"
        )
    return np.asarray(values, np.float32)
