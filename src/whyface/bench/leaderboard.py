"""The leaderboard: one page that can be sorted, with intervals, and with what is better than what in words."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from whyface.bench.merits import INFORMATION, is_lower_better
from whyface.data.open_protocol import PLAIN
from whyface.errors import DataError
from whyface.explain.registry import METHODS
from whyface.files import json_values as values
from whyface.files.guarded import read_json

HEADLINES: Final[Mapping[str, tuple[str, str]]] = {
    "replacement specific": ("Undoing patches, specific", "fewer errors than with maps of other pairs"),
    "patch lift specific": ("Finding patches, specific", "more of the patches than with maps of other pairs"),
    "deletion specific": ("Deletion, specific", "verdicts lost sooner than with maps of other pairs"),
    "insertion specific": ("Insertion, specific", "verdicts restored sooner than with maps of other pairs"),
    "saco specific": ("Salience and effect, specific", "agreement beyond that of maps of other pairs"),
    "pointing auc specific": ("Foreign part, specific", "AUC beyond that of maps of other pairs"),
    "painting auc specific": ("Painted part, specific", "AUC beyond that of maps of other pairs"),
    "partner auc specific": ("Part that speaks for a match, specific", "AUC beyond that of maps of other pairs"),
    "pointing auc": ("Foreign part, shuffled AUC", "50 is chance: the other parts are as telling"),
    "pointing information": ("Foreign part, information", "bits over the method's own mean map"),
    "painting auc": ("Painted part, shuffled AUC", "sunglasses, scarf, beard, eyebrows; 50 is chance"),
    "partner auc": ("Part that speaks for a match, shuffled AUC", "50 is chance"),
    "replacement at equal prior": (
        "Undoing patches at equal prior",
        "errors, with the same share of each of ten strata",
    ),
    "replacement": ("Undoing patches", "errors while patched pixels are restored"),
    "patch lift": ("Finding patches", "share of patch among the first tenth, beyond chance"),
    "deletion": ("Deletion", "accuracy while pixels are covered"),
    "insertion": ("Insertion", "accuracy while pixels are shown"),
    "saco": ("Salience and effect", "SaCo: what is more salient has more effect"),
    "shift": ("Stability", "rank correlation after a shift by one pixel"),
    "shift specific": ("Stability, specific", "likeness beyond that of other pairs' maps: a fixed map has 0"),
    "randomised": ("Random weights", "rank correlation with the map of a random network: 0 is good"),
}
"""Columns of the page: the figure of merit, its heading and what it means."""


@dataclass(frozen=True)
class Comparison:
    """Who does best at one figure of merit.

    Attributes
    ----------
    best
        The best method that is no control.
    even
        Methods, controls included, of which it is not certain that they do worse.
    worse
        Methods that certainly do worse: the interval of the difference on the same pairs excludes 0.
    """

    best: str
    even: tuple[str, ...]
    worse: tuple[str, ...]


def compare_all(methods: Mapping[str, Any], name: str) -> Comparison | None:
    """Compare the best method by one figure of merit with all others; None if none has it.

    Parameters
    ----------
    methods
        The ``methods`` of a summary.
    name
        The figure of merit.
    """
    have = {method: found["merits"][name]["value"] for method, found in methods.items() if name in found["merits"]}
    real = {method: value for method, value in have.items() if not _is_control(method)}
    if not real:
        return None
    sign = -1 if is_lower_better(name) else 1
    best = max(real, key=lambda method: sign * real[method])
    differences = methods[best]["less another on the same pairs"]
    worse = []
    for other in have:
        interval = differences.get(other, {}).get(name, {}).get("interval")
        if interval is not None and (interval[0] > 0 if sign > 0 else interval[1] < 0):
            worse.append(other)
    even = tuple(other for other in have if other != best and other not in worse)
    return Comparison(best, even, tuple(worse))


def in_words(found: Comparison) -> str:
    """Say who does best, better than whom, and who may be as good."""
    text = f"Best: {found.best}"
    text += f", better than {_list(found.worse)}." if found.worse else "."
    if found.even:
        verb = "is" if len(found.even) == 1 else "are"
        text += f" {_list(found.even)} {verb} not certainly worse on these pairs."
    return text


def section_names(found: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return a name for each summary, all different: the network, its pairs, its tests, as far as needed, and a number.

    Parameters
    ----------
    found
        Networks' names and their summaries.
    """
    settings = [document["settings"] for _, document in found]
    names = [name for name, _ in found]
    protocols = [protocol_title(str(one.get("protocol", ""))) for one in settings]
    more = (protocols, [", ".join(map(str, one.get("tests", ()))) for one in settings])
    for part in more:
        if len(set(names)) < len(names):
            names = [f"{name}, {text}" if text else name for name, text in zip(names, part, strict=True)]
    return [
        f"{name} ({names[:place].count(name) + 1})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def protocol_title(name: str) -> str:
    """Return a protocol's name for people: ``lfw`` is LFW; that of a user's list stays."""
    return name.upper() if name in PLAIN else name


def leaderboard_page(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page, a whole HTML document that needs nothing else.

    Parameters
    ----------
    documents
        Summaries of ``whyface benchmark``, by the network's name.
    """
    parts = [_section(name, document) for name, document in documents.items()]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Which explanation tells the truth?</title><style>{_STYLE}</style></head><body>
<h1>Which explanation tells the truth?</h1>
<p>Click on a heading to sort. Figures are in percent, information in bits, with 95 % intervals by bootstrap over
people. &darr;: less is better. <em>Specific</em> is what a pair's own map does beyond the same method's maps of other
pairs with the same verdict: a map that is the same for all pairs has exactly 0. Controls, in grey, do not look at the
network.</p>
{"".join(parts)}
<script>{_SCRIPT}</script></body></html>
"""


def read_summary(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Return the network's name and the summary that ``whyface benchmark`` wrote. Raise DataError if it is none."""
    try:
        document = values.mapping(read_json(path / "summary.json" if path.is_dir() else path))
        name = values.text(values.mapping(values.mapping(document["settings"])["model"])["name"])
        for found in values.mapping(document["methods"]).values():
            values.count(found["pairs"])
            values.mapping(found["less another on the same pairs"])
            for merit in values.mapping(found["merits"]).values():
                values.number(merit["value"])
                if merit["interval"] is not None:
                    values.numbers(merit["interval"], 2)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a folder of whyface benchmark") from error
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: no summary of whyface benchmark ({error})") from error
    return name, document


def _section(name: str, document: Mapping[str, Any]) -> str:
    methods, settings = document["methods"], document["settings"]
    shown = [merit for merit in HEADLINES if any(merit in found["merits"] for found in methods.values())]
    heads = "".join(
        f'<th><button title="{html.escape(HEADLINES[merit][1])}">{html.escape(HEADLINES[merit][0])}'
        f"{' &darr;' if is_lower_better(merit) else ''}</button></th>"
        for merit in shown
    )
    rows = "".join(_row(method, found, shown) for method, found in methods.items())
    compared = {merit: compare_all(methods, merit) for merit in shown}
    said = "".join(
        f"<li><strong>{html.escape(HEADLINES[merit][0])}</strong> ({html.escape(HEADLINES[merit][1])}). "
        f"{html.escape(in_words(found))}</li>"
        for merit, found in compared.items()
        if found is not None
    )
    agreement = document.get("agreement of the fills, Kendall's W", {})
    fills = "; ".join(f"{measure} {value:.2f}" for measure, value in agreement.items())
    more = f"<p>Agreement of the rankings by the three fills, Kendall's W: {html.escape(fills)}.</p>" if fills else ""
    counts = sorted({found["pairs"] for found in methods.values()})
    span = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"
    return f"""<h2>{html.escape(name)}</h2>
<p>{html.escape(protocol_title(str(settings.get("protocol", ""))))}, {span} pairs, each method on those given.</p>
<div class="wide"><table><thead><tr><th><button>Method</button></th><th><button>Pairs</button></th>{heads}</tr></thead>
<tbody>{rows}</tbody></table></div><ul>{said}</ul>{more}
"""


def _row(method: str, found: Mapping[str, Any], shown: list[str]) -> str:
    cells = []
    for name in shown:
        merit = found["merits"].get(name)
        if merit is None:
            cells.append("<td></td>")
            continue
        factor, digits = (1, 2) if name in INFORMATION else (100, 1)
        # z: no minus sign before zeros.
        text = f"{factor * merit['value']:z.{digits}f}"
        if merit["interval"] is not None:
            low, high = (f"{factor * end:z.{digits}f}" for end in merit["interval"])
            text += f" <small>{low} to {high}</small>"
        cells.append(f'<td data-value="{merit["value"]}">{text}</td>')
    kind = ' class="control"' if _is_control(method) else ""
    count = f'<td data-value="{found["pairs"]}">{found["pairs"]}</td>'
    return f"<tr{kind}><th>{html.escape(method)}</th>{count}{''.join(cells)}</tr>"


def _is_control(method: str) -> bool:
    return method in METHODS and METHODS[method].is_control


def _list(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { border-bottom: 1px solid #ddd; padding: .35rem .5rem; text-align: right; vertical-align: top; }
th:first-child { text-align: left; } small { color: #666; display: block; white-space: nowrap; }
button { font: inherit; font-weight: 600; background: none; border: 0; cursor: pointer; text-align: inherit; }
.control { color: #777; }
"""

_SCRIPT: Final = """
for (const button of document.querySelectorAll("thead button")) button.addEventListener("click", () => {
  const head = button.closest("th"), body = head.closest("table").tBodies[0], at = head.cellIndex;
  const rising = head.dataset.rising !== "yes";
  head.dataset.rising = rising ? "yes" : "no";
  const value = row => {
    const cell = row.cells[at];
    return cell.dataset.value === undefined ? cell.textContent : +cell.dataset.value;
  };
  const order = (a, b) => a === "" ? 1 : b === "" ? -1 : (a < b ? -1 : a > b ? 1 : 0) * (rising ? 1 : -1);
  body.append(...[...body.rows].sort((a, b) => order(value(a), value(b))));
});
"""
