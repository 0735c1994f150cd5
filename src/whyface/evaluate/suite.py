"""Several models on several protocols, from one YAML file: the accuracies as one table."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from whyface.data.open_protocol import WITH_FILE, open_any_protocol, parse_protocol
from whyface.errors import InputError, reason
from whyface.evaluate.rates import FoldAccuracy, Grid, fold_accuracy
from whyface.evaluate.scoring import score_pairs
from whyface.files.guarded import LARGEST_TEXT, parse_yaml, read_guarded
from whyface.files.progress import ProgressCallback
from whyface.xcos.open_model import OpenedModel, open_model

_KEYS: Final = {"models": list, "mirror": bool, "thresholds": str, "protocols": list}
_PROTOCOL_KEYS: Final = {"protocol": str, "data": str, "pairs": str, "folds": int, "align": bool}

EXAMPLE: Final = """\
models: [xcos-large, xcos-mobilefacenet]   # names, model folders or .onnx files
mirror: false                              # average over each picture and its mirror image
thresholds: exact                          # or published: -1, -0.995 ... 0.995
protocols:
  - {protocol: lfw, data: lfw-aligned-112.tar, pairs: lfw-pairs.txt}
  - {protocol: cfp-ff, data: cfp-aligned-112.tar}
  - {protocol: cfp-fp, data: cfp-aligned-112.tar}
  - {protocol: "bcolz:faces/agedb_30"}
"""


@dataclass(frozen=True)
class ProtocolEntry:
    """One protocol of a suite; see the options of ``whyface evaluate``."""

    protocol: str
    data: Path | None = None
    pairs: Path | None = None
    folds: int | None = None
    align: bool = False


@dataclass(frozen=True)
class Suite:
    """What is measured; ``thresholds`` as in :func:`~whyface.evaluate.rates.fold_accuracy`."""

    models: tuple[str, ...]
    protocols: tuple[ProtocolEntry, ...]
    mirror: bool = False
    thresholds: Grid = "exact"


@dataclass(frozen=True)
class SuiteRow:
    """The accuracy of one model and kind of score on one protocol."""

    model: str
    kind: str
    protocol: str
    pairs: int
    accuracy: FoldAccuracy


def read_suite(path: Path) -> Suite:
    """Read a suite; relative paths in it are relative to its folder.

    Raise InputError if the file cannot be read or is not YAML, or a key or value is wrong.
    """
    try:
        document = parse_yaml(read_guarded(path, most=LARGEST_TEXT).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable YAML ({reason(error)}); see whyface test --print-config") from error
    found = _checked(document, _KEYS, str(path))
    thresholds = found.get("thresholds", "exact")
    if thresholds not in ("exact", "published"):
        raise InputError(f"{path}: thresholds are exact or published, got {thresholds!r}")
    models, entries = found.get("models") or [], found.get("protocols") or []
    if not models or not entries or not all(isinstance(model, str) for model in models):
        raise InputError(f"{path}: give a list of models, by name or path, and a list of protocols")
    base = path.parent
    protocols = []
    for number, entry in enumerate(entries, start=1):
        one = _checked(entry, _PROTOCOL_KEYS, f"{path}: protocol {number}")
        if "protocol" not in one:
            raise InputError(f"{path}: protocol {number} has no name; write protocol: lfw")
        kind, colon, file = one["protocol"].partition(":")
        named = f"{kind}:{base / file}" if colon and kind in WITH_FILE else one["protocol"]
        parse_protocol(named)
        places = {key: base / one[key] for key in ("data", "pairs") if key in one}
        protocols.append(ProtocolEntry(named, **places, folds=one.get("folds"), align=one.get("align", False)))
    names = tuple(str(base / model) if (base / model).exists() else model for model in models)
    return Suite(names, tuple(protocols), found.get("mirror", False), thresholds)


def run_suite(
    suite: Suite,
    *,
    directory: Path | None = None,
    threads: int | None = None,
    providers: str | Sequence[str] = "cpu",
    progress: Callable[[str], ProgressCallback | None] = lambda _: None,
) -> list[SuiteRow]:
    """Measure every model on every protocol, model by model.

    Raise InputError, DataError or ModelError as ``whyface evaluate`` does.

    Parameters
    ----------
    directory
        Folder of models that do not come with whyface.
    threads, providers
        As for :func:`whyface.xcos.open_model.open_model`.
    progress
        Called with the name of each measurement; returns what is called while its pictures are read.
    """
    rows: list[SuiteRow] = []
    opened: list[OpenedModel] = [
        open_model(name, directory=directory, threads=threads, providers=providers) for name in suite.models
    ]
    for model in opened:
        for entry in suite.protocols:
            name = parse_protocol(entry.protocol)
            if name.kind == "ytf":
                raise InputError("videos are measured with whyface evaluate, not here; take ytf out")
            protocol = open_any_protocol(
                name, entry.data, pairs=entry.pairs, folds=entry.folds, align=entry.align, threads=threads
            )
            with protocol:
                label = f"{model.name} on {protocol.pairs.name}"
                scores = score_pairs(
                    model, protocol.source, protocol.pairs, mirror=suite.mirror, progress=progress(label)
                )
            pairs = protocol.pairs
            for kind, values in scores.items():
                found = fold_accuracy(values, pairs.genuine, pairs.fold, grid=suite.thresholds)
                rows.append(SuiteRow(model.name, kind, pairs.name, len(values), found))
    return rows


def suite_table(rows: Sequence[SuiteRow]) -> str:
    """Return accuracies in percent with their standard errors, a line for each model and kind of score."""
    protocols = list(dict.fromkeys(row.protocol for row in rows))
    lines = list(dict.fromkeys((row.model, row.kind) for row in rows))
    cells = {
        (row.model, row.kind, row.protocol): f"{100 * row.accuracy.mean:.2f} ± {100 * row.accuracy.standard_error:.2f}"
        for row in rows
    }
    table = [["model", "score", *protocols]]
    table += [[model, kind, *(cells.get((model, kind, name), "-") for name in protocols)] for model, kind in lines]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )


def suite_document(suite: Suite, rows: Sequence[SuiteRow]) -> dict[str, Any]:
    """Return the results as plain JSON values."""
    results = [
        {
            "model": row.model,
            "score": row.kind,
            "protocol": row.protocol,
            "pairs": row.pairs,
            "accuracy": row.accuracy.mean,
            "standard_error": row.accuracy.standard_error,
            "threshold": float(np.mean(row.accuracy.thresholds)),
        }
        for row in rows
    ]
    return {"mirror": suite.mirror, "thresholds": suite.thresholds, "results": results}


def _checked(document: Any, keys: Mapping[str, type], where: str) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise InputError(f"{where}: must hold keys and values; see whyface test --print-config")
    for key, value in document.items():
        if key not in keys:
            close = difflib.get_close_matches(str(key), keys, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise InputError(f"{where}: unknown key {key!r}; {hint}known: {', '.join(keys)}")
        if not isinstance(value, keys[key]) or (keys[key] is int and isinstance(value, bool)):
            raise InputError(f"{where}: {key} must be of type {keys[key].__name__}, got {value!r}")
    return document
