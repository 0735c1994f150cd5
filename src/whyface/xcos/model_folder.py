"""A model of one's own on disk: a folder with its ONNX files and ``model.json``, which says what they are.

``model.json`` is the zoo's format with one entry: files with SHA-256, grid tensor, preprocessing, thresholds. So
everything that works with a known model works with such a folder, thresholds measured later included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from whyface.errors import ModelError
from whyface.files.integrity import check_sha256, sha256_of, unreadable, write_atomic
from whyface.models.catalogue_schema import FIELDS, FORMAT, Kind, ModelEntry, parse_zoo
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import RAW, Preprocessing
from whyface.xcos.model import CORRELATED_TENSOR, PairGraph, XcosModel

DESCRIPTION: Final = "model.json"
"""Name of the description in a model's folder."""

NOT_STATED: Final = "not stated"


@dataclass(frozen=True)
class ModelFolder:
    """A folder with a model, and its description.

    Attributes
    ----------
    path
        The folder.
    entry
        What ``model.json`` says.
    """

    path: Path
    entry: ModelEntry

    def file(self, role: str) -> Path:
        """Give the path of one file after checking its SHA-256.

        Raises
        ------
        ModelError
            The model has no such file, or it is missing.
        ModelIntegrityError
            It is another one than on record.
        """
        if role not in self.entry.files:
            roles = ", ".join(self.entry.files) or "none"
            raise ModelError(f"{self.path / DESCRIPTION}: names no file for {role!r}; it has {roles}")
        record = self.entry.files[role]
        check_sha256(self.path / record.file_name, record.sha256)
        return self.path / record.file_name

    def open_embedder(self, *, threads: int | None = None) -> OnnxEmbedder:
        """Open the per-face graph, with its grid where it has one.

        Raises
        ------
        ModelError
            See :meth:`file` and :class:`~whyface.models.onnx_embedder.OnnxEmbedder`.
        """
        return OnnxEmbedder(
            self.file("onnx"),
            preprocessing=self.entry.preprocessing,
            grid=self.entry.grid.tensor if self.entry.grid else None,
            sha256=self.entry.files["onnx"].sha256,
            threads=threads,
            name=self.entry.name,
        )

    def open_xcos(self, *, threads: int | None = None) -> XcosModel:
        """Open the model with all the attention that its files hold.

        Raises
        ------
        ModelError
            It has no grid, or a file is missing or unreadable.
        """
        if self.entry.grid is None:
            raise ModelError(f"{self.path / DESCRIPTION}: the model has no grid, so there is no attention over it")
        files = self.entry.files
        pair = PairGraph(self.file("pair"), sha256=files["pair"].sha256) if "pair" in files else None
        tensors = self.file("safetensors") if "safetensors" in files else None
        correlated = None if tensors is None else _correlated(tensors)
        return XcosModel(self.open_embedder(threads=threads), pair=pair, correlated=correlated, tensors=tensors)


def find_model_folder(path: Path | str) -> ModelFolder | None:
    """Find the model that a path means: its folder, its ``model.json``, or one of the ONNX files in it.

    Returns
    -------
    None where the path is no folder and no description, and no description beside it names it: then it is a plain
    network, or a name.

    Raises
    ------
    ModelError
        A folder without description, or a description that cannot be used.
    """
    path = Path(path)
    if path.is_dir():
        return read_model_folder(path)
    if path.name == DESCRIPTION:
        return read_model_folder(path.parent)
    if path.suffix == ".onnx" and (path.parent / DESCRIPTION).is_file():
        folder = read_model_folder(path.parent)
        if path.name in {record.file_name for record in folder.entry.files.values()}:
            return folder
    return None


def read_model_folder(folder: Path | str) -> ModelFolder:
    """Read a model's description.

    Raises
    ------
    ModelError
        It is missing or malformed, or does not hold exactly one model.
    """
    path = Path(folder) / DESCRIPTION
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: no model here, {DESCRIPTION} is missing; whyface export writes one") from error
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); export the model again") from error
    entries = list(parse_zoo(document, str(path)).values())
    if len(entries) != 1:
        raise ModelError(f"{path}: must describe one model, but describes {len(entries)}")
    return ModelFolder(Path(folder), entries[0])


def open_xcos_files(path: Path | str, *, threads: int | None = None) -> XcosModel:
    """Open an xCos model of one's own by its folder, its ``model.json`` or one of its ONNX files.

    Raises
    ------
    ModelError
        There is no such model, it has no grid, or its files are missing or unreadable.
    ModelIntegrityError
        A file is another one than on record.
    """
    folder = find_model_folder(path)
    if folder is None:
        raise ModelError(f"{path}: no model folder with a {DESCRIPTION}; whyface export writes one")
    return folder.open_xcos(threads=threads)


def write_model_folder(
    folder: Path | str,
    files: Mapping[str, Path],
    *,
    name: str,
    kind: Kind,
    embedding_size: int,
    grid: tuple[str, tuple[int, int, int]] | None,
    preprocessing: Preprocessing = RAW,
    summary: str = "A model of one's own.",
    licence: str = NOT_STATED,
    training_data: str = NOT_STATED,
    source: str = NOT_STATED,
    default_attention: str | None = None,
    results: Mapping[str, Any] | None = None,
) -> ModelFolder:
    """Describe files that lie in a folder; ``model.json`` comes last, so that it never names what is not there.

    Parameters
    ----------
    folder
        Where the files lie and the description goes.
    files
        Role (``"onnx"``, ``"pair"``, ``"safetensors"``) -> path in that folder.
    name, kind, embedding_size, preprocessing, summary, licence, training_data, source, results
        See :class:`~whyface.models.catalogue_schema.ModelEntry`.
    grid
        Name and shape (C, H, W) of the grid tensor, or None.
    default_attention
        Taken where none is asked for; by default ``"l"`` with a pair graph, else ``"u"``; ``"cosine"`` without grid.

    Raises
    ------
    ModelError
        A file is missing, or the description would be malformed.
    OutputError
        It cannot be written.
    """
    folder = Path(folder)
    attention = default_attention or ("cosine" if kind == "cosine" else "l" if "pair" in files else "u")
    values: dict[str, Any] = {
        "name": name,
        "summary": summary,
        "kind": kind,
        "files": {
            role: {"file_name": path.name, "sha256": sha256_of(path), "bytes": path.stat().st_size}
            for role, path in files.items()
        },
        "embedding_size": embedding_size,
        "grid": None if grid is None else {"tensor": grid[0], "shape": list(grid[1])},
        "preprocessing": preprocessing.to_dict(),
        "licence": licence,
        "training_data": training_data,
        "source": source,
        "shipped": False,
        "thresholds": {},
        "default_attention": attention,
        "results": dict(results or {}),
        "confidence": {},
    }
    document = json.loads(json.dumps({"format": FORMAT, "models": [{key: values[key] for key in FIELDS}]}))
    entry = parse_zoo(document, str(folder / DESCRIPTION))[name]
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(folder / DESCRIPTION, f"{text}\n".encode())
    return ModelFolder(folder, entry)


def _correlated(path: Path) -> NDArray[np.float32] | None:
    """Read the raw correlated attention (H, W), if the file holds one."""
    try:
        with safe_open(path, framework="numpy") as tensors:
            if CORRELATED_TENSOR not in tensors.keys():  # noqa: SIM118 - no mapping
                return None
            return np.asarray(tensors.get_tensor(CORRELATED_TENSOR), np.float32)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot read this file ({error}); export the model again") from error
