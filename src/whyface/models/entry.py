"""The entry of a model: its files, thresholds and results, and the check of the JSON that it is read from.

The list of known models and the ``model.json`` of your own folder have the same format and the same type of entry.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from whyface.errors import InputError, ModelError
from whyface.files.integrity import check_sha256
from whyface.models.calibration import Calibration, calibration_from_dict
from whyface.models.operating_point import DEFAULT_FMR, OperatingPoint
from whyface.models.preprocessing import Preprocessing, preprocessing_from_dict

Kind = Literal["xcos", "cosine"]
MODELS_VARIABLE: Final = "WHYFACE_MODELS"
"""The environment variable that names a folder with model files."""

FORMAT: Final = 1
ATTENTIONS: Final[Mapping[str, tuple[str, ...]]] = {"xcos": ("u", "p", "l"), "cosine": ("cosine", "u")}
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
    """The tensor that holds the last spatial map, and its shape (C, H, W).

    ``weighed`` says that the length of a place's feature is the weight that the face gives to the place. The model's
    learned attention is the product of both faces' weights (see :mod:`whyface.xcos.grid`), and needs no
    pair graph.
    """

    tensor: str
    shape: tuple[int, int, int]
    weighed: bool = False


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
        The tensor of the last spatial map, or None.
    preprocessing
        Preprocessing of RGB values in 0..255.
    licence, training_data, source
        Licence, training data and source.
    shipped
        Whether its files are part of the package.
    thresholds
        Attention (``"u"``, ``"p"``, ``"l"``; ``"cosine"``) -> operating points.
    default_attention
        The attention used unless another is asked for.
    results
        Measured figures, not interpreted.
    confidence
        Attention -> calibration of its scores to probabilities; may be left out.
    output
        The network's output with the embedding; None for the first.
    sidecar
        The file next to a plain network that this was read from; None for other models.
    folder
        Folder of its files: the package's own for a model that is part of it, the folder with ``model.json``
        for one of your own. None for a known model that is not part of the package.
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
    output: str | None = None
    folder: Path | None = None
    sidecar: Path | None = None

    def locate(self, role: str, *, directory: Path | str | None = None) -> Path:
        """Return the path of one of the files, after a check of its SHA-256. Nothing is ever downloaded.

        Your own model has its files in its folder. Those of a known model are looked for, in this order, among the
        package's own files if they are part of it, in `directory`, and in the folder that the environment variable
        ``WHYFACE_MODELS`` names.

        Parameters
        ----------
        role
            Role of the file, a key of ``files``.
        directory
            A folder with model files.

        Raises
        ------
        ModelError
            The model has no such file, or it is in none of these folders; the message says where to get it and where to
            put it.
        ModelIntegrityError
            The file's SHA-256 differs.
        """
        if role not in self.files:
            raise ModelError(
                f"model {self.name!r} has no file for {role!r}; it has {', '.join(self.files) or 'none yet'}"
            )
        file = self.files[role]
        if self.folder is not None and not self.shipped:
            check_sha256(self.folder / file.file_name, file.sha256)
            return self.folder / file.file_name
        places = [Path(place).expanduser() for place in (directory, os.environ.get(MODELS_VARIABLE)) if place]
        if self.folder is not None:
            places.insert(0, self.folder)
        for place in places:
            if (place / file.file_name).is_file():
                check_sha256(place / file.file_name, file.sha256)
                return place / file.file_name
        if self.shipped:
            raise ModelError(
                f"{file.file_name}: model {self.name!r} is part of the package, but this file is missing; "
                "install whyface again"
            )
        where = f"{places[0]}" if places else f"a folder and set {MODELS_VARIABLE} to it"
        raise ModelError(
            f"{file.file_name}: the file of model {self.name!r} is not part of the package; "
            f"get it from {self.source} and put it into {where}"
        )

    @property
    def torch_sha256(self) -> str | None:
        """SHA-256 of the model as a torch network; None if it has none.

        A weighed grid has the tensors of its trunk in the graph, only the others in ``safetensors``, so it is that of
        the lines ``onnx SHA-256`` and ``safetensors SHA-256``; of any other model, that of ``safetensors``.
        """
        if "safetensors" not in self.files:
            return None
        if self.grid is None or not self.grid.weighed:
            return self.files["safetensors"].sha256
        lines = (f"{role} {self.files[role].sha256}\n" for role in ("onnx", "safetensors"))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def measured(self, kind: str) -> dict[float, OperatingPoint]:
        """Return the operating points by target false match rate; those without one, such as the EER, are left out.

        Parameters
        ----------
        kind
            A key of ``thresholds``.
        """
        return {point.target: point for point in self.thresholds.get(kind, ()) if point.target is not None}

    def operating_point(self, kind: str | None = None, *, fmr: float = DEFAULT_FMR) -> OperatingPoint:
        """Return the operating point measured for a false match rate.

        Parameters
        ----------
        kind
            A key of ``thresholds``; the model's default attention unless given.
        fmr
            The rate.

        Raises
        ------
        ModelError
            There is none for this rate; the message lists the rates that were measured.
        """
        kind = kind or self.default_attention
        found = self.measured(kind)
        for rate, point in found.items():
            if math.isclose(rate, fmr):
                return point
        known = ", ".join(f"{rate:g}" for rate in sorted(found)) or "none"
        raise ModelError(
            f"model {self.name!r} has no threshold for FMR {fmr:g} with {kind!r}; measured: {known}; "
            "give one of these or a threshold as a number"
        )


FIELDS: Final = tuple(name for name in ModelEntry.__dataclass_fields__ if name not in ("folder", "sidecar"))
"""The keys of a model in the JSON, in the order in which they are written."""

OPTIONAL: Final = ("confidence", "output")
"""Those that may be left out."""


def parse_entries(document: Any, where: str) -> dict[str, ModelEntry]:
    """Turn the JSON of the zoo or of a ``model.json`` into entries.

    Parameters
    ----------
    document
        The result of :func:`json.load`.
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
        name=texts["name"],
        summary=texts["summary"],
        licence=texts["licence"],
        training_data=texts["training_data"],
        source=texts["source"],
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
        output=None if values.get("output") is None else _text(values["output"], f"{where}.output"),
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
    fits = isinstance(values, dict) and set(values) - {"weighed"} == {"tensor", "shape"}
    _need(fits, where, "must be null or have the keys tensor and shape")
    weighed = values.get("weighed", False)
    _need(isinstance(weighed, bool), f"{where}.weighed", "must be true or false")
    shape = values["shape"]
    _need(isinstance(shape, list) and len(shape) == 3, f"{where}.shape", "must be [channels, height, width]")
    channels, height, width = (_integer(size, f"{where}.shape", 1) for size in shape)
    return GridEntry(_text(values["tensor"], f"{where}.tensor"), (channels, height, width), weighed)


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
    points = tuple(OperatingPoint.from_dict(value, f"{where}[{index}]") for index, value in enumerate(values))
    _need(len({point.name for point in points}) == len(points), where, "has two operating points of one name")
    return points


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


def _need(fits: bool, where: str, what: str) -> None:
    if not fits:
        raise ModelError(f"{where} {what}; correct the file")
