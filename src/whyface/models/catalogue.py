"""The catalogue of models: those known by name, and your own in folders.

Your own folder holds the model's files and ``model.json``, which has the zoo's format with one entry: files with
SHA-256, grid tensor, preprocessing, thresholds. Everything that works with a known model works with such a folder.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from whyface.errors import ModelError, reason
from whyface.files.guarded import read_json
from whyface.files.integrity import sha256_of, unreadable, write_atomic
from whyface.models.entry import FIELDS, FORMAT, Kind, ModelEntry, parse_entries
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import RAW, Preprocessing
from whyface.onnx_runtime import CPU

DEFAULT_MODEL: Final = "xcos-large"
"""The model used by default."""

FAST_MODEL: Final = "xcos-mobilefacenet"
"""The fast model, whose attention looks at both faces at once, as in the paper."""

DESCRIPTION: Final = "model.json"
"""Name of the description in a model's folder."""

NOT_STATED: Final = "not stated"


def known_models(path: Path | str | None = None) -> list[ModelEntry]:
    """Return all models, in the order of the zoo's file.

    Parameters
    ----------
    path
        A zoo file to use instead of the package's own.

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
        No model has that name; the message lists all and suggests the closest.
    """
    entries = _entries(path)
    if name not in entries:
        raise _unknown(name, list(entries))
    return entries[name]


def find_entry(model: Path | str) -> ModelEntry | None:
    """Return the entry of a model: a known one, or your own.

    Parameters
    ----------
    model
        A known model's name; or the path of a folder with ``model.json``, of that file, or of an ONNX file that it
        names. A bare name means a known model, unless a folder of that name has a description.

    Returns
    -------
    The entry; None for an ONNX file that no description names and that has none next to it: a plain network.

    Raises
    ------
    ModelError
        The model is unknown, a folder has no description, or a description cannot be used.
    """
    text, path = str(model), Path(model)
    try:
        path.exists()
    except OSError as error:
        raise ModelError(f"{path}: cannot be used as a path ({error.strerror}); give a model's name or path") from error
    bare = "/" not in text and "\\" not in text and path.suffix not in {".onnx", ".json"}
    if path.is_dir() and (not bare or (path / DESCRIPTION).is_file()):
        return read_entry(path)
    if path.name == DESCRIPTION:
        return read_entry(path.parent)
    if path.suffix != ".onnx":
        return model_entry(text)
    if (path.parent / DESCRIPTION).is_file():
        entry = read_entry(path.parent)
        if path.name in {record.file_name for record in entry.files.values()}:
            return entry
    beside = sidecar_path(path)
    return replace(_read_description(beside), folder=path.parent, sidecar=beside) if beside.is_file() else None


def open_embedder(
    model: str | ModelEntry,
    *,
    role: str = "onnx",
    directory: Path | str | None = None,
    threads: int | None = None,
    providers: Sequence[str] = CPU,
    alone: bool = False,
) -> OnnxEmbedder:
    """Open a model's network, with its grid if it has one.

    Parameters
    ----------
    model
        A known model's name, or any model's entry.
    role
        Role of the file.
    directory
        Folder of models that are not part of whyface.
    threads
        Threads of ONNX Runtime; None leaves it to ONNX Runtime.
    providers
        Execution providers of ONNX Runtime, in order of preference.
    alone
        No other network runs in this process; see :class:`~whyface.models.onnx_embedder.OnnxEmbedder`.

    Raises
    ------
    ModelError
        The model is unknown or its file is missing (see :meth:`whyface.models.entry.ModelEntry.locate`) or unreadable.
    ModelIntegrityError
        The file differs from the one on record.
    """
    entry = model_entry(model) if isinstance(model, str) else model
    return OnnxEmbedder(
        entry.locate(role, directory=directory),
        preprocessing=entry.preprocessing,
        grid=entry.grid.tensor if entry.grid else None,
        output=entry.output,
        providers=providers,
        sha256=entry.files[role].sha256,
        threads=threads,
        name=entry.name,
        alone=alone,
    )


def read_entry(folder: Path | str) -> ModelEntry:
    """Read the description in a folder with your own model.

    Raises
    ------
    ModelError
        The description is missing or malformed, or does not describe exactly one model.
    """
    path = Path(folder) / DESCRIPTION
    if not path.exists():
        raise ModelError(f"{folder}: no model here, {DESCRIPTION} is missing; whyface export writes one")
    return replace(_read_description(path), folder=Path(folder))


def _read_description(path: Path) -> ModelEntry:
    try:
        document = read_json(path)
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); export the model or measure it again") from error
    entries = list(parse_entries(document, str(path)).values())
    if len(entries) != 1:
        raise ModelError(f"{path}: must describe one model, but describes {len(entries)}")
    return entries[0]


def sidecar_path(network: Path | str) -> Path:
    """Return where thresholds of a plain ONNX file are kept: next to it, with ``.json`` behind its name."""
    return Path(network).with_name(f"{Path(network).name}.json")


def write_entry(
    folder: Path | str,
    files: Mapping[str, Path],
    *,
    name: str,
    kind: Kind,
    embedding_size: int,
    grid: tuple[str, tuple[int, int, int]] | None,
    weighed: bool = False,
    preprocessing: Preprocessing = RAW,
    summary: str = "A model of one's own.",
    licence: str = NOT_STATED,
    training_data: str = NOT_STATED,
    source: str = NOT_STATED,
    default_attention: str | None = None,
    results: Mapping[str, Any] | None = None,
) -> ModelEntry:
    """Describe the files of a folder; ``model.json`` is written last, so that it never names missing files.

    Parameters
    ----------
    folder
        Folder of the files and the description.
    files
        Role (``"onnx"``, ``"pair"``, ``"safetensors"``) -> path in that folder.
    name, kind, embedding_size, preprocessing, summary, licence, training_data, source, results
        See :class:`~whyface.models.entry.ModelEntry`.
    grid
        Name and shape (C, H, W) of the grid tensor, or None.
    weighed
        Whether the grid carries each face's own weights; see :class:`~whyface.models.entry.GridEntry`.
    default_attention
        The attention used by default; if not given, ``"l"`` with a pair graph or a weighed grid, else ``"u"``;
        ``"cosine"`` without a grid.

    Raises
    ------
    ModelError
        A file is missing, or the description would be malformed.
    OutputError
        The description cannot be written.
    """
    path = Path(folder) / DESCRIPTION
    values: dict[str, Any] = {
        "name": name,
        "summary": summary,
        "kind": kind,
        "files": {
            role: {"file_name": file.name, "sha256": sha256_of(file), "bytes": file.stat().st_size}
            for role, file in files.items()
        },
        "embedding_size": embedding_size,
        "grid": None
        if grid is None
        else {"tensor": grid[0], "shape": list(grid[1])} | ({"weighed": True} if weighed else {}),
        "preprocessing": preprocessing.to_dict(),
        "licence": licence,
        "training_data": training_data,
        "source": source,
        "shipped": False,
        "thresholds": {},
        "default_attention": default_attention
        or ("cosine" if kind == "cosine" else "l" if weighed or "pair" in files else "u"),
        "results": dict(results or {}),
        "confidence": {},
    }
    document = json.loads(json.dumps({"format": FORMAT, "models": [values]}))
    entry = parse_entries(document, str(path))[name]
    write_document(path, document)
    return replace(entry, folder=Path(folder))


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
        Fields of :class:`~whyface.models.entry.ModelEntry` as they are in the JSON (plain dicts and
        lists); each replaces the whole field.

    Raises
    ------
    ModelError
        The model or a field is unknown, or the result would be malformed; the file is then left as it was.
    OutputError
        The file cannot be written.
    """
    document = read_document(path)
    names = list(parse_entries(document, str(path)))
    if name not in names:
        raise _unknown(name, names)
    model = document["models"][names.index(name)]
    model.update(changes)
    # Through JSON and back: what is checked is what a reader will see (tuples become lists).
    try:
        document = json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path}: the change to {name!r} does not fit into JSON: {error}") from error
    entry = _with_folders(parse_entries(document, str(path)))[changes.get("name", name)]
    write_document(path, document)
    return entry


def _entries(path: Path | str | None) -> dict[str, ModelEntry]:
    path = zoo_path() if path is None else path
    return _with_folders(parse_entries(read_document(path), str(path)))


def _with_folders(entries: Mapping[str, ModelEntry]) -> dict[str, ModelEntry]:
    own = shipped_models()
    return {name: replace(entry, folder=own) if entry.shipped else entry for name, entry in entries.items()}


def write_document(path: Path | str, document: Any) -> None:
    """Write a list of models; keys in the order of an entry's fields."""
    models = [{key: values[key] for key in FIELDS if key in values} for values in document["models"]]
    text = json.dumps({**document, "models": models}, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, f"{text}\n".encode())


def read_document(path: Path | str) -> Any:
    """Read a list of models as JSON values; raise ModelError if it cannot be read."""
    try:
        return read_json(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot read the list of models ({reason(error)})") from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); correct the file") from error


def _unknown(name: str, names: list[str]) -> ModelError:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ModelError(f"unknown model {name!r}; {hint}known: {', '.join(names)}")
