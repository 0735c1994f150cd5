"""Figures of merit with intervals from the bench's rows, computed in the same way for every method."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.bench.merits import (
    FILLED,
    INFORMATION,
    VALUES,
    Found,
    concordance,
    is_balanced,
    is_lower_better,
    merit_names,
    merit_values,
)
from whyface.data.protocols import PairProtocol
from whyface.errors import DataError, InputError
from whyface.evaluate.bootstrap import Measure, Weights, bootstrap_intervals
from whyface.evaluate.intervals import Interval
from whyface.explain.corrrise import average_ranks
from whyface.files.parts import ResultTable

ERASURES: Final = tuple(f"{name}{fill}" for fill in FILLED for name in ("deletion", "insertion"))
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
        By name, see :func:`whyface.bench.merits.merit_names`, and the error rates ``FNMR clean``, ``FMR clean``,
        ``FNMR patched`` and ``FMR patched``; only what was measured.
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
    curves: dict[str, Curve] = {}
    values = {name: merit_values(table, name, protocol, threshold) for name in merit_names()}
    for measure, when in (("clean", "clean"), ("score", "patched")):
        pairs, _, scores = table.steps("replacement", measure)
        wrong = ((scores[:, :1] > threshold).any(axis=1) != protocol.genuine[pairs]).astype(np.float64)
        for rate, group in (("FNMR", protocol.genuine[pairs]), ("FMR", ~protocol.genuine[pairs])):
            values[f"{rate} {when}"] = pairs[group], wrong[group]
    merits = _merits(values, protocol, replicates=replicates, seed=seed)
    rates = {name: merit.value for name, merit in merits.items() if name[:3] in {"FNM", "FMR"}}
    for measure in ("replacement", *ERASURES):
        source = VALUES[measure]
        pairs, steps, scores = table.steps(source.test, source.measure)
        if len(pairs):
            right = (scores > threshold) == protocol.genuine[pairs][:, None]
            curves[measure] = _curve(steps, ~right if source.kind == "errors" else right, protocol.genuine[pairs])
    pairs, shares, left = table.steps("randomisation", "similarity")
    over_shares = tuple(zip(shares.tolist(), left.mean(axis=0).tolist(), strict=True)) if len(pairs) else ()
    return MethodSummary(merits, curves, rates, len(np.unique(table.pair)), over_shares)


def paired_differences(
    one: ResultTable,
    other: ResultTable,
    protocol: PairProtocol,
    names: Sequence[str],
    *,
    threshold: float,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Merit]:
    """Compare two methods on the pairs that both have.

    Return the differences, first minus other, with their intervals; those are left out of which they share fewer than
    two pairs.

    Parameters
    ----------
    names
        Figures of merit, see :func:`whyface.bench.merits.merit_names`.
    threshold, replicates, seed
        As for :func:`summarise_method`.
    """
    values: dict[str, Found] = {}
    for name in names:
        first, second = (merit_values(table, name, protocol, threshold) for table in (one, other))
        common, rows_one, rows_other = np.intersect1d(first[0], second[0], return_indices=True)
        if len(common) >= 2:
            values[name] = common, first[1][rows_one] - second[1][rows_other]
    return _merits(values, protocol, replicates=replicates, seed=seed)


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
    found: dict[str, dict[str, dict[str, Merit]]] = {name: {} for name in tables}
    for one, other in combinations(tables, 2):
        merits = paired_differences(tables[one], tables[other], protocol, names, **judged)
        found[one][other] = merits
        found[other][one] = {name: _opposite(merit) for name, merit in merits.items()}
    return found


def _opposite(merit: Merit) -> Merit:
    interval = None if merit.interval is None else Interval(-merit.interval.high, -merit.interval.low)
    return Merit(-merit.value, interval)


def agreement(summaries: Mapping[str, MethodSummary]) -> dict[str, float]:
    """Return Kendall's W of the methods' rankings by the three fills, for deletion and insertion.

    Only methods that were measured with every fill are ranked; fewer than three have no W.
    """
    found = {}
    for measure in ("deletion", "insertion"):
        names = [f"{measure}{fill}" for fill in FILLED]
        ranked = [[one.merits[name].value for name in names] for one in summaries.values() if {*names} <= {*one.merits}]
        if len(ranked) >= 3:
            found[measure] = concordance(np.stack([average_ranks(row) for row in np.array(ranked).T]))
    return found


def _merits(values: Mapping[str, Found], protocol: PairProtocol, *, replicates: int, seed: int) -> dict[str, Merit]:
    """Return means and intervals, in the order of the names; figures of the same pairs share their replicates."""
    groups: dict[bytes, dict[str, Measure]] = {}
    plain: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    for name, (pairs, found) in values.items():
        if len(pairs):
            measure = _weighted_mean(found, protocol.genuine[pairs], balanced=is_balanced(name))
            plain[name] = float(measure(np.ones((1, len(pairs))))[0])
            if name not in _PLAIN:
                groups.setdefault(pairs.tobytes(), {})[name] = measure
    for key, measures in groups.items():
        rows = np.frombuffer(key, np.intp)
        people = protocol.people_left[rows].tolist(), protocol.people_right[rows].tolist()
        # With too few people to resample there is no interval.
        with contextlib.suppress(InputError):
            intervals |= bootstrap_intervals(measures, *people, replicates=replicates, seed=seed)
    return {name: Merit(value, intervals.get(name)) for name, value in plain.items()}


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


COLUMNS: Final = (
    *("replacement specific", "patch lift specific", "deletion specific", "insertion specific", "pointing auc"),
    *("pointing information", "painting auc", "partner auc", "replacement", "patch lift", "deletion", "insertion"),
    *("saco", "overlap", "game", "shift", "randomised", "forward", "backward", "processor"),
)
"""Figures of merit in the table, if they were measured."""

_PLAIN: Final = frozenset({"seconds", "processor", "forward", "backward", "area"})
"""Figures of merit without intervals."""


def summary_document(
    settings: Mapping[str, Any],
    summaries: Mapping[str, MethodSummary],
    differences: Mapping[str, Mapping[str, Mapping[str, Merit]]] | None = None,
) -> dict[str, Any]:
    """Return the summaries as JSON values."""
    return {
        "settings": dict(settings),
        "agreement of the fills, Kendall's W": {name: round(w, 4) for name, w in agreement(summaries).items()},
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
        + " | ".join(f"{name} {'↓' if is_lower_better(name) else '↑'}" for name in columns)
        + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    best = {
        name: (min if is_lower_better(name) else max)(
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
    elif name in INFORMATION:
        text = f"{merit.value:.2f}" + (
            f" ({merit.interval.low:.2f} to {merit.interval.high:.2f})" if merit.interval else ""
        )
    else:
        text = f"{100 * merit.value:.1f}"
        if merit.interval is not None:
            text += f" ({100 * merit.interval.low:.1f} to {100 * merit.interval.high:.1f})"
    return f"**{text}**" if merit.value == best else text


def _bench_report_merit(merit: Merit) -> dict[str, Any]:
    interval = None if merit.interval is None else [round(merit.interval.low, 6), round(merit.interval.high, 6)]
    return {"value": round(merit.value, 6), "interval": interval}
