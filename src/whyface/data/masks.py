"""Free-form masks that cover a given share of a face.

The xCos paper covers x % of the area of LFW's faces with free-form masks, which were not published. These masks are of
the same kind: wandering brush strokes and blobs (Chang et al., "Free-form Video Inpainting with 3D Gated Convolution
and Temporal PatchGAN", ICCV 2019, draws strokes by brush width and turning angle).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE

Mask = NDArray[np.bool_]

MOST_COVERED: Final = 0.9
"""Maximum share that a free-form mask covers: beyond it, hardly any of the face is left."""

# Lengths are shares of the picture's shorter side, angles are in radians.
_BRUSH: Final = (0.06, 0.14)
_STEP: Final = (0.08, 0.30)
_STEPS: Final = (4, 12)
_TURN: Final = (0.0, 1.6)
_BLOB: Final = (0.05, 0.14)
_BLOB_SHARE: Final = 0.25


def free_form_mask(
    shape: tuple[int, int] = (FACE_SIZE, FACE_SIZE), coverage: float = 0.3, *, rng: np.random.Generator
) -> Mask:
    """Draw strokes and blobs until exactly a given share of the pixels is covered.

    A stroke wanders from a place that is still free, with one brush width and a turn at every step. A quarter of the
    marks are ellipses instead. If the last mark would cover too much, only the pixels nearest to its start are kept.
    Return (H, W) bool, True where covered; exactly ``round(coverage * H * W)`` pixels are. Raise InputError if the
    shape has no pixels or the coverage is out of range.

    Parameters
    ----------
    coverage
        Share of the pixels to cover, 0 to :data:`MOST_COVERED`.
    """
    height, width = shape
    if height < 1 or width < 1:
        raise InputError(f"a mask needs at least one pixel, got the shape {shape}; give height and width")
    if not 0 <= coverage <= MOST_COVERED:
        raise InputError(f"coverage must be a share from 0 to {MOST_COVERED}, got {coverage}")
    missing = round(coverage * height * width)
    mask = np.zeros(shape, np.uint8)
    while missing > 0:
        free = np.flatnonzero(mask == 0)
        row, column = divmod(int(free[rng.integers(len(free))]), width)
        if rng.random() < _BLOB_SHARE:
            missing -= _blob(mask, (column, row), missing, rng)
        else:
            missing -= _stroke(mask, (column, row), missing, rng)
    return mask.astype(bool)


def _stroke(mask: NDArray[np.uint8], start: tuple[int, int], missing: int, rng: np.random.Generator) -> int:
    """Draw a wandering line into the mask and return how many pixels it added, at least 1, at most ``missing``."""
    height, width = mask.shape
    side = min(height, width)
    brush = max(1, round(side * rng.uniform(*_BRUSH)))
    angle, turning = rng.uniform(0, 2 * np.pi), rng.choice((-1, 1))
    added = 0
    for _ in range(rng.integers(_STEPS[0], _STEPS[1] + 1)):
        length = max(1.0, side * rng.uniform(*_STEP))
        end = (
            int(np.clip(round(start[0] + length * np.cos(angle)), 0, width - 1)),
            int(np.clip(round(start[1] + length * np.sin(angle)), 0, height - 1)),
        )
        mark = np.zeros_like(mask)
        cv2.line(mark, start, end, 1, brush)
        added += _add(mask, mark, start, missing - added)
        if added == missing:
            break
        start = end
        # It mostly keeps turning the same way and sometimes turns back, which makes a scribble.
        turning = -turning if rng.random() < 0.3 else turning
        angle += turning * rng.uniform(*_TURN)
    return added


def _blob(mask: NDArray[np.uint8], centre: tuple[int, int], missing: int, rng: np.random.Generator) -> int:
    """Draw a filled ellipse into the mask; return the same as :func:`_stroke`."""
    axes = tuple(max(1, round(min(mask.shape) * rng.uniform(*_BLOB))) for _ in range(2))
    mark = np.zeros_like(mask)
    cv2.ellipse(mark, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return _add(mask, mark, centre, missing)


def _add(mask: NDArray[np.uint8], mark: NDArray[np.uint8], start: tuple[int, int], most: int) -> int:
    """Add a mark's new pixels to the mask; if there are too many, only the nearest to its start."""
    rows, columns = np.nonzero(mark > mask)
    if len(rows) > most:
        distance = (columns - start[0]) ** 2 + (rows - start[1]) ** 2
        nearest = np.argsort(distance, kind="stable")[:most]
        rows, columns = rows[nearest], columns[nearest]
    mask[rows, columns] = 1
    return len(rows)
