"""Torch networks from a file of tensors and the name of their backbone (needs the extra ``torch``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from torch import nn

from whyface.errors import InputError, ModelError
from whyface.files.guarded import parse_json, read_tensors
from whyface.files.integrity import sha256_of
from whyface.models.backbones import DEPTHS, IResNet, MobileFaceNet
from whyface.models.heads import FcHead, GdcHead
from whyface.models.preprocessing import ARCFACE, RAW, Preprocessing
from whyface.models.torch_embedder import TorchEmbedder
from whyface.models.weights import load_safetensors, tensor_names

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
        ``"mobilefacenet"``, or ``"iresnet18"`` to ``"iresnet152"``, with ``"-se"`` for squeeze and excitation.
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


def _network(backbone: str) -> tuple[nn.Module, nn.Module, Preprocessing]:
    if backbone == "mobilefacenet":
        return MobileFaceNet(), GdcHead(), RAW
    depth = backbone.removeprefix("iresnet").removesuffix("-se")
    if not backbone.startswith("iresnet") or depth not in map(str, DEPTHS):
        known = ", ".join(f"iresnet{one}" for one in DEPTHS)
        raise ModelError(f"unknown backbone {backbone!r}; known: mobilefacenet, {known}, each iresnet also with -se")
    return IResNet(int(depth), se=backbone.endswith("-se")), FcHead(), ARCFACE


def _trained_on(path: Path) -> Preprocessing:
    """Return the pixels of an iresnet: those that its training used if ``whyface train`` wrote the file."""
    try:
        description = parse_json(read_tensors(path, ())[1].get("whyface", "{}"))
        divisor = float(description.get("network", {}).get("pixels", ARCFACE.std[0]))
        return replace(ARCFACE, std=(divisor,) * 3)
    except (OSError, AttributeError, TypeError, ValueError, InputError) as error:
        raise ModelError(f"{path}: its description cannot be read ({error}); train it again") from error
