"""A fitted plug-in as a model folder, the frozen network and the grid head in one graph (needs the extra ``train``).

An ONNX network keeps its own nodes; the head's are put behind its spatial map. A torch network is exported as a whole.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whyface.errors import ModelError, OutputError
from whyface.models.atomic_write import write_atomic
from whyface.models.embedder import Embedder
from whyface.models.integrity import read_model
from whyface.models.layer_split import LayerTrunk
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.preprocessing import RAW
from whyface.models.torch_embedder import TorchEmbedder
from whyface.models.weights import save_safetensors
from whyface.train.export_trained import check_xcos, real_faces
from whyface.xcos.export import OPSET, clear_notes, export_faces, export_pair, to_onnx
from whyface.xcos.learned import XcosNetwork
from whyface.xcos.model import CORRELATED_TENSOR
from whyface.xcos.model_folder import ModelFolder, write_model_folder

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
) -> ModelFolder:
    """Write the files and check them; see :meth:`whyface.train.plug_in.PlugIn.save`.

    Parameters
    ----------
    network
        The frozen network: an OnnxEmbedder or a TorchEmbedder.
    xcos
        Head and metric, whose backbone is empty.
    correlated
        Raw P, (H, W).
    folder, name, licence, training_data
        Where to, and the description.
    about
        JSON values that go into the safetensors file's metadata.

    Raises
    ------
    InputError, ModelError, OutputError
        As there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used ({error.strerror}); choose another folder") from error
    files = {"onnx": folder / f"{name}.onnx", "safetensors": folder / f"{name}.safetensors"}
    # The description names what is there and comes last; an old one must not speak of new files.
    (folder / "model.json").unlink(missing_ok=True)
    faces = real_faces()
    if not isinstance(network, OnnxEmbedder | TorchEmbedder):
        raise ModelError(f"model {network.name!r}: only ONNX and torch networks can be written as ONNX")
    maps = network.grid(faces.numpy())
    with torch.no_grad():
        grids = xcos.head(torch.from_numpy(maps)).numpy()
    if isinstance(network, OnnxEmbedder):
        write_atomic(files["onnx"], _behind(network, xcos.head, maps.shape[1:]))
    else:
        export_faces(_Trunk(network), xcos.head, files["onnx"], output=_GRID, fold=False)
    channels, height, width = (int(size) for size in grids.shape[1:])
    files["pair"] = folder / f"{name}-pair.onnx"
    export_pair(xcos, files["pair"], channels=channels, cells=(height, width))
    state = {key: value for key, value in xcos.state_dict().items() if not key.endswith("num_batches_tracked")}
    state[CORRELATED_TENSOR] = torch.from_numpy(correlated)
    save_safetensors(state, files["safetensors"], {"format": "pt", "model": name, "plug_in": json.dumps(dict(about))})
    written = write_model_folder(
        folder,
        files,
        name=name,
        kind="xcos",
        embedding_size=channels * height * width,
        grid=(_GRID, (channels, height, width)),
        preprocessing=network.preprocessing if isinstance(network, OnnxEmbedder) else RAW,
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
    """Put the head's graph behind the network's spatial map, and leave out what came there before."""
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
        # Take out what came behind the map.
        before = Extractor(before).extract_model([one for one in inputs if one not in constants], [tensor])
        before.ir_version = after.ir_version = max(before.ir_version, after.ir_version)
        after = compose.add_prefix(after, _PREFIX, rename_inputs=False, rename_outputs=False)
        merged = compose.merge_models(before, after, io_map=[(tensor, "map")])
    except Exception as error:  # onnx's errors share no base class
        reason = " ".join(str(error).split())[:200]
        raise OutputError(
            f"{network.path}: the head cannot be put behind this network ({reason}); convert it to opset {OPSET} first"
        ) from error
    clear_notes(merged)
    whole: bytes = merged.SerializeToString()
    return whole
