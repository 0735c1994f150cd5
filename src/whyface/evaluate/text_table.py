"""The results of an evaluation as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from whyface.evaluate.intervals import Interval
from whyface.evaluate.report import KIND_NAMES
from whyface.evaluate.summary import RateAtFmr, Summary


def report_text(metadata: Mapping[str, Any], summaries: Mapping[str, Summary]) -> str:
    """Lay out the results in a column per set of scores, in percent, with what must be known about them below.

    Parameters
    ----------
    metadata
        From :func:`whyface.evaluate.report.run_metadata`.
    summaries
        Results by kind of score.
    """
    protocol, settings = metadata["protocol"], metadata["settings"]
    head = (
        f"{metadata['model']['name']} on {protocol['name']}: {protocol['genuine_pairs']} genuine and "
        f"{protocol['impostor_pairs']} impostor pairs of {protocol['people']} people, {protocol['folds']} folds"
        f"{', with mirrored pictures' if settings['mirror'] else ''}"
    )
    columns = [_column(summary) for summary in summaries.values()]
    rows = [("percent", *(KIND_NAMES.get(kind, kind) for kind in summaries))]
    rows += [(label, *(column[label] for column in columns)) for label in columns[0]]
    notes = [*_notes(next(iter(summaries.values()))), *_remarks(protocol)]
    return "\n".join([head, "", *_aligned(rows), "", *notes])


def _column(summary: Summary) -> dict[str, str]:
    cells = {
        "accuracy": _percent(summary.folds.mean, summary.accuracy_interval),
        "  standard error": f"{100 * summary.folds.standard_error:.2f}",
        "AUC": _percent(summary.auc, summary.auc_interval, digits=3),
        "EER": _percent(summary.eer, summary.eer_interval),
    }
    for rate in summary.at_fmr:
        cells[f"FNMR at FMR {_exponent(rate.target)}"] = _rate(rate)
    for rate in summary.at_fmr:
        if rate.tar is not None:
            cells[f"TAR at FAR {_exponent(rate.target)}"] = f"{100 * rate.tar:.2f}  score > {rate.threshold:.4f}"
    return cells


def _rate(rate: RateAtFmr) -> str:
    if rate.fnmr is None:
        return "sample too small"
    return _percent(rate.fnmr, rate.interval) + ("*" if rate.note else "")


def _percent(value: float, interval: Interval | None, digits: int = 2) -> str:
    shown = f"{100 * value:.{digits}f}"
    if interval is None:
        return shown
    return f"{shown}  ({100 * interval.low:.{digits}f} to {100 * interval.high:.{digits}f})"


def _exponent(rate: float) -> str:
    return f"{rate:.0e}".replace("e-0", "e-")


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


def _notes(summary: Summary) -> list[str]:
    lines = ["In brackets: 95 % intervals, resampling people; Wilson's where there is no error."]
    for rate in summary.at_fmr:
        if rate.note:
            mark = "* " if rate.supported else ""
            lines.append(f"{mark}FMR {_exponent(rate.target)}: {rate.note}.")
    return lines


def _remarks(protocol: Mapping[str, Any]) -> list[str]:
    lines = []
    if failures := protocol.get("failures"):
        left_out = protocol["pairs_left_out"]
        lines.append(
            f"No face in {len(failures)} pictures; left out for that: {left_out['genuine']} genuine and "
            f"{left_out['impostor']} impostor pairs. First: {next(iter(failures))} ({next(iter(failures.values()))})."
        )
    if wrong := protocol.get("contradicting_labels"):
        lines.append(f"{wrong} impostor pairs contradict the genuine pairs: wrong labels somewhere in the file.")
    return lines
