"""Trained networks and fitted plug-ins as model folders of ONNX graphs (needs the extra ``torch``)."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whyface.demo import demo_photo
from whyface.errors import ModelError, OutputError
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.files.integrity import make_folder, read_model, write_atomic
from whyface.models.catalogue import DESCRIPTION, open_embedder, write_entry
from whyface.models.embedder import Embedder, require_grid
from whyface.models.entry import ModelEntry
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import RAW
from whyface.models.torch_embedder import TorchEmbedder, as_torch
from whyface.models.torch_layers import LayerTrunk
from whyface.models.weights import save_safetensors
from whyface.train.networks import Network
from whyface.train.run_files import load_trained, trained_correlation
from whyface.xcos.export import OPSET, clear_notes, export_faces, export_pair, to_onnx
from whyface.xcos.learned import Xcos, XcosNetwork
from whyface.xcos.model import CORRELATED_TENSOR, open_xcos

FACE_TOLERANCE: Final = 1e-4
"""Maximum difference of a unit vector's values between torch and ONNX."""
PAIR_TOLERANCE: Final = 1e-5
"""Maximum difference of S, W and score from the same grids."""

_PHOTOS: Final = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")


@dataclass(frozen=True)
class ExportReport:
    """What was written, and the largest differences from torch on real faces; ``pair`` is None for a baseline."""

    entry: ModelEntry
    faces: float
    pair: float | None


def export_trained(
    source: Path | str, folder: Path, *, name: str, licence: str = "not stated", training_data: str = "not stated"
) -> ExportReport:
    """Write a trained network as ONNX, one graph per face and for xCos one per pair, and check both against torch.

    Parameters
    ----------
    source
        A run's folder, or its ``network.safetensors``.
    folder
        Folder to write to; created if it does not exist.
    name
        The model's name.
    licence, training_data
        Stored in the description.

    Raises
    ------
    ModelError
        If the source is not a trained network, or the graphs differ from it.
    OutputError
        If a file cannot be written.
    """
    network, description = load_trained(source)
    return export_network(
        network,
        folder,
        name=name,
        licence=licence,
        training_data=training_data,
        metadata={"whyface": json.dumps(description)},
        correlated=trained_correlation(source),
    )


def export_network(
    network: Network,
    folder: Path,
    *,
    name: str,
    licence: str,
    training_data: str,
    metadata: Mapping[str, str],
    correlated: Tensor | None = None,
    source: str = "whyface train",
) -> ExportReport:
    """Write a network in memory as :func:`export_trained` does, with the metadata of its tensors' file."""
    make_folder(folder)
    files = {"onnx": folder / f"{name}.onnx", "safetensors": folder / f"{name}.safetensors"}
    # The description is written last, since it names the files; an old one must not describe new files.
    (folder / DESCRIPTION).unlink(missing_ok=True)
    faces = real_faces()
    with torch.no_grad():
        features = network.features(faces)
    export_faces(network.backbone, network.head, files["onnx"], output=network.output)
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    if correlated is not None:
        state[CORRELATED_TENSOR] = correlated
    save_safetensors(state, files["safetensors"], {**metadata, "format": "pt", "model": name})
    grid: tuple[str, tuple[int, int, int]] | None = None
    if network.xcos is not None:
        channels, height, width = (int(size) for size in features.shape[1:])
        grid = (network.output, (channels, height, width))
        files["pair"] = folder / f"{name}-pair.onnx"
        export_pair(network.xcos.attention, files["pair"], channels=channels, cells=(height, width))
    written = write_entry(
        folder,
        files,
        name=name,
        kind=network.kind,
        embedding_size=int(features[0].numel()),
        grid=grid,
        licence=licence,
        training_data=training_data,
        source=source,
    )
    return _checked(written, network, faces, features)


def check_xcos(entry: ModelEntry, xcos: Xcos, faces: Tensor, expected: NDArray[np.float32]) -> tuple[float, float]:
    """Compare an exported xCos model with torch on N >= 3 faces.

    Return the largest difference of the grids, with cells scaled to length 1, and that of S, W and score. Raise
    ModelError if one is larger than :data:`FACE_TOLERANCE` or :data:`PAIR_TOLERANCE`.

    Parameters
    ----------
    xcos
        The metric in torch, in eval mode.
    expected
        Their grids from torch, (N, C, H, W).
    """
    model = open_xcos(entry)
    grid = model.grid(faces.numpy())
    unit = [value / np.linalg.norm(value, axis=1, keepdims=True).clip(1e-12) for value in (grid, expected)]
    difference = _close(unit[0], unit[1], FACE_TOLERANCE, "grid")
    first, second = np.array([0, 0, 1]), np.array([1, 2, 2])
    maps = model.compare_grids(grid[first], grid[second], "l")
    with torch.no_grad():
        output = xcos(torch.from_numpy(grid[first]), torch.from_numpy(grid[second]))
    names = ("similarity", "attention", "score")
    return difference, max(
        _close(getattr(maps, name), getattr(output, name).numpy(), PAIR_TOLERANCE, name) for name in names
    )


def real_faces() -> Tensor:
    """Align the demo's three photographs: (3, 3, 112, 112) float32 in 0..255."""
    faces = [load_face(demo_photo(name)) for name in _PHOTOS]
    return torch.from_numpy(np.ascontiguousarray(stack_faces(faces))).float()


def _checked(entry: ModelEntry, network: Network, faces: Tensor, features: Tensor) -> ExportReport:
    if network.xcos is not None:
        return ExportReport(entry, *check_xcos(entry, network.xcos, faces, features.numpy()))
    found = open_embedder(entry).embed(faces.numpy())
    return ExportReport(entry, _close(found, features.numpy(), FACE_TOLERANCE, "embedding"), None)


def _close(found: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float, what: str) -> float:
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:
        raise ModelError(
            f"the exported graph's {what} differs from torch by {difference:.2g} (at most {tolerance:g} is "
            "allowed); please report this with the network's configuration"
        )
    return difference


_GRID = "grid"
_PREFIX = "xcos/"


def write_plug_in(
    network: Embedder,
    xcos: XcosNetwork,
    correlated: NDArray[np.float32],
    folder: Path,
    *,
    name: str,
    licence: str,
    training_data: str,
    about: Mapping[str, Any],
) -> ModelEntry:
    """Write the files and check them; see :meth:`whyface.train.plug_in.PlugIn.save`.

    Raise InputError, ModelError or OutputError as :meth:`whyface.train.plug_in.PlugIn.save` does.

    Parameters
    ----------
    network
        The frozen network: an OnnxEmbedder or a TorchEmbedder.
    xcos
        Head and metric, without a backbone.
    correlated
        Raw P, (H, W).
    about
        JSON values that go into the safetensors file's metadata.
    """
    make_folder(folder)
    files = {"onnx": folder / f"{name}.onnx", "safetensors": folder / f"{name}.safetensors"}
    # The description is written last, since it names the files; an old one must not describe new files.
    (folder / DESCRIPTION).unlink(missing_ok=True)
    faces = real_faces()
    maps = require_grid(network).grid(faces.numpy())
    with torch.no_grad():
        grids = xcos.head(torch.from_numpy(maps)).numpy()
    preprocessing = RAW
    torch_network = as_torch(network)
    if torch_network is not None:
        export_faces(_Trunk(torch_network), xcos.head, files["onnx"], output=_GRID, fold=False)
    elif isinstance(network, OnnxEmbedder):
        write_atomic(files["onnx"], _behind(network, xcos.head, maps.shape[1:]))
        preprocessing = network.preprocessing
    else:
        raise ModelError(f"model {network.name!r}: only ONNX and torch networks can be written as ONNX")
    channels, height, width = (int(size) for size in grids.shape[1:])
    files["pair"] = folder / f"{name}-pair.onnx"
    export_pair(xcos.xcos.attention, files["pair"], channels=channels, cells=(height, width))
    state = {key: value for key, value in xcos.state_dict().items() if not key.endswith("num_batches_tracked")}
    state[CORRELATED_TENSOR] = torch.from_numpy(correlated)
    save_safetensors(state, files["safetensors"], {"format": "pt", "model": name, "plug_in": json.dumps(dict(about))})
    written = write_entry(
        folder,
        files,
        name=name,
        kind="xcos",
        embedding_size=channels * height * width,
        grid=(_GRID, (channels, height, width)),
        preprocessing=preprocessing,
        summary=f"xCos on the frozen network {network.name}.",
        licence=licence,
        training_data=training_data,
        source=f"plug-in on {network.name}, SHA-256 {network.sha256}",
    )
    check_xcos(written, xcos.xcos, faces, grids)
    return written


class _Trunk(nn.Module):
    """A torch embedder's trunk with its preprocessing: faces in 0..255 -> map."""

    def __init__(self, embedder: TorchEmbedder) -> None:
        super().__init__()
        self._embedder = copy.copy(embedder)
        if isinstance(embedder.trunk, LayerTrunk):
            self._embedder.trunk = copy.deepcopy(embedder.trunk)
            self._embedder.trunk.through = True
        self.trunk = self._embedder.trunk

    def forward(self, faces: Tensor) -> Tensor:
        return self._embedder.map_of(faces)


def _behind(network: OnnxEmbedder, head: nn.Module, shape: tuple[int, ...]) -> bytes:
    """Attach the head's graph to the network's spatial map, in place of the original head."""
    import onnx  # noqa: PLC0415 - slow to import
    from onnx import compose, version_converter  # noqa: PLC0415
    from onnx.utils import Extractor  # noqa: PLC0415

    data = read_model(network.path)
    tensor = network.grid_tensor
    assert tensor is not None
    before = onnx.load_model_from_string(data)
    after = to_onnx(head, {"map": torch.randn(2, *shape)}, [_GRID])
    del before.graph.output[:]
    sizes: list[str | int | None] = ["n", *shape]
    before.graph.output.append(onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, sizes))
    version = max((opset.version for opset in before.opset_import if opset.domain in {"", "ai.onnx"}), default=OPSET)
    try:
        if version < OPSET:
            before = version_converter.convert_version(before, OPSET)
        elif version > OPSET:
            after = version_converter.convert_version(after, version)
        inputs = [value.name for value in before.graph.input]
        constants = {constant.name for constant in before.graph.initializer}
        # Remove what came after the map.
        before = Extractor(before).extract_model([one for one in inputs if one not in constants], [tensor])
        before.ir_version = after.ir_version = max(before.ir_version, after.ir_version)
        after = compose.add_prefix(after, _PREFIX, rename_inputs=False, rename_outputs=False)
        merged = compose.merge_models(before, after, io_map=[(tensor, "map")])
    except Exception as error:  # onnx's errors share no base class
        reason = " ".join(str(error).split())[:200]
        raise OutputError(
            f"{network.path}: the head cannot be attached to this network ({reason}); convert it to opset {OPSET} first"
        ) from error
    clear_notes(merged)
    whole: bytes = merged.SerializeToString()
    return whole
