"""Published checkpoints of other projects as networks of ours, by the names of their tensors (extra ``torch``).

Nothing of the other project's code is needed or run: a checkpoint is read with PyTorch's restricted unpickler, which
makes tensors and plain containers only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor, nn

from whyface.errors import InputError, ModelError, reason
from whyface.files.guarded import check_plain
from whyface.files.integrity import read_model
from whyface.models.weights import stored_tensors
from whyface.train.config import NetworkConfig
from whyface.train.networks import Network, build_network, read_safetensors

ForeignKind = Literal["xcos", "ir", "insightface", "mobilefacenet", "mobilefacenet-large"]
KINDS: Final[tuple[ForeignKind, ...]] = get_args(ForeignKind)
ChannelOrder = Literal["rgb", "bgr"]

LARGEST: Final = 2 * 2**30
"""Bytes of a checkpoint; the published ones have half a gigabyte."""

_UNITS: Final = {"2-2-2-2": 18, "3-4-6-3": 34, "3-4-14-3": 50, "3-13-30-3": 100, "3-8-36-3": 152}
_COUNTER: Final = "num_batches_tracked"
State = dict[str, Tensor]


def import_network(
    path: Path, kind: ForeignKind, *, order: ChannelOrder | None = None
) -> tuple[Network, NetworkConfig]:
    """Read a published checkpoint as a network of ours, in eval mode, and the configuration that builds it.

    Raise InputError if the kind is unknown, and ModelError if the file cannot be read or its tensors are not those of
    the kind.

    Parameters
    ----------
    path
        ``.pth`` or ``.pt``, ``.safetensors``, or ``.onnx`` for mobilefacenet-large.
    kind
        ``"xcos"``: a checkpoint of the xCos authors, IR or IR-SE backbone, 1 x 1 head and attention. ``"ir"``: an IR or
        IR-SE network with its FC head as in InsightFace_Pytorch, also the teacher or the baseline in a checkpoint of
        the xCos authors. ``"insightface"``: an iresnet of arcface_torch. ``"mobilefacenet"``: foamliu's, with
        FC head. ``"mobilefacenet-large"``: the ONNX file of human_face_feat_mbf.
    order
        Channels that the network was trained on; by default those of the kind: the authors of xCos measured on BGR.
    """
    if kind not in _READERS:
        raise InputError(f"unknown kind of network {kind!r}; known: {', '.join(KINDS)}")
    config, state = _READERS[kind](_tensors(path, kind), path)
    network = build_network(config).eval()
    own = network.state_dict()
    missing = [name for name in own if name not in state and not name.endswith(_COUNTER)]
    odd = [name for name in state if name not in own]
    if missing or odd:
        what, names = ("lacks", missing) if missing else ("has unknown", odd)
        raise ModelError(f"{path}: {what} {len(names)} tensors for {kind!r}, e.g. {min(names)}; is it another kind?")
    for name, tensor in state.items():
        if own[name].shape != tensor.shape:
            raise ModelError(f"{path}: {name} has the shape {tuple(tensor.shape)}, not {tuple(own[name].shape)}")
    network.load_state_dict({name: tensor.float() for name, tensor in state.items()}, strict=False)
    if (order or ("bgr" if kind == "xcos" else "rgb")) == "bgr":
        first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
        with torch.no_grad():
            # The same function of RGB pixels: the first convolution's weights swap places instead of the channels.
            first.weight.copy_(first.weight.flip(1))
    return network, config


def _tensors(path: Path, kind: ForeignKind) -> State:
    if kind == "mobilefacenet-large":
        return _graph_tensors(path)
    if path.suffix == ".onnx":
        raise ModelError(f"{path}: an ONNX network is used as it is (--model); import reads the checkpoint behind it")
    if path.suffix == ".safetensors":
        return dict(read_safetensors(path))
    return read_checkpoint(path)


def read_checkpoint(path: Path) -> State:
    """Read the tensors of a PyTorch checkpoint: of its ``state_dict`` or ``model`` if it has one, else its own.

    Raise ModelError if it is not a checkpoint, or holds more than tensors and plain values.
    """
    try:
        check_plain(path)
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({reason(error)})") from error
    if size > LARGEST:
        raise ModelError(f"{path}: larger than {LARGEST // 2**30} GiB; give a checkpoint of one network")
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler and the archive raise anything
        detail = " ".join(str(error).split())[:120]
        raise ModelError(f"{path}: not a checkpoint of tensors and plain values ({detail})") from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise ModelError(f"{path}: holds a {type(found).__name__} instead of named tensors")
    state = {str(name).removeprefix("module."): value for name, value in found.items() if isinstance(value, Tensor)}
    if not state:
        raise ModelError(f"{path}: holds no named tensors")
    return state


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, str], rules: tuple[tuple[str, str], ...] = ()) -> State:
    """Rename by exact prefixes ``a.b.`` and by patterns; tensors without a rule are left out."""
    found: State = {}
    for name, tensor in state.items():
        for old, new in names.items():
            if name.startswith(f"{old}."):
                found[f"{new}.{name.removeprefix(f'{old}.')}"] = tensor
        for pattern, replacement in rules:
            if re.fullmatch(pattern, name):
                found[re.sub(pattern, replacement, name)] = tensor
    return found


def _depth(counts: list[int], path: Path) -> int:
    key = "-".join(map(str, counts))
    if key not in _UNITS:
        raise ModelError(f"{path}: units {key or 'of no stage'} are those of no known depth; is it another kind?")
    return _UNITS[key]


def _ir_trunk(state: Mapping[str, Tensor], path: Path) -> tuple[int, bool, State]:
    """Return depth, squeeze and excitation, and the trunk's tensors by our names."""
    widths: list[int] = []
    while f"body.{len(widths)}.res_layer.1.weight" in state:
        widths.append(state[f"body.{len(widths)}.res_layer.1.weight"].shape[0])
    stages = [widths.count(width) for width in (64, 128, 256, 512)]
    depth = _depth(stages if sum(stages) == len(widths) else [], path)
    start, rules = 0, []
    for stage, count in enumerate(stages):
        for unit in range(count):
            old, new = rf"body\.{start + unit}", f"backbone.trunk.stages.{stage}.{unit}"
            rules += [
                (rf"{old}\.res_layer\.([0-4]\..+)", rf"{new}.residual.\1"),
                (rf"{old}\.res_layer\.5\.fc1\.weight", rf"{new}.residual.5.squeeze.weight"),
                (rf"{old}\.res_layer\.5\.fc2\.weight", rf"{new}.residual.5.excite.weight"),
                (rf"{old}\.shortcut_layer\.(.+)", rf"{new}.shortcut.\1"),
            ]
        start += count
    se = "body.0.res_layer.5.fc1.weight" in state
    return depth, se, _renamed(state, {"input_layer": "backbone.trunk.stem"}, tuple(rules))


def _under(state: Mapping[str, Tensor], prefix: str) -> State:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _network(**settings: object) -> NetworkConfig:
    return NetworkConfig.model_validate(settings)


def _xcos(state: State, path: Path) -> tuple[NetworkConfig, State]:
    inner = _under(state, "backbone.")
    depth, se, found = _ir_trunk(inner, path)
    found |= _renamed(inner, {"conv1x1.0": "head.conv", "conv1x1.1": "head.bn", "conv1x1.2": "head.act"})
    attention = {"embedding_net": "embed", "attention.0": "pair_conv", "attention.1": "pair_act.0"}
    attention |= {"attention.2": "pair_act.1", "attention.3": "out.0", "attention.4": "out.1", "attention.5": "out.2"}
    found |= _renamed(state, {f"attention.{old}": f"xcos.attention.{new}" for old, new in attention.items()})
    return _network(backbone=f"iresnet{depth}", se=se, head="grid", activation="prelu"), found


def _ir(state: State, path: Path) -> tuple[NetworkConfig, State]:
    for prefix in ("backbone_target.", "backbone.", ""):
        inner = _under(state, prefix)
        if "output_layer.3.weight" in inner:
            break
    depth, se, found = _ir_trunk(inner, path)
    found |= _renamed(inner, {"output_layer.0": "head.bn1", "output_layer.3": "head.fc", "output_layer.4": "head.bn2"})
    return _network(backbone=f"iresnet{depth}", se=se, head="fc"), found


def _insightface(state: State, path: Path) -> tuple[NetworkConfig, State]:
    counts = [len({name.split(".")[1] for name in state if name.startswith(f"layer{stage}.")}) for stage in range(1, 5)]
    depth = _depth(counts, path)
    parts = {"bn1": 0, "conv1": 1, "bn2": 2, "prelu": 3, "conv2": 4, "bn3": 5}
    rules = [
        (rf"layer{stage}\.(\d+)\.{old}\.(.+)", rf"backbone.trunk.stages.{stage - 1}.\1.residual.{new}.\2")
        for stage in range(1, 5)
        for old, new in parts.items()
    ]
    rules += [
        (rf"layer{stage}\.(\d+)\.downsample\.(.+)", rf"backbone.trunk.stages.{stage - 1}.\1.shortcut.\2")
        for stage in range(1, 5)
    ]
    trunk = {"conv1": "backbone.trunk.stem.0", "bn1": "backbone.trunk.stem.1", "prelu": "backbone.trunk.stem.2"}
    names = trunk | {"bn2": "head.bn1", "fc": "head.fc", "features": "head.bn2"}
    found = _renamed(state, names, tuple(rules))
    return _network(backbone=f"iresnet{depth}", units="insightface", head="fc"), found


def _mobilefacenet(state: State, path: Path) -> tuple[NetworkConfig, State]:
    head = ("gdconv.", "conv3.", "bn.")
    found = {f"head.{name}" if name.startswith(head) else f"backbone.{name}": value for name, value in state.items()}
    return _network(backbone="mobilefacenet", head="fc"), found


def _large(state: State, path: Path) -> tuple[NetworkConfig, State]:
    config = _network(backbone="mobilefacenet-large", head="fc")
    own = build_network(config).state_dict()
    if len(own) != len(state):
        raise ModelError(f"{path}: {len(state)} tensors in its layers, not the {len(own)} of human_face_feat_mbf")
    # The layers of the graph are in the order in which they run, as are ours.
    pairs = zip(own.items(), state.values(), strict=True)
    if any(value.numel() != tensor.numel() for (_, value), tensor in pairs):
        raise ModelError(f"{path}: the layers have other sizes than those of human_face_feat_mbf")
    return config, {name: t.reshape(value.shape) for (name, value), t in zip(own.items(), state.values(), strict=True)}


def _graph_tensors(path: Path) -> State:
    """Read the tensors of an ONNX graph's layers, in the order in which the layers run."""
    import onnx  # noqa: PLC0415 - slow to import

    try:
        model = onnx.load_model_from_string(read_model(path))
        named = stored_tensors(model)
    except Exception as error:  # onnx's errors share no base class
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path}: not a usable ONNX file ({' '.join(str(error).split())[:120]})") from error
    flattened = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Flatten"}
    inputs = [
        flattened.get(name, name)
        for node in model.graph.node
        if node.op_type in {"Conv", "PRelu", "Gemm"}
        for name in node.input[1:]
    ]
    return {name: torch.from_numpy(named[name].copy()) for name in inputs if name in named}


_READERS: Final[dict[str, Callable[[State, Path], tuple[NetworkConfig, State]]]] = {
    "xcos": _xcos,
    "ir": _ir,
    "insightface": _insightface,
    "mobilefacenet": _mobilefacenet,
    "mobilefacenet-large": _large,
}
