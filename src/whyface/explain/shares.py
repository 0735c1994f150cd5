"""The exact share of each place in the margin, summed by region, and the fewest places that flip the verdict.

Since xCos is a weighted sum, score - threshold = sum of W * (S - threshold) if W sums to 1. Each term is the share of
one place in the margin: a positive share speaks for a match, a negative one against it.

Strangers are more alike at some places than at others. Where what is usual is on record (:mod:`whyface.explain.usual`),
S is compared with the neutral similarity of its place instead: that which is as common among strangers as among genuine
pairs, moved everywhere by the same amount, so that the shares still sum to the margin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.explanation import Explanation, Mask
from whyface.faces.regions import region_masks, region_of_cells

FloatArray = NDArray[np.floating[Any]]

_NEAR: Final = 1e-9
_SUM_TO_ONE: Final = 1e-3


@dataclass(frozen=True, eq=False)
class Flip:
    """The fewest places whose change alone flips the verdict.

    Attributes
    ----------
    cells
        The places, bool (h, w).
    count
        Their number.
    regions
        Their regions, those with the largest shares first.
    margin_after
        The margin with these places at the neutral similarity; it flips the verdict.
    """

    cells: NDArray[np.bool_]
    count: int
    regions: tuple[str, ...]
    margin_after: float


def neutral_similarity(attention: FloatArray, threshold: float) -> float:
    """Return the similarity at which a place speaks neither for nor against a match: threshold / sum(W).

    It is the threshold itself if W sums to 1, up to rounding. Raise InputError if the weights sum to 0.
    """
    total = _weight(attention)
    return threshold if abs(total - 1) < _SUM_TO_ONE else threshold / total


def neutral_places(explanation: Explanation) -> NDArray[np.float64] | None:
    """Return the similarity at which each place speaks neither for nor against a match, (h, w); None without a grid.

    The sum of W times these is the threshold.
    """
    if explanation.attention is None:
        return None
    w, usual = explanation.attention.astype(np.float64), _usual(explanation)
    return np.asarray(usual + (explanation.threshold - float((w * usual).sum())) / _weight(w))


def margin_shares(
    similarity: FloatArray, attention: FloatArray, threshold: float, usual: FloatArray | float = 0.0
) -> NDArray[np.float64]:
    """Split the margin over the places.

    Return (h, w) float64: W * (S - usual) - (threshold - <W, usual>) * W / sum(W). Sums to <S, W> - threshold. Raise
    InputError if the shapes differ or the weights sum to 0.

    Parameters
    ----------
    similarity, attention
        S and W, both (h, w).
    threshold
        Divided among the places in proportion to W, so W need not sum to 1.
    usual
        Similarity that is neutral at each place, (h, w), up to a number that is the same for all; 0: all are equal.
    """
    s, w = np.asarray(similarity, np.float64), np.asarray(attention, np.float64)
    if s.shape != w.shape:
        raise InputError(f"similarity {s.shape} and attention {w.shape} differ; give one grid")
    usual = np.asarray(usual, np.float64)
    return np.asarray(w * (s - usual) - (threshold - float((w * usual).sum())) * w / _weight(w))


def explanation_shares(explanation: Explanation) -> NDArray[np.float64] | None:
    """Split the margin of an explanation over its places, (h, w) float64; None without a grid.

    The shares sum to ``explanation.margin``: the difference between the score and the sum of the float32 maps (at most
    the tolerance of :class:`Explanation`) is divided like the threshold.
    """
    s, w = explanation.similarity, explanation.attention
    if s is None or w is None:
        return None
    rest = explanation.score - float(np.multiply(s, w, dtype=np.float64).sum())
    return margin_shares(s, w, explanation.threshold - rest, _usual(explanation))


def region_shares(shares: FloatArray, unseen: Mask | None = None) -> dict[str, float]:
    """Sum shares (h, w) by region, in the order of :func:`whyface.faces.regions.region_masks`.

    Places that are ``unseen``, bool (h, w), are left out, and so is a region without any other.
    """
    seen = np.ones(shares.shape, np.bool_) if unseen is None else ~unseen
    masks = {name: mask & seen for name, mask in region_masks(*shares.shape).items()}
    return {name: float(np.sum(shares[mask], dtype=np.float64)) for name, mask in masks.items() if mask.any()}


def map_shares(explanation: Explanation) -> dict[str, float] | None:
    """Sum the per-face maps by region, as fractions of their total weight; None without maps.

    Return region -> number in [-1, 1], positive if the maps support "same person". Both maps count equally, whatever
    their scale. The absolute values over all pixels sum to 1, so the absolute values over regions sum to at most 1.
    """
    maps = []
    for face, given in enumerate((explanation.map_a, explanation.map_b)):
        if given is not None:
            # What lies outside the photo carries no reason.
            shown = np.where(explanation.outside(face, (given.shape[0], given.shape[1])), 0, given.astype(np.float64))
            maps.append(shown)
    maps = [m / np.abs(m).sum() for m in maps if np.abs(m).sum() > 0]
    if not maps:
        return None
    sums = [region_shares(m) for m in maps]
    # Maps of different sizes may have other regions.
    names = dict.fromkeys(name for one in sums for name in one)
    return {name: sum(one.get(name, 0.0) for one in sums) / len(sums) for name in names}


def ranked(shares: Mapping[str, float], *, positive: bool) -> list[tuple[str, float]]:
    """Return the regions of one sign, the largest absolute share first; ties in the order of the regions."""
    chosen = [(name, share) for name, share in shares.items() if (share > 0 if positive else share < 0)]
    return sorted(chosen, key=lambda item: -abs(item[1]))


def fewest_to_flip(shares: FloatArray, *, is_match: bool, unseen: Mask | None = None) -> Flip | None:
    """Find the fewest places that flip the verdict when they are set to the neutral similarity.

    Shares are additive, so taking the largest first is exact: no smaller set flips the verdict. Return the places, or
    None if even all places that support the verdict do not flip it (a "no match" that nothing speaks against: at the
    neutral similarity everywhere, the score is the threshold, and a match needs more).

    Parameters
    ----------
    shares
        The share of each place in the margin, (h, w).
    is_match
        The verdict to flip.
    unseen
        Places that do not change, bool (h, w), such as those outside a photo.
    """
    flat = np.asarray(shares, np.float64).ravel()
    support = flat if is_match else -flat
    order = np.argsort(-support, kind="stable")
    order = order[support[order] > 0]
    if unseen is not None:
        order = order[~unseen.ravel()[order]]
    after = flat.sum() - np.cumsum(flat[order])
    # Allow for rounding: a margin of zero is no match.
    flips = np.flatnonzero(after <= _NEAR if is_match else after > _NEAR)
    if not len(flips):
        return None
    chosen = order[: flips[0] + 1]
    cells = np.zeros(shares.shape, np.bool_)
    cells.flat[chosen] = True
    names = region_of_cells(*shares.shape)
    sums: dict[str, float] = {}
    for name, share in zip(names[cells], shares[cells], strict=True):
        sums[str(name)] = sums.get(str(name), 0.0) + abs(float(share))
    regions = tuple(sorted(sums, key=lambda name: -sums[name]))
    return Flip(cells, len(chosen), regions, float(after[flips[0]]))


def _usual(explanation: Explanation) -> NDArray[np.float64]:
    if explanation.telling is not None:
        return explanation.telling.neutral.astype(np.float64)
    shape = () if explanation.attention is None else explanation.attention.shape
    return np.zeros(shape)


def _weight(attention: FloatArray) -> float:
    total = float(np.sum(attention, dtype=np.float64))
    if abs(total) < _NEAR:
        raise InputError("the attention's weights sum to 0, so no place has a share of the threshold; use others")
    return total
