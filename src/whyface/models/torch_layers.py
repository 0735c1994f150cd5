"""Torch networks split at a layer, and layers that run faster with gradients (needs the extra ``torch``)."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.overrides import has_torch_function

from whyface.errors import ModelError, WhyfaceError

_TOLERANCE: Final = 1e-3
_LONGEST_REASON: Final = 200


class _Reached(Exception):  # noqa: N818 - a signal, not an error
    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


class LayerTrunk(nn.Module):
    """The network up to a layer: prepared pixels -> that layer's output.

    With ``through`` set, it still runs to the end, for tracers, which cannot follow an interrupted run.
    """

    can_fold: Final = False

    def __init__(self, network: nn.Module, layer: str) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self.through = False

    def forward(self, pixels: Tensor) -> Tensor:
        """Run up to the layer."""
        return self._run_through(pixels) if self.through else self._run_up_to(pixels)

    def _run_through(self, pixels: Tensor) -> Tensor:
        seen: list[Tensor] = []

        def note(_: nn.Module, __: Any, output: Any) -> None:
            # A copy, because what follows may work in place.
            seen.append(one_tensor(output, f"layer {self.layer!r}").clone())

        handle = self.network.get_submodule(self.layer).register_forward_hook(note)
        try:
            self.network(pixels)
        finally:
            handle.remove()
        if not seen:
            raise ModelError(f"layer {self.layer!r} was not used; name another")
        return seen[-1]

    def _run_up_to(self, pixels: Tensor) -> Tensor:
        here = threading.get_ident()

        def stop(_: nn.Module, __: Any, output: Any) -> None:
            # Another thread may run the same network.
            if threading.get_ident() == here:
                raise _Reached(one_tensor(output, f"layer {self.layer!r}"))

        handle = self.network.get_submodule(self.layer).register_forward_hook(stop)
        try:
            self.network(pixels)
        except _Reached as reached:
            return reached.output
        finally:
            handle.remove()
        raise ModelError(f"layer {self.layer!r} was not used; name another")


class LayerHead(nn.Module):
    """The network after a layer: that layer's output -> embedding.

    The network is run on a blank picture and the layer's output is replaced, which costs one run but needs no knowledge
    of the network.
    """

    can_fold: Final = False

    def __init__(self, network: nn.Module, layer: str, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self.size = size

    def forward(self, spatial: Tensor) -> Tensor:
        """Run the network after the layer."""
        here = threading.get_ident()

        def replace(_: nn.Module, __: Any, ___: Any) -> Tensor | None:
            # Another thread may run the same network.
            return spatial if threading.get_ident() == here else None

        handle = self.network.get_submodule(self.layer).register_forward_hook(replace)
        try:
            blank = torch.zeros(len(spatial), 3, *self.size, device=spatial.device, dtype=spatial.dtype)
            return one_tensor(self.network(blank), "the network")
        finally:
            handle.remove()


class CalledPart(nn.Module):
    """A part of a network given as a function instead of a layer: ``function(network, x)``."""

    can_fold: Final = False

    def __init__(self, network: nn.Module, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Call it."""
        return self.function(self.network, x)


def split_at_layer(network: nn.Module, layer: str, size: tuple[int, int]) -> tuple[LayerTrunk, LayerHead]:
    """Split a network after a layer.

    Raise ModelError if the layer does not exist; the message names the closest. Use :func:`check_split` to check that
    the two parts together are the network.

    Parameters
    ----------
    network
        Prepared pixels (N, 3, H, W) -> embedding.
    layer
        Name of the layer as in ``network.named_modules()``; used once per run, with one tensor as its output.
    """
    if any(isinstance(module, torch.jit.ScriptModule) for module in network.modules()):
        raise ModelError(
            "a TorchScript network cannot be split behind a layer; give the Python module that it was made from, or "
            "its trunk and head as two modules"
        )
    names = [name for name, _ in network.named_modules() if name]
    if layer not in names:
        close = difflib.get_close_matches(layer, names, n=3, cutoff=0.3) or names[-3:]
        raise ModelError(f"the network has no layer {layer!r}; likely ones are {', '.join(map(repr, close))}")
    return LayerTrunk(network, layer), LayerHead(network, layer, size)


@torch.no_grad()
def check_split(trunk: LayerTrunk, head: LayerHead, pixels: Tensor) -> None:
    """Compare the parts of a split network, run in sequence, with the network itself.

    Raise ModelError if the results differ: the layer is used more than once, another path bypasses it, or the network
    is random. The message says what to do.

    Parameters
    ----------
    trunk, head
        What :func:`split_at_layer` returned, or copies in eval mode.
    pixels
        Prepared pixels of a few different pictures (N, 3, H, W); not changed.
    """
    network, layer = trunk.network, trunk.layer
    whole, uses = _whole(network, layer, pixels)
    if not uses:
        raise ModelError(f"layer {layer!r} was not used; name another")
    if not bool(torch.isfinite(whole).all()):
        raise ModelError("the network gives values that are not finite; check the preprocessing")
    if uses == 1 and not _differ(whole, _joined(trunk, head, pixels)):
        return
    if _differ(whole, _whole(network, layer, pixels)[0]):
        raise ModelError(
            "the network returns a different result each time, even in eval mode, so it cannot be explained; "
            "switch off what is random in it"
        )
    blocks = [layer.rsplit(".", count)[0] for count in range(1, layer.count(".") + 1)]
    fitting = next((block for block in blocks if _fits(network, block, head.size, whole, pixels)), None)
    advice = "name a layer behind which all paths have come together" + (f", such as {fitting!r}" if fitting else "")
    if uses > 1:
        raise ModelError(f"layer {layer!r} is used {uses} times in one run, so nothing is behind it alone; {advice}")
    raise ModelError(
        f"the embedding is not made from the output of layer {layer!r} alone, as within a residual block; {advice}"
    )


def run_part(part: nn.Module, x: Tensor, what: str) -> Tensor:
    """Run a part of a user's network and return its float32 output, one row per face.

    Raise ModelError if it fails, or does not return one tensor with one row per face.
    """
    try:
        output = part(x)
    except WhyfaceError:
        raise
    except Exception as error:  # a network's own code raises anything
        reason = " ".join(str(error).split())
        if len(reason) > _LONGEST_REASON:
            reason = f"{reason[:_LONGEST_REASON]}..."
        shape = " x ".join(map(str, x.shape))
        raise ModelError(f"{what} cannot be run on {shape} numbers ({type(error).__name__}: {reason})") from error
    found = one_tensor(output, what)
    if found.ndim < 2 or found.shape[0] != x.shape[0]:
        raise ModelError(f"{what} gives the shape {tuple(found.shape)} for {len(x)} faces; it must give a row per face")
    return found.float()


def one_tensor(output: object, what: str) -> Tensor:
    """Return an output that is one tensor.

    Raise ModelError if it is something else, such as a tuple or a dictionary.
    """
    if isinstance(output, Tensor):
        return output
    kind = type(output).__name__
    if isinstance(output, dict):
        kind = f"{kind} with {', '.join(map(repr, output))}"
    elif isinstance(output, list | tuple):
        kind = f"{kind} of {len(output)}"
    raise ModelError(f"{what} gives a {kind} instead of one tensor; wrap it in a module that returns the one needed")


def _whole(network: nn.Module, layer: str, pixels: Tensor) -> tuple[Tensor, int]:
    uses: list[None] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda *_: uses.append(None))
    try:
        return run_part(network, pixels.clone(), "the network"), len(uses)
    finally:
        handle.remove()


def _joined(trunk: LayerTrunk, head: LayerHead, pixels: Tensor) -> Tensor:
    return run_part(head, run_part(trunk, pixels.clone(), f"layer {trunk.layer!r}").clone(), "the network")


def _differ(whole: Tensor, other: Tensor) -> bool:
    if whole.shape != other.shape:
        return True
    # Relative to what tells faces apart, which may be small compared with what all faces share.
    scale = max(float((whole - whole.mean(dim=0)).norm()), 0.01 * float(whole.norm()))
    return not float((whole - other).norm()) <= _TOLERANCE * scale


def _fits(network: nn.Module, layer: str, size: tuple[int, int], whole: Tensor, pixels: Tensor) -> bool:
    trunk, head = LayerTrunk(network, layer), LayerHead(network, layer, size)
    try:
        is_map = trunk(pixels.clone()).ndim == 4
        return is_map and _whole(network, layer, pixels)[1] == 1 and not _differ(whole, _joined(trunk, head, pixels))
    except Exception:  # any failure means that the network cannot be split here
        return False


_LARGEST: Final = 32 * 2**20 - 2**16
"""Bytes; a little less than the maximum that glibc adapts to, since it adds a header."""


def keep_freed_memory() -> None:
    """Free one block of nearly 32 MiB, which is never touched and so costs nothing.

    glibc then keeps up to 64 MiB of freed memory for the process. It has no effect on other allocators.
    """
    block = torch.empty(_LARGEST, dtype=torch.uint8)
    del block


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    rows = x.contiguous(memory_format=torch.channels_last)
    found: Tensor = torch.mkldnn_convolution(rows, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    return found


class _Product(torch.autograd.Function):
    """The gradient to the input is a 1 x 1 convolution with the transposed weights; weights get none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, transposed: Tensor) -> Tensor:
        ctx.save_for_backward(transposed)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (transposed,) = ctx.saved_tensors
        return _product(gradients[0], transposed, None), None, None, None


class PointwiseConv2d(nn.Conv2d):
    """A frozen 1 x 1 convolution; PyTorch's own on other devices and in a mode that intercepts torch's functions."""

    _transposed: tuple[Tensor, tuple[int, int]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, D, H, W)."""
        if has_torch_function((x,)) or x.device.type != "cpu" or x.dtype != torch.float32 or not len(x):
            return super().forward(x)
        found: Tensor = _Product.apply(x, self.weight, self.bias, self._backward_weight())  # type: ignore[no-untyped-call]
        return found

    def _backward_weight(self) -> Tensor:
        # The version counts changes in place, as by load_state_dict.
        state = (self.weight.data_ptr(), self.weight._version)
        if self._transposed is None or self._transposed[1] != state:
            self._transposed = (self.weight.detach().transpose(0, 1).contiguous(), state)
        return self._transposed[0]


def with_fast_pointwise(network: nn.Module) -> nn.Module:
    """Replace suitable layers of a network without weight gradients by :class:`PointwiseConv2d`, in place."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return network
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and _is_pointwise(child):
                fast = PointwiseConv2d(child.in_channels, child.out_channels, 1, bias=child.bias is not None)
                fast.weight, fast.bias = child.weight, child.bias
                setattr(module, name, fast.train(child.training))
    return network


def _is_pointwise(layer: nn.Conv2d) -> bool:
    # The layer's own hook would be lost.
    if layer._forward_pre_hooks or layer._forward_hooks:
        return False
    shape = (layer.kernel_size, layer.stride, layer.padding, layer.groups)
    return shape == ((1, 1), (1, 1), (0, 0), 1) and not any(p.requires_grad for p in layer.parameters())
