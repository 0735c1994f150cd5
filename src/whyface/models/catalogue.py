"""The known models: what they are, where their files are, which thresholds were measured."""

from __future__ import annotations

import difflib
import json
import os
from importlib import resources
from pathlib import Path
from typing import Any, Final

from whyface.errors import ModelError
from whyface.files.integrity import check_sha256, write_atomic
from whyface.models.catalogue_schema import FIELDS, ModelEntry, OperatingPoint, parse_zoo
from whyface.models.onnx_embedder import OnnxEmbedder

DEFAULT_MODEL: Final = "xcos-mobilefacenet"
"""The model used where none is named."""

MODELS_VARIABLE: Final = "WHYFACE_MODELS"
"""The environment variable that names a folder with model files."""


def known_models(path: Path | str | None = None) -> list[ModelEntry]:
    """Return all models, in the order of the zoo's file.

    Parameters
    ----------
    path
        Another zoo file than the package's own.

    Raises
    ------
    ModelError
        The file is missing or malformed.
    """
    return list(_entries(path).values())


def model_entry(name: str, path: Path | str | None = None) -> ModelEntry:
    """Return one model by its name.

    Raises
    ------
    ModelError
        There is none of that name; the message lists all and points to the closest.
    """
    entries = _entries(path)
    if name not in entries:
        raise _unknown(name, list(entries))
    return entries[name]


def model_file(entry: ModelEntry, role: str, *, directory: Path | str | None = None) -> Path:
    """Find one file of a model and check its SHA-256. Nothing is ever downloaded.

    Places, in this order: the package's own files where the model is shipped, `directory`, the folder that
    the environment variable ``WHYFACE_MODELS`` names.

    Parameters
    ----------
    entry
        The model.
    role
        Which of its files, a key of ``entry.files``.
    directory
        A folder with model files.

    Raises
    ------
    ModelError
        The model has no such file, or it lies in none of the places; the message says where to put it and
        where it comes from.
    ModelIntegrityError
        The file is there but another one.
    """
    if role not in entry.files:
        roles = ", ".join(entry.files) or "none yet"
        raise ModelError(f"model {entry.name!r} has no file for {role!r}; it has {roles}")
    file = entry.files[role]
    folders = [shipped_models()] if entry.shipped else []
    if directory is not None:
        folders.append(Path(directory))
    if named := os.environ.get(MODELS_VARIABLE, ""):
        folders.append(Path(named).expanduser())
    for folder in folders:
        candidate = folder / file.file_name
        if candidate.is_file():
            check_sha256(candidate, file.sha256)
            return candidate
    if entry.shipped:
        raise ModelError(
            f"{file.file_name}: model {entry.name!r} is part of the package, but this file is missing; "
            "install whyface again"
        )
    where = f"{folders[0]}" if folders else f"a folder and set {MODELS_VARIABLE} to it"
    raise ModelError(
        f"{file.file_name}: the file of model {entry.name!r} is not part of the package; "
        f"get it from {entry.source} and put it into {where}"
    )


def open_embedder(
    name: str, *, role: str = "onnx", directory: Path | str | None = None, threads: int | None = None
) -> OnnxEmbedder:
    """Open a known model as an embedder, with its grid where it has one.

    Raises
    ------
    ModelError
        The model is unknown or its file is missing (see :func:`model_file`) or unreadable.
    ModelIntegrityError
        The file is another one than on record.
    """
    entry = model_entry(name)
    return OnnxEmbedder(
        model_file(entry, role, directory=directory),
        preprocessing=entry.preprocessing,
        grid=entry.grid.tensor if entry.grid else None,
        sha256=entry.files[role].sha256,
        threads=threads,
        name=entry.name,
    )


def operating_point(entry: ModelEntry, attention: str | None = None, *, point: str = "FMR 1e-3") -> OperatingPoint:
    """Return a measured operating point of a model.

    Parameters
    ----------
    entry
        The model.
    attention
        A key of ``entry.thresholds``; None takes the model's default.
    point
        The operating point's name.

    Raises
    ------
    ModelError
        None of that name was measured; the message lists those that were.
    """
    attention = attention or entry.default_attention
    points = entry.thresholds.get(attention, ())
    for candidate in points:
        if candidate["name"] == point:
            return candidate
    measured = ", ".join(repr(candidate["name"]) for candidate in points) or "none"
    raise ModelError(
        f"model {entry.name!r} has no threshold {point!r} for {attention!r}; measured: {measured}; "
        "give the threshold as a number"
    )


def shipped_models() -> Path:
    """Return the folder of the model files that are part of the package."""
    return Path(str(resources.files("whyface"))) / "assets" / "models"


def zoo_path() -> Path:
    """Return the package's own zoo file."""
    return shipped_models() / "zoo.json"


def update_entry(path: Path | str, name: str, **changes: Any) -> ModelEntry:
    """Replace fields of one model in a zoo file; the rest stays, and the layout is always the same.

    Parameters
    ----------
    path
        The zoo file.
    name
        The model.
    **changes
        Fields of :class:`~whyface.models.catalogue_schema.ModelEntry` as they stand in the JSON (plain dicts and
        lists); each replaces the whole field.

    Raises
    ------
    ModelError
        The model or a field is unknown, or the result would be malformed; the file is then left as it was.
    OutputError
        The file cannot be written.
    """
    document = _read(path)
    names = list(parse_zoo(document, str(path)))
    if name not in names:
        raise _unknown(name, names)
    model = document["models"][names.index(name)]
    model.update(changes)
    # Through JSON and back: what is checked is what a reader will see (tuples become lists).
    try:
        document = json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: the change to {name!r} does not fit into JSON: {error}") from error
    entry = parse_zoo(document, str(path))[changes.get("name", name)]
    document["models"] = [{key: values[key] for key in FIELDS if key in values} for values in document["models"]]
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, f"{text}\n".encode())
    return entry


def _entries(path: Path | str | None) -> dict[str, ModelEntry]:
    path = zoo_path() if path is None else path
    return parse_zoo(_read(path), str(path))


def _read(path: Path | str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot read the list of models ({error.strerror or error})") from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); correct the file") from error


def _unknown(name: str, names: list[str]) -> ModelError:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ModelError(f"unknown model {name!r}; {hint}known: {', '.join(names)}")
