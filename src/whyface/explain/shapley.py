"""Shapley values by weighted least squares (KernelSHAP), with the sum held exactly.

Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017; paired sampling: Covert and Lee,
"Improving KernelSHAP: Practical Shapley Value Estimation Using Linear Regression", AISTATS 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError


@dataclass(frozen=True, eq=False)
class Coalitions:
    """Which players are there, in each of K trials.

    Attributes
    ----------
    members
        (K, M) bool; neither all nor none.
    weights
        (K,) float64, the weight of each trial; they sum to 1.
    """

    members: NDArray[np.bool_]
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.members)


def coalitions(players: int, trials: int, *, seed: int) -> Coalitions:
    """Choose trials: first all of the sizes that weigh most (nearly none, nearly all), then others at random.

    Every trial comes with its opposite, which takes much of the chance out.

    Parameters
    ----------
    players
        M, at least 2.
    trials
        At most so many, at least 2 M; all 2^M - 2 are taken where they fit.
    seed
        Of what is random.

    Raises
    ------
    InputError
        If there are too few players or trials.
    """
    if players < 2:
        raise InputError(f"Shapley values need at least 2 players, got {players}")
    if trials < 2 * players:
        raise InputError(f"{players} players need at least {2 * players} trials, got {trials}")
    sizes = np.arange(1, players)
    # Total weight of each size, over all coalitions of that size.
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
    """Fit each player's value; exact where all coalitions were tried, and where the game is a sum.

    Parameters
    ----------
    trials
        K coalitions of M players.
    values
        (K,), what each coalition reached.
    none, everyone
        What no player and all players reach.

    Returns
    -------
    (M,) float64; they add up to ``everyone - none`` (efficiency), which is built in, not hoped for.
    """
    there = trials.members.astype(np.float64)
    total = everyone - none
    # The last player takes what the others leave of the total.
    design = there[:, :-1] - there[:, -1:]
    target = np.asarray(values, np.float64) - none - there[:, -1] * total
    root = np.sqrt(trials.weights)
    found = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
    return np.append(found, total - found.sum())
