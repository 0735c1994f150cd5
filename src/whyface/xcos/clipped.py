"""The learned attention's inner loop as one clipping and a few small matrix products, exactly.

With f and s the terms of the first and the second face, a PReLU of slope a and the convolution C behind it,

    C(prelu(f + s)) = C(f) + a C(s) + (1 - a) C(max(s, -f)),

because prelu(x) = a x + (1 - a) max(x, 0) and max(f + s, 0) = max(s, -f) + f. C(f) belongs to the probe and a C(s) to
the gallery's face, so both are worked out once; per pair an addition and a PReLU become one clipping. C itself reaches
only one cell far, so as a matrix it is a band: cut into pieces of 16 columns, the width of a processor's vector, about
half of the multiplications with zero go away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.xcos.separable import SeparableAttention, prelu

_COLUMNS: Final = 16


@dataclass(frozen=True, eq=False)
class Band:
    """Columns ``first`` to ``last`` of a matrix, of whose rows only ``start`` to ``stop`` are not zero."""

    start: int
    stop: int
    first: int
    last: int
    matrix: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ClippedAttention:
    """A split attention, ready for a search.

    Attributes
    ----------
    split
        The attention that it is made from.
    bands
        Its last convolution times 1 - a, in bands.
    """

    split: SeparableAttention
    bands: tuple[Band, ...]

    def first_base(self, first: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give C(f) with the last constant, (N, H * W), of first faces' terms (N, T)."""
        return np.asarray(first @ self.split.out + np.float32(self.split.out_shift))

    def second_base(self, second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give a C(s), (N, H * W), of second faces' terms (N, T)."""
        return np.asarray(np.float32(self.split.pair_slope) * (second @ self.split.out))

    def logits(self, clipped: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write (1 - a) C(max(s, -f)) of N pairs: (N, T) -> (N, H * W)."""
        for band in self.bands:
            np.matmul(clipped[:, band.start : band.stop], band.matrix, out=out[:, band.first : band.last])

    def finish(self, logits: NDArray[np.float32], spare: NDArray[np.float32]) -> None:
        """Turn full logits (N, H * W) into weights in place, whose sum is not 1 yet."""
        prelu(logits, self.split.out_slope, spare)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)


def clipped_attention(split: SeparableAttention) -> ClippedAttention:
    """Cut the last convolution of a split attention into bands."""
    matrix = split.out * np.float32(1 - split.pair_slope)
    cells = matrix.shape[1]
    hidden = len(matrix) // cells
    filled = np.abs(split.out).reshape(cells, hidden, cells).max(axis=1) > 0
    bands = []
    for first in range(0, cells, _COLUMNS):
        last = min(first + _COLUMNS, cells)
        used = np.flatnonzero(filled[:, first:last].any(axis=1))
        start, stop = (int(used[0]) * hidden, (int(used[-1]) + 1) * hidden) if len(used) else (0, hidden)
        bands.append(Band(start, stop, first, last, np.ascontiguousarray(matrix[start:stop, first:last])))
    return ClippedAttention(split, tuple(bands))
