"""Contrastive excitation backprop on pairs and triplets (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from whyface.errors import InputError, ModelError
from whyface.explain.gradient_method import GradientMethod, PairScore, to_array
from whyface.explain.pair_method import PairMaps, photos_of
from whyface.explain.provenance import ThresholdSource
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Batch, Embedder

_TOLERANCE: Final = 1e-3

Linear = Callable[..., Tensor]

# Names of torch functions, without the underscores of operators and of in-place functions.
# One input per output: the probability is passed on unchanged. A gate (the smaller factor of a product) gets none.
_ACTIVATIONS: Final = ("relu", "relu6", "hardtanh", "prelu", "leaky_relu", "elu", "silu", "gelu", "sigmoid", "tanh")
_HARD: Final = ("hardswish", "hardsigmoid", "clamp", "clamp_min", "exp", "log", "dropout", "batch_norm", "normalize")
_PRODUCTS: Final = ("mul", "rmul", "imul", "div", "truediv", "itruediv", "neg")
_DIFFERENCES: Final = ("sub", "isub", "rsub")
_ONE_TO_ONE: Final = frozenset((*_ACTIVATIONS, *_HARD, *_PRODUCTS))
_SUMS: Final = frozenset(("add", "radd", "iadd"))
WEIGHTED: Final = frozenset(("conv2d", "linear"))
# Products of x with a matrix for each place.
_PLACED: Final = frozenset(("bmm", "matmul"))
# How long a feature is scales what follows, as a gate does, and gets no probability.
_LENGTHS: Final = frozenset(("linalg_vector_norm", "vector_norm", "norm"))
# Sums with positive weights, 1 or 1 / n.
_AVERAGES: Final = frozenset(("avg_pool2d", "adaptive_avg_pool2d", "mean", "sum"))
# Elements only move, or the largest takes all: what autograd does anyway.
_SHAPES: Final = ("flatten", "view", "reshape", "unflatten", "permute", "transpose", "contiguous", "squeeze")
_PARTS: Final = ("getitem", "cat", "concat", "stack", "tensor_split", "chunk", "split", "unbind", "unsqueeze", "expand")
_CASTS: Final = ("to", "float", "double", "type", "type_as", "cpu", "cuda")
_MOVES: Final = frozenset((*_SHAPES, *_PARTS, *_CASTS, "clone", "view_as", "flip", "pad", "max_pool2d", "amax"))
# Queries of a tensor, and new tensors that copy no values.
_QUESTIONS: Final = ("get", "size", "dim", "numel", "is_floating_point", "is_contiguous", "len", "detach")
_NEW: Final = ("new_tensor", "new_zeros", "new_ones", "new_full", "new_empty")
_LIKE: Final = ("zeros_like", "ones_like", "full_like", "empty_like")
_PLAIN: Final = frozenset((*_QUESTIONS, *_NEW, *_LIKE))


class ExcitationMode(TorchFunctionMode):
    """A context for forward passes whose backward pass propagates winning probabilities.

    Raise ModelError if during a forward pass, if the network has a kind of layer without a rule.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace one call of a torch function."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "").strip("_")
        if name in _PLAIN or name in _MOVES or not _any_needs(args):
            return func(*args, **kwargs)
        if name in _LENGTHS:
            return func(*(arg.detach() if isinstance(arg, Tensor) else arg for arg in args), **kwargs)
        found = _ruled(name, func, args, kwargs)
        if found is not None:
            return found
        raise ModelError(
            f"excitation backprop has no rule for {name!r}, which this network uses; choose another method"
        )


def _ruled(name: str, func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor | None:
    """Call a function by its rule; return None if it has none."""
    needing = [arg for arg in args if isinstance(arg, Tensor) and arg.requires_grad]
    output: Tensor | None = None
    if name in WEIGHTED:
        output = _weighted(func, args, kwargs)
    elif name in _PLACED and len(needing) == 1 and needing[0] is args[0]:
        output = _placed(func, *args)
    elif name in _SUMS and len(needing) == 2:
        output = _shares(torch.add, torch.add, None, *needing)
    elif name in ("sub", "isub") and len(needing) == 2:
        output = _shares(torch.sub, lambda x, y: x + 0 * y, lambda x, y: 0 * x - y, *needing)
    elif name in _AVERAGES:
        average: Linear = lambda x: func(x, *args[1:], **kwargs)  # noqa: E731
        output = _shares(average, average, None, args[0])
    elif name in _ONE_TO_ONE or (name in (*_SUMS, *_DIFFERENCES) and len(needing) == 1):
        output = _one_to_one(func, args, kwargs)
    return output


def _any_needs(args: Any) -> bool:
    return any(
        arg.requires_grad if isinstance(arg, Tensor) else isinstance(arg, list | tuple) and _any_needs(arg)
        for arg in args
    )


def _weighted(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    weight: Tensor = args[1] if len(args) > 1 else kwargs.pop("weight")
    bias = args[2] if len(args) > 2 else kwargs.pop("bias", None)
    rest = args[3:]

    def part(sign: float) -> Linear:
        chosen = weight.clamp(min=0) if sign > 0 else weight.clamp(max=0)
        return lambda x: func(x, chosen, None, *rest, **kwargs)

    return _shares(lambda x: func(x, weight, bias, *rest, **kwargs), part(1), part(-1), args[0])


def _placed(func: Any, x: Tensor, weight: Tensor) -> Tensor:
    chosen = weight.clamp(min=0), weight.clamp(max=0)
    return _shares(lambda x: func(x, weight), lambda x: func(x, chosen[0]), lambda x: func(x, chosen[1]), x)


def _one_to_one(func: Any, args: Any, kwargs: dict[str, Any]) -> Tensor:
    tensors = [index for index, arg in enumerate(args) if isinstance(arg, Tensor) and arg.requires_grad]
    main = max(tensors, key=lambda index: args[index].numel())
    fixed = [arg.detach() if isinstance(arg, Tensor) else arg for arg in args]
    # The copy is for in-place functions.
    actual: Linear = lambda x: func(*fixed[:main], x.clone(), *fixed[main + 1 :], **kwargs)  # noqa: E731
    output: Tensor = _Whole.apply(actual, args[main])  # type: ignore[no-untyped-call]
    return output


def _shares(actual: Linear, plus: Linear, minus: Linear | None, *inputs: Tensor) -> Tensor:
    output: Tensor = _Shares.apply(actual, plus, minus, *inputs)  # type: ignore[no-untyped-call]
    return output


class _Whole(torch.autograd.Function):
    """A layer with one input per output."""

    @staticmethod
    def forward(ctx: Any, actual: Linear, x: Tensor) -> Tensor:
        ctx.shape = x.shape
        return actual(x)

    @staticmethod
    def backward(ctx: Any, *probability: Tensor) -> Any:
        return None, probability[0].sum_to_size(ctx.shape)


class _Shares(torch.autograd.Function):
    """A layer whose outputs are sums: ``actual``, and its parts with positive and negative weights."""

    @staticmethod
    def forward(ctx: Any, actual: Linear, plus: Linear, minus: Linear | None, *inputs: Tensor) -> Tensor:
        output = actual(*inputs)
        ctx.plus, ctx.minus = plus, minus
        ctx.save_for_backward(output, *inputs)
        return output

    @staticmethod
    def backward(ctx: Any, *probability: Tensor) -> Any:
        output, *inputs = ctx.saved_tensors
        with torch.enable_grad():
            raised = [x.clamp(min=0).detach().requires_grad_() for x in inputs]
            lowered = [x.clamp(max=0).detach().requires_grad_() for x in inputs]
            for_more, for_less = ctx.plus(*raised), ctx.plus(*lowered)
            if ctx.minus is not None:
                for_more, for_less = for_more + ctx.minus(*lowered), for_less + ctx.minus(*raised)
            # Per output: its probability divided by the sum of the contributions of the same sign.
            scale = [
                torch.where(went & (total != 0), probability[0] / torch.where(total != 0, total, 1), 0)
                for went, total in ((output > 0, for_more.detach()), (output < 0, for_less.detach()))
            ]
            factors = torch.autograd.grad((for_more, for_less), [*raised, *lowered], scale)
        count = len(inputs)
        masses = [
            up.detach() * factor_up + down.detach() * factor_down
            for up, down, factor_up, factor_down in zip(raised, lowered, factors[:count], factors[count:], strict=True)
        ]
        return None, None, None, *masses


class EbpMethod(GradientMethod):
    """Contrastive excitation backprop: the pixels that win for a match minus those that win against it.

    The score is one more neuron on top of the embedding of A, with e_B as its weights. Its winning probability, 1, is
    divided among the dimensions that raise it, in proportion to their arguments e_A,n * e_B,n, and propagated layer by
    layer to the pixels. The contrast is the neuron with the weights -e_B, driven by the dimensions that speak against a
    match. The map is the first map minus the second. Each sums to 1, so the map sums to 0 (unless one side has no
    dimension): what both share, such as what any face excites, cancels. The map of the other face uses e_A.

    The published method is for triplets, with a third person as the contrast: :meth:`triplet`. A pair has none; -e_B is
    the contrast of the original paper. From nodes inside the network instead: :mod:`whyface.explain.subtree_ebp`.

    Assumption: each layer sums its inputs in proportion; biases and the shape of activations do not matter. Raise
    ModelError if the network has a kind of layer without a rule, is TorchScript, which hides its layers, or changes in
    place what it uses again. Two random pictures are run to find out.

    Parameters
    ----------
    embedder, threshold, source, batch_size, score
        See :class:`~whyface.explain.gradient_method.GradientMethod`. The threshold does not change the map.
    truncate
        Truncated contrast, see :func:`contrast`: 0.2 as published by Williford et al.; 0 keeps everything.

    References
    ----------
    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016, sections 3.2 and 3.3; for faces:
    Williford, May, Byrne, "Explainable Face Recognition", ECCV 2020.
    """

    name: ClassVar[str] = "ebp"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 32,
        score: PairScore | None = None,
        truncate: float = 0.0,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size, score=score)
        if not 0 <= truncate < 1:
            raise InputError(f"the share of the mass that is cut off must be from 0 to below 1, got {truncate:g}")
        self.truncate = truncate
        check_rules(self.score, self.name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The share of the mass that is cut off."""
        return {"truncate": self.truncate}

    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain a batch of pairs."""
        pixels = torch.cat([first, second]).requires_grad_()
        with torch.enable_grad(), ExcitationMode():
            features = self.score.features(pixels)
        with torch.no_grad():
            terms, _ = self.score.arguments(*features.detach().tensor_split(2))
            both = torch.cat([terms, terms])
        for_match, against = (winning_mass(features, pixels, sign * both) for sign in (1, -1))
        map_a, map_b = contrast(for_match, against, self.truncate).tensor_split(2)
        return PairMaps(to_array(terms.sum(dim=1)), to_array(map_a), to_array(map_b), forward=2, backward=4)

    def triplet(self, probe: Batch, mate: Batch, non_mate: Batch) -> NDArray[np.float32]:
        """Explain N triplets, see :meth:`whyface.explain.pair_method.PairMethod.triplet`.

        The neuron of the mate has e_mate as its weights and the contrast has e_non_mate, as published.
        """
        with torch.inference_mode(False):
            others = [role_features(self.score, role) for role in (mate, non_mate)]
            pixels = self.network.pixels(probe).requires_grad_()
            with torch.enable_grad(), ExcitationMode():
                features = self.score.features(pixels)
            with torch.no_grad():
                terms = [mean_terms(self.score, other, features.detach()) for other in others]
            for_mate, for_non_mate = (winning_mass(features, pixels, one) for one in terms)
            return to_array(contrast(for_mate, for_non_mate, self.truncate))


def role_features(score: PairScore, role: Batch) -> list[Tensor]:
    """Return the features of a triplet's mates or non-mates, one tensor for each of their photos."""
    with torch.no_grad():
        return [score.features(score.embedder.pixels(photo)) for photo in photos_of(role)]


def mean_terms(score: PairScore, others: Sequence[Tensor], features: Tensor) -> Tensor:
    """Return the mean of the terms of the scores of faces with several others, given by features."""
    return torch.stack([score.arguments(features, other).terms for other in others]).mean(dim=0)


def check_rules(score: PairScore, method: str) -> None:
    """Check that a network has the same features with and without the rules; raise ModelError if it has not."""
    network = score.embedder
    if any(isinstance(part, torch.jit.ScriptModule) for part in (*network.trunk.modules(), *network.head.modules())):
        raise ModelError(
            f"model {network.name!r}: {method} needs the network's layers, which TorchScript hides; "
            "give the Python module that it was made from, or choose another method"
        )
    pixels = network.pixels(np.random.default_rng(0).integers(0, 256, (2, 3, FACE_SIZE, FACE_SIZE), np.uint8))
    with torch.no_grad():
        plain = score.features(pixels)
    with torch.enable_grad(), ExcitationMode():
        ruled = score.features(pixels.requires_grad_())
    if not float((ruled.detach() - plain).norm()) <= _TOLERANCE * float(plain.norm()):
        raise ModelError(
            f"model {network.name!r}: the network changes in place what it uses again, which {method} "
            "does not support; set inplace=False in such layers, or choose another method"
        )


def winning_mass(features: Tensor, pixels: Tensor, arguments: Tensor) -> Tensor:
    """Propagate winning probabilities from features to pixels.

    Return their mass (N, 3, H, W), each face's >= 0 with sum 1, or all 0 if nothing drives the neuron.

    Parameters
    ----------
    features
        (N, ...), computed from ``pixels`` inside :class:`~whyface.explain.ebp.ExcitationMode`.
    pixels
        (N, 3, H, W), requiring gradients.
    arguments
        (N, K), K numbers per face of ``features``: the positive ones drive the neuron on top, in proportion.
    """
    prior = prior_mass(arguments).view_as(features)
    (mass,) = torch.autograd.grad(features, pixels, prior, retain_graph=True)
    # A layer whose output is due to its bias alone passes nothing on.
    return mass / mass.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1e-30)


def prior_mass(arguments: Tensor) -> Tensor:
    """Return the winning probabilities (N, K) of the features that drive a neuron: the positive arguments, sum 1."""
    prior = arguments.clamp(min=0)
    return prior / prior.sum(dim=1, keepdim=True).clamp(min=1e-30)


def usual_mass(score: PairScore, pixels: Tensor) -> Tensor:
    """Return the winning mass of any face, (N, H, W): where all features together come from, whoever it is."""
    pixels = pixels.detach().requires_grad_()
    with torch.enable_grad(), ExcitationMode():
        features = score.features(pixels)
    return winning_mass(features, pixels, torch.ones_like(features.detach().flatten(1))).sum(dim=1)


def contrast(for_it: Tensor, against: Tensor, truncate: float = 0.0) -> Tensor:
    """Return the maps (N, H, W) of two masses (N, C, H, W): the first minus the second, summed over the colours.

    With ``truncate``, the contrast is taken only where its own mass is large: the smallest masses that together hold
    that share are left out, of each side for itself (published: 0.2, and only the first side).
    """
    ahead = (for_it - against).clamp(min=0) * _largest(for_it, truncate)
    behind = (against - for_it).clamp(min=0) * _largest(against, truncate)
    return (ahead - behind).sum(dim=1)


def _largest(mass: Tensor, truncate: float) -> Tensor:
    """Return 1 for the values that are left when the smallest, which hold a share of the mass, are cut off, else 0."""
    flat = mass.flatten(1)
    values, order = flat.sort(dim=1)
    kept = values.cumsum(dim=1) >= truncate * values.sum(dim=1, keepdim=True)
    return torch.zeros_like(flat).scatter(1, order, kept.to(flat.dtype)).view_as(mass)
