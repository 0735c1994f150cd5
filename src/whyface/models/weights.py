"""Load safetensors into torch modules and save them (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from whyface.errors import ModelError
from whyface.files.integrity import read_model, with_sorted_metadata, write_atomic

if TYPE_CHECKING:
    from onnx import ModelProto

_SHOWN: Final = 3
# BatchNorm's step counter: not a weight, and many published files leave it out.
_COUNTER: Final = "num_batches_tracked"

NEGATED: Final = ".negated"
"""Suffix of the name of a PReLU's slopes, (C, 1, 1, 1) and times -1, in a rewritten network."""

MINUS_ONE: Final = "minus_one."
"""Prefix of the name of a tensor of -1s that a rewritten network needs."""


@dataclass(frozen=True)
class LoadReport:
    """The tensors that a non-strict load left unmatched.

    Attributes
    ----------
    missing
        Tensors of the module that the file does not have; they keep their values.
    unexpected
        Tensors of the file (without the prefix) that the module does not have.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def load_safetensors(module: nn.Module, path: Path | str, *, prefix: str = "", strict: bool = True) -> LoadReport:
    """Load tensors into a module, in place.

    On an error, nothing is copied. Raise ModelError if the file is missing or not a safetensors file, no tensor fits,
    or the names or shapes differ.

    Parameters
    ----------
    module
        The module to load; its dtype and device stay.
    prefix
        Only the file's tensors whose names start with it are used, and it is removed from the names: ``"trunk."``
        loads ``trunk.conv1.weight`` into ``conv1.weight``.
    strict
        Whether to refuse missing and unexpected tensors. Different shapes are always refused.
    """
    tensors = {name.removeprefix(prefix): tensor for name, tensor in _read(path).items() if name.startswith(prefix)}
    return _load(module, tensors, path, prefix=prefix, strict=strict)


def tensor_names(path: Path | str) -> frozenset[str]:
    """Return the names of a safetensors file's tensors. Raise ModelError if it is missing or none."""
    return frozenset(_read(path))


def stored_tensors(model: ModelProto) -> dict[str, NDArray[Any]]:
    """Read a network's tensors by the names that they had before ``scripts/onnx_rewriting.py`` rewrote it.

    Return name -> numbers: int8 and float16 weights as float32 again, and slopes (C,) of PReLUs that were rewritten.
    """
    from onnx import numpy_helper  # noqa: PLC0415 - slow to import

    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found: dict[str, NDArray[Any]] = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors and node.input[1] in tensors:
            whole, scale = tensors.pop(node.input[0]), tensors.pop(node.input[1])
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            shape = [-1 if other == axis else 1 for other in range(whole.ndim)]
            tensors[node.output[0]] = whole.astype(np.float32) * (scale.reshape(shape) if scale.ndim else scale)
        elif node.op_type == "Cast" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors.pop(node.input[0]).astype(np.float32)
    for name, values in tensors.items():
        if name.endswith(NEGATED):
            found[name.removesuffix(NEGATED)] = -values.reshape(-1)
        elif not name.startswith(MINUS_ONE):
            found[name] = values
    return found


def load_with_graph(module: nn.Module, graph: Path | str, path: Path | str) -> None:
    """Load a module whose tensors are in two files: those that an ONNX graph names, and the rest.

    Raise ModelError if a file is missing or unusable, or a tensor is missing from both or has another shape.

    Parameters
    ----------
    graph
        An ONNX file, whose int8 and float16 tensors are restored (:func:`stored_tensors`).
    """
    import onnx  # noqa: PLC0415 - slow to import

    try:
        named = stored_tensors(onnx.load_model_from_string(read_model(graph)))
    except Exception as error:  # onnx's errors share no base class
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{graph}: not a usable ONNX file ({' '.join(str(error).split())[:120]})") from error
    own = module.state_dict()
    tensors = {name: torch.from_numpy(values.copy()) for name, values in named.items() if name in own}
    tensors |= {name: tensor for name, tensor in _read(path).items() if name in own}
    _load(module, tensors, path, prefix="", strict=True)


def _load(
    module: nn.Module, tensors: Mapping[str, Tensor], path: Path | str, *, prefix: str, strict: bool
) -> LoadReport:
    own = module.state_dict(keep_vars=True)
    common = [name for name in own if name in tensors]
    if not any(not name.endswith(_COUNTER) for name in common):
        where = f" under the prefix {prefix!r}" if prefix else ""
        raise ModelError(f"{path}: no tensor{where} fits {type(module).__name__}; this is another network's file")
    for name in common:
        if own[name].shape != tensors[name].shape:
            raise ModelError(
                f"{path}: tensor {prefix + name!r} has the shape {tuple(tensors[name].shape)}, but "
                f"{type(module).__name__} needs {tuple(own[name].shape)}; use the settings of the file"
            )
    report = LoadReport(
        missing=tuple(name for name in own if name not in tensors and not name.endswith(_COUNTER)),
        unexpected=tuple(sorted(name for name in tensors if name not in own and not name.endswith(_COUNTER))),
    )
    if strict and (report.missing or report.unexpected):
        parts = [
            f"{label} {_listed(names)}"
            for label, names in (("misses", report.missing), ("has the unknown", report.unexpected))
            if names
        ]
        raise ModelError(f"{path}: the file {' and '.join(parts)}; it is not one of {type(module).__name__}")
    with torch.no_grad():
        for name in common:
            own[name].copy_(tensors[name])
    return report


def save_safetensors(
    source: nn.Module | Mapping[str, Tensor], path: Path | str, metadata: Mapping[str, str] | None = None
) -> None:
    """Save a module's tensors, or the tensors given, to a file atomically.

    Raise OutputError if the file cannot be written.

    Parameters
    ----------
    source
        A module or tensors, on any device; each of those that share memory is stored separately.
    path
        The ``.safetensors`` file; an existing one is replaced.
    """
    tensors = source.state_dict() if isinstance(source, nn.Module) else source
    # The format refuses tensors that share memory or are not contiguous.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomic(path, with_sorted_metadata(safetensors.torch.save(plain, dict(metadata) if metadata else None)))


def _read(path: Path | str) -> dict[str, Tensor]:
    data = read_model(path)
    try:
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: not a usable safetensors file ({reason}); fetch it again") from error


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more
