"""Open any explanation method of :mod:`whyface.explain.registry`.

Modules are imported only when their method is opened, so methods without gradients do not need PyTorch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from whyface.errors import InputError, ModelError
from whyface.explain.explanation import Explanation
from whyface.explain.method_table import MethodEntry
from whyface.explain.places import mean_map_file
from whyface.explain.provenance import ThresholdSource
from whyface.explain.registry import method_entry, without_gradients
from whyface.explain.verdict import FacePair, VerdictMethod
from whyface.models.embedder import Embedder
from whyface.xcos.comparison import CosineComparison

if TYPE_CHECKING:
    from whyface.files.progress import ProgressCallback


class Explains(Protocol):
    """Anything that explains pairs of aligned faces."""

    name: str

    def __call__(self, pair: FacePair) -> Explanation:
        """Explain one pair."""
        ...


def open_method(
    name: str,
    verdict: VerdictMethod | None = None,
    *,
    embedder: Embedder | None = None,
    threshold: float = 0.0,
    directory: Path | str | None = None,
    batch_size: int | None = None,
    workers: int = 1,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> Explains:
    """Open a method that explains the score behind the verdict.

    Parameters
    ----------
    name
        See :data:`~whyface.explain.registry.METHODS`.
    verdict
        The model's comparison with its threshold, such as :attr:`whyface.verification.Verifier.method`.
    embedder, threshold
        Instead of ``verdict``: a network whose embeddings are compared, and the cosine above which two faces match.
        Methods that need gradients take any :class:`~whyface.models.torch_embedder.TorchEmbedder`.
    directory
        Folder of models that do not come with whyface.
    batch_size
        Maximum number of faces in the network at once; by default the method's own.
    workers, seed, progress
        For black-box methods, see :class:`~whyface.explain.black_box.BlackBoxMethod`.
    **options
        Further options of the method's class.

    Raises
    ------
    InputError
        If the method is unknown, an option is invalid, or not exactly one of ``verdict`` and ``embedder`` is given.
    ModelError
        If the method cannot explain this model, or PyTorch is missing; the message says which methods can.
    """
    entry = method_entry(name)
    if (verdict is None) == (embedder is None):
        raise InputError("give either a verdict (Verifier().method) or an embedder, with its threshold")
    if verdict is None:
        assert embedder is not None
        verdict = VerdictMethod(
            CosineComparison(embedder), threshold=threshold, source=ThresholdSource(kind="user", name="set by the user")
        )
    comparison = verdict.comparison
    if entry.needs == "xcos":
        if comparison.attention is None:
            raise ModelError(
                f"method {name!r} needs a model with attention over a grid, but {comparison.name!r} was opened "
                f"without; choose an attention, or use one of {without_gradients()}"
            )
        return verdict
    embedder = comparison.embedder
    common: dict[str, Any] = {"threshold": verdict.threshold, "source": verdict.source, **options}
    offered: dict[str, Any] = {"workers": workers, "seed": seed, "progress": progress, "comparison": comparison}
    if batch_size is not None:
        common["batch_size"] = batch_size
    if entry.needs == "torch":
        _require_torch(entry, embedder)
        from whyface.explain.gradient_method import pair_score  # noqa: PLC0415 - imports torch

        score = pair_score(comparison, directory=directory)
        offered.pop("comparison")
        if "dimensions" not in options:
            # Without a subset of dimensions nothing is drawn.
            offered.pop("seed")
        method: Explains = entry.make(score.embedder, offered=offered, score=score, **common)
        return method
    if entry.needs == "linear head" and comparison.attention is not None:
        raise ModelError(
            f"method {name!r} reads the cosine of embeddings, but {embedder.name!r} is compared by xCos, which is a "
            "sum of places already; use xcos, or a model that compares embeddings, such as mobilefacenet-ms1m"
        )
    method = entry.make(embedder, offered=offered if entry.needs == "any embedder" else {}, **common)
    return method


def default_methods(verdict: VerdictMethod) -> Sequence[str]:
    """Return the default methods: a fast one by place if the model has one, and one for any network."""
    if verdict.comparison.attention is not None:
        return "xcos", "xface"
    return ("places", "xface") if mean_map_file(verdict.comparison.embedder) is not None else ("xface",)


def _require_torch(entry: MethodEntry, embedder: Embedder) -> None:
    if importlib.util.find_spec("torch") is None:
        raise ModelError(
            f"method {entry.name!r} needs gradients, and PyTorch is not installed; pip install 'whyface[torch]', "
            f"or use one of {without_gradients()}"
        )
    from whyface.explain.gradient_method import gives_gradients  # noqa: PLC0415 - imports torch
    from whyface.models.torch_embedder import TORCH_MODELS  # noqa: PLC0415

    if not gives_gradients(embedder):
        raise ModelError(
            f"method {entry.name!r} needs gradients, but {embedder.name!r} is an ONNX network without them; "
            f"use one of {without_gradients()}, or a model with a torch network: {', '.join(TORCH_MODELS)}, "
            "BACKBONE:FILE.safetensors, or the folder of one that whyface export or import wrote"
        )
