"""The learned attention as an ONNX graph: grids of two faces in, S, W and score out."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.models.integrity import check_digest, read_model
from whyface.models.onnx_session import read_summary
from whyface.onnx_runtime import open_session

if TYPE_CHECKING:
    from whyface.onnx_runtime import InferenceSession

OUTPUTS: Final = ("similarity", "attention", "score")
_CHUNK: Final = 4096


class PairGraph:
    """The pairwise part of an xCos model on ONNX Runtime.

    Parameters
    ----------
    path
        ONNX file with the inputs ``grid_a`` and ``grid_b`` (n, C, H, W) and the outputs ``similarity`` and
        ``attention`` (n, H, W) and ``score`` (n,), as :func:`whyface.xcos.export.export_pair` writes it.
    sha256
        Refuse the file unless it has this SHA-256.
    threads
        Threads within one operator; one unless given.

    Raises
    ------
    ModelError
        The file is missing, no ONNX model, or not such a graph.
    ModelIntegrityError
        The SHA-256 differs.
    """

    def __init__(self, path: Path | str, *, sha256: str | None = None, threads: int | None = None) -> None:
        self.path = Path(path)
        self._threads = threads
        self._model = read_model(self.path)
        self.sha256 = hashlib.sha256(self._model).hexdigest()
        if sha256 is not None:
            check_digest(self.sha256, sha256, self.path)
        missing = set(OUTPUTS) - set(read_summary(self._model, self.path).outputs)
        if missing:
            raise ModelError(f"{self.path}: not a pair graph, it has no output {min(missing)!r}")
        self._session: InferenceSession | None = None
        self._lock = threading.Lock()

    def run(
        self, grid_a: NDArray[np.float32], grid_b: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Compare N pairs of grids (N, C, H, W).

        Returns
        -------
        S (N, H, W), W (N, H, W), score (N,), float32.

        Raises
        ------
        InputError
            If the grids do not fit each other.
        ModelError
            If the graph cannot be run on them.
        """
        if grid_a.shape != grid_b.shape or grid_a.ndim != 4:
            raise InputError(f"the two grids do not fit together: {grid_a.shape} and {grid_b.shape}")
        session = self._open()
        starts = range(0, max(len(grid_a), 1), _CHUNK)
        try:
            parts = [
                session.run(list(OUTPUTS), {"grid_a": grid_a[i : i + _CHUNK], "grid_b": grid_b[i : i + _CHUNK]})
                for i in starts
            ]
        except Exception as error:  # ONNX Runtime's errors share no base class.
            raise ModelError(f"{self.path}: cannot compare grids of shape {grid_a.shape[1:]} ({error})") from error
        similarity, attention, score = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return similarity, attention, score

    def _open(self) -> InferenceSession:
        with self._lock:
            if self._session is None:
                try:
                    # The graph is tiny; more threads than one cost more than they give.
                    self._session = open_session(self._model, threads=self._threads or 1)
                except Exception as error:
                    raise ModelError(f"{self.path}: ONNX Runtime cannot use this graph ({error})") from error
            return self._session
