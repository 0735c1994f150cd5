"""The reliability of each cell of a face, estimated from its own features, and an attention that uses it.

A covered place still has a feature, but an unusual one: too short or too long, and far from those of clean faces. Three
lengths per cell show this, and a logistic function of them is the cell's reliability r in (0, 1). The attention is then
weighted by both faces' reliability::

    W' = W * r_A * r_B / sum(W * r_A * r_B)

so that W' sums to 1 and the score is still <S, W'>. This is not in the xCos paper. :mod:`studies.reliability.fitting`
fits it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from whyface.errors import InputError, ModelError
from whyface.files.integrity import write_atomic
from whyface.xcos.grid import AttentionKind, xcos_score
from whyface.xcos.model import XcosMaps, XcosModel

FloatArray = NDArray[np.floating[Any]]

LENGTHS: Final = 3
"""Numbers that describe a cell, see :func:`cell_lengths`."""

_TINY: Final = 1e-6
_RECORD: Final = "whyface"


@dataclass(frozen=True, eq=False)
class CellStatistics:
    """Statistics of the grids of clean faces, place by place.

    Attributes
    ----------
    mean, deviation
        Mean and deviation of each channel at each place, (C, H, W) float32; deviations are positive.
    """

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.mean.ndim != 3 or self.mean.shape != self.deviation.shape:
            raise InputError(
                f"mean and deviation must both be (C, H, W), got {self.mean.shape}, {self.deviation.shape}"
            )
        if not np.isfinite(self.mean).all() or not (self.deviation > 0).all():
            raise InputError("statistics of cells must be finite, with positive deviations")


def cell_statistics(grids: FloatArray) -> CellStatistics:
    """Return the statistics of clean faces' grids (N, C, H, W); a channel that never varies gets a tiny deviation.

    Raises
    ------
    InputError
        If there are fewer than two grids.
    """
    if grids.ndim != 4 or len(grids) < 2:
        raise InputError(f"statistics need at least two grids (N, C, H, W), got {grids.shape}")
    mean = grids.mean(axis=0, dtype=np.float64)
    deviation = np.maximum(grids.std(axis=0, dtype=np.float64), _TINY)
    return CellStatistics(mean.astype(np.float32), deviation.astype(np.float32))


def cell_lengths(grid: FloatArray, statistics: CellStatistics) -> NDArray[np.float64]:
    """Return three lengths for every cell.

    Parameters
    ----------
    grid
        (N, C, H, W).
    statistics
        Of clean faces.

    Returns
    -------
    (N, 3, H, W): the logarithm of the feature's length; the mean squared distance of its channels from their means on
    clean faces, in deviations (1 for a usual cell); and the logarithm of that.

    Raises
    ------
    InputError
        If the grid has another shape than the statistics.
    """
    if grid.ndim != 4 or grid.shape[1:] != statistics.mean.shape:
        raise InputError(f"reliability was fitted for grids (N, *{statistics.mean.shape}), got {grid.shape}")
    values = grid.astype(np.float64)
    length = np.log(np.sqrt(np.square(values).sum(axis=1)) + _TINY)
    distance = np.square((values - statistics.mean) / statistics.deviation).mean(axis=1)
    return np.stack([length, distance, np.log(distance + _TINY)], axis=1)


@dataclass(frozen=True, eq=False)
class Reliability:
    """A logistic function of each cell's lengths, with separate weights for every place.

    Attributes
    ----------
    statistics
        Of clean faces.
    weight, bias
        (3, H, W) and (H, W) float32.
    """

    statistics: CellStatistics
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __post_init__(self) -> None:
        places = self.statistics.mean.shape[1:]
        if self.weight.shape != (LENGTHS, *places) or self.bias.shape != places:
            raise InputError(f"weights {self.weight.shape} and bias {self.bias.shape} do not fit a grid of {places}")

    def __call__(self, grid: FloatArray) -> NDArray[np.float32]:
        """Return the reliability of every cell, (N, C, H, W) -> (N, H, W) float32 in (0, 1)."""
        logits = np.einsum("nkhw,khw->nhw", cell_lengths(grid, self.statistics), self.weight) + self.bias
        return np.asarray(logistic(logits), np.float32)


def logistic(logits: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)) without overflow, kept away from 0 and 1 so that its logarithm is finite."""
    return np.asarray(np.clip(0.5 * (1 + np.tanh(logits / 2)), _TINY, 1 - _TINY))


def reweigh(attention: FloatArray, reliability_a: FloatArray, reliability_b: FloatArray) -> NDArray[np.float32]:
    """Weight attention by both faces' reliability.

    Parameters
    ----------
    attention
        W, (N, H, W), each with a positive sum. Negative weights, which correlated attention may have, keep their sign.
    reliability_a, reliability_b
        (N, H, W) each, positive.

    Returns
    -------
    W' (N, H, W) float32, each map summing to 1; W itself if both reliabilities are constant.

    Raises
    ------
    InputError
        If the shapes differ, or the weights of a map vanish.
    """
    if attention.ndim != 3 or not attention.shape == reliability_a.shape == reliability_b.shape:
        shapes = f"{attention.shape}, {reliability_a.shape} and {reliability_b.shape}"
        raise InputError(f"attention and both reliabilities must have one shape (N, H, W), got {shapes}")
    weights = attention.astype(np.float64) * reliability_a * reliability_b
    total = weights.sum(axis=(1, 2), keepdims=True)
    if not (total > 0).all():
        raise InputError("nothing is left of the attention; reliability must be positive")
    return np.asarray(weights / total, np.float32)


def apply_reliability(maps: XcosMaps, reliability_a: FloatArray, reliability_b: FloatArray) -> XcosMaps:
    """Replace the attention and the score of compared pairs by those that use reliability; S is unchanged."""
    weights = reweigh(maps.attention, reliability_a, reliability_b)
    return XcosMaps(maps.similarity, weights, xcos_score(maps.similarity, weights))


class ReliableXcos(XcosModel):
    """An xCos model whose attention uses reliability; it can be used like any other.

    Parameters
    ----------
    model
        The model.
    reliability
        Reliability fitted for this model, by kind of attention; other kinds are unchanged.
    """

    def __init__(self, model: XcosModel, reliability: Mapping[AttentionKind, Reliability]) -> None:
        super().__init__(model.embedder, pair=model.pair, correlated=model.correlated)
        self.reliability = dict(reliability)

    def compare_grids(
        self, grid_a: NDArray[np.float32], grid_b: NDArray[np.float32], attention: AttentionKind = "l"
    ) -> XcosMaps:
        """Compare N pairs of grids; see :meth:`whyface.xcos.model.XcosModel.compare_grids`."""
        maps = super().compare_grids(grid_a, grid_b, attention)
        if attention not in self.reliability:
            return maps
        reliability = self.reliability[attention]
        return apply_reliability(maps, reliability(grid_a), reliability(grid_b))


def save_reliability(
    path: Path | str, reliability: Mapping[AttentionKind, Reliability], record: Mapping[str, Any]
) -> None:
    """Write reliabilities that share their statistics as safetensors, with a record of their fit in the metadata.

    Raises
    ------
    InputError
        If there are none, or their statistics differ.
    OutputError
        If the file cannot be written.
    """
    if not reliability:
        raise InputError("there is no reliability to save")
    statistics = next(iter(reliability.values())).statistics
    tensors = {"mean": statistics.mean, "deviation": statistics.deviation}
    for kind, fitted in reliability.items():
        if fitted.statistics is not statistics:
            raise InputError("reliabilities in one file must share their statistics")
        tensors |= {f"weight_{kind}": fitted.weight, f"bias_{kind}": fitted.bias}
    text = json.dumps(dict(record), ensure_ascii=False, allow_nan=False)
    write_atomic(path, save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, {_RECORD: text}))


def open_reliability(path: Path | str) -> tuple[dict[AttentionKind, Reliability], dict[str, Any]]:
    """Read a file written by :func:`save_reliability`.

    Returns
    -------
    Reliability by kind of attention, and the record of the fit.

    Raises
    ------
    ModelError
        If the file cannot be read or is not such a file.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            record = json.loads((file.metadata() or {})[_RECORD])
        statistics = CellStatistics(tensors["mean"], tensors["deviation"])
        kinds: tuple[AttentionKind, ...] = get_args(AttentionKind)
        fitted = {
            kind: Reliability(statistics, tensors[f"weight_{kind}"], tensors[f"bias_{kind}"])
            for kind in kinds
            if f"weight_{kind}" in tensors
        }
    except (OSError, SafetensorError, KeyError, ValueError, InputError) as error:
        raise ModelError(f"{path}: not a reliability written by studies/reliability/study.py ({error})") from error
    return fitted, record
