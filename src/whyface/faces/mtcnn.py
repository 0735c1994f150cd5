"""The detector MTCNN, the paper's own: three small networks in NumPy, and the faces that they find together."""

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

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import ModelError, ModelIntegrityError
from whyface.faces.align import warp
from whyface.faces.detection import Detection, check_photo, largest_first, suppress_overlaps
from whyface.files.integrity import HashedFile

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
_STORED: Final = (_PROPOSAL, _REFINEMENT, _OUTPUT)

FILES: Final[tuple[HashedFile, ...]] = tuple(
    HashedFile("detector", f"mtcnn {stored.file}", stored.sha256) for stored in _STORED
)
"""What a detector with these networks puts on record."""


def load_networks() -> Networks:
    """Read the three networks from the installed package ``mtcnn``.

    Raise ModelError if the package or its decompressor ``lz4`` is not installed, and ModelIntegrityError if the SHA-256
    of a file is not the one on record.
    """
    spec = find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("the detector MTCNN needs the package mtcnn; install it with: pip install 'whyface[mtcnn]'")
    folder = Path(spec.submodule_search_locations[0]) / "assets" / "weights"
    return Networks(*(_read(folder, stored) for stored in _STORED))


def arrays_of_joblib(data: bytes, shapes: Sequence[Shape]) -> list[Tensor]:
    """Extract the float32 arrays from an uncompressed joblib file; its pickle is parsed, never executed.

    After the state of each array's wrapper is set (SETITEMS, then BUILD), the stream holds one byte with the number of
    padding bytes, the padding, and the array in C order. Raise ModelError if the stream does not hold arrays of exactly
    these shapes.
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


_WINDOW: Final = 12
_STRIDE: Final = 2
_BATCH: Final = 64


@dataclass(frozen=True)
class CascadeSettings:
    """Search settings.

    Attributes
    ----------
    smallest_face
        Side of the smallest face to look for, in pixels of the picture searched.
    longest_side
        Larger photos are searched at this size; the faces are cropped from the original.
    step
        Ratio of successive scales of the image pyramid.
    thresholds
        Minimum probability at each of the three stages.
    """

    smallest_face: int = 20
    longest_side: int = 1000
    step: float = 0.709
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)


class MtcnnDetector:
    """The cascade with given weights; ``files`` are those that they are from, for records."""

    def __init__(
        self, networks: Networks, settings: CascadeSettings | None = None, *, files: tuple[HashedFile, ...] = ()
    ) -> None:
        self.files = files
        self._networks = networks
        self._settings = settings if settings is not None else CascadeSettings()

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of a photo (RGB uint8, shape (H, W, 3)), the largest box first."""
        check_photo(photo)
        boxes = _squares(self._propose(photo))
        boxes = _squares(self._refine(photo, boxes))
        return largest_first(self._finish(photo, boxes))

    def _propose(self, photo: NDArray[np.uint8]) -> Tensor:
        settings = self._settings
        found: list[Tensor] = [np.empty((0, 5), np.float32)]
        height, width = photo.shape[:2]
        scale = min(1.0, settings.longest_side / max(height, width)) * _WINDOW / settings.smallest_face
        while min(height, width) * scale >= _WINDOW:
            size = (max(_WINDOW, round(width * scale)), max(_WINDOW, round(height * scale)))
            resized = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            probability, offsets = self._networks.propose(_normalised(np.asarray(resized, dtype=np.uint8))[None])
            rows, columns = np.nonzero(probability > settings.thresholds[0])
            corner = _STRIDE * np.stack([columns, rows], axis=1).astype(np.float32)
            boxes = np.concatenate([corner, corner + _WINDOW], axis=1) + _WINDOW * offsets[rows, columns]
            # Width and height are rounded to whole pixels, so their scales differ slightly.
            boxes /= np.array([size[0] / width, size[1] / height] * 2, np.float32)
            scores = probability[rows, columns]
            keep = suppress_overlaps(boxes, scores, 0.5)
            found.append(np.concatenate([boxes[keep], scores[keep, None]], axis=1))
            scale *= settings.step
        boxes = np.concatenate(found)
        return boxes[suppress_overlaps(boxes[:, :4], boxes[:, 4], 0.7)]

    def _refine(self, photo: NDArray[np.uint8], boxes: Tensor) -> Tensor:
        refined: list[Tensor] = [np.empty((0, 5), np.float32)]
        for start in range(0, len(boxes), _BATCH):
            part = boxes[start : start + _BATCH]
            probability, offsets = self._networks.refine(_patches(photo, part, 24))
            moved = np.concatenate([_moved(part, offsets), probability[:, None]], axis=1)
            refined.append(moved[probability > self._settings.thresholds[1]])
        boxes = np.concatenate(refined)
        return boxes[suppress_overlaps(boxes[:, :4], boxes[:, 4], 0.7)]

    def _finish(self, photo: NDArray[np.uint8], boxes: Tensor) -> list[Detection]:
        found: list[Detection] = []
        for start in range(0, len(boxes), _BATCH):
            part = boxes[start : start + _BATCH]
            probability, offsets, shares = self._networks.finish(_patches(photo, part, 48))
            landmarks = part[:, None, :2] + shares * (part[:, None, 2:4] - part[:, None, :2])
            moved = _moved(part, offsets)
            found += [
                Detection((float(box[0]), float(box[1]), float(box[2]), float(box[3])), points, float(score))
                for box, points, score in zip(moved, landmarks.astype(np.float32), probability, strict=True)
                if score > self._settings.thresholds[2]
            ]
        if not found:
            return []
        boxes = np.array([face.box for face in found])
        return [found[k] for k in suppress_overlaps(boxes, np.array([face.score for face in found]), 0.7, "smaller")]


def _normalised(pixels: NDArray[np.uint8]) -> Tensor:
    return (pixels.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128)


def _moved(boxes: Tensor, offsets: Tensor) -> Tensor:
    sides = boxes[:, 2:4] - boxes[:, :2]
    return np.asarray(boxes[:, :4] + offsets * np.concatenate([sides, sides], axis=1), dtype=np.float32)


def _squares(boxes: Tensor) -> Tensor:
    """Enlarge each box to a square around its centre."""
    centre = (boxes[:, :2] + boxes[:, 2:4]) / 2
    half = (boxes[:, 2:4] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _patches(photo: NDArray[np.uint8], boxes: Tensor, size: int) -> Tensor:
    """Cut squares out of the photo, black outside, and resize them: (N, size, size, 3)."""
    patches = np.zeros((len(boxes), size, size, 3), np.uint8)
    for patch, (x0, y0, x1, _) in zip(patches, boxes.astype(np.float64), strict=True):
        zoom = size / max(float(x1 - x0), 1.0)
        # Align edges: the first pixel's centre lies half a pixel inside the box, and inside the patch.
        shift = [(0.5 - x0) * zoom - 0.5, (0.5 - y0) * zoom - 0.5]
        patch[...] = warp(photo, np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]]), size)
    return _normalised(patches)
