"""Similarity and weight by place, without training: xCos's question put to a network with a linear head."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.explain.batched_method import BatchedPairMethod
from whyface.explain.cell_terms import FloatArray, cell_parts
from whyface.explain.linear_head import linear_head
from whyface.explain.mean_map import check_mean_map, known_mean_map
from whyface.explain.pair_method import PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.models.embedder import Batch, Embedder, l2_normalise
from whyface.xcos.grid import grid_cosine, xcos_score


class Places(NamedTuple):
    """S in [-1, 1] and W >= 0, which sums to 1, for N pairs: (N, H, W) float32 each."""

    similarity: NDArray[np.float32]
    attention: NDArray[np.float32]


def neighbourhoods(parts: FloatArray, sigma: float) -> NDArray[np.float64]:
    """Sum parts (N, D, H, W) around every place, by a Gaussian of ``sigma`` places that is 1 at the place itself."""
    rows, columns = (_gaussian(size, sigma) for size in parts.shape[2:])
    gathered: NDArray[np.float64] = np.matmul(np.matmul(rows, parts), columns)
    return gathered


def compare_places(parts_a: FloatArray, parts_b: FloatArray, sigma: float) -> Places:
    """Compare N pairs place by place.

    Parameters
    ----------
    parts_a, parts_b
        What every cell of a face adds to its embedding beyond the mean face's, (N, D, H, W) each.
    sigma
        Width of the neighbourhood in places, > 0.

    Returns
    -------
    S, the cosine of both faces' neighbourhoods, and W, the product of their lengths divided by its sum: how much the
    embeddings owe to the place. W is uniform where a face is the mean face everywhere.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    near_a, near_b = (neighbourhoods(parts, sigma) for parts in (parts_a, parts_b))
    similarity = grid_cosine(near_a, near_b)
    weights = np.linalg.norm(near_a, axis=1) * np.linalg.norm(near_b, axis=1)
    total = weights.sum(axis=(1, 2), keepdims=True)
    uniform = 1 / (weights.shape[1] * weights.shape[2])
    shares = np.divide(weights, total, out=np.full_like(weights, uniform), where=total > 0)
    return Places(similarity, np.asarray(shares, np.float32))


class PlacesMethod(BatchedPairMethod):
    """Where two faces are alike, and how much each place counts, for a network that was never trained to say so.

    Behind the last spatial map F the head is affine, so an embedding is a sum over cells of P_ij F_ij, as in
    :class:`~whyface.explain.cells.CellsMethod`. Two things keep those parts from being readable as they are, and are
    mended here. Most of a part is the same for every face; what is left after the mean face's part P_ij mean(F_ij) is
    taken off is this face's own. And what a face looks like at a place is told by neighbouring cells together; their
    parts are summed with a Gaussian. Then S is the cosine of both faces' sums at a place, W the product of their
    lengths, and the map is the evidence (S - threshold) * W, the same for both faces.

    Unlike xCos's and those of ``cells``, the numbers do not add up to the deployed cosine, which is computed as it
    always was; ``details`` gives S, W and their sum <S, W> beside it.

    Assumed: a cell speaks for its place; the threshold of the whole cosine is also a place's.

    Works without gradients: on torch networks, and on ONNX networks whose grid is named.

    Parameters
    ----------
    embedder, threshold, source, batch_size
        See :class:`~whyface.explain.pair_method.PairMethod`.
    reference
        The network's mean map (C, H, W), see :func:`~whyface.explain.mean_map.mean_map`; those of known models come
        with whyface.
    sigma
        Width of the neighbourhood in places. On 60 LFW pairs with mobilefacenet-ms1m 0.7, 1 and 1.5 did alike.

    Raises
    ------
    ModelError
        If the embedder has no grid, the head behind it is not affine, or its mean map is not known.
    InputError
        If the mean map does not fit, or ``sigma`` is not positive.

    References
    ----------
    Ours. S, W and their product as in Lin et al., "xCos", ACM TOMM 2021, which trains a network for them.
    """

    name: ClassVar[str] = "places"

    def __init__(
        self,
        embedder: Embedder,
        *,
        threshold: float = 0.0,
        source: ThresholdSource | None = None,
        batch_size: int = 64,
        reference: FloatArray | None = None,
        sigma: float = 1.0,
    ) -> None:
        super().__init__(embedder, threshold=threshold, source=source, batch_size=batch_size)
        if not sigma > 0:
            raise InputError(f"sigma must be positive, got {sigma}")
        self.sigma = sigma
        self._grids, self.head = linear_head(embedder)
        mean = known_mean_map(embedder) if reference is None else reference
        if mean is None:
            raise ModelError(
                f"method {self.name!r} needs to know what all faces look like to {embedder.name!r}; give two dozen "
                "photos of other people (--reference FOLDER, or reference=mean_map(embedder, faces))"
            )
        self.mean = check_mean_map(mean, self.head.weights.shape[1:], embedder.name)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The width of the neighbourhood, and the SHA-256 of the mean map."""
        return {"sigma": self.sigma, "mean_map_sha256": hashlib.sha256(self.mean.tobytes()).hexdigest()}

    def batch_maps(self, first: Batch, second: Batch) -> PairMaps:
        """Explain a batch of pairs."""
        maps, count = self._grids.grid(np.concatenate([first, second])), len(first)
        embeddings = l2_normalise(self.head(maps))
        own = cell_parts(maps - self.mean, self.head.weights)
        places = compare_places(own[:count], own[count:], self.sigma)
        evidence = ((places.similarity - self.threshold) * places.attention).astype(np.float32)
        return PairMaps(
            score=np.einsum("nd,nd->n", embeddings[:count], embeddings[count:]),
            map_a=evidence,
            map_b=evidence.copy(),
            forward=2,
            details=tuple(_details(one, other) for one, other in zip(*places, strict=True)),
        )


def _gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    reach = np.subtract.outer(np.arange(size), np.arange(size))
    return np.exp(-np.square(reach) / (2 * sigma**2))


def _details(similarity: NDArray[np.float32], attention: NDArray[np.float32]) -> Mapping[str, Any]:
    return {
        "similarity": similarity.tolist(),
        "attention": attention.tolist(),
        "places_score": float(xcos_score(similarity, attention)),
    }
