"""CenterFace: a convolutional network that predicts face centres, each with a size and landmarks.

Y. Xu, W. Yan, G. Yang, J. Luo, T. Li, J. He, CenterFace: Joint Face Detection and Alignment Using Face as Point,
Scientific Programming 2020, arXiv:1911.03599.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import FaceError, InputError, ModelError, ModelIntegrityError
from whyface.faces.align import apply_affine, invert_affine, warp
from whyface.faces.detection import Detection, check_photo, largest_first, suppress_overlaps
from whyface.faces.quality import roll_of
from whyface.files.integrity import HashedFile
from whyface.onnx_runtime import open_session

Tensor = NDArray[np.float32]
Network = Callable[[Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
"""Pixels (1, 3, H, W), RGB 0..255, H and W multiples of 32 -> heat map (1, 1, H/4, W/4), log sizes (1, 2, ...), offsets
(1, 2, ...) and landmarks (1, 10, ...); pairs are (y, x)."""

_STRIDE: Final = 4
_MULTIPLE: Final = 32
_BY_COORDINATE: Final = [1, 0]

_UPRIGHT: Final = 25.0
"""Rotation, in degrees, up to which the network's landmarks are accurate."""

_LOOKS: Final = 3
_SURE: Final = 0.75
"""Confidence below which a close-up is compared with those in other orientations."""

_SURER: Final = 0.1
"""Advantage in confidence that another orientation needs to be preferred."""


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
    turned
        Repeat the close-up of a sideways or upside-down face with the face upright, and search a photo without a face
        in three other orientations. Needs the close-up.
    most_faces
        Maximum number of faces in a photo, each of which costs a close-up; None: any.
    """

    shortest_search: int = 256
    longest_search: int = 640
    threshold: float = 0.5
    overlap: float = 0.3
    close_up: int = 128
    framing: float = 1.8
    turned: bool = True
    most_faces: int | None = None

    def __post_init__(self) -> None:
        if not 32 <= self.shortest_search <= self.longest_search:
            raise InputError("the search needs 32 <= shortest_search <= longest_search")
        if not (0 < self.threshold < 1 and 0 <= self.overlap <= 1 and self.close_up >= 0 and self.framing >= 1):
            raise InputError("threshold must be in (0, 1), overlap in [0, 1], close_up >= 0 and framing >= 1")


class CenterFaceDetector:
    """Find faces in two passes: over the whole photo, then over a close-up of each face for exact landmarks.

    The precision of the landmarks grows with the size of the face in the input; in the close-up every face has the
    same size. The network was trained on upright faces. The landmarks of other faces are imprecise but show the
    rotation, so the close-up is repeated with the face turned upright.

    Parameters
    ----------
    network
        The network; :func:`whyface.faces.centerface.open_centerface` opens the one that comes with whyface.
    settings
        Search settings.
    files
        The files that the network is from, for records.
    """

    def __init__(
        self, network: Network, settings: CentreSettings | None = None, *, files: tuple[HashedFile, ...] = ()
    ) -> None:
        self.files = files
        self._network = network
        self._settings = settings if settings is not None else CentreSettings()

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Return the faces of a photo (RGB uint8, shape (H, W, 3)), the largest box first.

        Raise InputError if the photo has another shape or type.
        """
        check_photo(photo)
        found = self._search(photo)
        most = self._settings.most_faces
        if most is not None and len(found) > most:
            raise FaceError(f"more than {most} faces in the photo; cut out the part that matters")
        if self._settings.close_up:
            # A face in the upright photo is kept even if no close-up confirms it.
            faces = [self._look_closer(photo, face) or face for face in found]
            if not faces and self._settings.turned:
                faces = self._search_turned(photo)
            found = _distinct(faces, self._settings.overlap)
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

    def _search_turned(self, photo: NDArray[np.uint8]) -> list[Detection]:
        """Search the photo in three other orientations; return the faces of the one with the best score."""
        height, width = photo.shape[:2]
        to_photo = {
            1: np.array([[0, -1, width - 1], [1, 0, 0]], np.float64),
            2: np.array([[-1, 0, width - 1], [0, -1, height - 1]], np.float64),
            3: np.array([[0, 1, 0], [-1, 0, height - 1]], np.float64),
        }
        best: list[Detection] = []
        for quarters, back in to_photo.items():
            found = self._search(np.ascontiguousarray(np.rot90(photo, quarters)))
            moved = [_moved(face, back) for face in found]
            # The close-up must confirm the face, since three more searches mean more false detections.
            seen = [closer for face in moved if (closer := self._look_closer(photo, face)) is not None]
            best = max(best, seen, key=lambda faces: max((face.score for face in faces), default=0.0))
        return best

    def _look_closer(self, photo: NDArray[np.uint8], face: Detection) -> Detection | None:
        """Return the face as detected in an upright close-up; None if it is not found there."""
        if not self._settings.turned:
            seen = self._look(photo, face, 0)
            return None if seen is None else replace(seen, score=face.score)
        seen, turn = None, _turn_of(face)
        for _ in range(_LOOKS):
            view = self._look(photo, seen or face, turn)
            if view is None:
                break
            seen, before, turn = view, turn, _turn_of(view)
            if abs(_angle(turn - before)) <= _UPRIGHT:
                break
        if seen is None or seen.score < _SURE:
            others = [self._look(photo, seen or face, turn + quarter) for quarter in (90, 180, 270)]
            surest = max((view for view in others if view is not None), key=lambda view: view.score, default=None)
            if surest is not None and (seen is None or surest.score > seen.score + _SURER):
                seen = surest
        if seen is None or _turn_of(seen) != 0:
            return seen
        return replace(seen, score=face.score)

    def _look(self, photo: NDArray[np.uint8], face: Detection, turn: float) -> Detection | None:
        """Detect a face in its close-up, with the picture rotated by ``turn`` degrees to make the face upright."""
        settings = self._settings
        x0, y0, x1, y1 = face.box
        zoom = settings.close_up / (settings.framing * max(x1 - x0, y1 - y0, 1.0))
        middle = (settings.close_up - 1) / 2
        cosine, sine = zoom * np.cos(np.deg2rad(turn)), zoom * np.sin(np.deg2rad(turn))
        linear = np.array([[cosine, sine], [-sine, cosine]])
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
        to_view = np.column_stack([linear, middle - linear @ centre])
        seen = self._marked(warp(photo, to_view, settings.close_up), invert_affine(to_view))
        if not seen:
            return None
        closest = min(seen, key=lambda other: _distance(face, other))
        # A neighbour's face must not take this one's place.
        return closest if _distance(face, closest) <= 0.5 * max(x1 - x0, y1 - y0) else None

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
        centres = _STRIDE * cells - 0.5
        landmarks = (centres - sizes / 2)[:, None] + shares[:, rows, columns].T.reshape(-1, 5, 2) * sizes[:, None]
        boxes = _mapped_boxes(to_photo, centres[:, _BY_COORDINATE], sizes[:, _BY_COORDINATE])
        points = apply_affine(to_photo, landmarks[:, :, _BY_COORDINATE].reshape(-1, 2)).reshape(-1, 5, 2)
        return [
            _detection(boxes[k], points[k], scores[k])
            for k in suppress_overlaps(boxes, scores, self._settings.overlap)
            if np.isfinite(boxes[k]).all() and np.isfinite(points[k]).all()
        ]


def _mapped_boxes(
    matrix: NDArray[np.float64], centres: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Map boxes by an affine map (2, 3); return the boxes around the mapped inscribed ellipses, (N, 4)."""
    middles = apply_affine(matrix, centres)
    halves = np.hypot(matrix[:, 0] * sizes[:, :1], matrix[:, 1] * sizes[:, 1:]) / 2
    return np.hstack([middles - halves, middles + halves])


def _moved(face: Detection, matrix: NDArray[np.float64]) -> Detection:
    """Map a detection by an affine map (2, 3)."""
    corners = np.reshape(face.box, (2, 2))
    box = _mapped_boxes(matrix, corners.mean(axis=0)[None], np.diff(corners, axis=0))[0]
    return _detection(box, apply_affine(matrix, face.landmarks), face.score)


def _turn_of(face: Detection) -> float:
    """Return the clockwise rotation of a face in degrees; 0 if it is nearly upright or cannot be determined."""
    try:
        roll = roll_of(face.landmarks)
    except FaceError:
        return 0.0
    return roll if abs(roll) > _UPRIGHT else 0.0


def _angle(degrees: float) -> float:
    """Normalise an angle to -180..180 degrees."""
    return (degrees + 180) % 360 - 180


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

FILES: Final[tuple[HashedFile, ...]] = (HashedFile("detector", "centerface.onnx", SHA256),)
"""What a detector with this network puts on record."""


def open_centerface(*, threads: int | None = None) -> Network:
    """Open the network.

    Raise ModelIntegrityError if the file's SHA-256 is not the one on record, and ModelError if the file is missing or
    ONNX Runtime cannot load it.
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
