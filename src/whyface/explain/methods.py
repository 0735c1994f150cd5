"""The one way to open any explanation method of :mod:`whyface.explain.registry`.

Modules are imported only when their method is asked for, so that nobody needs PyTorch for a method that does without.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from whyface.errors import ModelError
from whyface.explain.explanation import Explanation
from whyface.explain.pair_scorer import XcosScorer
from whyface.explain.places import mean_map_file
from whyface.explain.registry import MethodEntry, method_entry, without_gradients
from whyface.explain.verdict import CosineMethod, FacePair, XcosMethod
from whyface.models.catalogue import model_entry
from whyface.models.embedder import Embedder

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
    verdict: XcosMethod | CosineMethod,
    *,
    directory: Path | str | None = None,
    batch_size: int | None = None,
    workers: int = 1,
    seed: int = 0,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> Explains:
    """Open a method so that it explains the score that decides the verdict.

    Parameters
    ----------
    name
        See :data:`~whyface.explain.registry.METHODS`.
    verdict
        How the model compares faces, with its threshold; :attr:`whyface.verification.Verifier.method` is one.
    directory
        Where models that do not come with whyface lie.
    batch_size
        At most so many faces go through the network at once; the method's own default where left out.
    workers, seed, progress
        For methods that look from outside, see :class:`~whyface.explain.black_box.BlackBoxMethod`.
    **options
        Further options of the method's class.

    Raises
    ------
    InputError
        If the method is unknown or an option does not fit.
    ModelError
        If the method cannot explain this model, or PyTorch is missing; the message names what works.
    """
    entry = method_entry(name)
    if entry.needs == "xcos":
        if not isinstance(verdict, XcosMethod):
            raise ModelError(
                f"method {name!r} needs a model with attention over a grid, which {verdict.embedder.name!r} is not as "
                f"opened; choose an attention, or use one of {without_gradients()}"
            )
        return verdict
    embedder = verdict.model.embedder if isinstance(verdict, XcosMethod) else verdict.embedder
    common: dict[str, Any] = {"threshold": verdict.threshold, "source": verdict.source, **options}
    if batch_size is not None:
        common["batch_size"] = batch_size
    if entry.needs == "torch":
        _require_torch(entry, embedder)
        from whyface.explain.gradient_method import open_pair_score  # noqa: PLC0415 - imports torch

        attention = verdict.attention if isinstance(verdict, XcosMethod) else None
        score = open_pair_score(embedder.name, attention=attention, directory=directory)
        if "dimensions" in options:
            # Only a part of the dimensions is a draw.
            common["seed"] = seed
        method: Explains = entry.load()(score.embedder, score=score, **common)
        return method
    if entry.needs == "linear head" and isinstance(verdict, XcosMethod):
        raise ModelError(
            f"method {name!r} reads the cosine of embeddings, but {embedder.name!r} is compared by xCos, which is a "
            "sum of places already; use xcos, or a model that compares embeddings, such as mobilefacenet-ms1m"
        )
    if entry.needs == "any embedder":
        common |= {"workers": workers, "seed": seed, "progress": progress}
        if isinstance(verdict, XcosMethod):
            common["scorer"] = XcosScorer(verdict.model, verdict.attention)
    method = entry.load()(embedder, **common)
    return method


def default_methods(verdict: XcosMethod | CosineMethod) -> Sequence[str]:
    """Say which methods are used where none is named: a quick one of this model's places, and one for any network."""
    if isinstance(verdict, XcosMethod):
        return "xcos", "xface"
    return ("places", "xface") if mean_map_file(verdict.embedder) is not None else ("xface",)


def _require_torch(entry: MethodEntry, embedder: Embedder) -> None:
    if importlib.util.find_spec("torch") is None:
        raise ModelError(
            f"method {entry.name!r} needs gradients, and PyTorch is not installed; pip install 'whyface[torch]', "
            f"or use one of {without_gradients()}"
        )
    from whyface.models.torch_embedder import TORCH_MODELS  # noqa: PLC0415 - imports torch

    # A file of the user's own may bear a known name.
    if embedder.name not in TORCH_MODELS or model_entry(embedder.name).files["onnx"].sha256 != embedder.sha256:
        raise ModelError(
            f"method {entry.name!r} needs gradients, which {embedder.name!r} as an ONNX network does not give; "
            f"use one of {without_gradients()}, or a model with a torch network: {', '.join(TORCH_MODELS)}"
        )
