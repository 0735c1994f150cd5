"""Write a trunk and a head that returns weighed grids as small model files (needs the extra ``torch``).

The face graph holds most weights as int8 or float16: those of the trunk exactly, where they are whole numbers times a
power of two, those of the head rounded. Whatever has no name of its own in the graph is in a small safetensors file
beside it, so that both together are the torch network again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from whyface.errors import ModelError, OutputError
from whyface.faces.face import FACE_SIZE
from whyface.files.integrity import write_atomic
from whyface.models.catalogue import write_entry
from whyface.models.entry import ModelEntry
from whyface.models.placed_fc import WeighedHead, WeighedNetwork
from whyface.models.weights import save_safetensors, stored_tensors
from whyface.train.export import FACE_TOLERANCE, real_faces
from whyface.xcos.export import to_onnx
from whyface.xcos.model import CORRELATED_TENSOR, open_xcos

PLACED: Final = "head.head.place"
"""The head's large tensor (H * W, C, D), which is rounded."""

_GRID: Final = "grid"


@torch.no_grad()
def round_placed(head: WeighedHead) -> float:
    """Round the head's large tensor to int8 times a scale for each place, in place.

    Returns
    -------
    The length of the error as a share of the tensor's length.
    """
    place = head.head.get_parameter("place")
    scale = place.abs().amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(place.dtype).tiny) / 127
    rounded = (place / scale).round().clamp(-127, 127) * scale
    error = float((rounded - place).norm() / place.norm())
    place.copy_(rounded)
    return error


@torch.no_grad()
def round_float16(network: WeighedNetwork) -> float:
    """Round all tensors of two or more dimensions to float16, in place.

    Returns
    -------
    The largest error of a tensor, as a share of its length.
    """
    largest = 0.0
    for tensor in network.parameters():
        if tensor.ndim >= 2:
            rounded = tensor.half().float()
            largest = max(largest, float((rounded - tensor).norm() / tensor.norm().clamp_min(1e-12)))
            tensor.copy_(rounded)
    return largest


def write_weighed(
    network: WeighedNetwork,
    folder: Path,
    *,
    name: str,
    correlated: NDArray[np.float32] | None = None,
    licence: str,
    training_data: str,
    source: str,
    summary: str = "xCos with attention that factorises.",
    about: Mapping[str, Any] | None = None,
) -> ModelEntry:
    """Write a model folder and check it against torch on real faces.

    Parameters
    ----------
    network
        In eval mode; round its head (:func:`round_placed`) or all of it (:func:`round_float16`) first, so that the
        files hold exactly its numbers.
    folder
        Folder to write to; created if it does not exist.
    name
        The model's name.
    correlated
        Raw P, (H, W), for correlated attention; or None.
    licence, training_data, source, summary
        Texts of the description.
    about
        JSON values for the safetensors file's metadata.

    Raises
    ------
    ModelError
        If the graph differs from torch.
    OutputError
        If the network cannot be exported, or a file cannot be written.
    """
    from onnx_rewriting import (  # noqa: PLC0415 - imports onnx, which is slow
        replace_prelu,
        store_exact_int8,
        store_float16,
        store_rounded_int8,
    )

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used ({error.strerror}); choose another folder") from error
    files = {"onnx": folder / f"{name}.onnx", "safetensors": folder / f"{name}.safetensors"}
    # The description is written last, since it names the files; an old one must not describe new files.
    (folder / "model.json").unlink(missing_ok=True)
    faces = real_faces()
    network = network.eval()
    with torch.no_grad():
        expected = network(faces).numpy()
    model = to_onnx(network, {"faces": torch.rand(2, 3, FACE_SIZE, FACE_SIZE) * 255}, [_GRID])
    replace_prelu(model)
    store_exact_int8(model)
    if PLACED in stored_tensors(model):
        store_rounded_int8(model, PLACED, axis=0)
    store_float16(model)
    write_atomic(files["onnx"], model.SerializeToString())
    named = stored_tensors(model)
    state = {key: value.contiguous() for key, value in network.state_dict().items() if key not in named}
    if correlated is not None:
        state[CORRELATED_TENSOR] = torch.from_numpy(np.array(correlated, np.float32))
    save_safetensors(
        state, files["safetensors"], {"format": "pt", "model": name, "about": json.dumps(dict(about or {}))}
    )
    channels, height, width = (int(size) for size in expected.shape[1:])
    entry = write_entry(
        folder,
        files,
        name=name,
        kind="xcos",
        embedding_size=channels * height * width,
        grid=(_GRID, (channels, height, width)),
        weighed=True,
        summary=summary,
        licence=licence,
        training_data=training_data,
        source=source,
    )
    found = open_xcos(entry).grid(faces.numpy())
    difference = float(np.abs(found - expected).max())
    if not difference <= FACE_TOLERANCE:
        raise ModelError(f"the exported graph's grid differs from torch by {difference:.2g}; please report this")
    return entry
