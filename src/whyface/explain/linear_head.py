"""The head behind the last spatial map, as a sum over cells, for torch and for ONNX networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Embedder, GridEmbedder, require_grid
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.onnx_head import OnnxHead, measure_head

_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class LinearHead:
    """An affine head.

    Attributes
    ----------
    weights
        P, (D, C, H, W) float32.
    constant
        b, (D,) float32. The embedding is the sum of P * F over c, h, w, plus b, before L2 normalisation.
    """

    weights: NDArray[np.float32]
    constant: NDArray[np.float32]

    def __call__(self, maps: NDArray[np.float32]) -> NDArray[np.float64]:
        """Map (N, C, H, W) to embeddings (N, D) float64, not normalised."""
        flat = self.weights.reshape(len(self.weights), -1).astype(np.float64)
        return maps.reshape(len(maps), -1).astype(np.float64) @ flat.T + self.constant


def linear_head(embedder: Embedder) -> tuple[GridEmbedder, LinearHead]:
    """Find out how a network's embedding is made from its last spatial map, by measuring its head.

    Whatever the head is made of (mean and fully connected, flatten and fully connected, global depthwise convolution,
    with BatchNorms between), if it is affine, measuring says all about it.

    Returns
    -------
    The embedder as one with a grid, and the head.

    Raises
    ------
    ModelError
        The embedder has no grid, its head cannot be looked into or is not affine, or the sum over cells does not give
        the embedding that the network gives.
    """
    grids = require_grid(embedder)
    name = embedder.name
    shape = _shape(grids)
    faces = np.random.default_rng(0).integers(0, 256, (2, 3, FACE_SIZE, FACE_SIZE), np.uint8)
    given = embedder.embed(faces)
    size = int(np.prod(shape))
    if isinstance(embedder, OnnxEmbedder) and embedder.output_tensor == embedder.grid_tensor:
        # The embedding is the flattened grid itself.
        found = LinearHead(np.eye(size, dtype=np.float32).reshape(size, *shape), np.zeros(size, np.float32))
    elif isinstance(embedder, OnnxEmbedder):
        head = OnnxHead(embedder)
        zero = head(np.zeros((1, *shape), np.float32))[0]
        found = LinearHead(measure_head(head, shape), zero)
    else:
        found = _of_torch(embedder, shape)
    made = found(grids.grid(faces))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    error = float(np.abs(made - given).max())
    if not error <= _TOLERANCE:
        raise ModelError(
            f"model {name!r}: the sum over cells misses the embedding by up to {error:.2g}; the embedding is not made "
            "from the spatial map named"
        )
    return grids, found


def _shape(grids: GridEmbedder) -> tuple[int, int, int]:
    channels, height, width = grids.grid(np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8)).shape[1:]
    return channels, height, width


def _of_torch(embedder: Embedder, shape: tuple[int, int, int]) -> LinearHead:
    try:
        import torch  # noqa: PLC0415 - only a torch network needs it

        from whyface.models.affine_head import place_weights, unnormalised  # noqa: PLC0415
        from whyface.models.torch_embedder import TorchEmbedder  # noqa: PLC0415
    except ImportError:
        raise _unknown(embedder) from None
    if not isinstance(embedder, TorchEmbedder):
        raise _unknown(embedder)
    inner = unnormalised(embedder.head)

    def head(maps: torch.Tensor) -> torch.Tensor:
        return inner(maps.to(embedder.device)).cpu()

    try:
        weights = place_weights(head, shape)
    except InputError as error:
        raise ModelError(
            f"model {embedder.name!r}: the head is not a sum over places: it must be affine, with no activation and no "
            "L2 normalisation at its end; split the network behind a later layer, or use another method"
        ) from error
    with torch.no_grad():
        zero = torch.flatten(head(torch.zeros(1, *shape)), 1)[0]
    return LinearHead(weights.numpy(), zero.numpy())


def _unknown(embedder: Embedder) -> ModelError:
    return ModelError(
        f"model {embedder.name!r}: its head cannot be looked into; open the network as an ONNX file with its grid "
        "named, or as a torch network"
    )
