"""The results of an evaluation as a JSON document, as text for a terminal, and its scores as a Parquet file."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.data.protocols import PairProtocol
from whyface.errors import DataError, reason
from whyface.evaluate.intervals import Interval
from whyface.evaluate.sample import RatesAt, describe_limits, sample_limits
from whyface.evaluate.summary import RateAtFmr, Summary
from whyface.explain.verdict import software_versions
from whyface.files.guarded import parse_json, read_json
from whyface.files.integrity import write_atomic
from whyface.files.parts import METADATA_KEY, parquet_modules
from whyface.models.operating_point import DEFAULT_FMR, OperatingPoint
from whyface.xcos.open_model import OpenedModel

KIND_NAMES: Final[Mapping[str, str]] = {
    "cosine": "Cosine of embeddings",
    "u": "Uniform (U)",
    "p": "Correlated (P)",
    "l": "Learned (L)",
}

NOTES: Final = (
    "Match iff score > threshold. Rates and accuracies lie in [0, 1].",
    "Accuracy: mean over the folds, each with the threshold that is best on the others; its interval takes these "
    "thresholds as fixed.",
    "Intervals are for 95 %, pointwise, by resampling people; they are rather too wide if pairs hardly share people. "
    "Rates without any error have Wilson's interval instead.",
    "fmr_interval_fixed and fnmr_interval_fixed take the threshold as given (Wilson's, widened for shared people): "
    "use them for a threshold that is chosen once and kept.",
)


def run_metadata(
    model: OpenedModel,
    protocol: PairProtocol,
    *,
    data: str,
    mirror: bool,
    replicates: int,
    seed: int,
    about: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the model, protocol and settings of an evaluation as plain JSON values."""
    genuine = int(protocol.genuine.sum())
    return {
        "model": {
            "name": model.name,
            "sha256": dict(model.sha256),
            "preprocessing": model.preprocessing.to_dict(),
            "scores": list(model.comparisons),
        },
        "protocol": {
            "name": protocol.name,
            "data": data,
            "genuine_pairs": genuine,
            "impostor_pairs": len(protocol.genuine) - genuine,
            "pictures": len(protocol.pictures),
            "people": len(set(protocol.people)),
            "folds": len(set(protocol.fold.tolist())),
            **(about or {}),
        },
        "settings": {
            "mirror": mirror,
            "bootstrap_replicates": replicates,
            "seed": seed,
            "confidence": 0.95,
            **(settings or {}),
        },
        "versions": _versions(),
    }


def report_document(
    metadata: Mapping[str, Any],
    summaries: Mapping[str, Summary],
    *,
    at: Mapping[str, Sequence[RatesAt]] | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Return metadata, results and the command that reproduces them as one document of plain JSON values.

    ``at`` has the rates at thresholds that were given, or that the model has, by kind of score.
    """
    results = {kind: _result(summary) for kind, summary in summaries.items()}
    for kind, rates in (at or {}).items():
        results[kind]["at_threshold"] = [rate.to_dict() for rate in rates]
    said = {} if command is None else {"command": command}
    sizes = metadata["protocol"]["genuine_pairs"], metadata["protocol"]["impostor_pairs"]
    return {**said, **metadata, "results": results, "sample": sample_limits(*sizes), "notes": list(NOTES)}


def _result(summary: Summary) -> dict[str, Any]:
    return {
        "accuracy": summary.folds.mean,
        "accuracy_standard_error": summary.folds.standard_error,
        "accuracy_interval": _ends(summary.accuracy_interval),
        "fold_accuracies": summary.folds.accuracy.tolist(),
        "fold_thresholds": summary.folds.thresholds.tolist(),
        "auc": summary.auc,
        "auc_interval": _ends(summary.auc_interval),
        "eer": summary.eer,
        "eer_threshold": summary.eer_threshold,
        "eer_interval": _ends(summary.eer_interval),
        "at_fmr": [_rate(rate) for rate in summary.at_fmr],
    }


def read_point(
    path: Path, *, kind: str | None = None, fmr: float | None = None
) -> tuple[OperatingPoint, frozenset[str]]:
    """Return a threshold with its error rates from a report, and the SHA-256 of the files of the network measured.

    Raise DataError if it is no report or has no such threshold, or one of scores as ``verify`` does not give them.

    Parameters
    ----------
    kind
        Kind of score; by default the last of the report, which is learned attention where there is one.
    fmr
        The false match rate; 1e-3 by default.
    """
    wanted = DEFAULT_FMR if fmr is None else fmr
    try:
        report = read_json(path)
        protocol, results = report["protocol"], report["results"]
        chosen = kind or list(results)[-1]
        if report["settings"]["mirror"] or "sets" in report["settings"]:
            raise DataError(
                f"{path}: measured with mirrored pictures or videos, as verify does not score; measure without"
            )
        rates = {rate["target_fmr"]: rate for rate in results[chosen]["at_fmr"] if rate["supported"]}
        rate = next((one for target, one in rates.items() if math.isclose(target, wanted)), None)
        if rate is None:
            known = ", ".join(f"{target:g}" for target in sorted(rates)) or "none"
            raise DataError(f"{path}: has no threshold for FMR {wanted:g}; measured: {known}")
        mantissa, exponent = f"{wanted:e}".split("e")
        point = OperatingPoint.from_dict(
            {
                "name": f"FMR {float(mantissa):g}e{int(exponent)}",
                "threshold": rate["threshold"],
                "fmr": rate["fmr"],
                "fnmr": rate["fnmr"],
                "fmr_interval": rate["fmr_interval_fixed"],
                "fnmr_interval": rate["fnmr_interval_fixed"],
                "genuine_pairs": protocol["genuine_pairs"],
                "impostor_pairs": protocol["impostor_pairs"],
                "dataset": f"{protocol['name']}, {protocol['genuine_pairs'] + protocol['impostor_pairs']} pairs",
                "note": rate["note"],
            },
            str(path),
        )
        return point, frozenset(report["model"]["sha256"].values())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({reason(error)}); check the path") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: not a report that whyface evaluate wrote with these scores") from error


def _rate(rate: RateAtFmr) -> dict[str, Any]:
    if not rate.supported:
        return {"target_fmr": rate.target, "supported": False, "note": rate.note}
    return {
        "target_fmr": rate.target,
        "supported": True,
        "threshold": rate.threshold,
        "false_matches": rate.false_matches,
        "fmr": rate.fmr,
        "fmr_interval_fixed": _ends(rate.fmr_fixed),
        "fnmr": rate.fnmr,
        "fnmr_interval": _ends(rate.interval),
        "fnmr_interval_fixed": _ends(rate.fnmr_fixed),
        "tar": rate.tar,
        "note": rate.note,
    }


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _versions() -> dict[str, str]:
    versions = software_versions()
    with contextlib.suppress(PackageNotFoundError):
        versions["pyarrow"] = version("pyarrow")
    return versions


def report_text(
    metadata: Mapping[str, Any],
    summaries: Mapping[str, Summary],
    *,
    at: Mapping[str, Sequence[RatesAt]] | None = None,
) -> str:
    """Return the results as text, in percent, with a column per set of scores, rates at thresholds, and notes below."""
    protocol, settings = metadata["protocol"], metadata["settings"]
    head = (
        f"{metadata['model']['name']} on {protocol['name']}: {protocol['genuine_pairs']} genuine and "
        f"{protocol['impostor_pairs']} impostor pairs of {protocol['people']} people, {protocol['folds']} folds"
        f"{', with mirrored pictures' if settings['mirror'] else ''}"
    )
    columns = [_column(summary) for summary in summaries.values()]
    rows = [("percent", *(KIND_NAMES.get(kind, kind) for kind in summaries))]
    rows += [(label, *(column[label] for column in columns)) for label in columns[0]]
    given = [f"{KIND_NAMES.get(kind, kind)} {rate.describe()}" for kind, rates in (at or {}).items() for rate in rates]
    limits = describe_limits(sample_limits(protocol["genuine_pairs"], protocol["impostor_pairs"]))
    notes = [*_notes(next(iter(summaries.values()))), *limits, *_remarks(protocol)]
    return "\n".join([head, "", *_aligned(rows), "", *given, *([""] if given else []), *notes])


def _column(summary: Summary) -> dict[str, str]:
    cells = {
        "accuracy": _percent(summary.folds.mean, summary.accuracy_interval),
        "  standard error": f"{100 * summary.folds.standard_error:.2f}",
        "AUC": _percent(summary.auc, summary.auc_interval, digits=3),
        "EER": _percent(summary.eer, summary.eer_interval),
    }
    for rate in summary.at_fmr:
        cells[f"FNMR at FMR {_exponent(rate.target)}"] = _text_table_rate(rate)
    for rate in summary.at_fmr:
        if rate.tar is not None:
            cells[f"TAR at FMR {_exponent(rate.target)}"] = f"{100 * rate.tar:.2f}  score > {rate.threshold:.4f}"
    return cells


def _text_table_rate(rate: RateAtFmr) -> str:
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
        lines.append(f"{wrong} impostor pairs contradict the genuine pairs: some labels in the file are wrong.")
    return lines


def write_scores(
    path: Path, protocol: PairProtocol, scores: Mapping[str, NDArray[np.float64]], metadata: Mapping[str, Any]
) -> None:
    """Write one row per pair, in the protocol's order.

    The columns are ``left``, ``right`` (picture names), ``person_left``, ``person_right``, ``genuine``, ``fold``, and
    ``score_KIND`` for each set of scores. Raise InputError if pyarrow is missing, and OutputError if the file cannot be
    written.

    Parameters
    ----------
    metadata
        Plain JSON values, kept under :data:`METADATA_KEY`.
    """
    arrow, parquet = parquet_modules()
    names = np.asarray(protocol.pictures)
    columns: dict[str, Any] = {
        "left": names[protocol.left],
        "right": names[protocol.right],
        "person_left": protocol.people_left,
        "person_right": protocol.people_right,
        "genuine": protocol.genuine,
        "fold": protocol.fold.astype(np.int16),
        **{f"score_{kind}": np.asarray(values, np.float64) for kind, values in scores.items()},
        **protocol.columns,
    }
    text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
    table = arrow.table({name: arrow.array(column) for name, column in columns.items()})
    buffer = io.BytesIO()
    parquet.write_table(table.replace_schema_metadata({METADATA_KEY: text.encode()}), buffer, write_page_checksum=True)
    write_atomic(path, buffer.getvalue())


def read_scores(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read a file written by :func:`write_scores`.

    Return the columns by name, and the metadata. Raise DataError if the file is not such a table, and InputError if
    pyarrow is missing.
    """
    arrow, parquet = parquet_modules()
    try:
        # The bytes are read here: with a path, pyarrow would take folder names like "fold=1" for columns.
        table = parquet.read_table(io.BytesIO(path.read_bytes()), page_checksum_verification=True)
        metadata = parse_json((table.schema.metadata or {})[METADATA_KEY])
        # Damaged names of columns need not be UTF-8.
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
    except (OSError, KeyError, ValueError, arrow.ArrowException) as error:
        raise DataError(f"{path}: not a table of scores written by whyface; run the evaluation again") from error
    return columns, metadata
