"""What the bench found, as JSON and as a table for reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from whyface.bench.summary import LOWER_IS_BETTER, Merit, MethodSummary

COLUMNS: Final = (
    *("replacement", "patch lift", "deletion", "insertion", "deletion blur", "deletion noise"),
    *("overlap", "shift", "randomised", "forward", "backward", "processor"),
)
_PLAIN: Final = frozenset({"seconds", "processor", "forward", "backward"})
"""Figures of merit in the table, where they were measured."""


def summary_document(
    settings: Mapping[str, Any],
    summaries: Mapping[str, MethodSummary],
    differences: Mapping[str, Mapping[str, Mapping[str, Merit]]] | None = None,
) -> dict[str, Any]:
    """Lay out the summaries as JSON values.

    Parameters
    ----------
    settings
        What the bench was run with.
    summaries
        By method.
    differences
        By method, then by the method that it is compared with on the same pairs, then by figure of merit.
    """
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
                "randomisation": [[share, round(left, 5)] for share, left in found.randomisation],
                "less another on the same pairs": {
                    other: {key: _merit(merit) for key, merit in merits.items()}
                    for other, merits in (differences or {}).get(name, {}).items()
                },
            }
            for name, found in summaries.items()
        },
    }


def summary_table(summaries: Mapping[str, MethodSummary]) -> str:
    """Write a Markdown table, best in bold; rates in percent with 95 % intervals, costs for one pair."""
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


def _merit(merit: Merit) -> dict[str, Any]:
    interval = None if merit.interval is None else [round(merit.interval.low, 6), round(merit.interval.high, 6)]
    return {"value": round(merit.value, 6), "interval": interval}
