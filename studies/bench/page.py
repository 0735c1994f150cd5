r"""Put the tables of the explanation bench into its page, one for each summary, and say under each what is certain.

    python -m studies.bench.page docs/studies/bench.md docs/studies/bench/second/*.json

The summaries are those of ``whyface benchmark``; ``--keep`` copies them without curves and without the differences of
figures that no table shows. The best is in bold, not counting controls.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from studies.occlusion.report import put_between_marks
from whyface.bench.leaderboard import compare_all, in_words, protocol_title
from whyface.bench.merits import INFORMATION, is_lower_better

MARK: Final = "<!-- results: written by studies/bench/page.py -->"
CONTROLS: Final = ("random", "centre")
COLUMNS: Final = {
    "replacement specific": "undoing, specific",
    "replacement": "undoing",
    "replacement at equal prior": "undoing, equal prior",
    "replacement over mean": "undoing, over own mean map",
    "replacement over network": "undoing, over another network's map",
    "patch lift specific": "finding patches, specific",
    "deletion specific": "deletion, specific",
    "deletion": "deletion",
    "insertion specific": "insertion, specific",
    "insertion": "insertion",
    "pointing auc specific": "foreign part, AUC specific",
    "pointing auc": "foreign part, AUC",
    "pointing information": "foreign part, bits",
    "painting auc specific": "paint, AUC specific",
    "painting auc": "paint, AUC",
    "partner auc specific": "part for a match, AUC specific",
    "partner auc": "part for a match, AUC",
    "pointing auc over network": "foreign part, over another network's map",
    "saco specific": "salience and effect, specific",
    "shift specific": "stability, specific",
    "randomised": "random weights",
}
TESTS: Final = {
    "replacement": "undoing and finding patches",
    "erasure": "deletion and insertion",
    "pointing": "parts that do not belong, paint, and parts that speak for a match",
    "stability": "stability under a shift by one pixel, and random weights",
}


def section(found: dict[str, Any]) -> str:
    """Return one summary's heading, its table, ordered by its first column with controls last, and what is certain."""
    methods, settings = found["methods"], found["settings"]
    shown = [key for key in COLUMNS if any(key in method["merits"] for method in methods.values())]
    first, sign = shown[0], 1 if is_lower_better(shown[0]) else -1
    order = sorted(methods, key=lambda name: (name in CONTROLS, sign * _value(methods[name], first)))
    # A gain over a control is read against 0, not against other methods' gains.
    ranked = [key for key in shown if " over " not in key]
    best = {key: _best(methods, key) if key in ranked else None for key in shown}
    heads = [f"{COLUMNS[key]} {'↓' if is_lower_better(key) else '↑'}" for key in shown]
    lines = [f"| method | pairs | runs | {' | '.join(heads)} |", "|---" * (len(shown) + 3) + "|"]
    for name in order:
        merits = methods[name]["merits"]
        cells = [_cell(key, merits.get(key), bold=best[key] == name) for key in shown]
        spent = " + ".join(f"{merits[kind]['value']:,.0f}" for kind in ("forward", "backward") if kind in merits) or "-"
        lines.append(f"| {name} | {methods[name]['pairs']:,} | {spent} | {' | '.join(cells)} |")
    said = []
    for key in ranked:
        compared = compare_all(methods, key)
        if compared is not None:
            said.append(f"- *{COLUMNS[key]}*: {in_words(compared)}")
    what = "; ".join(TESTS[test] for test in settings["tests"] if test in TESTS)
    title = f"### {settings['model']['name']}, {protocol_title(settings['protocol'])}: {what}"
    return "\n".join([title, "", *lines, "", *said, ""])


def _value(method: dict[str, Any], key: str) -> float:
    merit = method["merits"].get(key)
    return 0.0 if merit is None else float(merit["value"])


def _best(methods: dict[str, Any], key: str) -> str | None:
    real = {name: _value(m, key) for name, m in methods.items() if key in m["merits"] and name not in CONTROLS}
    return (min if is_lower_better(key) else max)(real, key=lambda name: real[name]) if real else None


def _cell(key: str, merit: dict[str, Any] | None, *, bold: bool) -> str:
    if merit is None:
        return "-"
    factor, digits = (1, 2) if key in INFORMATION else (100, 1)
    text = f"{factor * merit['value']:z.{digits}f}"
    if merit["interval"] is not None:
        low, high = (factor * end for end in merit["interval"])
        text = "0 exactly" if low == high == 0 else f"{text} ({low:z.{digits}f} to {high:z.{digits}f})"
    return f"**{text}**" if bold else text


def kept(found: dict[str, Any]) -> dict[str, Any]:
    """Return a summary without curves, and with the differences only of what a table shows."""
    methods = {}
    for name, method in found["methods"].items():
        less = {
            other: {key: merit for key, merit in merits.items() if key in COLUMNS}
            for other, merits in method["less another on the same pairs"].items()
        }
        methods[name] = {"pairs": method["pairs"], "merits": method["merits"], "less another on the same pairs": less}
    return {"settings": found["settings"], "methods": methods}


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("summaries", type=Path, nargs="+", help="in the order of the page")
    parser.add_argument("--keep", type=Path, help="folder for the copies; the page is written from them")
    args = parser.parse_args()
    documents = []
    for path in args.summaries:
        found = json.loads(path.read_text(encoding="utf-8"))
        if args.keep is not None:
            args.keep.mkdir(parents=True, exist_ok=True)
            found = kept(found)
            name = path.parent.name if path.name == "summary.json" else path.stem
            (args.keep / f"{name}.json").write_text(json.dumps(_rounded(found)) + "\n", encoding="utf-8")
        documents.append(found)
    put_between_marks(args.page, "\n".join(map(section, documents)), MARK)


def _rounded(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _rounded(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_rounded(value) for value in found]
    return float(f"{found:.5g}") if isinstance(found, float) else found


if __name__ == "__main__":
    main()
