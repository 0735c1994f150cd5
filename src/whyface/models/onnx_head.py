"""The part of an ONNX network behind its last spatial map."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.files.integrity import check_digest, read_model, sha256_of
from whyface.models.onnx_session import read_summary
from whyface.models.onnx_tap import cut_graph, free_batch
from whyface.onnx_runtime import open_session

_TOLERANCE: Final = 1e-3


class OnnxHead:
    """The part of an ONNX network after its last spatial map.

    Parameters
    ----------
    path, sha256
        The ``.onnx`` file, and what its SHA-256 must be.
    grid, output
        Names of the tensors that hold the spatial map and the embedding.
    batch
        The number of faces that the network insists on per run, or None.
    threads
        Threads within one operator; None leaves it to ONNX Runtime.

    Raises
    ------
    ModelError
        The file is another one by now, or the output is not made from the grid alone.
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
        # What the head may insist on, and its bytes, until it has run.
        self._fixed = batch
        self._part = part if batch else b""

    def __call__(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (N, C, H, W) to the network's own output (N, D), not normalised.

        Raises
        ------
        ModelError
            ONNX Runtime cannot run the head, or it does not return one row per map.
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


def _open(model: bytes, path: Path, threads: int | None) -> Any:
    try:
        return open_session(model, threads=threads)
    except Exception as error:  # ONNX Runtime's errors share no base class.
        raise _failed(path, error) from error


def _failed(path: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:200]
    return ModelError(f"{path}: the part behind the spatial map cannot be run ({reason})")
