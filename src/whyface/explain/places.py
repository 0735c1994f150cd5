"""The method ``places``, and the mean map it needs: a network's last spatial map, averaged over faces.

The mean maps of the known models come with whyface; for any other network, two dozen aligned faces suffice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from whyface.errors import InputError, ModelError, reason
from whyface.explain.cells import FloatArray, cell_parts
from whyface.explain.pair_method import BatchedPairMethod, PairMaps
from whyface.explain.provenance import ThresholdSource
from whyface.files.guarded import read_tensors
from whyface.files.integrity import with_sorted_metadata, write_atomic
from whyface.models.catalogue import known_models
from whyface.models.embedder import Batch, Embedder, l2_normalise, require_grid
from whyface.models.linear_head import linear_head
from whyface.xcos.grid import grid_cosine, xcos_score

if TYPE_CHECKING:
    from whyface.files.progress import ProgressCallback


FEWEST: Final = 12
"""Minimum number of faces; the mean of fewer would describe them instead of faces in general."""

_TENSOR: Final = "mean_map"


def mean_map(
    embedder: Embedder, faces: Batch, *, batch_size: int = 64, progress: ProgressCallback | None = None
) -> NDArray[np.float32]:
    """Average the last spatial map over faces.

    Return (C, H, W) float32. Raise InputError if there are too few faces, and ModelError if the network has no grid.

    Parameters
    ----------
    faces
        (N, 3, 112, 112), RGB, 0..255: at least :data:`FEWEST`, preferably each of another person, and of nobody who
        will be compared.
    """
    if len(faces) < FEWEST:
        raise InputError(f"{len(faces)} faces are too few for a mean; give at least {FEWEST} of different people")
    grids = require_grid(embedder)
    total: NDArray[np.float64] | float = 0.0
    for start in range(0, len(faces), batch_size):
        total = total + grids.grid(faces[start : start + batch_size]).sum(axis=0, dtype=np.float64)
        if progress is not None:
            progress(min(start + batch_size, len(faces)), len(faces))
    return np.asarray(total / len(faces), np.float32)


def known_mean_map(embedder: Embedder) -> NDArray[np.float32] | None:
    """Return the mean map that comes with whyface for exactly this network; None if there is none."""
    path = mean_map_file(embedder)
    return None if path is None else read_mean_map(path)


def mean_map_file(embedder: Embedder) -> Path | None:
    """Return the file of the mean map for the network with this SHA-256; None if whyface has none."""
    for entry in known_models():
        if embedder.sha256 in {file.sha256 for file in entry.files.values()}:
            path = shipped_mean_maps() / f"{entry.name}.safetensors"
            return path if path.is_file() else None
    return None


def read_mean_map(path: Path | str) -> NDArray[np.float32]:
    """Read the mean map, (C, H, W) float32, that :func:`save_mean_map` wrote. Raise ModelError if it cannot be read."""
    try:
        return np.asarray(read_tensors(path, (_TENSOR,))[0][_TENSOR], np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: no mean map ({reason(error)}); make it again with scripts/mean_maps.py") from error


def save_mean_map(path: Path | str, values: NDArray[np.float32], record: dict[str, str]) -> None:
    """Write a mean map (C, H, W) in half precision, with a record of its origin.

    Raise OutputError if the file cannot be written.
    """
    data = save({_TENSOR: np.ascontiguousarray(values, np.float16)}, metadata=record)
    write_atomic(path, with_sorted_metadata(data))


def shipped_mean_maps() -> Path:
    """Return the folder of the package's mean maps."""
    return Path(str(resources.files("whyface"))) / "assets" / "mean_maps"


def check_mean_map(values: NDArray[Any], shape: tuple[int, ...], name: str) -> NDArray[np.float32]:
    """Return a mean map as float32; raise InputError if it does not fit the network's last map or is not finite."""
    if values.shape != shape or not np.isfinite(values).all():
        raise InputError(
            f"model {name!r}: its last map is {shape}, but the mean map is {values.shape} or not finite; "
            "make it with whyface.explain.places.mean_map and the same network"
        )
    return np.asarray(values, np.float32)


class Places(NamedTuple):
    """S in [-1, 1] and W >= 0 with sum 1 for N pairs, (N, H, W) float32 each."""

    similarity: NDArray[np.float32]
    attention: NDArray[np.float32]


def neighbourhoods(parts: FloatArray, sigma: float) -> NDArray[np.float64]:
    """Sum parts (N, D, H, W) around each place, weighted by a Gaussian of ``sigma`` places with the peak value 1."""
    rows, columns = (_gaussian(size, sigma) for size in parts.shape[2:])
    gathered: NDArray[np.float64] = np.matmul(np.matmul(rows, parts), columns)
    return gathered


def compare_places(parts_a: FloatArray, parts_b: FloatArray, sigma: float) -> Places:
    """Compare N pairs place by place.

    Return S, the cosine of the two faces' neighbourhoods, and W, the product of their lengths divided by its sum: how
    much the place contributes to the embeddings. W is uniform if a face equals the mean face everywhere. Raise
    InputError if the shapes do not fit.

    Parameters
    ----------
    parts_a, parts_b
        Parts of the embeddings by place, less those of the mean face, (N, D, H, W) each.
    sigma
        Width of the neighbourhood in places, > 0.
    """
    near_a, near_b = (neighbourhoods(parts, sigma) for parts in (parts_a, parts_b))
    similarity = grid_cosine(near_a, near_b)
    weights = np.linalg.norm(near_a, axis=1) * np.linalg.norm(near_b, axis=1)
    total = weights.sum(axis=(1, 2), keepdims=True)
    uniform = 1 / (weights.shape[1] * weights.shape[2])
    shares = np.divide(weights, total, out=np.full_like(weights, uniform), where=total > 0)
    return Places(similarity, np.asarray(shares, np.float32))


class PlacesMethod(BatchedPairMethod):
    """Similarity and weight of each place, for a network that was not trained for xCos.

    Behind the last spatial map F the head is affine, so an embedding is a sum over places of P_ij F_ij, as in
    :class:`~whyface.explain.cells.CellsMethod`. Two corrections make these parts meaningful. Most of a part is the same
    for all faces, so the mean face's part P_ij mean(F_ij) is subtracted. And neighbouring places describe a face
    together, so their parts are summed with a Gaussian. S is the cosine of the two faces' sums at a place, W the
    product of their lengths, and the map is the evidence (S - threshold) * W, the same for both faces.

    Unlike with xCos and ``cells``, the map does not add up to the deployed cosine, which is unchanged; ``details`` also
    has S, W and their sum <S, W>.

    Assumption: a feature vector describes its place, and the threshold of the cosine also applies to a place.

    Works without gradients: on torch networks, and on ONNX networks whose grid is named. Raise ModelError if the
    embedder has no grid, the head after it is not affine, or its mean map is not known, and InputError if the mean map
    does not fit, or ``sigma`` is not positive.

    Parameters
    ----------
    embedder, threshold, source, batch_size
        See :class:`~whyface.explain.pair_method.PairMethod`.
    reference
        The network's mean map (C, H, W), see :func:`~whyface.explain.places.mean_map`; those of known models come
        with whyface.
    sigma
        Width of the neighbourhood in places. On 60 LFW pairs with mobilefacenet-ms1m, 0.7, 1 and 1.5 did equally well.

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
                f"method {self.name!r} needs the mean map of {embedder.name!r}; give two dozen photos of other people "
                "(--reference FOLDER, or reference=mean_map(embedder, faces))"
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
            # Rounding makes 1.0000001 of a face and itself.
            score=np.clip(np.einsum("nd,nd->n", embeddings[:count], embeddings[count:]), -1, 1),
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
