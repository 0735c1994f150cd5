"""Attributes from the last spatial map of the default network: one 1 x 1 convolution and a mean for each.

With z_k(i, j) = w_k . F(i, j) - z0_k(i, j), the logit of attribute k is the mean of z_k over all places plus a
constant. So each attribute has an exact 7 x 7 map of evidence; nothing is estimated from gradients. z0 is the mean over
faces without the attribute: at zero evidence, the place looks like that of such a face. Runs without torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from whyface.errors import InputError, ModelError
from whyface.files.guarded import parse_json, read_tensors
from whyface.files.integrity import write_atomic
from whyface.models.catalogue import model_entry, shipped_models
from whyface.models.embedder import Batch
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.words.attribute_names import SENSITIVE_GROUPS, UNUSED_GROUPS, attribute

PRESENT: Final = 0.5
"""An attribute counts as present if its probability is at least this."""

LEARNT_AUC: Final = 0.75
"""Attributes with a lower AUC, measured on people not used for training, are not named in sentences."""

SHIPPED_NAME: Final = "xcos-mobilefacenet-attributes.safetensors"
_RECORD: Final = "whyface"
_BATCH: Final = 64


@dataclass(frozen=True, eq=False)
class AttributeEvidence:
    """Output of the attribute model for N faces.

    Attributes
    ----------
    maps
        z, (N, K, H, W) float32: the signed evidence of each place for each attribute.
    logits
        (N, K) float32: the mean of each map, plus the attribute's constant.
    """

    maps: NDArray[np.float32]
    logits: NDArray[np.float32]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """The probability of each attribute, (N, K) float32 in (0, 1)."""
        return np.asarray(0.5 * (1 + np.tanh(self.logits / 2)), np.float32)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Whether each attribute counts as present, (N, K)."""
        return np.asarray(self.probabilities >= PRESENT)


@dataclass(frozen=True, eq=False)
class AttributeHeads:
    """Linear heads over a spatial map.

    Attributes
    ----------
    names
        The K attributes.
    weight, bias
        (K, C) and (K,) float32.
    baseline
        z0, (K, H, W) float32.
    record
        Origin of the heads: ``backbone``, ``tensor``, ``measured`` (name -> ``auc`` and more) and others; see
        ``scripts/fit_attributes.py``.
    """

    names: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    baseline: NDArray[np.float32]
    record: Mapping[str, Any]

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count or len(set(self.names)) != count:
            raise InputError("attribute heads need at least one attribute, each with a unique name")
        if self.weight.ndim != 2 or len(self.weight) != count or self.bias.shape != (count,):
            shapes = f"weights {self.weight.shape} and biases {self.bias.shape}"
            raise InputError(f"{shapes} do not fit {count} attributes; expected (K, C) and (K,)")
        if self.baseline.ndim != 3 or len(self.baseline) != count:
            raise InputError(f"the baseline must be (K, H, W), got {self.baseline.shape} for {count} attributes")
        if not all(np.isfinite(values).all() for values in (self.weight, self.bias, self.baseline)):
            raise InputError("attribute heads must be finite numbers")

    def __call__(self, grids: NDArray[np.float32]) -> AttributeEvidence:
        """Return the evidence in spatial maps (N, C, H, W).

        Raises
        ------
        InputError
            If the maps have another number of channels or places.
        """
        expected = (self.weight.shape[1], *self.baseline.shape[1:])
        if grids.ndim != 4 or grids.shape[1:] != expected:
            raise InputError(f"the attribute heads read maps (N, *{expected}), got {grids.shape}")
        count, channels, height, width = grids.shape
        maps = (self.weight @ grids.reshape(count, channels, -1)).reshape(count, -1, height, width)
        logits = maps.mean(axis=(2, 3), dtype=np.float64) + self.bias
        return AttributeEvidence(np.asarray(maps - self.baseline, np.float32), np.asarray(logits, np.float32))

    @property
    def constants(self) -> NDArray[np.float64]:
        """The logit minus the mean of the map of evidence, for each attribute, (K,)."""
        return np.asarray(self.bias + self.baseline.mean(axis=(1, 2), dtype=np.float64))

    def learnt(self) -> NDArray[np.bool_]:
        """Return which attributes were learnt well enough for a sentence, (K,) bool.

        That is an AUC of at least 0.75, if one was measured, on labels with enough positives.
        """
        measured = self.record.get("measured", {})
        return np.array([_is_learnt(measured.get(name)) for name in self.names])

    def usable(self, *, sensitive: bool = False) -> NDArray[np.bool_]:
        """Return which attributes may be named in a sentence without being requested, (K,) bool.

        Parameters
        ----------
        sensitive
            Include words about gender, age and race.
        """
        groups = [attribute(name).group for name in self.names]
        allowed = [group not in UNUSED_GROUPS and (sensitive or group not in SENSITIVE_GROUPS) for group in groups]
        return np.asarray(self.learnt() & np.array(allowed))


class AttributeReader:
    """Attribute heads with their network.

    Parameters
    ----------
    heads
        The heads.
    network
        The ONNX network on whose spatial map the heads were fitted.
    """

    def __init__(self, heads: AttributeHeads, network: OnnxEmbedder) -> None:
        self.heads = heads
        self.network = network

    def __call__(self, batch: Batch) -> AttributeEvidence:
        """Return the evidence in faces (N, 3, 112, 112), RGB, 0..255."""
        parts = [self.heads(self.network.grid(batch[start : start + _BATCH])) for start in range(0, len(batch), _BATCH)]
        if not parts:
            return self.heads(self.network.grid(batch))
        return AttributeEvidence(
            np.concatenate([part.maps for part in parts]), np.concatenate([part.logits for part in parts])
        )


def open_attributes(path: Path | str | None = None, *, threads: int | None = None) -> AttributeReader:
    """Open attribute heads with their network.

    Parameters
    ----------
    path
        A safetensors file that :func:`save_attributes` wrote; by default the one that comes with whyface.
    threads
        Threads of ONNX Runtime.

    Raises
    ------
    ModelError
        If the file or the network is missing or unreadable, or the heads were fitted on another network.
    """
    file = shipped_models() / SHIPPED_NAME if path is None else Path(path)
    heads = read_attributes(file)
    try:
        name, tensor, sha256 = (str(heads.record[key]) for key in ("backbone", "tensor", "backbone_sha256"))
    except KeyError as error:
        raise ModelError(f"{file}: the record lacks {error}; write the file with fit_attributes.py") from error
    entry = model_entry(name)
    if entry.files["onnx"].sha256 != sha256:
        raise ModelError(
            f"{file}: these attributes were fitted on another version of {name!r}; fit them again (fit_attributes.py)"
        )
    network = OnnxEmbedder(
        entry.locate("onnx"), preprocessing=entry.preprocessing, grid=tensor, threads=threads, name=name
    )
    return AttributeReader(heads, network)


def save_attributes(path: Path | str, heads: AttributeHeads) -> None:
    """Write heads to a safetensors file, with their names and record in the metadata.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    text = json.dumps({**heads.record, "names": list(heads.names)}, ensure_ascii=False, allow_nan=False)
    tensors = {"weight": heads.weight, "bias": heads.bias, "baseline": heads.baseline}
    write_atomic(path, save({name: np.ascontiguousarray(value) for name, value in tensors.items()}, {_RECORD: text}))


def read_attributes(path: Path | str) -> AttributeHeads:
    """Read a file that :func:`save_attributes` wrote.

    Raises
    ------
    ModelError
        If the file cannot be read or has another format.
    """
    try:
        tensors, metadata = read_tensors(path)
        weight, bias, baseline = (np.asarray(tensors[name], np.float32) for name in ("weight", "bias", "baseline"))
        record = parse_json(metadata[_RECORD])
        return AttributeHeads(tuple(record["names"]), weight, bias, baseline, record)
    except (OSError, KeyError, TypeError, ValueError, InputError) as error:
        raise ModelError(f"{path}: no attribute heads ({error}); write them with fit_attributes.py") from error


def _is_learnt(measured: Any) -> bool:
    """Return whether the record says so; an attribute that was not measured counts as learnt."""
    if not isinstance(measured, Mapping):
        return True
    return bool(measured.get("judged", True)) and float(measured.get("auc", 1.0)) >= LEARNT_AUC
