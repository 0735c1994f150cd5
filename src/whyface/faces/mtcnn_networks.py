"""The three small networks of MTCNN in NumPy: proposals, refinement, output.

Every array is batch x height x width x channels, float32. The layers follow K. Zhang et al., Joint Face Detection
and Alignment using Multi-task Cascaded Convolutional Networks, IEEE Signal Processing Letters 23 (2016), table I.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[np.float32]


def convolve(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Convolve without padding, stride 1; kernel is height x width x channels in x channels out."""
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
    """Multiply negative values with their channel's slope."""
    return np.maximum(x, 0) + np.minimum(x, 0) * slope.reshape(-1)


def max_pool(x: Tensor, size: int, *, cover: bool) -> Tensor:
    """Take the maximum of size x size windows, stride 2; ``cover`` lets the last window reach over the edge."""
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
    """Return the softmax probability of the second of two classes, shape of ``logits`` less its last axis."""
    difference = np.clip(logits[..., 0] - logits[..., 1], -80, 80)
    return np.asarray(1 / (1 + np.exp(difference)), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Networks:
    """The weights of the three networks, each a sequence of arrays in the order of the layers."""

    proposal: Sequence[Tensor]
    refinement: Sequence[Tensor]
    output: Sequence[Tensor]

    def propose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the proposal network over a picture (1, H, W, 3).

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
        """Run the refinement network over patches (N, 24, 24, 3): probability (N,) and offsets (N, 4)."""
        w = self.refinement
        x = max_pool(prelu(convolve(x, w[0], w[1]), w[2]), 3, cover=True)
        x = max_pool(prelu(convolve(x, w[3], w[4]), w[5]), 3, cover=False)
        x = prelu(convolve(x, w[6], w[7]), w[8])
        x = prelu(_flatten(x) @ w[9] + w[10], w[11])
        return face_probability(x @ w[14] + w[15]), x @ w[12] + w[13]

    def finish(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the output network over patches (N, 48, 48, 3).

        Returns
        -------
        probability, offsets, landmarks
            Shapes (N,), (N, 4) and (N, 5, 2); landmarks are (x, y) as shares of the patch.
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
    """Flatten to (N, ...) with columns before rows, the order in which the weights were trained."""
    return x.transpose(0, 2, 1, 3).reshape(len(x), -1)
