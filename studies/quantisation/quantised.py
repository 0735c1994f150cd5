"""A shipped model in 8-bit integers (needs the package onnx, part of the extra ``torch``).

Static quantisation by ONNX Runtime: weights as 8-bit integers per channel, activations by their minimum and maximum on
some faces. The first convolutions, whose inputs are pixels, and the head, which makes the grid, are not quantised:
quantising them loses most of the accuracy and saves little time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file

from whyface.errors import InputError
from whyface.models.catalogue import FAST_MODEL, model_entry, write_entry
from whyface.models.entry import ModelEntry
from whyface.onnx_runtime import onnx_runtime
from whyface.xcos.model import CORRELATED_TENSOR

quantization: Any = onnx_runtime("quantization")

FIRST: Final = 2
"""Convolutions at the beginning that are not quantised."""

HEAD: Final = 3
"""Convolutions at the end that are not quantised."""


class Faces(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Faces for the calibration, a few at a time."""

    def __init__(self, name: str, faces: NDArray[np.uint8], at_once: int = 8) -> None:
        self._name = name
        self._parts = iter([faces[i : i + at_once].astype(np.float32) for i in range(0, len(faces), at_once)])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next faces, or None at the end."""
        part = next(self._parts, None)
        return None if part is None else {self._name: part}


def quantise(source: Path, target: Path, faces: NDArray[np.uint8], *, first: int = FIRST, head: int = HEAD) -> None:
    """Write the int8 version of a network.

    Parameters
    ----------
    source, target
        ONNX files.
    faces
        (N, 3, 112, 112) uint8.
    first, head
        Number of convolutions at either end that are not quantised.

    Raises
    ------
    InputError
        If there are no faces.
    """
    if not len(faces):
        raise InputError("quantisation needs faces to calibrate with")
    network = unfold(onnx.load(source))
    convolutions = [node.name for node in network.graph.node if node.op_type == "Conv"]
    kept = convolutions[:first] + convolutions[len(convolutions) - head :]
    quantization.quantize_static(
        network,
        target,
        Faces(network.graph.input[0].name, faces),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=["Conv", "Add", "Clip"],
        calibrate_method=quantization.CalibrationMethod.MinMax,
        nodes_to_exclude=kept,
    )


def unfold(network: onnx.ModelProto) -> onnx.ModelProto:
    """Turn weights that are stored as integers with a scale into floating-point numbers, in place."""
    graph = network.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored]:
        values, scale = (numpy_helper.to_array(stored[name]).astype(np.float32) for name in node.input[:2])
        if scale.ndim:
            axis = next((one.i for one in node.attribute if one.name == "axis"), 1)
            scale = scale.reshape([-1 if one == axis % values.ndim else 1 for one in range(values.ndim)])
        graph.initializer.append(numpy_helper.from_array(values * scale, node.output[0]))
        graph.node.remove(node)
        for name in node.input:
            graph.initializer.remove(stored[name])
    return network


def write_variant(folder: Path, network: Path, name: str = FAST_MODEL) -> ModelEntry:
    """Write a variant of a shipped model's network into a model folder, with the original attention.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    entry = model_entry(name)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"onnx": folder / "model.onnx", "safetensors": folder / "attention.safetensors"}
    paths["onnx"].write_bytes(network.read_bytes())
    if "pair" in entry.files:
        paths["pair"] = folder / "pair.onnx"
        paths["pair"].write_bytes(entry.locate("pair").read_bytes())
    tensors = load_file(entry.locate("safetensors"))
    # The tensors of backbone and head are no longer those of this network.
    kept = {key: value for key, value in tensors.items() if "attention" in key or key == CORRELATED_TENSOR}
    save_file(kept, paths["safetensors"])
    assert entry.grid is not None
    return write_entry(
        folder,
        paths,
        name=folder.name,
        kind="xcos",
        embedding_size=entry.embedding_size,
        grid=(entry.grid.tensor, entry.grid.shape),
        weighed=entry.grid.weighed,
        preprocessing=entry.preprocessing,
        summary=f"{name} in another number format.",
        licence=entry.licence,
        training_data=entry.training_data,
        source=entry.source,
    )
