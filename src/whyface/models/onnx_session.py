"""Open an ONNX face network in ONNX Runtime, and check that its input is a batch of faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError
from whyface.faces.face import FACE_SIZE
from whyface.files.integrity import read_model
from whyface.models.onnx_limits import check_bounded
from whyface.models.onnx_tap import Summary, add_output, summarise
from whyface.models.preprocessing import RAW, Preprocessing
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


class FaceSession:
    """An ONNX Runtime session for a network with one input, (N, 3, H, W) pixels.

    Parameters
    ----------
    model
        The bytes of the ONNX file, already checked with :func:`read_summary`.
    path
        The file that they were read from, for the messages.
    preprocessing
        Says the size of the input, and whether it is plain pixel values.
    threads
        Threads within one operator; None leaves it to ONNX Runtime.
    providers
        Execution providers of ONNX Runtime, in order of preference.

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
    ) -> None:
        self._path = path
        try:
            self._session = open_session(model, threads=threads, providers=providers, limited=True)
        except Exception as error:  # ONNX Runtime's errors share no base class.
            raise _refused(path, error) from error
        self._input, self._dtype, self.batch_size = _check_input(self._session, path, preprocessing)

    def run(self, names: list[str], pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run the network on prepared pixels (N, 3, H, W), N at most `batch_size`.

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
        if self._dtype == np.uint8:
            given = np.clip(np.rint(given), 0, 255)
        try:
            arrays: list[NDArray[Any]] = self._session.run(names, {self._input: given.astype(self._dtype, copy=False)})
        except Exception as error:
            raise _refused(self._path, error) from error
        return arrays


def _refused(path: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())
    if len(reason) > _LONGEST_REASON:
        reason = f"{reason[:_LONGEST_REASON]}..."
    return ModelError(f"{path}: ONNX Runtime cannot use this network ({reason}); export it again")


def _check_input(
    session: InferenceSession, path: Path, preprocessing: Preprocessing
) -> tuple[str, type[np.generic], int | None]:
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ModelError(f"{path}: the network has {len(inputs)} inputs; a face network takes one picture")
    (only,) = inputs
    dtype = _INPUT_TYPES.get(only.type)
    if dtype is None:
        raise ModelError(f"{path}: the network takes {only.type}; export it for float32 pixels")
    if dtype == np.uint8 and not preprocessing.is_raw:
        raise ModelError(f"{path}: the network takes uint8 pixels; use it without mean, std and divisor")
    expected = (3, *preprocessing.size)
    shape = list(only.shape)
    # A free dimension is a name or None.
    fits = len(shape) == 4 and all(
        not isinstance(size, int) or size == want for size, want in zip(shape[1:], expected, strict=True)
    )
    if not fits:
        raise ModelError(
            f"{path}: the network takes {_shape(shape)}, but faces come as {_shape(['N', *expected])}; "
            f"only networks for {FACE_SIZE} x {FACE_SIZE} faces, channels first, can be used"
        )
    batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
    if batch is not None and batch > _LARGEST_BATCH:
        raise ModelError(
            f"{path}: the network takes {batch} faces at once and no fewer, which no memory holds; "
            "export it with a free batch dimension"
        )
    return only.name, dtype, batch


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
    blank = preprocessing.apply(np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8))
    found = []
    for name, shape in zip(names, session.shapes(names, blank), strict=True):
        if len(shape) == 4 and shape[2] * shape[3] > 1 and max(shape[2:]) <= _LARGEST_SIDE:
            found.append(GridTensor(name, (shape[1], shape[2], shape[3])))
    return found
