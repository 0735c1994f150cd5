r"""Put the tables of the explanation bench into its page, one for each network, and draw its figures.

    python -m studies.bench.page docs/studies/bench.md docs/studies/bench/*-summary.json

The summaries are those of ``whyface benchmark``; ``NAME-merits.png`` and ``NAME-curves.png`` are written beside
``NAME-summary.json``. The best is in bold, not counting controls.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from studies.occlusion.report import put_between_marks
from whyface.bench.merits import is_lower_better
from whyface.bench.summary import Curve, Merit, MethodSummary
from whyface.commands.benchmark import draw_figures
from whyface.evaluate.intervals import Interval

MARK: Final = "<!-- results: written by studies/bench/page.py -->"
CONTROLS: Final = ("random", "centre")
COLUMNS: Final = {
    "replacement": "undoing patches",
    "patch lift": "finding patches",
    "deletion": "deletion",
    "insertion": "insertion",
    "overlap": "pointing",
    "negative share": "negative mass",
    "shift": "stability",
    "randomised": "random weights",
}


def table(found: dict[str, Any]) -> str:
    """Return the table of one network's methods, ordered by undoing patches, with controls last."""
    methods: dict[str, Any] = found["methods"]
    shown = {key: name for key, name in COLUMNS.items() if any(key in m["merits"] for m in methods.values())}
    order = sorted(methods, key=lambda name: (name in CONTROLS, methods[name]["merits"]["replacement"]["value"]))
    best = {key: _best(methods, key) for key in shown if key != "randomised"}
    heads = [f"{name} {'↓' if is_lower_better(key) else '↑'}" for key, name in shown.items()]
    lines = [f"| method | pairs | {' | '.join(heads)} |", "|---" * (len(shown) + 2) + "|"]
    for name in order:
        cells = [_cell(methods[name]["merits"].get(key), bold=best.get(key) == name) for key in shown]
        lines.append(f"| {name} | {methods[name]['pairs']:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _best(methods: dict[str, Any], key: str) -> str:
    values = {name: m["merits"][key]["value"] for name, m in methods.items() if key in m["merits"]}
    real = {name: value for name, value in values.items() if name not in CONTROLS}
    return (min if is_lower_better(key) else max)(real, key=lambda name: real[name])


def _cell(merit: dict[str, Any] | None, *, bold: bool) -> str:
    if merit is None:
        return "-"
    low, high = merit["interval"]
    text = f"{100 * merit['value']:.1f} ({100 * low:.1f} to {100 * high:.1f})"
    return f"**{text}**" if bold else text


def read_summaries(found: dict[str, Any]) -> dict[str, MethodSummary]:
    """Return the summaries by method from their JSON."""
    return {
        name: MethodSummary(
            merits={
                key: Merit(merit["value"], None if merit["interval"] is None else Interval(*merit["interval"]))
                for key, merit in method["merits"].items()
            },
            curves={
                key: Curve(*(np.array(curve[part]) for part in ("steps", "genuine", "impostor")))
                for key, curve in method["curves"].items()
            },
            rates=method["rates"],
            randomisation=tuple((share, value) for share, value in method["randomisation"]),
            pairs=method["pairs"],
        )
        for name, method in found["methods"].items()
    }


def main() -> None:
    """Write the tables and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("summaries", type=Path, nargs="+")
    args = parser.parse_args()
    parts = []
    for path in args.summaries:
        found = json.loads(path.read_text(encoding="utf-8"))
        model = found["settings"]["model"]["name"]
        parts.append(f"### {model}\n\n{table(found)}\n")
        summaries, pairs = read_summaries(found), found["settings"]["pairs"]
        start = str(path).removesuffix("summary.json")
        draw_figures(start, model, found["settings"]["protocol"], pairs, summaries, CONTROLS)
    put_between_marks(args.page, "\n".join(parts), MARK)


if __name__ == "__main__":
    main()
