"""What the methods that need gradients have in common (needs the extra ``torch``)."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from whyface.errors import InputError, ModelError
from whyface.explain.batched_method import BatchedPairMethod
from whyface.explain.method_table import without_gradients
from whyface.explain.pair_method import PairMaps
from whyface.explain.pair_score import CosineScore, PairScore
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Batch, Embedder
from whyface.models.freed_memory import keep_freed_memory
from whyface.models.torch_embedder import TorchEmbedder


class GradientMethod(BatchedPairMethod):
    """A method that runs backward through a torch network.

    Parameters
    ----------
    embedder
        A :class:`~whyface.models.torch_embedder.TorchEmbedder`.
    threshold, source
        See :class:`~whyface.explain.pair_method.PairMethod`.
    batch_size
        At most so many faces go through the network together, at least 2; half as many pairs.
    score
        The score to explain; the cosine of the embeddings by default. It must belong to ``embedder``.

    Raises
    ------
    ModelError
        If the embedder gives no gradients; the message names the methods that work with it.
    InputError
        If the score belongs to another embedder or the batch size is too small.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 32,
        score: PairScore | None = None,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size)
        self.network: TorchEmbedder = require_torch(embedder, self.name)
        if batch_size < 2:
            raise InputError(f"method {self.name!r} takes both faces together; the batch size must be at least 2")
        if score is not None and score.embedder is not embedder:
            raise InputError("the score to explain belongs to another embedder; make it from the one given")
        self.score = CosineScore(self.network) if score is None else score
        keep_freed_memory()

    @abstractmethod
    def pair_maps(self, first: Tensor, second: Tensor) -> PairMaps:
        """Explain at most ``batch_size // 2`` pairs of pixels (N, 3, 112, 112), 0..255."""

    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain a batch of faces by their pixels."""
        return self.pair_maps(self.network.pixels(first), self.network.pixels(second))


def require_torch(embedder: Embedder, method: str) -> TorchEmbedder:
    """Return the embedder as one that gives gradients.

    Raises
    ------
    ModelError
        It gives none, e.g. because it runs on ONNX Runtime; the message names the methods that work with it.
    """
    if isinstance(embedder, TorchEmbedder):
        return embedder
    raise ModelError(
        f"method {method!r} needs gradients, which model {embedder.name!r} does not give (ONNX Runtime only runs "
        f"forward); open it as a torch network, or use one of {without_gradients()}"
    )


def to_array(tensor: Tensor) -> NDArray[np.float32]:
    """Give a tensor as a float32 array."""
    array: NDArray[np.float32] = np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
    return array
