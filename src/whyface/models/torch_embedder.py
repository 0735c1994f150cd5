"""Any torch network as an embedder, with access to gradients (needs the extra ``torch``)."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional
from torch.nn.parameter import is_lazy

from whyface.errors import InputError, ModelError
from whyface.faces.face import FACE_SIZE
from whyface.models.backbones import LargeMobileFaceNet, MobileFaceNet
from whyface.models.catalogue import model_entry
from whyface.models.embedder import Batch, Embedder, check_batch, l2_normalise
from whyface.models.heads import GdcHead, PlacedGridHead
from whyface.models.linear_head import LinearHead
from whyface.models.placed_fc import (
    PlacedFcHead,
    PlaceLogits,
    WeighedHead,
    WeighedNetwork,
    place_weights,
    unnormalised,
)
from whyface.models.preprocessing import RAW, Preprocessing
from whyface.models.torch_layers import (
    CalledPart,
    LayerHead,
    LayerTrunk,
    check_split,
    run_part,
    split_at_layer,
    with_fast_pointwise,
)
from whyface.models.weights import load_safetensors, load_with_graph

_CHUNK: Final = 32
_FOLDED: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

TORCH_MODELS: Final = ("xcos-large", "xcos-mobilefacenet", "mobilefacenet-ms1m")
"""The known models that :func:`open_torch_embedder` opens."""


class TorchEmbedder:
    """A torch face network: trunk to the last spatial map, head to the embedding.

    The network is copied, and the original is left unchanged. The copy stays in eval mode and in float32 (half,
    bfloat16 and double are converted). Its parameters get no gradients. BatchNorms are folded into convolutions where
    torch.fx can trace the trunk, which changes the result by rounding only and makes a backward pass cheaper.

    Parameters
    ----------
    trunk
        Prepared pixels (N, 3, H, W) -> last spatial map (N, C, h, w).
    head
        Map -> embedding (N, ...), flattened in C, H, W order; whether it L2-normalises does not matter.
    name
        Name of the network in reports.
    sha256
        SHA-256 of its weights, of all files that hold some; by default, that of its tensors.
    preprocessing
        Preprocessing of RGB values in 0..255; it is part of the differentiable path.
    fold
        Whether to fold BatchNorms.

    Raises
    ------
    ModelError
        The network cannot be copied, or has no weights yet.

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
        trunk, head = _eager(trunk), _eager(head)
        _check_weights(name, trunk, head)
        self._sha256 = _digest(trunk, head) if sha256 is None else sha256
        self.preprocessing = preprocessing
        # Weights made in a caller's inference mode could not be used in a differentiable computation.
        with torch.inference_mode(False):
            # Copied together, so that shared tensors stay shared.
            trunk, head = _copies(name, trunk, head)
            self.trunk = _frozen(trunk, fold=fold)
            self.head = _frozen(head, fold=False)
        tensors = (tensor for part in (self.trunk, self.head) for tensor in (*part.parameters(), *part.buffers()))
        first = next(tensors, None)
        self.device = torch.device("cpu") if first is None else first.device

    @classmethod
    def from_layer(cls, network: nn.Module, layer: str, **options: Any) -> TorchEmbedder:
        """Wrap one module that returns the embedding, split after the layer that returns the last spatial map.

        The network runs on two random pictures, to check that the two parts in sequence give the same as the network.

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
            If the layer does not exist, the network cannot be run, or the embedding is not computed from the layer's
            output alone: the layer is inside a residual block, or used more than once.
        """
        shape = options.get("preprocessing", RAW).size
        trunk, head = split_at_layer(_eager(network), layer, shape)
        found = cls(trunk, head, **{**options, "fold": False})
        faces = np.random.default_rng(0).integers(0, 256, (2, 3, FACE_SIZE, FACE_SIZE), np.uint8)
        parts = cast("LayerTrunk", found.trunk), cast("LayerHead", found.head)
        try:
            check_split(*parts, found._prepared(found.pixels(faces)))
        except ModelError as error:
            raise ModelError(f"model {found.name!r}: {error}") from error
        return found

    @classmethod
    def from_functions(
        cls,
        network: nn.Module,
        trunk: Callable[[Any, Tensor], Tensor],
        head: Callable[[Any, Tensor], Tensor],
        **options: Any,
    ) -> TorchEmbedder:
        """Wrap one module, with two functions that run its two parts.

        Parameters
        ----------
        network
            The module.
        trunk, head
            ``trunk(network, pixels)`` returns the last spatial map, ``head(network, map)`` the embedding, for example
            ``lambda net, x: net.forward_features(x)``. They must use the network that they are given, a copy.
        **options
            As for the constructor; BatchNorms are not folded.
        """
        return cls(CalledPart(network, trunk), CalledPart(network, head), **{**options, "fold": False})

    @property
    def name(self) -> str:
        """Name of the network in reports."""
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
        # A copy: the network may work in place.
        prepared = self._prepared(pixels).clone(memory_format=torch.channels_last)
        spatial = run_part(self.trunk, prepared, f"model {self.name!r}: the trunk")
        if spatial.ndim != 4:
            raise ModelError(
                f"model {self.name!r}: the trunk gives {tuple(spatial.shape)}, not a spatial map (N, C, H, W); "
                "split the network behind its last convolution"
            )
        return spatial

    def embedding_of(self, spatial: Tensor) -> Tensor:
        """Map the last spatial map to the L2-normalised embedding (N, D); differentiable."""
        # A copy: the network may work in place.
        output = run_part(self.head, spatial.clone(), f"model {self.name!r}: the head")
        return functional.normalize(torch.flatten(output, 1))

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
            The network returns values that are not finite.
        """
        return l2_normalise(self._run(self.forward_tensor, batch))

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces to the last spatial map (N, C, h, w) float32; raises as :meth:`embed` does."""
        return self._run(self.map_of, batch)

    def embed_with_grid(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the results of :meth:`embed` and :meth:`grid` from a single pass."""
        spatial = self.grid(batch)
        with torch.no_grad():
            parts = [
                self.embedding_of(torch.from_numpy(spatial[start : start + _CHUNK]).to(self.device)).cpu().numpy()
                for start in range(0, max(len(spatial), 1), _CHUNK)
            ]
        return l2_normalise(np.concatenate(parts)), spatial

    def affine_head(self, shape: tuple[int, int, int]) -> LinearHead:
        """Measure how the embedding is computed from the last spatial map (C, h, w).

        Raises
        ------
        ModelError
            The head is not affine.
        """
        inner = unnormalised(self.head)

        def head(maps: Tensor) -> Tensor:
            return inner(maps.to(self.device)).cpu()

        try:
            weights = place_weights(head, shape)
        except InputError as error:
            raise ModelError(
                f"model {self.name!r}: the head is not a sum over places: it must be affine, with no activation and no "
                "L2 normalisation at its end; split the network behind a later layer, or use another method"
            ) from error
        with torch.no_grad():
            zero = torch.flatten(head(torch.zeros(1, *shape)), 1)[0]
        return LinearHead(weights.numpy(), zero.numpy())

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


def as_torch(embedder: Embedder) -> TorchEmbedder | None:
    """Return the embedder if it is a torch network with gradients, else None."""
    return embedder if isinstance(embedder, TorchEmbedder) else None


def open_torch_embedder(name: str, *, directory: Path | str | None = None) -> TorchEmbedder:
    """Open a known model as a torch network.

    Raise ModelError if the model is unknown or has no torch network, or its file is missing or unreadable, and
    ModelIntegrityError if the file differs from the one on record.

    Parameters
    ----------
    name
        ``"mobilefacenet-ms1m"``: last map 512 x 7 x 7 and a depthwise head; ``"xcos-mobilefacenet"``: the last map is
        the grid 32 x 7 x 7, and the embedding is the grid, flattened and L2-normalised; ``"xcos-large"``:
        likewise, with a weighed grid.
    directory
        Folder of models that are not part of whyface.
    """
    entry = model_entry(name)
    if name not in TORCH_MODELS:
        raise ModelError(
            f"model {name!r} is not known as a torch network, so it gives no gradients; known: "
            f"{', '.join(TORCH_MODELS)}"
        )
    path = entry.locate("safetensors", directory=directory)
    trunk: nn.Module = MobileFaceNet()
    head: nn.Module = nn.Flatten()
    if entry.grid is not None and entry.grid.weighed:
        placed = PlacedFcHead(64, (7, 7), 512, context=7)
        trunk = WeighedNetwork(LargeMobileFaceNet(), WeighedHead(placed, PlaceLogits()))
        load_with_graph(trunk, entry.locate("onnx", directory=directory), path)
    elif entry.kind == "xcos":
        grid_head = PlacedGridHead()
        load_safetensors(trunk, path, prefix="backbone.")
        load_safetensors(grid_head, path, prefix="head.")
        trunk = nn.Sequential(trunk, grid_head)
    else:
        head = GdcHead()
        load_safetensors(trunk, path, strict=False)
        load_safetensors(head, path, strict=False)
    return TorchEmbedder(trunk, head, name=name, sha256=entry.torch_sha256, preprocessing=entry.preprocessing)


def _eager(module: nn.Module) -> nn.Module:
    """Return the module that torch.compile wrapped, because compiled code hides its layers."""
    inner = getattr(module, "_orig_mod", module)
    return inner if isinstance(inner, nn.Module) else module


def _check_weights(name: str, *modules: nn.Module) -> None:
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_meta or is_lazy(tensor):
                raise ModelError(f"model {name!r}: the network has no weights yet; load them, and run it once if lazy")


def _copies(name: str, trunk: nn.Module, head: nn.Module) -> tuple[nn.Module, nn.Module]:
    try:
        return copy.deepcopy((trunk, head))
    except Exception as error:  # copying a network runs its own code
        reason = " ".join(str(error).split())[:120]
        raise ModelError(
            f"model {name!r}: the network cannot be copied ({type(error).__name__}: {reason}); take off weight norms "
            "and what it keeps of earlier runs first"
        ) from error


def _frozen(module: nn.Module, *, fold: bool) -> nn.Module:
    frozen = module.eval().float()
    if fold and getattr(module, "can_fold", True):
        frozen = _folded(frozen)
    frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Not requires_grad_ of the module: TorchScript has none, and its copied weights are not leaves.
    for parameter in frozen.parameters():
        parameter.detach_()
    return with_fast_pointwise(frozen.eval())


def _folded(module: nn.Module) -> nn.Module:
    # A hook, such as that of an old weight norm, may restore weights from before folding.
    if any(part._forward_pre_hooks or part._forward_hooks for part in module.modules()):
        return module
    try:
        folded = fuse(module)
    except Exception:  # torch.fx fails in many ways, and folding is for speed only
        return module
    graph = cast("fx.Graph", folded.graph)
    called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    weighted = [target for target in called if isinstance(folded.get_submodule(target), _FOLDED)]
    # A layer that is used twice would be folded with each BatchNorm that follows it.
    return folded if len(weighted) == len(set(weighted)) else module


def _digest(*modules: nn.Module) -> str:
    digest = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            if isinstance(tensor, Tensor):
                digest.update(name.encode())
                # As bytes: NumPy has no bfloat16.
                digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
