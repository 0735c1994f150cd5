"""Learned attention, split exactly into terms of one face and of both.

The attention module embeds each face alone, concatenates, and convolves. A convolution over a concatenation is the sum
of two convolutions, conv([a; b]) = conv_left(a) + conv_right(b), and a BatchNorm after it is affine, so everything up
to the first nonlinearity of both faces is computed once per face. Each pair needs only an addition, a PReLU, a
convolution from 16 channels to one, a PReLU, a softmax over the places and a dot product. The scores equal
those of the pair graph up to rounding; nothing is approximated.

Source of the attention: Lin et al., "xCos: An Explainable Cosine Metric for Face Verification Task", ACM TOMM 2021,
section 3.3. The split is ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError, reason
from whyface.files.guarded import read_tensors
from whyface.xcos.grid import normalise_cells
from whyface.xcos.model import XcosModel

FloatArray = NDArray[np.floating[Any]]

PREFIX: Final = "xcos.attention."
"""Prefix of the attention's tensors in a model's safetensors file."""

_BN_EPS: Final = 1e-5
_TOLERANCE: Final = 1e-4


@dataclass(frozen=True, eq=False)
class SeparableAttention:
    """The attention module in a form for searches.

    Attributes
    ----------
    embed, embed_shift, embed_slope
        Per face: convolution (hidden, C, 3, 3) with its BatchNorm folded in, its constant (hidden,), PReLU slope.
    first, second
        The two halves of the pair convolution (hidden, hidden, 3, 3), BatchNorm folded in.
    first_shift
        The constant of the pair convolution (hidden,), which goes with the first face.
    pair_slope
        Slope of the PReLU after the sum.
    out
        The last convolution and its BatchNorm as one matrix (H * W * hidden, H * W), cells first.
    out_shift, out_slope
        The constant of the last convolution, and the slope of the PReLU after it.
    """

    embed: NDArray[np.float32]
    embed_shift: NDArray[np.float32]
    embed_slope: float
    first: NDArray[np.float32]
    second: NDArray[np.float32]
    first_shift: NDArray[np.float32]
    pair_slope: float
    out: NDArray[np.float32]
    out_shift: float
    out_slope: float

    @property
    def size(self) -> int:
        """Size of one face's term: H * W * hidden."""
        return len(self.out)

    def first_terms(self, grids: FloatArray) -> NDArray[np.float32]:
        """Return the terms of first faces, probes: (N, C, H, W) -> (N, H * W * hidden), cells first."""
        return _cells_first(_conv3x3(self._embedded(grids), self.first) + self.first_shift[:, None, None])

    def second_terms(self, grids: FloatArray) -> NDArray[np.float32]:
        """Return the terms of second faces, a gallery: (N, C, H, W) -> (N, H * W * hidden), cells first."""
        return _cells_first(_conv3x3(self._embedded(grids), self.second))

    def weights(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return W (N, H * W) of N pairs of terms (either may be one row), each adding up to 1."""
        terms = np.asarray(first + second, np.float32)
        prelu(terms, self.pair_slope, np.empty_like(terms))
        logits = terms @ self.out
        return self.finish(logits, np.empty_like(logits))

    def finish(self, logits: NDArray[np.float32], spare: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert the last convolution's output (N, H * W) to W, in place."""
        logits += np.float32(self.out_shift)
        prelu(logits, self.out_slope, spare)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return logits

    def _embedded(self, grids: FloatArray) -> NDArray[np.float32]:
        if grids.ndim != 4 or grids.shape[1] != self.embed.shape[1]:
            raise InputError(f"the attention takes grids of {self.embed.shape[1]} channels, got {grids.shape}")
        embedded = _conv3x3(np.asarray(grids, np.float32), self.embed) + self.embed_shift[:, None, None]
        prelu(embedded, self.embed_slope, np.empty_like(embedded))
        return embedded


def prelu(values: NDArray[np.float32], slope: float, spare: NDArray[np.float32]) -> None:
    """Apply x if x > 0 else slope * x in place; ``spare`` is overwritten."""
    np.multiply(values, np.float32(slope), out=spare)
    (np.maximum if slope <= 1 else np.minimum)(values, spare, out=values)


def split_attention(tensors: Mapping[str, FloatArray], *, cells: int = 7) -> SeparableAttention:
    """Split a learned attention.

    Raise InputError if a tensor is missing.

    Parameters
    ----------
    tensors
        Tensors of :class:`whyface.xcos.learned.LearnedAttention` by state-dict name, softmax of temperature 1.
    cells
        Side of the grid.
    """
    t = {name: np.asarray(value, np.float64) for name, value in tensors.items()}
    try:
        scale, shift = _norm(t, "embed.1")
        embed = t["embed.0.weight"] * scale[:, None, None, None]
        embed_shift = t["embed.0.bias"] * scale + shift
        scale, shift = _norm(t, "pair_act.0")
        pair = t["pair_conv.weight"] * scale[:, None, None, None]
        first_shift = t["pair_conv.bias"] * scale + shift
        scale, shift = _norm(t, "out.1")
        out = t["out.0.weight"][0] * scale[0]
        out_shift = float(t["out.0.bias"][0] * scale[0] + shift[0])
        slopes = [float(t[name].ravel()[0]) for name in ("embed.2.weight", "pair_act.1.weight", "out.2.weight")]
    except KeyError as error:
        raise InputError(f"the attention's tensor {error} is missing") from error
    hidden = len(embed)
    return SeparableAttention(
        embed=embed.astype(np.float32),
        embed_shift=embed_shift.astype(np.float32),
        embed_slope=slopes[0],
        first=pair[:, :hidden].astype(np.float32),
        second=pair[:, hidden:].astype(np.float32),
        first_shift=first_shift.astype(np.float32),
        pair_slope=slopes[1],
        out=_as_matrix(out, cells).astype(np.float32),
        out_shift=out_shift,
        out_slope=slopes[2],
    )


def separable_attention(model: XcosModel) -> SeparableAttention:
    """Split the learned attention of a model, and check the split against its pair graph.

    Raise ModelError if the model has no learned attention or no tensors of it, or their results differ from its pair
    graph.
    """
    model.require("l")
    if model.tensors is None or model.pair is None:
        raise ModelError(f"model {model.embedder.name!r} has no tensors of its attention; export it again")
    split = split_attention(read_attention(model.tensors))
    # This detects a graph and tensors from different trainings, another normaliser or another temperature.
    grids = np.random.default_rng(0).standard_normal((8, split.embed.shape[1], 7, 7)).astype(np.float32)
    _, expected, _ = model.pair.run(grids[:4], grids[4:])
    found = split.weights(split.first_terms(grids[:4]), split.second_terms(grids[4:]))
    if not np.allclose(found, expected.reshape(found.shape), atol=_TOLERANCE):
        raise ModelError(f"{model.tensors}: the attention's tensors disagree with {model.pair.path}")
    return split


def read_attention(path: Path | str) -> dict[str, NDArray[np.float32]]:
    """Read the attention's tensors from a model's safetensors file, by their names in the module.

    Raise ModelError if the file cannot be read or contains none.
    """
    try:
        tensors, _ = read_tensors(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot read this file ({reason(error)})") from error
    found = {
        name.removeprefix(PREFIX): np.asarray(values, np.float32)
        for name, values in tensors.items()
        if name.startswith(PREFIX)
    }
    if not found:
        raise ModelError(f"{path}: holds no tensors of a learned attention")
    return found


def unit_cells(grids: FloatArray) -> NDArray[np.float32]:
    """Return grids (N, C, H, W) as unit vectors, places first: (N, H * W, C)."""
    unit = normalise_cells(grids)
    return np.ascontiguousarray(unit.reshape(*unit.shape[:2], -1).transpose(0, 2, 1))


def _norm(t: Mapping[str, NDArray[np.float64]], name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scale = t[f"{name}.weight"] / np.sqrt(t[f"{name}.running_var"] + _BN_EPS)
    return scale, t[f"{name}.bias"] - t[f"{name}.running_mean"] * scale


def _cells_first(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1)).reshape(len(maps), -1)


def _conv3x3(maps: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return np.asarray(np.einsum("nchwij,ocij->nohw", windows, weight, optimize=True), np.float32)


def _as_matrix(kernel: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """Write a 3 x 3 convolution (hidden, 3, 3) to one channel as a matrix (cells^2 * hidden, cells^2), cells first."""
    matrix = np.zeros((cells, cells, len(kernel), cells, cells))
    for row in range(cells):
        for column in range(cells):
            for i in range(max(0, row - 1), min(cells, row + 2)):
                for j in range(max(0, column - 1), min(cells, column + 2)):
                    matrix[i, j, :, row, column] = kernel[:, i - row + 1, j - column + 1]
    return matrix.reshape(cells * cells * len(kernel), cells * cells)


_COLUMNS: Final = 16


@dataclass(frozen=True, eq=False)
class Band:
    """Columns ``first`` to ``last`` of a matrix; only rows ``start`` to ``stop`` are not zero."""

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
        The attention that it was made from.
    bands
        Its last convolution times 1 - a, in bands.
    """

    split: SeparableAttention
    bands: tuple[Band, ...]

    def first_base(self, first: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return C(f) with the last constant, (N, H * W), of first faces' terms (N, T)."""
        return np.asarray(first @ self.split.out + np.float32(self.split.out_shift))

    def second_base(self, second: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a C(s), (N, H * W), of second faces' terms (N, T)."""
        return np.asarray(np.float32(self.split.pair_slope) * (second @ self.split.out))

    def logits(self, clipped: NDArray[np.float32], out: NDArray[np.float32]) -> None:
        """Write (1 - a) C(max(s, -f)) of N pairs: (N, T) -> (N, H * W)."""
        for band in self.bands:
            np.matmul(clipped[:, band.start : band.stop], band.matrix, out=out[:, band.first : band.last])

    def finish(self, logits: NDArray[np.float32], spare: NDArray[np.float32]) -> None:
        """Convert full logits (N, H * W) to weights in place; they do not sum to 1 yet."""
        prelu(logits, self.split.out_slope, spare)
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)


def clipped_attention(split: SeparableAttention) -> ClippedAttention:
    """Split the last convolution of a split attention into bands."""
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
