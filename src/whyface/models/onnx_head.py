"""The part of an ONNX network behind one of its tensors, as a network of its own, without the onnx package.

The graph's message is written again with only the nodes that lead from that tensor to the output; the tensor becomes
the input. See :mod:`whyface.models.onnx_tap` for the format.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.models.integrity import check_digest, read_model, sha256_of
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.onnx_session import read_summary
from whyface.models.onnx_tap import cut_graph
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
        self._path = embedder.path
        self._fixed = embedder.batch_size
        self._size: int | None = None

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
                return self._run(values)
            except ModelError:
                if self._fixed is None:
                    raise
            # The head names its batch itself, as a Reshape to a constant shape does.
            self._size = self._fixed
        size = self._size
        return np.concatenate([self._padded(values[at : at + size], size) for at in range(0, len(values), size)])

    def _padded(self, maps: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        padding = np.zeros((size - len(maps), *maps.shape[1:]), np.float32)
        return self._run(np.concatenate([maps, padding]))[: len(maps)]

    def _run(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (output,) = self._session.run([self._output], {self._input: maps})
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
