"""What the bench found, as JSON and as a table for reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from whyface.bench.summary import LOWER_IS_BETTER, Merit, MethodSummary

COLUMNS: Final = ("replacement", "patch precision", "deletion", "insertion", "overlap", "shift", "seconds")
"""Figures of merit in the table, where they were measured."""


def summary_document(settings: Mapping[str, Any], summaries: Mapping[str, MethodSummary]) -> dict[str, Any]:
    """Lay out the summaries as JSON values."""
    return {
        "settings": dict(settings),
        "methods": {
            name: {
                "pairs": found.pairs,
                "rates": {key: round(rate, 5) for key, rate in found.rates.items()},
                "merits": {key: _merit(merit) for key, merit in found.merits.items()},
                "curves": {
                    key: {
                        "steps": curve.steps.tolist(),
                        "genuine": [round(float(value), 5) for value in curve.genuine],
                        "impostor": [round(float(value), 5) for value in curve.impostor],
                    }
                    for key, curve in found.curves.items()
                },
            }
            for name, found in summaries.items()
        },
    }


def summary_table(summaries: Mapping[str, MethodSummary]) -> str:
    """Write a Markdown table, best in bold; rates in percent with 95 % intervals, seconds per pair as they are."""
    columns = [name for name in COLUMNS if any(name in found.merits for found in summaries.values())]
    lines = [
        "| method | " + " | ".join(f"{name} {'↓' if name in LOWER_IS_BETTER else '↑'}" for name in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    best = {
        name: (min if name in LOWER_IS_BETTER else max)(
            found.merits[name].value for found in summaries.values() if name in found.merits
        )
        for name in columns
    }
    for method, found in summaries.items():
        cells = [_cell(name, found.merits.get(name), best[name]) for name in columns]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name: str, merit: Merit | None, best: float) -> str:
    if merit is None:
        return ""
    if name == "seconds":
        text = f"{merit.value:.3g}"
    else:
        text = f"{100 * merit.value:.1f}"
        if merit.interval is not None:
            text += f" ({100 * merit.interval.low:.1f} to {100 * merit.interval.high:.1f})"
    return f"**{text}**" if merit.value == best else text


def _merit(merit: Merit) -> dict[str, Any]:
    interval = None if merit.interval is None else [round(merit.interval.low, 6), round(merit.interval.high, 6)]
    return {"value": round(merit.value, 6), "interval": interval}
