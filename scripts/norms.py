"""Update the statistics of BatchNorms to those of their inputs (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from whyface.errors import InputError


@torch.no_grad()
def restate_norms(module: nn.Module, batches: Iterable[Any], run: Callable[[Any], object]) -> int:
    """Measure the statistics of every BatchNorm's input, and rewrite its affine part so that the function is the same.

    A network fine-tuned with fixed statistics still has those from before. With the measured mean m' and variance v' in
    place of m and v, the weight becomes ``w sqrt(v' + eps) / sqrt(v + eps)`` and the bias
    ``b + w (m' - m) / sqrt(v + eps)``. The outputs are the same, and the statistics describe the current network, as
    training in train mode and quantisation need.

    Parameters
    ----------
    module
        The network, in eval mode.
    batches
        Batches to measure on.
    run
        Runs the module on one batch.

    Returns
    -------
    Number of norms restated.

    Raises
    ------
    InputError
        If the module is in train mode, or a norm got no data.
    """
    if module.training:
        raise InputError("norms can be restated in eval mode only; call eval() first")
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    sums: dict[_BatchNorm, list[Tensor]] = {}

    def observe(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _BatchNorm)
        x = inputs[0].double().transpose(0, 1).flatten(1)
        new = [torch.tensor(float(x.shape[1])), x.sum(1), x.square().sum(1)]
        sums[norm] = [a + b for a, b in zip(sums[norm], new, strict=True)] if norm in sums else new

    handles = [norm.register_forward_pre_hook(observe) for norm in norms]
    try:
        for batch in batches:
            run(batch)
    finally:
        for handle in handles:
            handle.remove()
    for norm in norms:
        if norm not in sums:
            raise InputError("a norm got no data while its statistics were measured; run the whole module")
        count, total, squares = sums[norm]
        mean = total / count
        variance = (squares / count - mean.square()).clamp_min(0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        old = (norm.running_var.double() + norm.eps).sqrt()
        weight = norm.weight.double().clone()
        norm.weight.copy_(weight * (variance + norm.eps).sqrt() / old)
        norm.bias.copy_(norm.bias.double() + weight * (mean - norm.running_mean.double()) / old)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
    return len(norms)
