"""Figures of merit with intervals from the bench's rows, computed in the same way for every method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.bench.run import COST
from whyface.data.protocols import PairProtocol
from whyface.errors import DataError, InputError
from whyface.evaluate.bootstrap import Measure, Weights, bootstrap_intervals
from whyface.evaluate.intervals import Interval
from whyface.files.parts import ResultTable

LOWER_IS_BETTER: Final = frozenset(
    {
        *("replacement", "deletion", "deletion blur", "deletion noise", "randomised"),
        *("seconds", "processor", "forward", "backward"),
    }
)
"""Figures of merit for which lower is better."""


ERASURES: Final = tuple(f"{name}{fill}" for fill in ("", " blur", " noise") for name in ("deletion", "insertion"))
"""Curves of the erasure test, by fill."""


@dataclass(frozen=True)
class Merit:
    """A figure of merit: its value and its 95 % interval over people, or None if there are too few."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True, eq=False)
class Curve:
    """Error or accuracy by step: ``steps`` (K,), ``genuine`` and ``impostor`` (K,) rates in 0..1."""

    steps: NDArray[np.float64]
    genuine: NDArray[np.float64]
    impostor: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MethodSummary:
    """The bench's results for one method on one model.

    Attributes
    ----------
    merits
        By name: ``replacement`` (area under the mean of FMR and FNMR while patched pixels are replaced), ``patch
        precision``, ``patch chance`` and their difference ``patch lift``, ``deletion`` and ``insertion``
        (area under the accuracy; with ``blur`` or ``noise`` added for these fills), ``negative share``, ``overlap``,
        ``area``, ``game`` and ``playable`` (:class:`whyface.bench.inpainting.InpaintingTest`), ``shift``, ``swap``,
        ``seed``, ``randomised`` (similarity of the maps when all layers are random),
        ``seconds``, ``processor`` (seconds of all cores), ``forward``, ``backward``; only what was measured.
    curves
        ``replacement``: FNMR and FMR by share replaced; ``deletion`` and ``insertion``: accuracy of genuine and
        impostor pairs by share.
    rates
        ``FNMR clean``, ``FMR clean``, ``FNMR patched``, ``FMR patched``.
    randomisation
        Remaining similarity of the map by share of random layers, (share, value) each.
    pairs
        Number of pairs.
    """

    merits: Mapping[str, Merit]
    curves: Mapping[str, Curve]
    rates: Mapping[str, float]
    pairs: int
    randomisation: tuple[tuple[float, float], ...] = ()


def area(steps: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean height of curves (N, K) over steps (K,) by the trapezoid rule, (N,), in the values' unit."""
    found: NDArray[np.float64] = np.trapezoid(values, steps, axis=1) / (steps[-1] - steps[0])
    return found


def summarise_method(
    table: ResultTable, protocol: PairProtocol, *, threshold: float, replicates: int = 1000, seed: int = 0
) -> MethodSummary:
    """Summarise one method's rows.

    Raises
    ------
    DataError
        If the rows do not belong to this protocol.
    """
    if table.pair.size == 0 or table.pair.max() >= len(protocol.genuine):
        raise DataError(f"the results do not belong to protocol {protocol.name}; run the benchmark again")
    merits: dict[str, Merit] = {}
    curves: dict[str, Curve] = {}
    rates: dict[str, float] = {}

    def add(name: str, pairs: NDArray[np.intp], values: NDArray[np.float64], *, balanced: bool) -> None:
        merits[name] = _merit(name, pairs, values, protocol, balanced=balanced, replicates=replicates, seed=seed)

    pairs, steps, scores = table.steps("replacement", "score")
    if len(pairs):
        wrong = (scores > threshold) != protocol.genuine[pairs][:, None]
        curves["replacement"] = _curve(steps, wrong, protocol.genuine[pairs])
        add("replacement", pairs, area(steps, wrong.astype(np.float64)), balanced=True)
        rates |= {f"{name} patched": rate for name, rate in _rates(wrong[:, 0], protocol.genuine[pairs]).items()}
    pairs, _, scores = table.steps("replacement", "clean")
    if len(pairs):
        wrong = (scores > threshold) != protocol.genuine[pairs][:, None]
        rates |= {f"{name} clean": rate for name, rate in _rates(wrong[:, 0], protocol.genuine[pairs]).items()}
    for measure in ERASURES:
        pairs, steps, right = _verdicts(table, measure, protocol, threshold)
        if len(pairs):
            curves[measure] = _curve(steps, right, protocol.genuine[pairs])
            add(measure, pairs, area(steps, right.astype(np.float64)), balanced=True)
    pairs, shares, left = table.steps("randomisation", "similarity")
    if len(pairs):
        add("randomised", pairs, left[:, -1], balanced=False)
    over_shares = tuple(zip(shares.tolist(), left.mean(axis=0).tolist(), strict=True)) if len(pairs) else ()
    plain = (
        *(("replacement", name) for name in ("patch precision", "patch chance")),
        *(("pointing", name) for name in ("negative share", "overlap", "area", "drop")),
        *(("inpainting", name) for name in ("game", "playable")),
        *(("stability", name) for name in ("shift", "swap", "seed")),
        *((COST, name) for name in ("seconds", "processor", "forward", "backward")),
    )
    pairs, _, precision = table.steps("replacement", "patch precision")
    if len(pairs):
        add("patch lift", pairs, (precision - table.steps("replacement", "patch chance")[2])[:, 0], balanced=True)
    for test, name in plain:
        pairs, _, values = table.steps(test, name)
        if len(pairs):
            add(name, pairs, values[:, 0], balanced=False)
    return MethodSummary(merits, curves, rates, len(np.unique(table.pair)), over_shares)


def paired_difference(
    name: str,
    one: ResultTable,
    other: ResultTable,
    protocol: PairProtocol,
    *,
    threshold: float,
    replicates: int = 1000,
    seed: int = 0,
) -> Merit | None:
    """Compare two methods by ``replacement`` or one of :data:`ERASURES`, on the pairs that both have.

    Return the difference of the areas, first minus other, with its interval; None if they share fewer than two pairs.
    """
    areas = []
    for table in (one, other):
        pairs, steps, right = _verdicts(table, name, protocol, threshold)
        hits = ~right if name == "replacement" else right
        areas.append((pairs, area(steps, hits.astype(np.float64)) if len(pairs) else np.empty(0)))
    common, rows_one, rows_other = np.intersect1d(areas[0][0], areas[1][0], return_indices=True)
    if len(common) < 2:
        return None
    difference = areas[0][1][rows_one] - areas[1][1][rows_other]
    return _merit(name, common, difference, protocol, balanced=True, replicates=replicates, seed=seed)


def differences(
    tables: Mapping[str, ResultTable],
    protocol: PairProtocol,
    names: Sequence[str],
    *,
    threshold: float,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, dict[str, Merit]]]:
    """Compare every method with every other one, each time on the pairs that both have.

    Return the difference of the areas by method, by the method that it is compared with, and by name.

    Parameters
    ----------
    names
        Figures of merit, see :func:`paired_difference`; those not measured are left out.
    threshold, replicates, seed
        As for :func:`summarise_method`.
    """
    judged: dict[str, Any] = {"threshold": threshold, "replicates": replicates, "seed": seed}
    found: dict[str, dict[str, dict[str, Merit]]] = {}
    for one in tables:
        for other in tables:
            if one == other:
                continue
            merits = {name: paired_difference(name, tables[one], tables[other], protocol, **judged) for name in names}
            found.setdefault(one, {})[other] = {name: merit for name, merit in merits.items() if merit is not None}
    return found


def _verdicts(
    table: ResultTable, name: str, protocol: PairProtocol, threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.bool_]]:
    """Return pairs (N,), steps (K,) and whether the verdict is right, (N, K)."""
    measure, _, fill = name.partition(" ")
    test = ("erasure-" + fill if fill else "erasure") if name in ERASURES else name
    pairs, steps, scores = table.steps(test, measure if name in ERASURES else "score")
    return pairs, steps, (scores > threshold) == protocol.genuine[pairs][:, None]


def _merit(
    name: str,
    pairs: NDArray[np.intp],
    values: NDArray[np.float64],
    protocol: PairProtocol,
    *,
    balanced: bool,
    replicates: int,
    seed: int,
) -> Merit:
    genuine = protocol.genuine[pairs]
    measure = _weighted_mean(values, genuine, balanced=balanced)
    value = float(measure(np.ones((1, len(pairs))))[0])
    if name in {"seconds", "processor", "forward", "backward", "area"}:
        return Merit(value)
    people = protocol.people_left[pairs].tolist(), protocol.people_right[pairs].tolist()
    try:
        return Merit(value, bootstrap_intervals({name: measure}, *people, replicates=replicates, seed=seed)[name])
    except InputError:
        # Too few people to resample.
        return Merit(value)


def _weighted_mean(values: NDArray[np.float64], genuine: NDArray[np.bool_], *, balanced: bool) -> Measure:
    """Return the mean over all pairs, or the mean of the genuine and the impostor pairs' means."""
    groups: list[NDArray[np.bool_]] = [genuine, ~genuine] if balanced else [np.ones_like(genuine)]
    chosen = [group.astype(np.float64) for group in groups if group.any()]

    def measure(weights: Weights) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [(weights @ (values * group)) / (weights @ group) for group in chosen]
        mean: NDArray[np.float64] = np.mean(means, axis=0)
        return mean

    return measure


def _curve(steps: NDArray[np.float64], hits: NDArray[np.bool_], genuine: NDArray[np.bool_]) -> Curve:
    mean: Callable[[NDArray[np.bool_]], NDArray[np.float64]] = lambda group: (  # noqa: E731
        hits[group].mean(axis=0) if group.any() else np.full(len(steps), np.nan)
    )
    return Curve(steps, mean(genuine), mean(~genuine))


def _rates(wrong: NDArray[np.bool_], genuine: NDArray[np.bool_]) -> dict[str, float]:
    return {name: float(wrong[group].mean()) for name, group in (("FNMR", genuine), ("FMR", ~genuine)) if group.any()}


COLUMNS: Final = (
    *("replacement", "patch lift", "deletion", "insertion", "deletion blur", "deletion noise"),
    *("overlap", "game", "shift", "randomised", "forward", "backward", "processor"),
)
_PLAIN: Final = frozenset({"seconds", "processor", "forward", "backward"})
"""Figures of merit in the table, if they were measured."""


def summary_document(
    settings: Mapping[str, Any],
    summaries: Mapping[str, MethodSummary],
    differences: Mapping[str, Mapping[str, Mapping[str, Merit]]] | None = None,
) -> dict[str, Any]:
    """Return the summaries as JSON values."""
    return {
        "settings": dict(settings),
        "methods": {
            name: {
                "pairs": found.pairs,
                "rates": {key: round(rate, 5) for key, rate in found.rates.items()},
                "merits": {key: _bench_report_merit(merit) for key, merit in found.merits.items()},
                "curves": {
                    key: {
                        "steps": curve.steps.tolist(),
                        "genuine": [round(float(value), 5) for value in curve.genuine],
                        "impostor": [round(float(value), 5) for value in curve.impostor],
                    }
                    for key, curve in found.curves.items()
                },
                "randomisation": [[share, round(left, 5)] for share, left in found.randomisation],
                "less another on the same pairs": {
                    other: {key: _bench_report_merit(merit) for key, merit in merits.items()}
                    for other, merits in (differences or {}).get(name, {}).items()
                },
            }
            for name, found in summaries.items()
        },
    }


def summary_table(summaries: Mapping[str, MethodSummary]) -> str:
    """Return a Markdown table, best in bold; rates in percent with 95 % intervals, costs for one pair."""
    columns = [name for name in COLUMNS if any(name in found.merits for found in summaries.values())]
    lines = [
        "| method | pairs | "
        + " | ".join(f"{name} {'↓' if name in LOWER_IS_BETTER else '↑'}" for name in columns)
        + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    best = {
        name: (min if name in LOWER_IS_BETTER else max)(
            found.merits[name].value for found in summaries.values() if name in found.merits
        )
        for name in columns
    }
    for method, found in summaries.items():
        cells = [_cell(name, found.merits.get(name), best[name]) for name in columns]
        lines.append(f"| {method} | {found.pairs} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name: str, merit: Merit | None, best: float) -> str:
    if merit is None:
        return ""
    if name in _PLAIN:
        text = f"{merit.value:.3g}"
    else:
        text = f"{100 * merit.value:.1f}"
        if merit.interval is not None:
            text += f" ({100 * merit.interval.low:.1f} to {100 * merit.interval.high:.1f})"
    return f"**{text}**" if merit.value == best else text


def _bench_report_merit(merit: Merit) -> dict[str, Any]:
    interval = None if merit.interval is None else [round(merit.interval.low, 6), round(merit.interval.high, 6)]
    return {"value": round(merit.value, 6), "interval": interval}
