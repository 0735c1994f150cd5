"""Split any torch network behind one of its layers, without knowing its code (needs the extra ``torch``)."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from whyface.errors import ModelError


class _Reached(Exception):  # noqa: N818 - a signal, not an error
    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output


class LayerTrunk(nn.Module):
    """The network up to a layer and no further: prepared pixels -> that layer's output.

    With ``through`` set it runs to its end all the same, for tracers, which cannot follow a run that is broken off.
    """

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

        def note(_: nn.Module, __: Any, output: Tensor) -> None:
            # A copy: what follows may work in place.
            seen.append(output.clone())

        handle = self.network.get_submodule(self.layer).register_forward_hook(note)
        try:
            self.network(pixels)
        finally:
            handle.remove()
        if not seen:
            raise ModelError(f"layer {self.layer!r} was not used; name another")
        return seen[-1]

    def _run_up_to(self, pixels: Tensor) -> Tensor:
        def stop(_: nn.Module, __: Any, output: Tensor) -> None:
            raise _Reached(output)

        handle = self.network.get_submodule(self.layer).register_forward_hook(stop)
        try:
            self.network(pixels)
        except _Reached as reached:
            return reached.output
        finally:
            handle.remove()
        raise ModelError(f"layer {self.layer!r} was not used; name another")


class LayerHead(nn.Module):
    """The network behind a layer: that layer's output -> embedding.

    The network is run on a blank picture and the layer's output is replaced, which costs a run but needs no knowledge
    of the network.
    """

    def __init__(self, network: nn.Module, layer: str, size: tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.layer = layer
        self.size = size

    def forward(self, spatial: Tensor) -> Tensor:
        """Run from the layer on."""

        def replace(_: nn.Module, __: Any, ___: Any) -> Tensor:
            return spatial

        handle = self.network.get_submodule(self.layer).register_forward_hook(replace)
        try:
            blank = torch.zeros(len(spatial), 3, *self.size, device=spatial.device)
            output: Tensor = self.network(blank)
        finally:
            handle.remove()
        return output


class CalledPart(nn.Module):
    """A part of a network that is a call on it rather than a layer: ``function(network, x)``."""

    def __init__(self, network: nn.Module, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Call it."""
        return self.function(self.network, x)


def split_at_layer(network: nn.Module, layer: str, size: tuple[int, int]) -> tuple[LayerTrunk, LayerHead]:
    """Split a network behind a layer.

    Parameters
    ----------
    network
        Prepared pixels (N, 3, H, W) -> embedding.
    layer
        Name of the layer as in ``network.named_modules()``; used once per run, with one tensor as its output.
    size
        (H, W).

    Raises
    ------
    ModelError
        If there is no such layer; the message names the closest.
    """
    names = [name for name, _ in network.named_modules() if name]
    if layer not in names:
        close = difflib.get_close_matches(layer, names, n=3, cutoff=0.3) or names[-3:]
        raise ModelError(f"the network has no layer {layer!r}; likely ones are {', '.join(map(repr, close))}")
    return LayerTrunk(network, layer), LayerHead(network, layer, size)
