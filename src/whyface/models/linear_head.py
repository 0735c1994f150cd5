"""The head after the last spatial map as a sum over cells, and the head of an ONNX network as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.faces.face import FACE_SIZE
from whyface.files.integrity import check_digest, read_model, sha256_of
from whyface.models.embedder import Embedder, GridEmbedder, require_grid
from whyface.models.onnx_session import read_summary
from whyface.models.onnx_tap import cut_graph, free_batch
from whyface.onnx_runtime import open_session

Head = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Map (N, C, H, W) float32 -> embedding (N, D) float32, before any L2 normalisation."""

_CHUNK: Final = 256
# Far above the constant, so that rounding does not swallow a single number's part; a power of two divides exactly.
_PROBE: Final = np.float32(4096)
_AFFINE_TOLERANCE: Final = 1e-3
"""Relative error up to which a head counts as affine."""
_SUM_TOLERANCE: Final = 1e-4
"""Error of unit embeddings up to which the sum over cells counts as the network's own output."""
_CUT_TOLERANCE: Final = 1e-3
"""Relative error up to which a head with a free batch counts as the one with a constant batch."""


def measure_head(head: Head, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Measure an affine head by running it once for every number of the map.

    Return (D, C, H, W) float32: ``head(x) = sum over c, h, w of weights * x + head(0)``. Raise ModelError if the head
    is not affine.

    Parameters
    ----------
    shape
        (C, H, W) of the map.
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
    if not error <= _AFFINE_TOLERANCE * np.linalg.norm(measured) or not np.any(measured):
        raise ModelError(
            "the head behind the spatial map is not a sum over places: it must be affine, with no activation and no L2 "
            "normalisation; name a later spatial map or an earlier output"
        )
    return weights


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


@runtime_checkable
class AffineHeaded(Embedder, Protocol):
    """A network that can measure how its embedding is computed from its last spatial map."""

    def affine_head(self, shape: tuple[int, int, int]) -> LinearHead:
        """Measure the head after a map (C, H, W); raises ModelError if it is not affine."""
        ...


def linear_head(embedder: Embedder) -> tuple[GridEmbedder, LinearHead]:
    """Measure how a network's head computes the embedding from its last spatial map.

    If the head is affine, measuring describes it completely, whatever it is made of: mean and fully connected, flatten
    and fully connected, or global depthwise convolution, with BatchNorms between. Return the embedder as one with a
    grid, and the head. Raise ModelError if the embedder has no grid, its head cannot be inspected or is not affine, or
    the sum over cells is not the network's own embedding.
    """
    grids = require_grid(embedder)
    name = embedder.name
    if not isinstance(embedder, AffineHeaded):
        raise ModelError(
            f"model {name!r}: its head cannot be inspected; open the network as an ONNX file with its grid "
            "named, or as a torch network"
        )
    channels, height, width = grids.grid(np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8)).shape[1:]
    faces = np.random.default_rng(0).integers(0, 256, (2, 3, FACE_SIZE, FACE_SIZE), np.uint8)
    given = embedder.embed(faces)
    found = embedder.affine_head((channels, height, width))
    made = found(grids.grid(faces))
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    error = float(np.abs(made - given).max())
    if not error <= _SUM_TOLERANCE:
        raise ModelError(
            f"model {name!r}: the sum over cells misses the embedding by up to {error:.2g}; the embedding is not made "
            "from the spatial map named"
        )
    return grids, found


class OnnxHead:
    """The part of an ONNX network after its last spatial map.

    Raise ModelError if the file has changed since, or the output is not computed from the grid alone.

    Parameters
    ----------
    path, sha256
        The ``.onnx`` file, and what its SHA-256 must be.
    grid, output
        Names of the tensors that hold the spatial map and the embedding.
    batch
        The number of faces per run that the network requires, or None.
    threads
        Threads within one operator; None leaves it to ONNX Runtime.
    """

    def __init__(
        self, path: Path, sha256: str, grid: str, output: str, *, batch: int | None = None, threads: int | None = None
    ) -> None:
        check_digest(sha256_of(path), sha256, path)
        data = read_model(path)
        read_summary(data, path)
        try:
            part = cut_graph(data, grid, output)
        except ValueError as error:
            raise ModelError(f"{path}: {error}; name another spatial map") from error
        self._session: Any = _open(part, path, threads)
        self._input, self._output = grid, output
        self._path, self._threads = path, threads
        self._size: int | None = None
        # The batch that the head may require, and its bytes, until it has run.
        self._fixed = batch
        self._part = part if batch else b""

    def __call__(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to the network's own output (N, D), not normalised.

        Raise ModelError if ONNX Runtime cannot run the head, or it does not return one row per map.
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
        """Free a batch that the head fixes itself, as a Reshape to a constant shape does, or else keep to it."""
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
        if np.abs(found - expected).max() <= _CUT_TOLERANCE * np.abs(expected).max():
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
                f"{self._path}: the part after the spatial map gives {output.shape} for {len(maps)} map(s), not one "
                "row per map; export the network with a free batch"
            )
        return np.asarray(output, np.float32).reshape(len(maps), -1)


def _open(model: bytes, path: Path, threads: int | None) -> Any:
    try:
        return open_session(model, threads=threads, limited=True)
    except Exception as error:  # ONNX Runtime's errors share no base class.
        raise _failed(path, error) from error


def _failed(path: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:200]
    return ModelError(f"{path}: the part after the spatial map cannot be run ({reason})")
