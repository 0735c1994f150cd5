"""The occlusion study's results as JSON and as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from studies.occlusion.conditions import CLEAN, RELIABLE
from studies.occlusion.summary import ConditionResult, Rate
from whyface.errors import DataError
from whyface.files.integrity import write_atomic

Results = Mapping[str, Mapping[str, Mapping[str, ConditionResult]]]
"""By model's label, kind of score and condition."""
Shares = Mapping[str, Mapping[str, Mapping[str, Rate]]]
"""By model's label and kind of score: loss relative to the baseline's, with thresholds chosen anew and kept."""

START: Final = "<!-- results: written by studies/occlusion/study.py -->"
END: Final = "<!-- end of results -->"

_NAMES: Final = {"cosine": "cosine", "u": "U", "p": "P", "l": "L"}


def score_name(label: str, kind: str) -> str:
    """Return the name of a score in tables and figures: ``FC``, ``xCos U``, ``xCos U + reliability``."""
    own = kind.removesuffix(RELIABLE)
    name = label if own == "cosine" else f"{label} {_NAMES.get(own, own)}"
    return f"{name} + reliability" if kind.endswith(RELIABLE) else name


def condition_name(key: str) -> str:
    """Return the name of a condition: ``free-30`` becomes ``30 %``."""
    return f"{key.removeprefix('free-')} %" if key.startswith("free-") else key


def occlusion_document(
    results: Results,
    shares: Shares,
    models: Mapping[str, Any],
    settings: Mapping[str, Any],
    versions: Mapping[str, str],
    pairs: int,
) -> dict[str, Any]:
    """Return all results as one document of plain JSON values."""
    return {
        "study": "accuracy while part of a face is covered",
        "pairs": pairs,
        "settings": dict(settings),
        "models": dict(models),
        "notes": [
            "Rates lie in [0, 1]; intervals are for 95 %, by resampling people.",
            "accuracy: each fold judged with the threshold that is best on the other folds of the same condition; "
            "kept: with the threshold that is best on the other folds of the clean set.",
            "drop, kept_drop: accuracy on the clean set less these. share_of_baseline_drop: divided by the first "
            "model's.",
        ],
        "results": {
            label: {
                kind: {condition: result.to_dict() for condition, result in rows.items()}
                for kind, rows in kinds.items()
            }
            for label, kinds in results.items()
        },
        "share_of_baseline_drop": {
            label: {kind: {name: rate.to_dict() for name, rate in rates.items()} for kind, rates in kinds.items()}
            for label, kinds in shares.items()
        },
        "versions": dict(versions),
    }


def occlusion_table(results: Results, shares: Shares, at: int) -> str:
    """Return four Markdown tables: accuracy, accuracy with kept thresholds, EER, and the losses compared."""
    parts = [
        "Accuracy in percent, threshold chosen anew for every column (10 folds):\n",
        _grid(results, lambda result: _percent(result.accuracy.value)),
        "Accuracy in percent, threshold kept as chosen on clean faces (10 folds):\n",
        _grid(results, lambda result: _percent(result.kept.value)),
        "Equal error rate in percent:\n",
        _grid(results, lambda result: _percent(result.eer)),
    ]
    key = f"free-{at}"
    if all(key in rows for kinds in results.values() for rows in kinds.values()):
        rows = [
            "| score | clean | lost, threshold anew | of the baseline's | lost, threshold kept | of the baseline's |",
            "|---|---|---|---|---|---|",
        ]
        for label, kinds in results.items():
            for kind, found in kinds.items():
                share = shares.get(label, {}).get(kind, {})
                cells = [
                    score_name(label, kind),
                    _percent(found[CLEAN.key].accuracy.value),
                    _with_interval(found[key].drop),
                    _share(share.get("drop")),
                    _with_interval(found[key].kept_drop),
                    _share(share.get("kept_drop")),
                ]
                rows.append(f"| {' | '.join(cells)} |")
        parts += [f"Points lost at {at} %, with 95 % intervals:\n", "\n".join(rows)]
    return "\n".join(part if part.endswith("\n") else f"{part}\n" for part in parts)


def put_between_marks(path: Path, text: str, start: str = START) -> None:
    """Replace the text between the two marks of a document, ``start`` and :data:`END`.

    Raises
    ------
    DataError
        If the document cannot be read or has no marks.
    OutputError
        If it cannot be written.
    """
    try:
        before, first, rest = path.read_text(encoding="utf-8").partition(start)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); the table goes into this document") from error
    _, last, after = rest.partition(END)
    if not first or not last:
        raise DataError(f"{path}: has no place for the table; put the lines {start!r} and {END!r} into it")
    write_atomic(path, f"{before}{start}\n\n{text.strip()}\n\n{END}{after}".encode())


def _grid(results: Results, shown: Any) -> str:
    first = next(iter(next(iter(results.values())).values()))
    lines = [
        f"| score | {' | '.join(condition_name(key) for key in first)} |",
        "|---" * (len(first) + 1) + "|",
    ]
    for label, kinds in results.items():
        for kind, rows in kinds.items():
            lines.append(f"| {score_name(label, kind)} | {' | '.join(shown(rows[key]) for key in first)} |")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _with_interval(rate: Rate) -> str:
    return f"{_percent(rate.value)} ({_percent(rate.interval.low)} to {_percent(rate.interval.high)})"


def _share(rate: Rate | None) -> str:
    return "" if rate is None else f"{rate.value:.2f} ({rate.interval.low:.2f} to {rate.interval.high:.2f})"
