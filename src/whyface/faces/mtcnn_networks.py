"""The three networks of MTCNN in NumPy. The weights come from the package ``mtcnn``; none of its code is run."""

from __future__ import annotations

import hashlib
import io
import math
import pickletools
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError, ModelIntegrityError

Tensor = NDArray[np.float32]


def convolve(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Convolve without padding, stride 1; the kernel is height x width x input channels x output channels."""
    high, wide, channels, outputs = kernel.shape
    batch, height, width, _ = x.shape
    height, width = height - high + 1, width - wide + 1
    if high == wide == 1:
        return np.asarray(x @ kernel[0, 0] + bias, dtype=np.float32)
    columns = np.empty((batch, height, width, high * wide, channels), np.float32)
    for row in range(high):
        for column in range(wide):
            columns[:, :, :, row * wide + column] = x[:, row : row + height, column : column + width]
    product = columns.reshape(-1, high * wide * channels) @ kernel.reshape(-1, outputs)
    product += bias
    return product.reshape(batch, height, width, outputs)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Multiply negative values by the slope of their channel."""
    return np.maximum(x, 0) + np.minimum(x, 0) * slope.reshape(-1)


def max_pool(x: Tensor, size: int, *, cover: bool) -> Tensor:
    """Return the maximum of size x size windows, stride 2; with ``cover``, the last window may cross the edge."""
    batch, height, width, channels = x.shape
    if cover:
        rows, columns = -(-(height - size) // 2) + 1, -(-(width - size) // 2) + 1
        missing_rows, missing_columns = (rows - 1) * 2 + size - height, (columns - 1) * 2 + size - width
        if missing_rows or missing_columns:
            padding = ((0, 0), (0, missing_rows), (0, missing_columns), (0, 0))
            x = np.pad(x, padding, constant_values=-np.inf)
    else:
        rows, columns = (height - size) // 2 + 1, (width - size) // 2 + 1
    pooled = np.full((batch, rows, columns, channels), -np.inf, np.float32)
    for row in range(size):
        for column in range(size):
            window = x[:, row : row + 2 * rows - 1 : 2, column : column + 2 * columns - 1 : 2]
            np.maximum(pooled, window, out=pooled)
    return pooled


def face_probability(logits: Tensor) -> Tensor:
    """Return the softmax probability of the second of two classes, (..., 2) -> (...)."""
    difference = np.clip(logits[..., 0] - logits[..., 1], -80, 80)
    return np.asarray(1 / (1 + np.exp(difference)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Networks:
    """The weights of the three networks, each a sequence of arrays in the order of the layers."""

    proposal: Sequence[Tensor]
    refinement: Sequence[Tensor]
    output: Sequence[Tensor]

    def propose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the proposal network on a picture (1, H, W, 3).

        Returns
        -------
        probability, offsets
            For every 12 x 12 window at stride 2, shapes (H', W') and (H', W', 4).
        """
        w = self.proposal
        x = max_pool(prelu(convolve(x, w[0], w[1]), w[2]), 2, cover=True)
        x = prelu(convolve(x, w[3], w[4]), w[5])
        x = prelu(convolve(x, w[6], w[7]), w[8])
        return face_probability(convolve(x, w[11], w[12]))[0], convolve(x, w[9], w[10])[0]

    def refine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the refinement network on patches (N, 24, 24, 3); return probability (N,) and offsets (N, 4)."""
        w = self.refinement
        x = max_pool(prelu(convolve(x, w[0], w[1]), w[2]), 3, cover=True)
        x = max_pool(prelu(convolve(x, w[3], w[4]), w[5]), 3, cover=False)
        x = prelu(convolve(x, w[6], w[7]), w[8])
        x = prelu(_flatten(x) @ w[9] + w[10], w[11])
        return face_probability(x @ w[14] + w[15]), x @ w[12] + w[13]

    def finish(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the output network on patches (N, 48, 48, 3).

        Returns
        -------
        probability, offsets, landmarks
            Shapes (N,), (N, 4) and (N, 5, 2); landmarks are (x, y) as fractions of the patch.
        """
        w = self.output
        x = max_pool(prelu(convolve(x, w[0], w[1]), w[2]), 3, cover=True)
        x = max_pool(prelu(convolve(x, w[3], w[4]), w[5]), 3, cover=False)
        x = max_pool(prelu(convolve(x, w[6], w[7]), w[8]), 2, cover=True)
        x = prelu(convolve(x, w[9], w[10]), w[11])
        x = prelu(_flatten(x) @ w[12] + w[13], w[14])
        landmarks = (x @ w[17] + w[18]).reshape(-1, 2, 5).transpose(0, 2, 1)
        return face_probability(x @ w[19] + w[20]), x @ w[15] + w[16], landmarks


def _flatten(x: Tensor) -> Tensor:
    """Flatten to (N, ...) with columns before rows, as the weights expect."""
    return x.transpose(0, 2, 1, 3).reshape(len(x), -1)


Shape = tuple[int, ...]


class _Stored(NamedTuple):
    file: str
    sha256: str
    shapes: tuple[Shape, ...]


def _layers(*kernels: Shape, parted: int) -> tuple[Shape, ...]:
    """Return the shapes of each layer's kernel, bias and slopes; the last ``parted`` layers have no slopes."""
    shapes: list[Shape] = []
    for number, kernel in enumerate(kernels):
        shapes += [kernel, kernel[-1:]]
        if number < len(kernels) - parted:
            shapes.append((1, 1, kernel[-1]) if len(kernel) == 4 else kernel[-1:])
    return tuple(shapes)


_PROPOSAL: Final = _Stored(
    "pnet.lz4",
    "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    _layers((3, 3, 3, 10), (3, 3, 10, 16), (3, 3, 16, 32), (1, 1, 32, 4), (1, 1, 32, 2), parted=2),
)
_REFINEMENT: Final = _Stored(
    "rnet.lz4",
    "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    _layers((3, 3, 3, 28), (3, 3, 28, 48), (2, 2, 48, 64), (576, 128), (128, 4), (128, 2), parted=2),
)
_OUTPUT: Final = _Stored(
    "onet.lz4",
    "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
    _layers(
        *((3, 3, 3, 32), (3, 3, 32, 64), (3, 3, 64, 64), (2, 2, 64, 128)),
        *((1152, 256), (256, 4), (256, 10), (256, 2)),
        parted=3,
    ),
)


def load_networks() -> Networks:
    """Read the three networks from the installed package ``mtcnn``.

    Raises
    ------
    ModelError
        If the package or its decompressor ``lz4`` is not installed.
    ModelIntegrityError
        If the SHA-256 of a file is not the one on record.
    """
    spec = find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("the detector MTCNN needs the package mtcnn; install it with: pip install 'whyface[mtcnn]'")
    folder = Path(spec.submodule_search_locations[0]) / "assets" / "weights"
    return Networks(*(_read(folder, stored) for stored in (_PROPOSAL, _REFINEMENT, _OUTPUT)))


def arrays_of_joblib(data: bytes, shapes: Sequence[Shape]) -> list[Tensor]:
    """Extract the float32 arrays from an uncompressed joblib file; its pickle is parsed, never executed.

    After the state of each array's wrapper is set (SETITEMS, then BUILD), the stream holds one byte with the number
    of padding bytes, the padding, and the array in C order.

    Raises
    ------
    ModelError
        If the stream does not hold arrays of exactly these shapes.
    """
    stream, arrays, before = io.BytesIO(data), list[Tensor](), ""
    try:
        for operation, _, _ in pickletools.genops(stream):
            if operation.name == "BUILD" and before == "SETITEMS":
                shape = shapes[len(arrays)]
                stream.seek(stream.read(1)[0], io.SEEK_CUR)
                content = stream.read(4 * math.prod(shape))
                arrays.append(np.frombuffer(content, "<f4").reshape(shape).astype(np.float32))
            before = operation.name if operation.name != "MEMOIZE" else before
    except (ValueError, IndexError) as error:
        raise ModelError("the weights are not stored in the expected format; install mtcnn 1.0.0") from error
    if len(arrays) != len(shapes):
        raise ModelError(f"expected {len(shapes)} weight arrays, found {len(arrays)}; install mtcnn 1.0.0")
    return arrays


def _read(folder: Path, stored: _Stored) -> list[Tensor]:
    try:
        import lz4.frame  # type: ignore[import-untyped, import-not-found, unused-ignore]  # noqa: PLC0415
    except ImportError as error:
        raise ModelError("the weights of MTCNN need the package lz4; install it with: pip install lz4") from error
    path = folder / stored.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read; install mtcnn 1.0.0 again") from error
    if hashlib.sha256(data).hexdigest() != stored.sha256:
        raise ModelIntegrityError(f"{path}: not the file of mtcnn 1.0.0; install that version")
    return arrays_of_joblib(lz4.frame.decompress(data), stored.shapes)
