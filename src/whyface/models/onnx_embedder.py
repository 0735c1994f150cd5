"""Any ONNX face network as an embedder, with an inner tensor as its grid."""

from __future__ import annotations

import difflib
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.faces.face import FACE_SIZE
from whyface.files.integrity import check_digest, read_model
from whyface.models.embedder import Batch, check_batch, l2_normalise
from whyface.models.linear_head import LinearHead, OnnxHead, measure_head
from whyface.models.onnx_session import FaceSession, read_summary
from whyface.models.onnx_tap import Summary, add_output
from whyface.models.preprocessing import RAW, Preprocessing
from whyface.onnx_runtime import CPU

# Faces per run of a network with a free batch dimension: activations that fit the cache make 8 the fastest
# (benchmarks/face_speed.py).
_CHUNK: Final = 8


class OnnxEmbedder:
    """An ONNX face network with one image input, (N, 3, H, W) or (N, H, W, 3).

    A square input of another size than 112 is fed with the resized face.

    The file must be complete: tensors kept in other files are refused, so that its SHA-256 covers the whole network.
    It is read once, on construction; the ONNX Runtime session is made from those bytes on first use.

    Parameters
    ----------
    path
        The ``.onnx`` file.
    preprocessing
        Preprocessing of RGB values in 0..255.
    grid
        Name of the tensor that holds the last spatial map (N, C, H, W), inner or declared as an output;
        :func:`whyface.models.onnx_session.list_grids` shows the candidates. None: the embedder has no grid.
    output
        Name of the tensor that holds the embedding; None takes the first declared output that is not
        `grid`, or `grid` itself if there is no other. Further dimensions are flattened in C, H, W order.
    sha256
        Refuse the file unless it has this SHA-256.
    threads
        Threads within one operator; None leaves it to ONNX Runtime.
    name
        Name of the network in reports; the file's stem by default.
    providers
        Execution providers of ONNX Runtime, in order of preference.
    alone
        No other network runs in this process: one face at a time then took 0.6 to 1.0 times as long on two cores.
        Beside another network, such as a detector, it would take twice as long.

    Raises
    ------
    ModelError
        On construction: the file is missing, incomplete or not an ONNX model, or lacks the tensors named.
        On first use: ONNX Runtime refuses the network, or its input is not such a face.
    ModelIntegrityError
        The SHA-256 differs.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        preprocessing: Preprocessing = RAW,
        grid: str | None = None,
        output: str | None = None,
        sha256: str | None = None,
        threads: int | None = None,
        name: str | None = None,
        providers: Sequence[str] = CPU,
        alone: bool = False,
    ) -> None:
        self.path = Path(path)
        self.preprocessing = preprocessing
        self.grid_tensor = grid
        self.threads = threads
        self.providers = tuple(providers)
        self.alone = alone
        self._name = name or self.path.stem
        if threads is not None and threads < 1:
            raise ModelError(f"{self.path}: threads must be 1 or more, got {threads}")
        data = read_model(self.path)
        self._sha256 = hashlib.sha256(data).hexdigest()
        if sha256 is not None:
            check_digest(self._sha256, sha256, self.path)
        summary = read_summary(data, self.path)
        self._output = output or next((other for other in summary.outputs if other != grid), grid or "")
        self._outputs = tuple(summary.outputs)
        self._hint = _hint(summary)
        wanted = [tensor for tensor in dict.fromkeys((self._output, grid)) if tensor is not None]
        for tensor in wanted:
            _check_tensor(tensor, summary, self.path)
        self._model = add_output(data, *(tensor for tensor in wanted if tensor not in summary.outputs))
        self._session: FaceSession | None = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Name of the network in reports."""
        return self._name

    @property
    def sha256(self) -> str:
        """SHA-256 of the file, 64 hexadecimal digits."""
        return self._sha256

    @property
    def output_tensor(self) -> str:
        """Name of the tensor that holds the embedding."""
        return self._output

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the declared outputs."""
        return self._outputs

    @property
    def has_grid(self) -> bool:
        """Whether a spatial map was named."""
        return self.grid_tensor is not None

    @property
    def batch_size(self) -> int | None:
        """The number of faces per run that the network requires, or None; opens the network.

        Raises
        ------
        ModelError
            The network cannot be opened.
        """
        return self._opened().batch_size

    def open_head(self) -> OnnxHead:
        """Open the part after the grid, with the same number of threads.

        Raises
        ------
        ModelError
            There is no grid, the file has changed since, or the embedding is not computed from the grid alone.
        """
        if self.grid_tensor is None:
            raise ModelError(f"{self.path}: no spatial map was named for this network; name its tensor")
        return OnnxHead(
            self.path, self.sha256, self.grid_tensor, self._output, batch=self.batch_size, threads=self.threads
        )

    def affine_head(self, shape: tuple[int, int, int]) -> LinearHead:
        """Measure how the embedding is computed from the grid (C, H, W).

        Raises
        ------
        ModelError
            As for :meth:`open_head`, or the head is not affine.
        """
        if self._output == self.grid_tensor:
            # The embedding is the flattened grid itself.
            size = int(np.prod(shape))
            return LinearHead(np.eye(size, dtype=np.float32).reshape(size, *shape), np.zeros(size, np.float32))
        head = self.open_head()
        zero = head(np.zeros((1, *shape), np.float32))[0]
        return LinearHead(measure_head(head, shape), zero)

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces to embeddings.

        Parameters
        ----------
        batch
            (N, 3, 112, 112), RGB, uint8 or float32 in 0..255.

        Returns
        -------
        numpy.ndarray
            (N, D) float32, L2-normalised; a vector of zeros stays zeros.

        Raises
        ------
        InputError
            The batch does not fit.
        ModelError
            The network cannot be run, or returns values that are not finite.
        """
        (embedding,) = self._run([self._output], batch)
        return _normalised(embedding)

    def embed_otherwise(self, batch: Batch, preprocessing: Preprocessing) -> NDArray[np.float32]:
        """Embed as :meth:`embed`, but with another preprocessing, to try it.

        Raises
        ------
        ModelError
            The network takes uint8 pixels, or as :meth:`embed`.
        """
        if not self._opened().takes_floats and not preprocessing.is_raw:
            raise ModelError(f"{self.path}: the network takes uint8 pixels; use it without mean, std and divisor")
        (embedding,) = self._run([self._output], batch, preprocessing)
        return _normalised(embedding)

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces (N, 3, 112, 112), RGB, 0..255, to the spatial map (N, C, H, W) float32, not normalised.

        Raises
        ------
        InputError
            The batch does not fit.
        ModelError
            No grid was named, it is not 4-D, or the network cannot be run.
        """
        (grid,) = self._run([self._grid_name()], batch)
        return self._spatial(grid)

    def embed_with_grid(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the results of :meth:`embed` and :meth:`grid` from a single pass."""
        embedding, grid = self._run([self._output, self._grid_name()], batch)
        return _normalised(embedding), self._spatial(grid)

    def _grid_name(self) -> str:
        if self.grid_tensor is None:
            raise ModelError(f"{self.path}: no spatial map was named for this network; {self._hint}")
        return self.grid_tensor

    def _spatial(self, grid: NDArray[np.float32]) -> NDArray[np.float32]:
        if grid.ndim != 4:
            raise ModelError(
                f"{self.path}: tensor {self.grid_tensor!r} has the shape {grid.shape}, not (N, C, H, W); {self._hint}"
            )
        return grid

    def _opened(self) -> FaceSession:
        with self._lock:
            if self._session is None:
                self._session = FaceSession(
                    self._model,
                    self.path,
                    self.preprocessing,
                    threads=self.threads,
                    providers=self.providers,
                    alone=self.alone,
                )
                # The session has its own copy.
                self._model = b""
            return self._session

    def _run(
        self, names: list[str], batch: Batch, preprocessing: Preprocessing | None = None
    ) -> list[NDArray[np.float32]]:
        faces = check_batch(batch)
        count = len(faces)
        if count == 0:
            # One blank face tells the shapes of an empty answer.
            faces = np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8)
        session = self._opened()
        size = session.batch_size or _CHUNK
        parts = [
            session.run(names, session.prepare(faces[start : start + size], preprocessing))
            for start in range(0, len(faces), size)
        ]
        joined = [np.concatenate(column)[:count] for column in zip(*parts, strict=True)]
        for name, values in zip(names, joined, strict=True):
            if not np.isfinite(values).all():
                raise ModelError(
                    f"{self.path}: tensor {name!r} has values that are not finite; check the preprocessing"
                )
        return joined


def _normalised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return l2_normalise(values.reshape(len(values), int(np.prod(values.shape[1:]))))


def _check_tensor(name: str, summary: Summary, path: Path) -> None:
    known = [*summary.tensors, *summary.outputs]
    if name not in known:
        raise ModelError(f"{path}: the network has no tensor {name!r}; {_hint(summary, name)}")


def _hint(summary: Summary, name: str = "") -> str:
    close = difflib.get_close_matches(name, [*summary.tensors], n=2, cutoff=0.7)
    likely = list(dict.fromkeys([*close, *summary.spatial()[-4:]]))
    return f"likely ones are {', '.join(map(repr, likely))}" if likely else "it seems to have no spatial map"
