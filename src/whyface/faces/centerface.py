"""CenterFace: a convolutional network that predicts face centres, each with a size and landmarks.

Y. Xu, W. Yan, G. Yang, J. Luo, T. Li, J. He, CenterFace: Joint Face Detection and Alignment Using Face as Point,
Scientific Programming 2020, arXiv:1911.03599.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError, ModelIntegrityError
from whyface.faces.align import apply_affine, invert_affine, warp
from whyface.faces.detection import Detection, check_photo, largest_first, suppress_overlaps
from whyface.onnx_runtime import open_session

Tensor = NDArray[np.float32]
Network = Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
"""Pixels (1, 3, H, W), RGB 0..255, H and W multiples of 32 -> heat map (1, 1, H/4, W/4), log sizes (1, 2, ...), offsets
(1, 2, ...) and landmarks (1, 10, ...); pairs are (y, x)."""

_STRIDE: Final = 4
_MULTIPLE: Final = 32
_BY_COORDINATE: Final = [1, 0]


@dataclass(frozen=True)
class CentreSettings:
    """Search settings.

    Attributes
    ----------
    shortest_search, longest_search
        The photo is resized so that its longest side lies between these, in pixels. A face must be about 16 pixels
        high at that size to be found: at 640, a fortieth of a large photo's longest side.
    threshold
        Minimum confidence of a face, in (0, 1).
    overlap
        Maximum overlap (intersection over union) of the boxes of two faces.
    close_up
        Side of the close-up of each face, in pixels; 0 for no second pass.
    framing
        Side of the close-up as a multiple of the side of the face's box.
    """

    shortest_search: int = 256
    longest_search: int = 640
    threshold: float = 0.5
    overlap: float = 0.3
    close_up: int = 128
    framing: float = 1.8

    def __post_init__(self) -> None:
        if not 32 <= self.shortest_search <= self.longest_search:
            raise InputError("the search needs 32 <= shortest_search <= longest_search")
        if not (0 < self.threshold < 1 and 0 <= self.overlap <= 1 and self.close_up >= 0 and self.framing >= 1):
            raise InputError("threshold must be in (0, 1), overlap in [0, 1], close_up >= 0 and framing >= 1")


class CenterFaceDetector:
    """Find faces in two passes: over the whole photo, then over a close-up of each face for exact landmarks.

    The precision of the landmarks grows with the size of the face in the input; in the close-up every face has the
    same size.

    Parameters
    ----------
    network
        The network; :func:`whyface.faces.centerface.open_centerface` opens the one that comes with whyface.
    settings
        Search settings.
    """

    def __init__(self, network: Network, settings: CentreSettings | None = None) -> None:
        self._network = network
        self._settings = settings if settings is not None else CentreSettings()

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of a photo (RGB uint8, shape (H, W, 3)), the largest box first.

        Raises
        ------
        InputError
            If the photo has another shape or type.
        """
        check_photo(photo)
        found = self._search(photo)
        if self._settings.close_up:
            found = _distinct([self._look_closer(photo, face) for face in found], self._settings.overlap)
        return largest_first(found)

    def _search(self, photo: NDArray[np.uint8]) -> list[Detection]:
        settings = self._settings
        height, width = photo.shape[:2]
        longest = max(height, width)
        scale = min(max(longest, settings.shortest_search), settings.longest_search) / longest
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        shrinks = size[0] < width
        resized = cv2.resize(photo, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        zoom = np.array([size[0] / width, size[1] / height])
        # cv2.resize aligns the edges of the pictures, so pixel centres shift by half a pixel of each scale.
        to_photo = np.column_stack([np.diag(1 / zoom), 0.5 / zoom - 0.5])
        return self._marked(np.asarray(resized, dtype=np.uint8), to_photo)

    def _look_closer(self, photo: NDArray[np.uint8], face: Detection) -> Detection:
        settings = self._settings
        x0, y0, x1, y1 = face.box
        zoom = settings.close_up / (settings.framing * max(x1 - x0, y1 - y0, 1.0))
        middle = (settings.close_up - 1) / 2
        to_view = np.array([[zoom, 0, middle - zoom * (x0 + x1) / 2], [0, zoom, middle - zoom * (y0 + y1) / 2]])
        seen = self._marked(warp(photo, to_view, settings.close_up), invert_affine(to_view))
        if not seen:
            return face
        closest = min(seen, key=lambda other: _distance(face, other))
        # A neighbour's face must not take this one's place.
        if _distance(face, closest) > 0.5 * max(x1 - x0, y1 - y0):
            return face
        return Detection(closest.box, closest.landmarks, face.score)

    def _marked(self, picture: NDArray[np.uint8], to_photo: NDArray[np.float64]) -> list[Detection]:
        """Run the network on a picture and map the detections to the photo."""
        height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in picture.shape[:2])
        canvas = np.zeros((1, 3, height, width), np.float32)
        canvas[0, :, : picture.shape[0], : picture.shape[1]] = picture.transpose(2, 0, 1)
        heat, log_sizes, offsets, shares = (output[0] for output in self._network(canvas))
        rows, columns = np.nonzero(heat[0] > self._settings.threshold)
        scores = heat[0, rows, columns]
        sizes = _STRIDE * np.exp(log_sizes[:, rows, columns].T.astype(np.float64))
        # Pixel centres lie at integers: the centre of the first cell of the heat map is at (stride - 1) / 2.
        cells = np.stack([rows, columns], axis=1) + offsets[:, rows, columns].T + 0.5
        low = _STRIDE * cells - 0.5 - sizes / 2
        landmarks = low[:, None] + shares[:, rows, columns].T.reshape(-1, 5, 2) * sizes[:, None]
        corners = np.stack([low, low + sizes], axis=1)[:, :, _BY_COORDINATE]
        boxes = apply_affine(to_photo, corners.reshape(-1, 2)).reshape(-1, 4)
        points = apply_affine(to_photo, landmarks[:, :, _BY_COORDINATE].reshape(-1, 2)).reshape(-1, 5, 2)
        return [
            _detection(boxes[k], points[k], scores[k])
            for k in suppress_overlaps(boxes, scores, self._settings.overlap)
            if np.isfinite(boxes[k]).all() and np.isfinite(points[k]).all()
        ]


def _detection(box: NDArray[np.float64], points: NDArray[np.float64], score: float) -> Detection:
    x0, y0, x1, y1 = (float(value) for value in box)
    return Detection((x0, y0, x1, y1), points.astype(np.float32), min(1.0, float(score)))


def _distance(one: Detection, other: Detection) -> float:
    """Return the distance between the centres of two boxes."""
    across = one.box[0] + one.box[2] - other.box[0] - other.box[2]
    down = one.box[1] + one.box[3] - other.box[1] - other.box[3]
    return float(np.hypot(across, down)) / 2


def _distinct(faces: list[Detection], overlap: float) -> list[Detection]:
    """Drop the worse of two detections that the second pass moved to the same face."""
    if not faces:
        return []
    boxes, scores = np.array([face.box for face in faces]), np.array([face.score for face in faces])
    return [faces[k] for k in suppress_overlaps(boxes, scores, overlap)]


ASSET: Final = "assets/detector/centerface.onnx"
"""Path of the network's file in the package; see NOTICE.md next to it."""

SHA256: Final = "5f9d0c07eee7d7daef429829ae7ad720f1662b21b18bc7fb8f6247de66fb34fe"


def open_centerface(*, threads: int | None = None) -> Network:
    """Open the network.

    Parameters
    ----------
    threads
        Threads within one operator; None: ONNX Runtime's default.

    Raises
    ------
    ModelIntegrityError
        If the file's SHA-256 is not the one on record.
    ModelError
        If the file is missing or ONNX Runtime cannot load it.
    """
    try:
        model = (resources.files("whyface") / ASSET).read_bytes()
    except OSError as error:
        raise ModelError(f"{ASSET}: the face detector's file cannot be read; install whyface again") from error
    if hashlib.sha256(model).hexdigest() != SHA256:
        raise ModelIntegrityError(f"{ASSET}: the face detector's file has been changed; install whyface again")
    try:
        session = open_session(model, threads=threads)
    except Exception as error:  # ONNX Runtime's exceptions have no common base class.
        raise ModelError(f"{ASSET}: ONNX Runtime cannot open it; update onnxruntime") from error
    name = session.get_inputs()[0].name

    def run(pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        heat, sizes, offsets, landmarks = session.run(None, {name: pixels})
        return heat, sizes, offsets, landmarks

    return run
