"""Cover a part of a face, in three ways."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from whyface.data.masks import Mask
from whyface.errors import InputError

MaskFill = Literal["black", "mean", "noise"]


def apply_mask(
    image: NDArray[np.uint8], mask: Mask, fill: MaskFill = "black", *, rng: np.random.Generator | None = None
) -> NDArray[np.uint8]:
    """Cover part of a picture.

    Parameters
    ----------
    image
        RGB uint8 (H, W, 3); never changed in place.
    mask
        (H, W) bool, True where covered.
    fill
        ``"black"`` as in the xCos paper; ``"mean"``, the picture's mean colour; ``"noise"``, every value drawn
        uniformly from 0..255.
    rng
        Source of randomness for the noise.

    Returns
    -------
    RGB uint8 (H, W, 3).

    Raises
    ------
    InputError
        If picture and mask do not fit, the fill is unknown, or ``rng`` is missing for noise.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(f"a picture must be H x W x 3 uint8, got {image.shape} {image.dtype}")
    if mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise InputError(f"the mask must be bool of shape {image.shape[:2]}, got {mask.shape} {mask.dtype}")
    if fill not in get_args(MaskFill):
        raise InputError(f"unknown fill {fill!r}; use one of {', '.join(get_args(MaskFill))}")
    covered = image.copy()
    if fill == "black":
        covered[mask] = 0
    elif fill == "mean":
        covered[mask] = np.rint(image.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    elif rng is None:
        raise InputError("filling with noise is random; give a numpy Generator as rng")
    else:
        covered[mask] = rng.integers(0, 256, (int(mask.sum()), 3), dtype=np.uint8)
    return covered
