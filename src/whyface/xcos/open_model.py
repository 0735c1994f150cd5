"""Open any model, known or your own, with its comparisons."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

from whyface.errors import InputError, ModelError
from whyface.models.catalogue import find_entry, open_embedder
from whyface.models.entry import ModelEntry
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.own_network import check_network
from whyface.models.preprocessing import RAW, Preprocessing, as_preprocessing
from whyface.onnx_runtime import as_providers
from whyface.xcos.comparison import FaceModel, SearchableComparison, comparisons
from whyface.xcos.grid import AttentionKind
from whyface.xcos.model import XcosModel, open_xcos

if TYPE_CHECKING:
    from whyface.models.torch_embedder import TorchEmbedder

_KINDS: Final[tuple[AttentionKind, ...]] = get_args(AttentionKind)


@dataclass(frozen=True, eq=False)
class OpenedModel:
    """A model that is ready to compare faces.

    Attributes
    ----------
    name
        Name of the model in reports.
    model
        An embedder, whose embeddings are compared, or an xCos model.
    entry
        The entry of a known model; None for your own network.
    sha256
        SHA-256 of each file by its role.
    preprocessing
        Preprocessing of the network's input.
    attention
        The only comparison requested, or None.
    """

    name: str
    model: FaceModel
    entry: ModelEntry | None
    sha256: Mapping[str, str]
    preprocessing: Preprocessing
    attention: AttentionKind | None = None

    @classmethod
    def of(cls, model: FaceModel) -> OpenedModel:
        """Wrap an open network or xCos model, such as a torch network, for the bench."""
        embedder = next(iter(comparisons(model).values())).embedder
        preprocessing = getattr(embedder, "preprocessing", RAW)
        return cls(embedder.name, model, None, {"weights": embedder.sha256}, preprocessing)

    @cached_property
    def comparisons(self) -> dict[str, SearchableComparison]:
        """The comparisons of the model by kind: the one that was asked for, or else all of them."""
        found = comparisons(self.model)
        return found if self.attention is None else {self.attention: found[self.attention]}

    def comparison(self, kind: str | None = None) -> SearchableComparison:
        """Return one comparison; by default, the one on record, or else the last.

        Raises
        ------
        ModelError
            If the model has no such comparison.
        """
        if kind is None:
            recorded = None if self.entry is None else self.entry.default_attention
            kind = recorded if recorded in self.comparisons else list(self.comparisons)[-1]
        if kind not in self.comparisons:
            known = ", ".join(self.comparisons)
            raise ModelError(f"model {self.name!r} does not compare faces by {kind!r}; it has {known}")
        return self.comparisons[kind]


def known_entry(
    model: str | Path,
    *,
    grid: str | None = None,
    output: str | None = None,
    preprocessing: Preprocessing | str | None = None,
) -> ModelEntry | None:
    """Return the entry of a known model, or of the ``model.json`` in your own folder.

    Return None for the path of an ``.onnx`` file that no description names.

    Parameters
    ----------
    model
        Name or path.
    grid, output, preprocessing
        As for :func:`open_model`, to refuse them where they are on record.

    Raises
    ------
    ModelError
        If the model is unknown.
    InputError
        If a known model is given a grid, output or preprocessing.
    """
    if torch_file(model) is not None:
        if any(value is not None for value in (grid, output, preprocessing)):
            raise InputError("grid, output and pixels are for an ONNX file of your own; a torch network has its own")
        return None
    entry = find_entry(model)
    given = {"grid": grid, "output": output, "pixels": as_preprocessing(preprocessing)}
    if entry is None or all(value is None for value in given.values()):
        return entry
    if entry.sidecar is None:
        raise InputError("grid, output and pixels are for an ONNX file of your own; a known model has them on record")
    recorded = {"grid": entry.grid and entry.grid.tensor, "output": entry.output, "pixels": entry.preprocessing}
    for key, value in given.items():
        # A grid may be named that was not when the thresholds were measured; they do not depend on it.
        if value is not None and recorded[key] is not None and value != recorded[key]:
            raise InputError(f"{entry.sidecar} has another {key} on record; leave it out, or remove that file")
    return entry


def torch_file(model: str | Path) -> tuple[str, Path] | None:
    """Split ``iresnet50:FILE.safetensors`` into backbone and file; None for any other model."""
    backbone, colon, path = str(model).partition(":")
    is_name = colon and backbone.replace("-", "").isalnum() and len(backbone) > 1
    return (backbone, Path(path)) if is_name and path.endswith(".safetensors") else None


def open_model(
    model: str | Path,
    *,
    attention: str | None = None,
    directory: Path | str | None = None,
    grid: str | None = None,
    output: str | None = None,
    preprocessing: Preprocessing | str | None = None,
    unchecked: bool = False,
    threads: int | None = None,
    providers: str | Sequence[str] = "cpu",
) -> OpenedModel:
    """Open a known model by its name, an exported one by its folder, or any network by its ``.onnx`` file.

    Parameters
    ----------
    model
        Name or path; or ``BACKBONE:FILE.safetensors``, such as ``iresnet50:net.safetensors``, for a torch network,
        which also gives gradients (:func:`whyface.models.torch_files.open_torch_file`).
    attention
        ``"u"``, ``"p"`` or ``"l"``, which the model must have. None: an xCos model offers all its kinds, and any other
        network compares embeddings.
    directory
        Folder of models that are not part of whyface.
    grid, output, preprocessing
        For your own network: the tensor with its last spatial map, the output with the embedding (the first by
        default), and its preprocessing, or the name of a preset (raw by default).
    unchecked
        Your own network is opened without a trial on the demo photos
        (:func:`whyface.models.own_network.check_network`).
    threads
        Threads of ONNX Runtime; None leaves it to ONNX Runtime.
    providers
        Where the network runs: ``"cpu"``, ``"cuda"``, or execution providers of ONNX Runtime.

    Raises
    ------
    ModelError
        If the model is unknown or unusable, or lacks that attention; or if a network of your own does not tell the demo
        photos apart.
    InputError
        If the attention does not exist, or a known model is given a grid, output or preprocessing.
    """
    kind = None if attention is None else attention_kind(attention)
    chosen = as_providers(providers)
    entry = known_entry(model, grid=grid, output=output, preprocessing=preprocessing)
    if entry is None or entry.sidecar is not None:
        return _open_own(
            Path(model), kind, entry, grid, output, as_preprocessing(preprocessing), unchecked, threads, chosen
        )
    if entry.kind != "xcos" and kind is None:
        embedder = open_embedder(entry, directory=directory, threads=threads, providers=chosen)
        return OpenedModel(entry.name, embedder, entry, {"onnx": embedder.sha256}, entry.preprocessing)
    xcos = open_xcos(entry, directory=directory, threads=threads, providers=chosen)
    if kind is not None:
        xcos.require(kind)
    hashes = {role: file.sha256 for role, file in entry.files.items()}
    return OpenedModel(entry.name, xcos, entry, hashes, entry.preprocessing, kind)


def attention_kind(kind: str) -> AttentionKind:
    """Return a text as a kind of attention.

    Raises
    ------
    InputError
        If no kind has that name.
    """
    for known in _KINDS:
        if kind == known:
            return known
    raise InputError(f"attention must be u (uniform), p (correlated) or l (learned), got {kind!r}")


def _open_own(
    path: Path,
    kind: AttentionKind | None,
    entry: ModelEntry | None,
    grid: str | None,
    output: str | None,
    preprocessing: Preprocessing | None,
    unchecked: bool,
    threads: int | None,
    providers: tuple[str, ...],
) -> OpenedModel:
    embedder: OnnxEmbedder | TorchEmbedder
    if entry is None and (named := torch_file(path)) is not None:
        embedder = _open_torch(*named)
    elif entry is None:
        embedder = OnnxEmbedder(
            path,
            preprocessing=preprocessing or RAW,
            grid=grid,
            output=output,
            threads=threads,
            providers=providers,
        )
        if not unchecked:
            check_network(embedder)
    else:
        # It was tried when its thresholds were measured.
        embedder = OnnxEmbedder(
            path,
            preprocessing=entry.preprocessing,
            grid=grid or (None if entry.grid is None else entry.grid.tensor),
            output=entry.output,
            sha256=entry.files["onnx"].sha256,
            threads=threads,
            providers=providers,
        )
    hashes = {"onnx" if torch_file(path) is None else "safetensors": embedder.sha256}
    if kind is None:
        return OpenedModel(embedder.name, embedder, entry, hashes, embedder.preprocessing)
    if not embedder.has_grid:
        raise ModelError(f"{path}: attention needs a grid; name the tensor of the last spatial map (--grid)")
    xcos = XcosModel(embedder)
    xcos.require(kind)
    return OpenedModel(embedder.name, xcos, entry, hashes, embedder.preprocessing, kind)


def _open_torch(backbone: str, path: Path) -> TorchEmbedder:
    if importlib.util.find_spec("torch") is None:
        raise ModelError(f"{path}: a torch network needs PyTorch, which is not installed; pip install 'whyface[torch]'")
    from whyface.models.torch_files import open_torch_file  # noqa: PLC0415 - imports torch

    return open_torch_file(path, backbone)
