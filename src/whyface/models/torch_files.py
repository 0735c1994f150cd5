"""Torch networks from files of tensors, by the name of their backbone or what the file says (extra ``torch``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from torch import nn

from whyface.errors import InputError, ModelError, reason
from whyface.files.guarded import parse_json, read_tensors
from whyface.files.integrity import sha256_of
from whyface.models.backbones import DEPTHS, IResNet, LargeMobileFaceNet, MobileFaceNet
from whyface.models.catalogue import DESCRIPTION, model_entry, read_entry
from whyface.models.embedder import Embedder
from whyface.models.entry import ModelEntry
from whyface.models.heads import AffineHead, FcHead, GdcHead, GridHead, PlacedGridHead
from whyface.models.preprocessing import ARCFACE, RAW, Preprocessing
from whyface.models.torch_embedder import TORCH_MODELS, TorchEmbedder, open_torch_embedder
from whyface.models.weights import load_safetensors, tensor_names

Trunk = MobileFaceNet | LargeMobileFaceNet | IResNet

_PREFIXES: Final = (("", ""), ("backbone.trunk.", "head."), ("backbone.", "head."))
"""Prefixes of trunk and head: a flat file, and those of :func:`whyface.train.train`."""


def open_torch_file(path: Path | str, backbone: str) -> TorchEmbedder:
    """Open a network with its fully connected head, so that gradient methods can explain it.

    Raise ModelError if the backbone is unknown, or the file is missing or not one of that network.

    Parameters
    ----------
    path
        A ``.safetensors`` file: the tensors of trunk and head side by side, or those of a baseline that ``whyface
        train`` trained.
    backbone
        ``"mobilefacenet"``, ``"mobilefacenet-large"``, or ``"iresnet18"`` to ``"iresnet152"``, with ``"-se"`` for
        squeeze and excitation.
    """
    path = Path(path)
    trunk, head, preprocessing = _network(backbone)
    names = tensor_names(path)
    if preprocessing is ARCFACE:
        preprocessing = _trained_on(path)
    first = next(iter(trunk.state_dict()))
    prefixes = next((both for both in _PREFIXES if f"{both[0]}{first}" in names), None)
    if prefixes is None:
        raise ModelError(f"{path}: lacks {first!r}, so it is no {backbone}; name another backbone")
    is_flat = not prefixes[0]
    # In a flat file each part finds the other's tensors, too.
    reports = [
        load_safetensors(part, path, prefix=prefix, strict=not is_flat)
        for part, prefix in zip((trunk, head), prefixes, strict=True)
    ]
    if missing := [name for report in reports for name in report.missing]:
        raise ModelError(f"{path}: lacks {len(missing)} tensors of {backbone} with its head, e.g. {missing[0]}")
    return TorchEmbedder(trunk, head, name=path.stem, sha256=sha256_of(path), preprocessing=preprocessing)


def _network(backbone: str, *, insightface: bool = False) -> tuple[Trunk, nn.Module, Preprocessing]:
    if backbone == "mobilefacenet":
        return MobileFaceNet(), GdcHead(), RAW
    if backbone == "mobilefacenet-large":
        large = LargeMobileFaceNet()
        return large, AffineHead(large.out_channels), RAW
    depth = backbone.removeprefix("iresnet").removesuffix("-se")
    if not backbone.startswith("iresnet") or depth not in map(str, DEPTHS):
        known = ", ".join(f"iresnet{one}" for one in DEPTHS)
        raise ModelError(
            f"unknown backbone {backbone!r}; known: mobilefacenet, mobilefacenet-large, {known}, "
            "each iresnet also with -se"
        )
    return IResNet(int(depth), se=backbone.endswith("-se"), insightface=insightface), FcHead(), ARCFACE


def torch_entry(embedder: Embedder) -> ModelEntry | None:
    """Return the entry of the model whose torch network gives an ONNX network's gradients; None if there is none.

    It is that of a known model, or of the model folder, with a network that ``whyface train`` or ``whyface import``
    wrote, that the file is in. A user's file may have a known name, so the SHA-256 decides. Raise ModelError if a
    description next to the file cannot be read.
    """
    entry: ModelEntry | None = None
    path: Path | None = getattr(embedder, "path", None)
    if embedder.name in TORCH_MODELS:
        entry = model_entry(embedder.name)
    elif path is not None and (path.parent / DESCRIPTION).is_file():
        entry = read_entry(path.parent)
        if "safetensors" not in entry.files or not _description(entry.locate("safetensors")):
            return None
    same = entry is not None and "onnx" in entry.files and entry.files["onnx"].sha256 == embedder.sha256
    return entry if same else None


def open_torch_entry(entry: ModelEntry, *, directory: Path | str | None = None) -> TorchEmbedder:
    """Open the torch network of a known model, or of a model folder (:func:`torch_entry`).

    Raise ModelError if it has none, or its file is missing or unreadable, and ModelIntegrityError if the file differs
    from the one on record.
    """
    if entry.folder is None or entry.shipped:
        return open_torch_embedder(entry.name, directory=directory)
    return open_trained_file(entry.locate("safetensors"), name=entry.name)


def open_trained_file(path: Path, *, name: str | None = None) -> TorchEmbedder:
    """Open a network that ``whyface train`` or ``whyface import`` wrote; the grid of xCos is its last map.

    Raise ModelError if the file does not say what network it is, or lacks some of its tensors.
    """
    about = _description(path)
    try:
        backbone = str(about["backbone"])
        prefix = "backbone.trunk." if backbone.startswith("iresnet") else "backbone."
        trunk, head, preprocessing = _network(
            f"{backbone}-se" if about.get("se") else backbone, insightface=about.get("units") == "insightface"
        )
        if about["head"] == "placed":
            head = PlacedGridHead()
        elif about["head"] == "grid":
            head = GridHead(trunk.out_channels, norm=about.get("grid_norm", True), activation=about["activation"])
    except (KeyError, TypeError, InputError) as error:
        raise ModelError(f"{path}: does not say what network it is ({error}); train or import it again") from error
    load_safetensors(trunk, path, prefix=prefix)
    load_safetensors(head, path, prefix="head.")
    parts = (trunk, head) if about["head"] == "fc" else (nn.Sequential(trunk, head), nn.Flatten())
    preprocessing = _trained_on(path) if preprocessing is ARCFACE else preprocessing
    return TorchEmbedder(*parts, name=name or path.stem, sha256=sha256_of(path), preprocessing=preprocessing)


def _description(path: Path) -> Mapping[str, Any]:
    """Return what ``whyface train`` wrote of its network; nothing if another program wrote the file."""
    try:
        found = parse_json(read_tensors(path, ())[1].get("whyface", "{}"))
        network = found.get("network") if isinstance(found, Mapping) else None
        return network if isinstance(network, Mapping) else {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: its description cannot be read ({reason(error)}); train it again") from error


def _trained_on(path: Path) -> Preprocessing:
    """Return the pixels of an iresnet: those that its training used if ``whyface train`` wrote the file."""
    divisor = _description(path).get("pixels", ARCFACE.std[0])
    try:
        return replace(ARCFACE, std=(float(divisor),) * 3)
    except (TypeError, ValueError, InputError) as error:
        raise ModelError(f"{path}: its description cannot be read ({error}); train it again") from error
