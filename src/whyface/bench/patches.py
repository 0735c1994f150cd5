"""PatchLFW: pairs on which a model is misled by small patches of another face, whose places are known.

Huber, Luu, Terhoerst, Damer, "Efficient Explainable Face Verification based on Similarity Score Argument
Backpropagation", WACV 2024, section 4. Made here from the user's own pictures, in memory and without another JPEG
compression; every pixel can be hit, the source is always an unpatched picture, and it is of the right person.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.bench.pair_chunk import Faces, PairChunk
from whyface.errors import InputError
from whyface.faces.face import FACE_SIZE

PATCHES: Final = 27
PATCH_SIDE: Final = 16
_PURPOSE: Final = 2


def patch_mask(rng: np.random.Generator, *, patches: int = PATCHES, side: int = PATCH_SIDE) -> NDArray[np.bool_]:
    """Place square patches at random, overlaps allowed; (112, 112) bool, True where a patch lies.

    Raises
    ------
    InputError
        If a patch is larger than the face.
    """
    if not 1 <= side <= FACE_SIZE or patches < 0:
        raise InputError(f"{patches} patches of {side} x {side} do not fit a face of {FACE_SIZE} x {FACE_SIZE}")
    mask = np.zeros((FACE_SIZE, FACE_SIZE), np.bool_)
    for top, left in rng.integers(0, FACE_SIZE - side + 1, (patches, 2)):
        mask[top : top + side, left : left + side] = True
    return mask


def patch_chance(*, patches: int = PATCHES, side: int = PATCH_SIDE) -> NDArray[np.float64]:
    """Give each pixel's probability to lie under a patch, (112, 112).

    It is the same for all pixels but a frame as wide as a patch, where fewer places of a patch reach: a map that only
    prefers the middle finds more patches than its share of pixels, and must be compared with this.
    """
    places = FACE_SIZE - side + 1
    starts = np.arange(FACE_SIZE)
    reached = np.minimum(starts, places - 1) - np.maximum(starts - side + 1, 0) + 1
    chance: NDArray[np.float64] = 1 - (1 - np.outer(reached, reached) / places**2) ** patches
    return chance


def patched_faces(chunk: PairChunk) -> tuple[Faces, NDArray[np.bool_]]:
    """Patch the first face of every pair, so that the pair is pushed over to the wrong side.

    An impostor pair's patches come from the second face, a genuine pair's from somebody else, each from the same place
    in that picture.

    Returns
    -------
    The patched faces, and the masks (N, 112, 112) bool.
    """
    masks = np.stack([patch_mask(rng) for rng in chunk.generators(_PURPOSE)])
    source = np.where(chunk.genuine[:, None, None, None], chunk.other, chunk.second)
    return np.where(masks[:, None], source, chunk.first), masks
