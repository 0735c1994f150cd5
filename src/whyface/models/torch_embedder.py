"""Any torch network behind the embedder protocol, with a way in for gradients (needs the extra ``torch``)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional

from whyface.errors import ModelError
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Batch, check_batch, l2_normalise
from whyface.models.heads import GdcHead, PlacedGridHead
from whyface.models.layer_split import CalledPart, LayerHead, LayerTrunk, split_at_layer
from whyface.models.mobilefacenet import MobileFaceNet
from whyface.models.pointwise import with_fast_pointwise
from whyface.models.preprocessing import RAW, Preprocessing
from whyface.models.weights import load_safetensors
from whyface.models.zoo import model_entry, model_file

_CHUNK: Final = 32

TORCH_MODELS: Final = ("xcos-mobilefacenet", "mobilefacenet-ms1m")
"""The known models that :func:`open_torch_embedder` opens."""


class TorchEmbedder:
    """A torch face network: trunk to the last spatial map, head to the embedding.

    The network is copied, so that the caller's stays as it is; the copy is in eval mode for good, its parameters get
    no gradients, and BatchNorms are folded into convolutions where torch.fx can follow the trunk, which changes the
    result by rounding only and makes a backward pass cheaper.

    Parameters
    ----------
    trunk
        Prepared pixels (N, 3, H, W) -> last spatial map (N, C, h, w).
    head
        Map -> embedding (N, ...), flattened in C, H, W order; whether it L2-normalises does not matter.
    name
        What reports call the network.
    sha256
        SHA-256 of its weights file; None takes that of its tensors.
    preprocessing
        What the network wants done to RGB values in 0..255; it is part of the differentiable path.
    fold
        Whether to fold BatchNorms.

    References
    ----------
    Folding is exact for BatchNorm in eval mode: Jacob et al., "Quantization and Training of Neural Networks", CVPR
    2018, section 3.2.
    """

    has_grid: Final = True

    def __init__(
        self,
        trunk: nn.Module,
        head: nn.Module,
        *,
        name: str = "torch network",
        sha256: str | None = None,
        preprocessing: Preprocessing = RAW,
        fold: bool = True,
    ) -> None:
        self._name = name
        self._sha256 = _digest(trunk, head) if sha256 is None else sha256
        self.preprocessing = preprocessing
        self.trunk = _frozen(trunk, fold=fold)
        self.head = _frozen(head, fold=False)
        first = next(self.trunk.parameters(), None)
        self.device = torch.device("cpu") if first is None else first.device

    @classmethod
    def from_layer(cls, network: nn.Module, layer: str, **options: Any) -> TorchEmbedder:
        """Wrap one module that gives the embedding, split behind the layer that gives the last spatial map.

        Parameters
        ----------
        network
            Prepared pixels -> embedding.
        layer
            Name of the layer as in ``network.named_modules()``.
        **options
            As for the constructor; BatchNorms are not folded.

        Raises
        ------
        ModelError
            If there is no such layer.
        """
        shape = options.get("preprocessing", RAW).size
        trunk, head = split_at_layer(network, layer, shape)
        return cls(trunk, head, **{**options, "fold": False})

    @classmethod
    def from_functions(
        cls,
        network: nn.Module,
        trunk: Callable[[Any, Tensor], Tensor],
        head: Callable[[Any, Tensor], Tensor],
        **options: Any,
    ) -> TorchEmbedder:
        """Wrap one module of which two functions say how it is used.

        Parameters
        ----------
        network
            The module.
        trunk, head
            ``trunk(network, pixels)`` gives the last spatial map, ``head(network, map)`` the embedding, for example
            ``lambda net, x: net.forward_features(x)``. They must use the network that they are given, a copy.
        **options
            As for the constructor; BatchNorms are not folded.
        """
        return cls(CalledPart(network, trunk), CalledPart(network, head), **{**options, "fold": False})

    @property
    def name(self) -> str:
        """What reports call the network."""
        return self._name

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights, 64 hexadecimal digits."""
        return self._sha256

    def pixels(self, batch: Batch) -> Tensor:
        """Turn faces into a float32 tensor (N, 3, 112, 112), 0..255, on the network's device.

        Raises
        ------
        InputError
            The batch does not fit.
        """
        return torch.from_numpy(np.array(check_batch(batch), np.float32)).to(self.device)

    def map_of(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, 112, 112) in 0..255 to the last spatial map (N, C, h, w); differentiable."""
        prepared = self._prepared(pixels).contiguous(memory_format=torch.channels_last)
        spatial: Tensor = self.trunk(prepared)
        if spatial.ndim != 4:
            raise ModelError(
                f"model {self.name!r}: the trunk gives {tuple(spatial.shape)}, not a spatial map (N, C, H, W); "
                "split the network behind its last convolution"
            )
        return spatial

    def embedding_of(self, spatial: Tensor) -> Tensor:
        """Map the last spatial map to the L2-normalised embedding (N, D); differentiable."""
        return functional.normalize(torch.flatten(self.head(spatial), 1))

    def map_and_embedding(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network once for both; differentiable."""
        spatial = self.map_of(pixels)
        return spatial, self.embedding_of(spatial)

    def forward_tensor(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, 3, 112, 112) in 0..255 to L2-normalised embeddings (N, D); differentiable."""
        return self.map_and_embedding(pixels)[1]

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces (N, 3, 112, 112), RGB, 0..255, to L2-normalised embeddings (N, D) float32.

        Raises
        ------
        InputError
            The batch does not fit.
        ModelError
            The network gives values that are not finite.
        """
        return l2_normalise(self._run(self.forward_tensor, batch))

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces to the last spatial map (N, C, h, w) float32; raises as :meth:`embed` does."""
        return self._run(self.map_of, batch)

    def embed_with_grid(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what :meth:`embed` and :meth:`grid` do, for the price of one pass."""
        spatial = self.grid(batch)
        with torch.no_grad():
            parts = [
                self.embedding_of(torch.from_numpy(spatial[start : start + _CHUNK]).to(self.device)).cpu().numpy()
                for start in range(0, max(len(spatial), 1), _CHUNK)
            ]
        return l2_normalise(np.concatenate(parts)), spatial

    @torch.no_grad()
    def _run(self, function: Callable[[Tensor], Tensor], batch: Batch) -> NDArray[np.float32]:
        faces = check_batch(batch)
        count = len(faces)
        if count == 0:
            # One blank face tells the shapes of an empty answer.
            faces = np.zeros((1, 3, FACE_SIZE, FACE_SIZE), np.uint8)
        parts = [
            function(self.pixels(faces[start : start + _CHUNK])).cpu().numpy() for start in range(0, len(faces), _CHUNK)
        ]
        joined: NDArray[np.float32] = np.ascontiguousarray(np.concatenate(parts)[:count], np.float32)
        if not np.isfinite(joined).all():
            raise ModelError(f"model {self.name!r} gives values that are not finite; check the preprocessing")
        return joined

    def _prepared(self, pixels: Tensor) -> Tensor:
        how = self.preprocessing
        if how.order == "bgr":
            pixels = pixels.flip(1)
        if how.columns is not None:
            pixels = pixels[..., slice(*how.columns)]
        if how.is_raw:
            return pixels
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) * how.divisor for values in (how.mean, how.std))
        return (pixels - mean) / std


def open_torch_embedder(name: str, *, directory: Path | str | None = None) -> TorchEmbedder:
    """Open a known model as a torch network.

    Parameters
    ----------
    name
        ``"mobilefacenet-ms1m"``: last map 512 x 7 x 7 and a depthwise head; ``"xcos-mobilefacenet"``: the last map is
        the grid 32 x 7 x 7, and the embedding is the grid, flattened and L2-normalised.
    directory
        Where models that do not come with whyface lie.

    Raises
    ------
    ModelError
        The model is unknown, is not there as a torch network, or its file is missing or unreadable.
    ModelIntegrityError
        The file is another one than on record.
    """
    entry = model_entry(name)
    if name not in TORCH_MODELS:
        raise ModelError(
            f"model {name!r} is not known as a torch network, so it gives no gradients; known: "
            f"{', '.join(TORCH_MODELS)}"
        )
    path = model_file(entry, "safetensors", directory=directory)
    backbone = MobileFaceNet()
    trunk: nn.Module = backbone
    head: nn.Module
    if entry.kind == "xcos":
        grid_head = PlacedGridHead()
        load_safetensors(backbone, path, prefix="backbone.")
        load_safetensors(grid_head, path, prefix="head.")
        trunk, head = nn.Sequential(backbone, grid_head), nn.Flatten()
    else:
        head = GdcHead()
        load_safetensors(backbone, path, strict=False)
        load_safetensors(head, path, strict=False)
    return TorchEmbedder(
        trunk, head, name=name, sha256=entry.files["safetensors"].sha256, preprocessing=entry.preprocessing
    )


def _frozen(module: nn.Module, *, fold: bool) -> nn.Module:
    copied: nn.Module = copy.deepcopy(module).eval()
    if fold and not isinstance(module, LayerTrunk | LayerHead):
        try:
            copied = fuse(copied)
        except Exception:  # torch.fx refuses in many ways, and folding is for speed only
            copied = copy.deepcopy(module)
    copied.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return with_fast_pointwise(copied.eval().requires_grad_(False))


def _digest(*modules: nn.Module) -> str:
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
