"""Open an ONNX face network in ONNX Runtime, and check that its input is a batch of faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.faces.face import FACE_SIZE
from whyface.files.integrity import read_model
from whyface.models.embedder import Batch
from whyface.models.onnx_limits import check_bounded
from whyface.models.onnx_tap import Summary, add_output, summarise
from whyface.models.preprocessing import RAW, SIDES, Preprocessing
from whyface.onnx_runtime import CPU, open_session

if TYPE_CHECKING:
    from whyface.onnx_runtime import InferenceSession


_LONGEST_REASON: Final = 200
_LARGEST_BATCH = 1024
_INPUT_TYPES: Final[dict[str, type[np.generic]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


def read_summary(data: bytes, path: Path) -> Summary:
    """Return a summary of an ONNX file's bytes; `path` is for the messages.

    Raises
    ------
    ModelError
        The bytes are not an ONNX model, refer to data in other files, or could run for ever.
    """
    try:
        summary = summarise(data)
        check_bounded(data)
    except ValueError as error:
        raise ModelError(f"{path}: not a usable ONNX file: {error}; give a complete .onnx file") from error
    if summary.external:
        raise ModelError(
            f"{path}: {len(summary.external)} tensor(s) ({summary.external[0]!r}, ...) lie in other files; "
            "save the network as one file, without external data"
        )
    return summary


@dataclass(frozen=True)
class _Input:
    """The input of a network: its name and type, height and width, the order of its axes, a fixed batch or None."""

    name: str
    dtype: type[np.generic]
    size: tuple[int, int]
    channels_last: bool
    batch: int | None


class FaceSession:
    """An ONNX Runtime session for a network with one input: pixels (N, 3, H, W), or (N, H, W, 3).

    A square input of another size than the face's is fed by resizing the face.

    Parameters
    ----------
    model
        The bytes of the ONNX file, already checked with :func:`read_summary`.
    path
        The file that they were read from, for the messages.
    preprocessing
        The input's values, and its size where the network leaves it free.
    threads
        Threads within one operator; None leaves it to ONNX Runtime.
    providers
        Execution providers of ONNX Runtime, in order of preference.
    alone
        See :func:`whyface.onnx_runtime.open_session`.

    Attributes
    ----------
    batch_size
        The number of faces per run that the network requires, or None if any will do.

    Raises
    ------
    ModelError
        ONNX Runtime refuses the network, or its only input is not a batch of such faces.
    """

    def __init__(
        self,
        model: bytes,
        path: Path,
        preprocessing: Preprocessing,
        *,
        threads: int | None = None,
        providers: Sequence[str] = CPU,
        alone: bool = False,
    ) -> None:
        self._path = path
        self._preprocessing = preprocessing
        try:
            self._session = open_session(model, threads=threads, providers=providers, limited=True, alone=alone)
        except ModelError:
            raise
        except Exception as error:  # ONNX Runtime's errors share no base class.
            raise _refused(path, error) from error
        self._input = _check_input(self._session, path, preprocessing)
        self.batch_size = self._input.batch

    @property
    def takes_floats(self) -> bool:
        """Whether the pixels may be normalised before; a network that takes uint8 does it itself."""
        return self._input.dtype != np.uint8

    def prepare(self, faces: Batch, preprocessing: Preprocessing | None = None) -> NDArray[np.float32]:
        """Turn faces (N, 3, 112, 112), RGB, 0..255, into the network's input.

        Parameters
        ----------
        faces
            The faces.
        preprocessing
            Another one than the network was opened with, to try it; only its values count, not its size.
        """
        pixels = (preprocessing or self._preprocessing).apply(faces)
        pixels = _resized(pixels, self._input.size)
        return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if self._input.channels_last else pixels

    def run(self, names: list[str], pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run the network on what :meth:`prepare` gave, N at most `batch_size`.

        Returns
        -------
        list of numpy.ndarray
            One float32 array (N, ...) per name.

        Raises
        ------
        ModelError
            The network fails, or a tensor has no row per face.
        """
        arrays = self._run(names, pixels)
        rows = self.batch_size or len(pixels)
        for name, array in zip(names, arrays, strict=True):
            if array.ndim < 2 or len(array) != rows:
                raise ModelError(
                    f"{self._path}: tensor {name!r} has the shape {array.shape} for {rows} face(s); "
                    "name one with a row per face"
                )
        return [array[: len(pixels)].astype(np.float32, copy=False) for array in arrays]

    def shapes(self, names: list[str], pixels: NDArray[np.float32]) -> list[tuple[int, ...]]:
        """Return the shape of each tensor for such pixels; the tensors need no row per face.

        Raises
        ------
        ModelError
            The network fails.
        """
        return [array.shape for array in self._run(names, pixels)]

    def _run(self, names: list[str], pixels: NDArray[np.float32]) -> list[NDArray[Any]]:
        count = len(pixels)
        padding = (self.batch_size or count) - count
        given = np.concatenate([pixels, np.repeat(pixels[-1:], padding, axis=0)]) if padding else pixels
        if not self.takes_floats:
            given = np.clip(np.rint(given), 0, 255)
        try:
            feed = {self._input.name: given.astype(self._input.dtype, copy=False)}
            arrays: list[NDArray[Any]] = self._session.run(names, feed)
        except Exception as error:
            raise _refused(self._path, error) from error
        return arrays


def _refused(path: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())
    if len(reason) > _LONGEST_REASON:
        # ONNX Runtime begins with its own source file and function, and says last what is wrong.
        reason = f"...{reason[-_LONGEST_REASON:]}"
    return ModelError(f"{path}: ONNX Runtime cannot use this network ({reason}); export it again")


def _resized(pixels: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize pictures (N, 3, H, W)."""
    height, width = size
    if pixels.shape[2:] == size:
        return pixels
    how = cv2.INTER_AREA if height < pixels.shape[2] else cv2.INTER_LINEAR
    resized = [cv2.resize(one.transpose(1, 2, 0), (width, height), interpolation=how) for one in pixels]
    # Interpolation at the edge may overshoot by a rounding error.
    return np.ascontiguousarray(np.stack(resized).transpose(0, 3, 1, 2), np.float32)


def _check_input(session: InferenceSession, path: Path, preprocessing: Preprocessing) -> _Input:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ModelError(f"{path}: the network has {len(inputs)} inputs; a face network takes one picture")
    (only,) = inputs
    dtype = _INPUT_TYPES.get(only.type)
    if dtype is None:
        raise ModelError(f"{path}: the network takes {only.type}; export it for float32 pixels")
    if dtype == np.uint8 and not preprocessing.is_raw:
        raise ModelError(f"{path}: the network takes uint8 pixels; use it without mean, std and divisor")
    # A free dimension is a name or None.
    shape = [size if isinstance(size, int) and size > 0 else None for size in only.shape]
    channels_last = len(shape) == 4 and shape[3] == 3 and shape[1] != 3
    if len(shape) != 4 or (not channels_last and shape[1] not in (3, None)):
        raise ModelError(
            f"{path}: the network takes {_shape(only.shape)}, no batch of pictures; one for N x 3 x H x W or "
            "N x H x W x 3 is needed"
        )
    size = _input_size(tuple(shape[1:3] if channels_last else shape[2:]), path, preprocessing)
    batch = shape[0]
    if batch is not None and batch > _LARGEST_BATCH:
        raise ModelError(
            f"{path}: the network takes {batch} faces at once and no fewer, which no memory holds; "
            "export it with a free batch dimension"
        )
    return _Input(only.name, dtype, size, channels_last, batch)


def _input_size(sides: tuple[int | None, ...], path: Path, preprocessing: Preprocessing) -> tuple[int, int]:
    """Return height and width of the input: the network's own, where it says one, else the preprocessing's."""
    wanted = preprocessing.size
    given = {side for side in sides if side is not None}
    if all(side in (None, want) for side, want in zip(sides, wanted, strict=True)):
        return wanted
    said = " x ".join(str(side or "any") for side in sides)
    if preprocessing.side is not None or preprocessing.columns is not None:
        raise ModelError(f"{path}: the network takes {said} pixels, but it was to be given {_shape(wanted)}")
    if len(given) != 1 or not SIDES[0] <= min(given) <= SIDES[1]:
        raise ModelError(
            f"{path}: the network takes {said} pixels; a face is a square of {SIDES[0]} to {SIDES[1]} pixels a side, "
            "or the columns of one that its preprocessing names"
        )
    return min(given), min(given)


def _shape(sizes: Sequence[object]) -> str:
    return " x ".join(str(size) for size in sizes)


_LARGEST_SIDE: Final = 32


@dataclass(frozen=True)
class GridTensor:
    """A tensor that can serve as a grid: its name and its shape (C, H, W)."""

    name: str
    shape: tuple[int, int, int]


def list_grids(path: Path | str, *, preprocessing: Preprocessing = RAW) -> list[GridTensor]:
    """Find the spatial maps of an ONNX network by running it once on a blank face.

    Returns
    -------
    list of GridTensor
        Maps of more than one cell and at most 32 x 32, in file order; the last is the usual choice.

    Raises
    ------
    ModelError
        The network cannot be read or run.
    """
    file = Path(path)
    data = read_model(file)
    summary = read_summary(data, file)
    names = summary.spatial()
    inner = [name for name in names if name not in summary.outputs]
    session = FaceSession(add_output(data, *inner), file, preprocessing, threads=1)
    blank = session.prepare(np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8))
    found = []
    for name, shape in zip(names, session.shapes(names, blank), strict=True):
        if len(shape) == 4 and shape[2] * shape[3] > 1 and max(shape[2:]) <= _LARGEST_SIDE:
            found.append(GridTensor(name, (shape[1], shape[2], shape[3])))
    return found
