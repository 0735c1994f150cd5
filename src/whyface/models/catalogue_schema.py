"""What the zoo knows about a model, and the check of the JSON that it is read from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from whyface.errors import InputError, ModelError
from whyface.models.calibration import Calibration, calibration_from_dict
from whyface.models.preprocessing import Preprocessing, preprocessing_from_dict

Kind = Literal["xcos", "cosine"]
OperatingPoint = Mapping[str, Any]
"""Keys ``name``, ``threshold``, ``fmr``, ``fnmr``, ``fmr_interval``, ``fnmr_interval``, ``genuine_pairs``,
``impostor_pairs``, ``dataset``, ``note``; rates in [0, 1], intervals ``[low, high]``."""

FORMAT: Final = 1
ATTENTIONS: Final[Mapping[str, tuple[str, ...]]] = {"xcos": ("u", "p", "l"), "cosine": ("cosine",)}
"""For each kind of model, the keys that its thresholds may have."""

# Windows and Unix agree on these; no separators, so that a file cannot be looked for outside its folder.
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_T = TypeVar("_T")


@dataclass(frozen=True)
class FileEntry:
    """One file of a model: its plain name, its SHA-256 and its size."""

    file_name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class GridEntry:
    """The tensor that holds the last spatial map, and its shape (C, H, W)."""

    tensor: str
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class ModelEntry:
    """One model.

    Attributes
    ----------
    name, summary
        Its name on the command line, and what it is in one line.
    kind
        ``"xcos"`` (grid and attention) or ``"cosine"`` (one embedding per face).
    files
        Role (``"onnx"``, ``"safetensors"``, ...) -> file.
    embedding_size
        Numbers per embedding.
    grid
        The last spatial map, or None.
    preprocessing
        What the network wants done to RGB values in 0..255.
    licence, training_data, source
        Under which terms it may be used, what it saw, where it comes from.
    shipped
        Whether its files are part of the package.
    thresholds
        Attention (``"u"``, ``"p"``, ``"l"``; ``"cosine"``) -> operating points.
    default_attention
        The attention used where none is asked for.
    results
        Measured figures, as they are.
    confidence
        Attention -> how its scores become probabilities; may be left out.
    """

    name: str
    summary: str
    kind: Kind
    files: Mapping[str, FileEntry]
    embedding_size: int
    grid: GridEntry | None
    preprocessing: Preprocessing
    licence: str
    training_data: str
    source: str
    shipped: bool
    thresholds: Mapping[str, tuple[OperatingPoint, ...]]
    default_attention: str
    results: Mapping[str, Any]
    confidence: Mapping[str, Calibration] = field(default_factory=dict)


FIELDS: Final = tuple(ModelEntry.__dataclass_fields__)
"""The keys of a model in the JSON, in the order in which they are written."""

OPTIONAL: Final = ("confidence",)
"""Those that may be left out."""


def parse_zoo(document: Any, where: str) -> dict[str, ModelEntry]:
    """Turn the zoo's JSON into entries.

    Parameters
    ----------
    document
        What :func:`json.load` gave.
    where
        The file, for the messages.

    Returns
    -------
    dict
        Name -> entry, in the order of the file.

    Raises
    ------
    ModelError
        A key is missing, unknown or has a value that does not fit; the message says which.
    """
    _need(isinstance(document, dict), where, "must be an object with the keys format and models")
    _need(document.get("format") == FORMAT, f"{where}: format", f"must be {FORMAT}")
    models = document.get("models")
    _need(isinstance(models, list), f"{where}: models", "must be a list")
    entries: dict[str, ModelEntry] = {}
    for index, values in enumerate(models):
        entry = _parse_entry(values, f"{where}: models[{index}]")
        _need(entry.name not in entries, f"{where}: models[{index}].name", f"repeats {entry.name!r}")
        entries[entry.name] = entry
    return entries


def _parse_entry(values: Any, where: str) -> ModelEntry:
    _need(isinstance(values, dict), where, "must be an object")
    if isinstance(values.get("name"), str):
        where = f"{where} ({values['name']})"
    missing = [key for key in FIELDS if key not in values and key not in OPTIONAL]
    _need(not missing, where, f"misses {', '.join(missing)}")
    unknown = sorted(set(values) - set(FIELDS))
    _need(not unknown, where, f"has the unknown {', '.join(unknown)}")
    texts = {
        key: _text(values[key], f"{where}.{key}") for key in ("name", "summary", "licence", "training_data", "source")
    }
    kind = values["kind"]
    _need(
        isinstance(kind, str) and kind in ATTENTIONS,
        f"{where}.kind",
        f"must be one of {', '.join(ATTENTIONS)}",
    )
    attentions = ATTENTIONS[kind]
    _need(
        values["default_attention"] in attentions,
        f"{where}.default_attention",
        f"must be one of {', '.join(attentions)}",
    )
    _need(isinstance(values["shipped"], bool), f"{where}.shipped", "must be true or false")
    _need(isinstance(values["results"], dict), f"{where}.results", "must be an object")
    thresholds = _mapping(values["thresholds"], _parse_points, f"{where}.thresholds")
    confidence = _mapping(values.get("confidence", {}), _parse_calibration, f"{where}.confidence")
    for key, found in (("thresholds", thresholds), ("confidence", confidence)):
        strange = sorted(set(found) - set(attentions))
        _need(not strange, f"{where}.{key}", f"has {', '.join(strange)}, but may have {', '.join(attentions)}")
    return ModelEntry(
        **texts,
        kind=kind,
        files=_mapping(values["files"], _parse_file, f"{where}.files"),
        embedding_size=_integer(values["embedding_size"], f"{where}.embedding_size", 1),
        grid=None if values["grid"] is None else _parse_grid(values["grid"], f"{where}.grid"),
        preprocessing=_parse_preprocessing(values["preprocessing"], f"{where}.preprocessing"),
        shipped=values["shipped"],
        thresholds=thresholds,
        default_attention=values["default_attention"],
        results=values["results"],
        confidence=confidence,
    )


def _parse_file(values: Any, where: str) -> FileEntry:
    _need(
        isinstance(values, dict) and set(values) == {"file_name", "sha256", "bytes"},
        where,
        "must have the keys file_name, sha256 and bytes",
    )
    name, digest = values["file_name"], values["sha256"]
    _need(
        isinstance(name, str) and _FILE_NAME.fullmatch(name) is not None,
        f"{where}.file_name",
        "must be a plain file name without folders",
    )
    _need(
        isinstance(digest, str) and _SHA256.fullmatch(digest) is not None,
        f"{where}.sha256",
        "must be 64 lower-case hexadecimal digits",
    )
    return FileEntry(name, digest, _integer(values["bytes"], f"{where}.bytes", 1))


def _parse_grid(values: Any, where: str) -> GridEntry:
    fits = isinstance(values, dict) and set(values) == {"tensor", "shape"}
    _need(fits, where, "must be null or have the keys tensor and shape")
    shape = values["shape"]
    _need(isinstance(shape, list) and len(shape) == 3, f"{where}.shape", "must be [channels, height, width]")
    channels, height, width = (_integer(size, f"{where}.shape", 1) for size in shape)
    return GridEntry(_text(values["tensor"], f"{where}.tensor"), (channels, height, width))


def _parse_preprocessing(values: Any, where: str) -> Preprocessing:
    _need(isinstance(values, dict), where, "must be an object")
    try:
        return preprocessing_from_dict(values)
    except InputError as error:
        raise ModelError(f"{where}: {error}") from error


def _parse_calibration(values: Any, where: str) -> Calibration:
    try:
        return calibration_from_dict(values)
    except ModelError as error:
        raise ModelError(f"{where}: {error}") from error


def _parse_points(values: Any, where: str) -> tuple[OperatingPoint, ...]:
    _need(isinstance(values, list), where, "must be a list of operating points")
    points = tuple(_parse_point(value, f"{where}[{index}]") for index, value in enumerate(values))
    names = [point["name"] for point in points]
    _need(len(set(names)) == len(names), where, "has two operating points of one name")
    return points


def _parse_point(values: Any, where: str) -> OperatingPoint:
    _need(isinstance(values, dict), where, "must be an object")
    required = ("name", "threshold", "fmr", "fnmr", "dataset")
    missing = [key for key in required if key not in values]
    _need(not missing, where, f"misses {', '.join(missing)}")
    _text(values["name"], f"{where}.name")
    _text(values["dataset"], f"{where}.dataset")
    _need(_is_number(values["threshold"]), f"{where}.threshold", "must be a finite number")
    for key in ("fmr", "fnmr"):
        _need(_is_rate(values[key]), f"{where}.{key}", "must be a rate in 0..1")
        interval = values.get(f"{key}_interval")
        fits = interval is None or (
            isinstance(interval, Sequence)
            and len(interval) == 2
            and all(map(_is_rate, interval))
            and interval[0] <= interval[1]
        )
        _need(fits, f"{where}.{key}_interval", "must be [low, high], rates in 0..1")
    for key in ("genuine_pairs", "impostor_pairs"):
        if key in values:
            _integer(values[key], f"{where}.{key}", 0)
    return dict(values)


def _mapping(values: Any, parse: Callable[[Any, str], _T], where: str) -> dict[str, _T]:
    _need(isinstance(values, dict), where, "must be an object")
    return {key: parse(value, f"{where}.{key}") for key, value in values.items()}


def _text(value: Any, where: str) -> str:
    _need(isinstance(value, str) and bool(value.strip()), where, "must be a text that is not empty")
    return str(value)


def _integer(value: Any, where: str, least: int) -> int:
    fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
    _need(fits, where, f"must be a whole number of at least {least}")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_rate(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _need(fits: bool, where: str, what: str) -> None:
    if not fits:
        raise ModelError(f"{where} {what}; correct the file")
