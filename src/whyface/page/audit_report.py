"""The report of an audit as one HTML file without a script: tables, error curves and maps as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from whyface.page.bundle import content_hash, page_file

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '{hash}'; base-uri 'none'; \
form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main id="whyface">
{body}
</main>
</body>
</html>
"""
_COLOURS: Final = ("#2b7bba", "#b8730a", "#3a8f4d", "#a8459a", "#d14b3f", "#6b7280", "#008b8b", "#8a6d3b")
_DASHES: Final = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2", "12 3", "6 2 1 2")
_SIDE: Final = 420
_LEFT, _TOP = 64, 16
_TICKS: Final = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.5)
_LOWEST, _HIGHEST = 0.00005, 0.6
_CELL: Final = 44


def audit_html(document: Mapping[str, Any]) -> str:
    """Return the report of an audit, as :func:`whyface.commands.audit.audit` writes it as JSON."""
    title = f"Audit of {document['source']}"
    where = document["threshold_source"]
    body = [
        f"<h1>{escape(title)}</h1>",
        _card(
            "<p>"
            + escape(f"Match above the score {document['threshold']:.4f} ({where}). ")
            + escape(f"{_count(document['pairs'])} pairs: {_count(document['genuine_pairs'])} mated (genuine), ")
            + escape(f"{_count(document['pairs'] - document['genuine_pairs'])} non-mated (impostor); ")
            + escape(f"{document['undecided']} undecided, {document['failed']} with a picture that cannot be used.")
            + "</p>",
            _list(document["remarks"], "warnings"),
        ),
        *(_section(one) for one in document["audits"]),
        _card("<h2>How to read this</h2>", _list(document["notes"], "plain")),
        _card("<h2>Made by</h2>", f'<p class="file">{escape(document["command"])}</p>', _versions(document)),
    ]
    style = page_file("style.css")
    return _PAGE.format(hash=content_hash(style), title=escape(title), style=style, body="\n".join(body))


def _section(audit: Mapping[str, Any]) -> str:
    name = " and ".join(audit["by"])
    parts = [
        f"<h2>By {escape(name)}</h2>",
        _rates(audit),
        _differentials(audit),
        _curves(audit["groups"], name),
        _crossed(audit),
        _shifts(audit["groups"]),
        _places(audit["places"]),
        _list([f"{count} pairs are in no group: {why}." for why, count in audit["left_out"].items() if count], "plain"),
    ]
    return _card(*parts)


def _rates(audit: Mapping[str, Any]) -> str:
    every = audit["all_pairs"]
    enrolled = audit["failure_to_enrol"]
    rows = [
        [
            "all pairs, whatever their groups",
            "",
            _rate(every["fmr"]),
            "",
            _rate(every["fnmr"]),
            _rate(every["undecided"]),
            "",
        ],
        ["all pairs within one group", "", _rate(every["fmr_within"]), "", "", "", ""],
    ]
    for group in audit["groups"]:
        fte = "" if enrolled is None else _rate(enrolled.get(group["group"], {"rate": None}))
        if group["withheld"]:
            rows.append([group["group"], _count(group["people"]), f"not reported: {group['withheld']}", *[""] * 3, fte])
            continue
        values = [_rate(group[key]) for key in ("fmr", "fmr_others", "fnmr", "undecided")]
        rows.append([group["group"], _count(group["people"]), *values, fte])
    heads = [
        *("Demographic group", "People", "FMR within the group", "FMR against other groups", "FNMR", "Undecided"),
        "Failure to enrol",
    ]
    return _table("Percent, with 95 % intervals over people and errors of pairs", heads, rows)


def _differentials(audit: Mapping[str, Any]) -> str:
    rows = [
        [one["name"], "none" if one["value"] is None else _number(one["value"], one["interval"], 2), one["note"]]
        for one in audit["differentials"]
    ]
    if not rows:
        return "<p>Fewer than two groups are reported, so there is no differential.</p>"
    return _table("Demographic differentials of the reported groups", ["Measure", "Value (95 %)", ""], rows)


def _crossed(audit: Mapping[str, Any]) -> str:
    rows = [[" and ".join(one["groups"]), _rate(one)] for one in audit["crossed"]]
    return _table("FMR across groups, percent", ["Groups", "FMR"], rows) if rows else ""


def _shifts(groups: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for group in groups:
        if not group["withheld"]:
            both = (group["shift_genuine"], group["shift_impostor"])
            shown = ["" if one is None else _number(one["value"], one["interval"], 3, sign=True) for one in both]
            rows.append([group["group"], *shown])
    heads = ["Group", "Mated", "Non-mated, within the group"]
    return _table("Score shifts: mean score less that of all groups' pairs within one group", heads, rows)


def _places(places: Sequence[Mapping[str, Any]]) -> str:
    if not places:
        return "<p>Without S and W of the pairs, nothing can be said about places.</p>"
    parts = [
        "<h3>Where false matches carry their weight</h3>",
        '<p class="note">Mean S x W of the false matches within the group less that of all impostor pairs, in '
        "points (0.01); the sum is the difference of the mean scores. Framed: the 95 % interval excludes 0 and the "
        "mean of the places.</p>",
    ]
    parts.append('<div class="panels">')
    for one in places:
        if one["difference"] is None:
            parts.append(f"<p>{escape(one['group'])}: {one['false_matches']} false matches are too few.</p>")
            continue
        parts.append(
            f'<figure class="panel"><figcaption>{escape(one["group"])}: {_count(one["false_matches"])} false matches '
            f"among pairs within the group</figcaption>{_map(one)}</figure>"
        )
    return "".join([*parts, "</div>"])


def _map(one: Mapping[str, Any]) -> str:
    values = np.asarray(one["difference"])
    side = round(len(values) ** 0.5)
    if side * side != len(values):
        return f"<p>{escape(', '.join(f'{100 * value:.2f}' for value in values))}</p>"
    low, high = (None if one[end] is None else np.asarray(one[end]) for end in ("low", "high"))
    top, mean = max(float(np.abs(values).max()), 1e-9), float(values.mean())
    cells = []
    for place, value in enumerate(values.tolist()):
        x, y = place % side * _CELL, place // side * _CELL
        colour = "#1f5f9f" if value >= 0 else "#a8182a"
        sure = low is not None and high is not None and (low[place] > max(0, mean) or high[place] < min(0, mean))
        ends = "" if low is None or high is None else f" ({100 * low[place]:.2f} to {100 * high[place]:.2f})"
        frame = ' stroke="currentColor" stroke-width="2"' if sure else ""
        cells.append(
            f"<g><title>row {place // side + 1}, column {place % side + 1}: {100 * value:.2f}{ends}</title>"
            f'<rect x="{x + 1}" y="{y + 1}" width="{_CELL - 2}" height="{_CELL - 2}" fill="{colour}" '
            f'fill-opacity="{0.75 * abs(value) / top:.3f}"{frame}/><text x="{x + _CELL / 2}" y="{y + _CELL / 2 + 4}" '
            f'text-anchor="middle" font-size="12" fill="currentColor">{100 * value:.1f}</text></g>'
        )
    size = side * _CELL
    return (
        f'<svg viewBox="0 0 {size} {size}" width="100%" role="img" '
        f'aria-label="Difference of S x W by place, {escape(one["group"])}">{"".join(cells)}</svg>'
    )


def _curves(groups: Sequence[Mapping[str, Any]], name: str) -> str:
    known = [group for group in groups if not group["withheld"] and group["det"]]
    if not known:
        return "<p>No group has pairs of both kinds, so there is no error curve.</p>"
    apart = [group["group"] for group in known if any(fmr == fnmr == 0 for _, fmr, fnmr in group["det"])]
    said = f"<p>A threshold separates all pairs of {escape(', '.join(apart))}: no curve.</p>" if apart else ""
    curved = [group for group in known if group["group"] not in apart]
    drawn = curved[: len(_COLOURS)]
    if not drawn:
        return said
    parts = []
    for tick in _TICKS:
        at = _deviate(tick)
        parts.append(
            f'<line x1="{_LEFT + at:.1f}" x2="{_LEFT + at:.1f}" y1="{_TOP}" y2="{_TOP + _SIDE}" stroke="currentColor" '
            f'stroke-opacity="0.2"/><line x1="{_LEFT}" x2="{_LEFT + _SIDE}" y1="{_TOP + _SIDE - at:.1f}" '
            f'y2="{_TOP + _SIDE - at:.1f}" stroke="currentColor" stroke-opacity="0.2"/>'
            f'<text x="{_LEFT + at:.1f}" y="{_TOP + _SIDE + 18}" text-anchor="middle">{100 * tick:g}</text>'
            f'<text x="{_LEFT - 6}" y="{_TOP + _SIDE - at + 4:.1f}" text-anchor="end">{100 * tick:g}</text>'
        )
    for row, group in enumerate(drawn):
        steps = [(_deviate(fmr), _deviate(fnmr)) for _, fmr, fnmr in group["det"]]
        path = "".join(
            f"{'M' if number == 0 else 'H'}{_LEFT + x:.1f}{' ' if number == 0 else 'V'}{_TOP + _SIDE - y:.1f}"
            for number, (x, y) in enumerate(steps)
        )
        stroke = f'stroke="{_COLOURS[row]}" stroke-width="2" stroke-dasharray="{_DASHES[row]}" fill="none"'
        y = _TOP + 14 + 20 * row
        parts.append(
            f'<path d="{path}" {stroke}/><line x1="{_LEFT + _SIDE + 16}" x2="{_LEFT + _SIDE + 52}" y1="{y - 4}" '
            f'y2="{y - 4}" {stroke}/><text x="{_LEFT + _SIDE + 60}" y="{y}">{escape(group["group"])}</text>'
        )
    width, height = _LEFT + _SIDE + 300, _TOP + _SIDE + 48
    more = len(curved) - len(drawn)
    note = f" The {more} smallest groups are not drawn." if more else ""
    return (
        f'{said}<figure class="scroll"><figcaption>DET by {escape(name)}: FNMR against FMR within the group, percent, '
        f'on normal deviates.{note}</figcaption><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="Error curves by {escape(name)}" font-size="12" fill="currentColor">{"".join(parts)}'
        f'<text x="{_LEFT + _SIDE / 2}" y="{height - 8}" text-anchor="middle">FMR, %</text>'
        f'<text x="12" y="{_TOP + _SIDE / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {_TOP + _SIDE / 2})">FNMR, %</text></svg></figure>'
    )


def _deviate(rate: float) -> float:
    """Return the position of a rate on an axis of normal deviates, in pixels."""
    low, high, at = (
        NormalDist().inv_cdf(min(max(value, _LOWEST), _HIGHEST)) for value in (_LOWEST, _HIGHEST, float(rate))
    )
    return _SIDE * (at - low) / (high - low)


def _rate(rate: Mapping[str, Any]) -> str:
    if rate["rate"] is None:
        return "no pairs"
    low, high = rate["interval"]
    return (
        f"{100 * rate['rate']:.3g} ({100 * low:.3g} to {100 * high:.3g}); {_count(rate['errors'])} of "
        f"{_count(rate['of'])}"
    )


def _number(value: float, interval: Sequence[float] | None, digits: int, *, sign: bool = False) -> str:
    shown = f"{value:{'+' if sign else ''}.{digits}f}"
    return shown if interval is None else f"{shown} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def _count(number: int) -> str:
    return f"{number:,}"


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in others)}</tr>'
        for first, *others in rows
    )
    name = escape(caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}"><table><caption>{name}'
        f"</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _list(lines: Sequence[str], kind: str) -> str:
    return f'<ul class="{kind}">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def _card(*parts: str) -> str:
    return f'<section class="card">{"".join(parts)}</section>'


def _versions(document: Mapping[str, Any]) -> str:
    return f'<p class="note">{escape(", ".join(f"{name} {one}" for name, one in document["versions"].items()))}</p>'
