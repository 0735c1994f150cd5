"""Pearson's correlation of many quantities with one, in a single pass over the data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class StreamedCorrelation:
    """Correlate every pixel of masks with the score that each mask led to, without keeping the masks.

    Batches are merged by their means and centred sums (Chan, Golub and LeVeque, "Algorithms for Computing the Sample
    Variance", The American Statistician 37, 1983), which stays exact where plain sums of squares would cancel.

    Parameters
    ----------
    shape
        Shape of one mask.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self._mean_x = np.zeros(shape)
        self._mean_y = 0.0
        self._xx = np.zeros(shape)
        self._yy = 0.0
        self._xy = np.zeros(shape)

    def update(self, masks: NDArray[Any], values: NDArray[Any]) -> None:
        """Take in n masks (n, *shape) and their values (n,)."""
        x, y = np.asarray(masks, np.float64), np.asarray(values, np.float64)
        count = len(y)
        if not count:
            return
        mean_x, mean_y = x.mean(axis=0), float(y.mean())
        x, y = x - mean_x, y - mean_y
        shift_x, shift_y = mean_x - self._mean_x, mean_y - self._mean_y
        total = self.count + count
        between = self.count * count / total
        self._xx += np.einsum("n...,n...->...", x, x) + between * shift_x**2
        self._yy += float(y @ y) + between * shift_y**2
        self._xy += np.einsum("n,n...->...", y, x) + between * shift_x * shift_y
        self._mean_x += shift_x * count / total
        self._mean_y += shift_y * count / total
        self.count = total

    def result(self) -> NDArray[np.float64]:
        """Return the correlation of each pixel in [-1, 1]; 0 where pixel or values never change."""
        product = self._xx * self._yy
        # What rounding leaves of a constant is no variance.
        tiny = np.finfo(np.float64).eps ** 2 * max(self.count, 1)
        varies = (self._xx > tiny * (1 + self._mean_x**2)) & (self._yy > tiny * (1 + self._mean_y**2))
        found = np.divide(self._xy, np.sqrt(product), out=np.zeros_like(self._xy), where=varies & (product > 0))
        return np.clip(found, -1, 1)
