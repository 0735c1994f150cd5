"""Thresholds measured for one's own model, kept in the file that describes it or in one next to the network."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from whyface.errors import ModelError
from whyface.faces.face import FACE_SIZE
from whyface.files.guarded import parse_json
from whyface.models.catalogue import (
    DESCRIPTION,
    NOT_STATED,
    find_entry,
    read_document,
    sidecar_path,
    update_entry,
    write_document,
)
from whyface.models.embedder import Embedder
from whyface.models.entry import FORMAT, parse_entries
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.operating_point import OperatingPoint


def record_thresholds(model: Path | str, embedder: Embedder, points: Mapping[str, Sequence[OperatingPoint]]) -> Path:
    """Write measured thresholds into the file that describes one of your own models.

    For a folder that is its ``model.json``. A plain ONNX file gets a file next to it, which also keeps its SHA-256,
    preprocessing, output and grid. Thresholds of other attentions stay, unless the network is another one by now.

    Parameters
    ----------
    model
        Path of the folder or the ONNX file.
    embedder
        The network that was measured.
    points
        Attention, or ``"cosine"`` -> operating points.

    Returns
    -------
    The file.

    Raises
    ------
    ModelError
        If it is a known model, whose thresholds are part of the package, or the file would be malformed.
    OutputError
        If the file cannot be written.
    """
    entry = find_entry(model)
    measured = {kind: [point.to_dict() for point in found] for kind, found in points.items()}
    if entry is not None and entry.sidecar is None:
        if entry.folder is None or entry.shipped:
            raise ModelError(f"{model}: thresholds of a known model are part of the package; --record is for your own")
        before = {kind: [point.to_dict() for point in found] for kind, found in entry.thresholds.items()}
        path = entry.folder / DESCRIPTION
        update_entry(path, entry.name, thresholds={**before, **measured})
        return path
    if not isinstance(embedder, OnnxEmbedder):
        raise ModelError(f"{model}: thresholds are recorded for ONNX networks only")
    values = _describe_plain(embedder)
    path = sidecar_path(embedder.path)
    if entry is not None:
        same = read_document(path)["models"][0]
        if all(same.get(key) == values[key] for key in ("files", "preprocessing", "output")):
            values["grid"] = values["grid"] or same["grid"]
            measured = {**same["thresholds"], **measured}
    document = parse_json(json.dumps({"format": FORMAT, "models": [{**values, "thresholds": measured}]}))
    parse_entries(document, str(path))
    write_document(path, document)
    return path


def _describe_plain(embedder: OnnxEmbedder) -> dict[str, Any]:
    blank = np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8)
    size = embedder.embed(blank).shape[1]
    grid = None
    if embedder.grid_tensor is not None:
        grid = {"tensor": embedder.grid_tensor, "shape": list(embedder.grid(blank).shape[1:])}
    # The description stands next to the file and finds it by its place; the name on record is for reading only.
    file_name = re.sub(r"[^A-Za-z0-9._-]", "_", embedder.path.name).lstrip("._-") or "network.onnx"
    file = {"file_name": file_name, "sha256": embedder.sha256, "bytes": embedder.path.stat().st_size}
    return {
        "name": embedder.name,
        "summary": "A network of one's own.",
        "kind": "cosine",
        "files": {"onnx": file},
        "embedding_size": size,
        "grid": grid,
        "preprocessing": embedder.preprocessing.to_dict(),
        "licence": NOT_STATED,
        "training_data": NOT_STATED,
        "source": NOT_STATED,
        "shipped": False,
        "default_attention": "cosine",
        "results": {},
        "output": embedder.output_tensor,
    }
