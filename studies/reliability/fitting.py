"""Fit per-cell reliability on covered faces: the weights that tell people apart best (NumPy only).

The fit does not know which cells are covered. Pairs of a (mostly covered) face and a clean one are drawn, half of them
genuine, and the logistic loss of ``scale * <S, W'> + offset`` is minimised. The network is unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.reliability.cells import LENGTHS, CellStatistics, Reliability, cell_lengths, cell_statistics, logistic
from whyface.errors import InputError
from whyface.xcos.grid import grid_cosine

Grids = NDArray[np.float32]
AttentionOf = Callable[[Grids, Grids], NDArray[np.float32]]
"""Returns W (N, H, W) of N pairs of grids."""
_Gradients = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class FitSettings:
    """Settings of the fit.

    Attributes
    ----------
    steps, pairs
        Number of steps, and of pairs in each.
    rate
        Adam's initial step size; it falls linearly to 0.
    decay
        Weight of the squared weights in the loss.
    genuine
        Share of pairs that are drawn as genuine.
    seed
        Seed of the pairs.
    """

    steps: int = 600
    pairs: int = 384
    rate: float = 0.01
    decay: float = 1e-4
    genuine: float = 0.5
    seed: int = 0


def fit_reliability(
    clean: Grids,
    covered: Grids,
    people: NDArray[Any],
    attention: AttentionOf,
    *,
    statistics: CellStatistics | None = None,
    settings: FitSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Reliability, dict[str, Any]]:
    """Fit the reliability of one model and one kind of attention.

    Parameters
    ----------
    clean
        Grids of N faces, (N, C, H, W).
    covered
        The same faces under K masks each, (K, N, C, H, W).
    people
        The person in each picture, (N,).
    attention
        The attention to weight.
    statistics
        Statistics of clean faces; by default, those of ``clean``.
    settings
        See :class:`FitSettings`.
    progress
        Called after every step with the number of steps done and the total.

    Returns
    -------
    The reliability, and the loss at the start and the end (mean of 50 steps) with the settings.

    Raises
    ------
    InputError
        If the arrays do not fit, there are fewer than two people, or nobody has two pictures.
    """
    settings = settings or FitSettings()
    who, draw = _checked(clean, covered, people)
    statistics = statistics or cell_statistics(clean)
    # Lengths are standardised so that one step size fits all; the scale is folded into the weights at the end.
    plain = cell_lengths(clean, statistics)
    centre, spread = plain.mean(axis=(0, 2, 3)), np.maximum(plain.std(axis=(0, 2, 3)), 1e-6)

    def scaled(lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray((lengths - centre[:, None, None]) / spread[:, None, None])

    grids = [clean, *covered]
    lengths = [scaled(plain), *(scaled(cell_lengths(faces, statistics)) for faces in covered)]
    places = clean.shape[2:]
    values: _Gradients = {
        "weight": np.zeros((LENGTHS, *places)),
        "bias": np.zeros(places),
        "scale": np.array(12.0),
        "offset": np.array(-4.0),
    }
    optimiser = _Adam(values, {"weight": 1.0, "bias": 1.0, "scale": 5.0, "offset": 5.0})
    rng, losses = np.random.default_rng(settings.seed), []
    for step in range(settings.steps):
        first, second = draw(rng, settings.pairs, settings.genuine)
        version = int(rng.integers(len(grids)))
        a, b = grids[version][first], clean[second]
        loss, gradients = _loss(
            values,
            (lengths[version][first], lengths[0][second]),
            grid_cosine(a, b),
            attention(a, b),
            who[first] == who[second],
        )
        gradients["weight"] += settings.decay * values["weight"]
        optimiser.step(gradients, settings.rate * (1 - step / settings.steps))
        losses.append(loss)
        if progress is not None:
            progress(step + 1, settings.steps)
    weight = values["weight"] / spread[:, None, None]
    bias = values["bias"] - (weight * centre[:, None, None]).sum(axis=0)
    record = {
        "loss_at_start": round(float(np.mean(losses[:50])), 5),
        "loss_at_end": round(float(np.mean(losses[-50:])), 5),
        **asdict(settings),
    }
    return Reliability(statistics, weight.astype(np.float32), bias.astype(np.float32)), record


def _loss(
    values: _Gradients,
    lengths: tuple[NDArray[np.float64], NDArray[np.float64]],
    similarity: NDArray[np.float32],
    attention: NDArray[np.float32],
    genuine: NDArray[np.bool_],
) -> tuple[float, _Gradients]:
    """Return the mean logistic loss of a batch, and its gradient."""
    sides = [logistic(np.einsum("nkhw,khw->nhw", side, values["weight"]) + values["bias"]) for side in lengths]
    weights = attention * sides[0] * sides[1]
    weights = weights / weights.sum(axis=(1, 2), keepdims=True)
    score = (similarity * weights).sum(axis=(1, 2))
    margin = (2.0 * genuine - 1) * (values["scale"] * score + values["offset"])
    loss = float(np.logaddexp(0, -margin).mean())
    outer = -(2.0 * genuine - 1) * logistic(-margin) / len(score)
    # d score / d log r = W' * (S - score), and d log r / d logit = 1 - r.
    inner = (outer * values["scale"])[:, None, None] * weights * (similarity - score[:, None, None])
    logits = [inner * (1 - side) for side in sides]
    gradients = {
        "weight": np.asarray(sum(np.einsum("nkhw,nhw->khw", *pair) for pair in zip(lengths, logits, strict=True))),
        "bias": np.asarray(sum(part.sum(axis=0) for part in logits)),
        "scale": np.asarray((outer * score).sum()),
        "offset": np.asarray(outer.sum()),
    }
    return loss, gradients


class _Adam:
    """D. Kingma, J. Ba, Adam: A method for stochastic optimization, ICLR 2015; changes the values in place."""

    def __init__(self, values: _Gradients, factors: dict[str, float]) -> None:
        self._values, self._factors, self._count = values, factors, 0
        self._first = {name: np.zeros_like(value) for name, value in values.items()}
        self._second = {name: np.zeros_like(value) for name, value in values.items()}

    def step(self, gradients: _Gradients, rate: float) -> None:
        self._count += 1
        for name, gradient in gradients.items():
            self._first[name] = 0.9 * self._first[name] + 0.1 * gradient
            self._second[name] = 0.999 * self._second[name] + 0.001 * np.square(gradient)
            first = self._first[name] / (1 - 0.9**self._count)
            second = self._second[name] / (1 - 0.999**self._count)
            self._values[name] -= self._factors[name] * rate * first / (np.sqrt(second) + 1e-8)


_Draw = Callable[[np.random.Generator, int, float], tuple[NDArray[np.intp], NDArray[np.intp]]]


def _checked(clean: Grids, covered: Grids, people: NDArray[Any]) -> tuple[NDArray[np.intp], _Draw]:
    """Return the people as numbers, and a function that draws pairs of two different pictures."""
    if clean.ndim != 4 or covered.ndim != 5 or covered.shape[1:] != clean.shape or not len(covered):
        raise InputError(
            f"need clean grids (N, C, H, W) and covered ones (K, N, ...), got {clean.shape}, {covered.shape}"
        )
    if people.shape != (len(clean),):
        raise InputError(f"need one person per picture, got {people.shape} for {len(clean)} pictures")
    _, who, counts = np.unique(people, return_inverse=True, return_counts=True)
    rows = [np.flatnonzero(who == person) for person in range(len(counts))]
    shared = np.flatnonzero(counts[who] > 1)
    if len(counts) < 2 or not len(shared):
        raise InputError("need at least two people, and two pictures of one of them")

    def draw(rng: np.random.Generator, count: int, genuine: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        own = round(count * genuine)
        first = np.concatenate([rng.choice(shared, own), rng.integers(len(who), size=count - own)])
        second = rng.integers(len(who), size=count)
        for place in range(own):
            mine = rows[who[first[place]]]
            second[place] = rng.choice(mine[mine != first[place]])
        # The rest are impostors, except by chance; a picture is never paired with itself.
        second[second == first] = (second[second == first] + 1) % len(who)
        return first, second

    return who, draw
