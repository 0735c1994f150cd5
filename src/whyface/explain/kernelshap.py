"""KernelSHAP over the regions of a face: the Shapley value of each region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.explain.black_box import BlackBoxMethod, OnePair
from whyface.faces.face import FACE_SIZE
from whyface.faces.regions import REGIONS, region_masks
from whyface.models.embedder import Embedder
from whyface.xcos.comparison import Features


@dataclass(frozen=True, eq=False)
class Coalitions:
    """K coalitions of M players.

    Attributes
    ----------
    members
        (K, M) bool; no coalition is empty or complete.
    weights
        (K,) float64 with sum 1: the weight of each coalition.
    """

    members: NDArray[np.bool_]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.members)


def coalitions(players: int, trials: int, *, seed: int) -> Coalitions:
    """Choose coalitions: first all of the sizes with the largest weights (the smallest and largest), then random ones.

    Each coalition is paired with its complement, which reduces the variance. Raise InputError if there are too few
    players or trials.

    Parameters
    ----------
    players
        M, at least 2.
    trials
        Maximum number of coalitions, at least 2 M; all 2^M - 2 are used if they fit.
    """
    if players < 2:
        raise InputError(f"Shapley values need at least 2 players, got {players}")
    if trials < 2 * players:
        raise InputError(f"{players} players need at least {2 * players} trials, got {trials}")
    sizes = np.arange(1, players)
    # Total weight of all coalitions of each size.
    by_size = (players - 1) / (sizes * (players - sizes))
    by_size = by_size / by_size.sum()
    rows: list[NDArray[np.bool_]] = []
    weights: list[float] = []
    left = trials
    size = 1
    while size <= players // 2:
        paired = size != players - size
        count = comb(players, size)
        if count * (1 + paired) > left:
            break
        for chosen in combinations(range(players), size):
            row = np.zeros(players, np.bool_)
            row[list(chosen)] = True
            rows += [row, ~row] if paired else [row]
        weights += [by_size[size - 1] / count] * (count * (1 + paired))
        left -= count * (1 + paired)
        size += 1
    inner = np.arange(size, players - size + 1)
    if len(inner) and left >= 2:
        rng = np.random.default_rng(seed)
        share = by_size[inner - 1]
        draws = rng.choice(inner, left // 2, p=share / share.sum())
        for drawn in draws:
            row = np.zeros(players, np.bool_)
            row[rng.permutation(players)[:drawn]] = True
            rows += [row, ~row]
        weights += [float(share.sum()) / (2 * len(draws))] * (2 * len(draws))
    found = np.array(weights)
    return Coalitions(np.array(rows), found / found.sum())


def shapley_values(trials: Coalitions, values: NDArray[Any], *, none: float, everyone: float) -> NDArray[np.float64]:
    """Fit the Shapley values; exact with all coalitions, and for additive games.

    Return (M,) float64. By construction they add up to ``everyone - none`` (efficiency).

    Parameters
    ----------
    trials
        K coalitions of M players.
    values
        (K,), the value of each coalition.
    none, everyone
        The values of the empty and of the complete coalition.
    """
    there = trials.members.astype(np.float64)
    total = everyone - none
    # The last player gets what the others leave of the total.
    design = there[:, :-1] - there[:, -1:]
    target = np.asarray(values, np.float64) - none - there[:, -1] * total
    root = np.sqrt(trials.weights)
    found = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
    return np.append(found, total - found.sum())


TRIALS: Final = 512


class KernelShapMethod(BlackBoxMethod):
    """Shapley values of the 17 regions of each face, with the other face unchanged.

    The players are the regions of :mod:`whyface.faces.regions`. The value of a coalition is the score with only its
    regions visible and the rest filled. The Shapley value of a region is its mean contribution over all orders of
    uncovering the regions. The values add up to score(face) - score(covered face), exactly. The map spreads each value
    evenly over its region, so its sum is that difference, too; ``details`` has the values by region.

    Assumption: a region acts as a whole, and the network's score of a partly filled face is meaningful. Raise
    InputError if an option is invalid.

    Parameters
    ----------
    trials
        Coalitions per face: all of the smallest and largest, the rest drawn with the seed; the same for all pairs.
    embedder, **options
        As for :class:`~whyface.explain.black_box.BlackBoxMethod`.

    References
    ----------
    Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017.
    """

    name: ClassVar[str] = "kernelshap"

    def __init__(self, embedder: Embedder, *, trials: int = TRIALS, **options: Any) -> None:
        super().__init__(embedder, **options)
        self.trials = coalitions(len(REGIONS), trials, seed=self.seed)
        self._regions = np.stack(list(region_masks(FACE_SIZE, FACE_SIZE).values()))

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings that determine the maps."""
        return {**super().settings, "trials": len(self.trials), "regions": list(REGIONS)}

    @property
    def passes(self) -> int:
        """Two, and for each face one per coalition and one with all regions covered."""
        return 2 + 2 * (len(self.trials) + 1)

    def explain_one(self, faces: tuple[NDArray[Any], NDArray[Any]], plain: tuple[Features, Features]) -> OnePair:
        """Explain one pair."""
        score, (plain_a, plain_b) = self.comparison.scores, plain
        shown = [*self.trials.members, np.zeros(len(REGIONS), np.bool_)]
        some_a, some_b = (
            self.painted(face, _RegionPainter(face, self.fill_of(face), self._regions, shown), len(shown))
            for face in faces
        )
        whole = float(score(plain_a, plain_b)[0])
        maps, details = [], {}
        for side, scores in (("a", score(some_a, plain_b)), ("b", score(plain_a, some_b))):
            none = float(scores[-1])
            values = shapley_values(self.trials, scores[:-1], none=none, everyone=whole)
            maps.append(np.tensordot(values / self._regions.sum(axis=(1, 2)), self._regions, 1).astype(np.float32))
            named = {name: float(value) for name, value in zip(REGIONS, values, strict=True)}
            details[side] = {"covered": none, "values": named}
        return maps[0], maps[1], details


class _RegionPainter:
    """Fills all regions of a face except those of a coalition."""

    def __init__(
        self, face: NDArray[Any], fill: NDArray[Any], regions: NDArray[np.bool_], shown: list[NDArray[np.bool_]]
    ) -> None:
        self._face, self._fill, self._regions, self._shown = face, fill, regions, shown

    def paint(self, row: NDArray[Any], index: int) -> None:
        np.copyto(row, self._fill, where=self._hidden(index))

    def undo(self, row: NDArray[Any], index: int) -> None:
        np.copyto(row, self._face, where=self._hidden(index))

    def _hidden(self, index: int) -> NDArray[np.bool_]:
        hidden: NDArray[np.bool_] = np.logical_or.reduce(self._regions[~self._shown[index]], axis=0)
        return hidden
