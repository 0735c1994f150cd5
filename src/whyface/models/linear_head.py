"""The head behind the last spatial map as a sum over cells, for torch and for ONNX networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.faces.face import FACE_SIZE
from whyface.files.integrity import check_digest, read_model, sha256_of
from whyface.models.embedder import Embedder, GridEmbedder, require_grid
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.onnx_session import read_summary
from whyface.models.onnx_tap import cut_graph, free_batch
from whyface.onnx_runtime import open_session

Head = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Map (N, C, H, W) float32 -> embedding (N, D) float32, before any L2 normalisation."""

_CHUNK: Final = 256
# Far above the constant, so that rounding does not swallow a single number's part; a power of two divides exactly.
_PROBE: Final = np.float32(4096)
_TOLERANCE: Final = 1e-3


class OnnxHead:
    """What an ONNX network makes of its last spatial map.

    Parameters
    ----------
    embedder
        An ONNX network whose grid is named. Its part runs on as many threads.

    Raises
    ------
    ModelError
        It has no grid, the file is another one by now, or its output is not made from the grid alone.
    """

    def __init__(self, embedder: OnnxEmbedder) -> None:
        if embedder.grid_tensor is None:
            raise ModelError(f"{embedder.path}: no spatial map was named for this network; name its tensor")
        check_digest(sha256_of(embedder.path), embedder.sha256, embedder.path)
        data = read_model(embedder.path)
        read_summary(data, embedder.path)
        try:
            part = cut_graph(data, embedder.grid_tensor, embedder.output_tensor)
        except ValueError as error:
            raise ModelError(f"{embedder.path}: {error}; name another spatial map") from error
        self._session: Any = _open(part, embedder.path, embedder.threads)
        self._input, self._output = embedder.grid_tensor, embedder.output_tensor
        self._path, self._threads = embedder.path, embedder.threads
        self._size: int | None = None
        # What the head may insist on, and its bytes, until it has run.
        self._fixed = embedder.batch_size
        self._part = part if self._fixed else b""

    def __call__(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to the network's own output (N, D), not normalised.

        Raises
        ------
        ModelError
            ONNX Runtime cannot run the head, or it gives no row per map.
        """
        values = np.asarray(maps, np.float32)
        if self._size is None:
            try:
                return self._run(self._session, values)
            except ModelError:
                if self._fixed is None:
                    raise
            self._settle(self._fixed, values.shape[1:])
            return self(values)
        size = self._size
        return np.concatenate([self._padded(values[at : at + size], size) for at in range(0, len(values), size)])

    def _settle(self, size: int, shape: tuple[int, ...]) -> None:
        """Free the batch that the head names itself, as a Reshape to a constant shape does, or else keep to it."""
        self._size, self._fixed = size, None
        maps = np.random.default_rng(0).standard_normal((size + 1, *shape)).astype(np.float32)
        expected = self(maps)
        try:
            session = _open(free_batch(self._part, size), self._path, self._threads)
            found = self._run(session, maps)
        except (ModelError, ValueError):
            return
        finally:
            self._part = b""
        if np.abs(found - expected).max() <= _TOLERANCE * np.abs(expected).max():
            self._session, self._size = session, None

    def _padded(self, maps: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        padding = np.zeros((size - len(maps), *maps.shape[1:]), np.float32)
        return self._run(self._session, np.concatenate([maps, padding]))[: len(maps)]

    def _run(self, session: Any, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (output,) = session.run([self._output], {self._input: maps})
        except Exception as error:  # ONNX Runtime's errors share no base class.
            raise _failed(self._path, error) from error
        if output.ndim < 2 or len(output) != len(maps):
            raise ModelError(
                f"{self._path}: the part behind the spatial map gives {output.shape} for {len(maps)} map(s), no row "
                "per map; export the network with a free batch"
            )
        return np.asarray(output, np.float32).reshape(len(maps), -1)


def measure_head(head: Head, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Measure an affine head by running it once for every number of the map.

    Parameters
    ----------
    head
        The head.
    shape
        (C, H, W) of the map.

    Returns
    -------
    (D, C, H, W) float32: ``head(x) = sum over c, h, w of weights * x + head(0)``.

    Raises
    ------
    ModelError
        If the head is not affine.
    """
    size = int(np.prod(shape))
    zero = head(np.zeros((1, *shape), np.float32))
    columns = []
    for start in range(0, size, _CHUNK):
        units = np.zeros((min(_CHUNK, size - start), size), np.float32)
        np.fill_diagonal(units[:, start:], _PROBE)
        columns.append((head(units.reshape(-1, *shape)) - zero) / _PROBE)
    weights = np.ascontiguousarray(np.concatenate(columns).T).reshape(-1, *shape)
    probe = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
    measured = head(probe) - zero
    error = np.linalg.norm(measured - np.einsum("dchw,nchw->nd", weights, probe, optimize=True))
    if not error <= _TOLERANCE * np.linalg.norm(measured) or not np.any(measured):
        raise ModelError(
            "the head behind the spatial map is not a sum over places: it must be affine, with no activation and no L2 "
            "normalisation; name a later spatial map or an earlier output"
        )
    return weights


def _open(model: bytes, path: Path, threads: int | None) -> Any:
    try:
        return open_session(model, threads=threads)
    except Exception as error:  # ONNX Runtime's errors share no base class.
        raise _failed(path, error) from error


def _failed(path: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:200]
    return ModelError(f"{path}: the part behind the spatial map cannot be run ({reason})")


_LINEAR_HEAD_TOLERANCE = 1e-4


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
    if not error <= _LINEAR_HEAD_TOLERANCE:
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

        from whyface.models.placed_fc import place_weights, unnormalised  # noqa: PLC0415
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
