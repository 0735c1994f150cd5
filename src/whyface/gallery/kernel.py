"""The features of faces in a gallery, and the search's inner loop over all records.

Records are compared in blocks that fit a core's cache, with NumPy and its BLAS only. Learned attention costs, per pair,
one clipping, a narrow matrix product, a softmax over the places and one dot product per place (see
:mod:`whyface.xcos.separable`). ``benchmarks/gallery_speed.py`` compares this with ONNX Runtime, PyTorch and compiled
loops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from whyface.errors import InputError, ModelError
from whyface.gallery.feature_file import Layout, Storage, make_records
from whyface.models.embedder import Batch
from whyface.onnx_runtime import usable_cores
from whyface.xcos.comparison import FaceModel, comparisons, file_hashes
from whyface.xcos.grid import AttentionKind
from whyface.xcos.separable import ClippedAttention, clipped_attention


class GalleryFeatures:
    """Computes a gallery's records and probes with a model.

    Parameters
    ----------
    model
        The model.
    sha256
        SHA-256 of its files by role; of its network alone by default.
    """

    def __init__(self, model: FaceModel, *, sha256: Mapping[str, str] | None = None) -> None:
        # A record cannot hold a face's own weights yet.
        self._comparisons = {kind: one for kind, one in comparisons(model).items() if not one.weighed}
        # All comparisons share their features and places; the last is the model's best.
        self.comparison = list(self._comparisons.values())[-1]
        self.embedder = self.comparison.embedder
        split = self.comparison.separable()
        self.attention: ClippedAttention | None = None if split is None else clipped_attention(split)
        self.sha256 = {**file_hashes(model), **(sha256 or {})}

    @property
    def kinds(self) -> tuple[AttentionKind, ...]:
        """Kinds of attention that a search can use; none for embeddings."""
        return tuple(one.attention for one in self._comparisons.values() if one.attention is not None)

    def features(self, batch: Batch) -> NDArray[np.float32]:
        """Run the network on faces (N, 3, 112, 112): grids (N, C, H, W) or embeddings (N, D)."""
        return self.comparison.features(batch)

    def layout(self, shape: tuple[int, ...], storage: Storage) -> Layout:
        """Return the layout of a gallery for features of this shape, (C, H, W) or (D,)."""
        terms = 0 if self.attention is None else self.attention.split.size
        kind = "grid" if self.kinds else "embedding"
        return Layout(kind, self.embedder.name, self.sha256, shape, terms, storage)  # type: ignore[arg-type]

    def records(self, layout: Layout, start: int, features: NDArray[np.float32]) -> NDArray[Any]:
        """Return N faces as records, numbered from ``start``; see :func:`whyface.gallery.feature_file.make_records`."""
        unit = self.comparison.cells(features).reshape(len(features), -1)
        if self.attention is None:
            return make_records(layout, start, unit)
        terms = self.attention.split.second_terms(features)
        return make_records(layout, start, unit, terms, self.attention.second_base(terms))

    def probes(self, features: NDArray[np.float32], kind: AttentionKind | None) -> Probes:
        """Prepare N probes for a search with one kind of attention; by default the best available.

        Raises
        ------
        InputError
            For attention over embeddings.
        ModelError
            If the model lacks this attention.
        """
        cells = self.comparison.cells(features)
        if not self.kinds:
            if kind is not None:
                raise InputError("embeddings have no cells to attend to; leave the attention out")
            return Probes(cells, None, None)
        kind = kind or self.default_kind
        if kind not in self._comparisons:
            known = ", ".join(self.kinds)
            raise ModelError(f"model {self.embedder.name!r} has no attention {kind!r}; it has {known}")
        fixed = self._comparisons[kind].fixed_weights(features.shape[1:])
        if fixed is not None:
            return Probes(cells, None, fixed.reshape(-1))
        assert self.attention is not None
        return Probes(cells, self.attention.split.first_terms(features), None)

    @property
    def default_kind(self) -> AttentionKind:
        """Learned attention where there is one, else uniform."""
        return "l" if "l" in self.kinds else "u"


BLOCK: Final = 384
"""Records per step: larger blocks exceed the cache, smaller ones need more calls (``benchmarks/gallery_speed.py``)."""

_STRETCH: Final = 64 * BLOCK


@dataclass(frozen=True, eq=False)
class Probes:
    """P probes, prepared for comparison.

    Attributes
    ----------
    cells
        Unit vectors, places first: (P, K, C); an embedding has one place.
    terms
        First faces' terms (P, T) where attention is learned, else None.
    weights
        Fixed attention (K,), else None.
    """

    cells: NDArray[np.float32]
    terms: NDArray[np.float32] | None
    weights: NDArray[np.float32] | None


def score_records(
    records: NDArray[Any],
    probes: Probes,
    attention: ClippedAttention | None,
    *,
    threads: int | None = None,
    block: int = BLOCK,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Score P probes against N records: (P, N) float32.

    Parameters
    ----------
    records
        Records of :mod:`whyface.gallery.feature_file`.
    probes
        The probes.
    attention
        The learned attention, None for a fixed one.
    threads
        Cores to use; all by default.
    block
        Records per step.
    progress
        Called with the number of records done and N.
    """
    scores = np.empty((len(probes.cells), len(records)), np.float32)
    kind = _Fixed if attention is None else _Learned
    raw = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.dtype.itemsize)

    def work(start: int) -> int:
        stop = min(start + _STRETCH, len(records))
        step = kind(records.dtype, probes, attention, min(block, stop - start))
        # Damaged bytes may hold any value; the caller checks the scores.
        with np.errstate(all="ignore"):
            for first in range(start, stop, block):
                last = min(first + block, stop)
                step.run(raw[first:last], scores[:, first:last])
        return stop - start

    done = 0
    # One thread per block uses the cache better than BLAS threads within one small product.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads or usable_cores()) as pool:
        for size in pool.map(work, range(0, len(records), _STRETCH)):
            done += size
            if progress is not None:
                progress(done, len(records))
    return scores


def explain_records(
    records: NDArray[Any], probe: Probes, attention: ClippedAttention | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return S and W, (N, K) each, of one probe against N records."""
    cells = np.asarray(records["unit"], np.float32).reshape(len(records), probe.cells.shape[1], -1)
    similarity = np.clip(np.einsum("nkc,kc->nk", cells, probe.cells[0]) * records["unit_scale"][:, None], -1, 1)
    if attention is None or probe.terms is None:
        fixed = np.ones(similarity.shape[1], np.float32) if probe.weights is None else probe.weights
        return similarity.astype(np.float32), np.broadcast_to(fixed, similarity.shape).astype(np.float32)
    terms = records["terms"].astype(np.float32) * records["term_scale"][:, None]
    return similarity.astype(np.float32), attention.split.weights(probe.terms[:1], terms)


class _Step:
    """Buffers for up to ``size`` records, reused for every block of a thread."""

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        self._dtype = dtype
        self._bytes = np.empty((size, dtype.itemsize), np.uint8)

    def _read(self, raw: NDArray[np.uint8]) -> NDArray[Any]:
        # A copy runs at memory speed, a conversion from memory does not: copy first, then convert.
        copied = self._bytes[: len(raw)]
        np.copyto(copied, raw)
        records: NDArray[Any] = copied.view(self._dtype)[:, 0]
        return records


class _Fixed(_Step):
    """Weights that do not depend on the pair: the score is one dot product over all places."""

    def __init__(self, dtype: np.dtype[Any], probes: Probes, attention: ClippedAttention | None, size: int) -> None:
        super().__init__(dtype, size)
        del attention
        weighted = probes.cells if probes.weights is None else probes.cells * probes.weights[:, None]
        self._probes = weighted.reshape(len(weighted), -1)
        self._units = np.empty((size, self._probes.shape[1]), np.float32)

    def run(self, raw: NDArray[np.uint8], scores: NDArray[np.float32]) -> None:
        """Score one block."""
        records = self._read(raw)
        units = self._units[: len(raw)]
        np.copyto(units, records["unit"])
        np.matmul(self._probes, units.T, out=scores)
        scores *= records["unit_scale"]


class _Learned(_Step):
    """Weights computed for each pair."""

    def __init__(self, dtype: np.dtype[Any], probes: Probes, attention: ClippedAttention | None, size: int) -> None:
        assert attention is not None
        assert probes.terms is not None
        super().__init__(dtype, size)
        self._attention = attention
        count, cells, channels = probes.cells.shape
        self._probes = np.ascontiguousarray(probes.cells.transpose(1, 0, 2))
        self._floor = -probes.terms
        self._base = attention.first_base(probes.terms)
        self._units = np.empty((size, cells * channels), np.float32)
        self._terms = np.empty((size, probes.terms.shape[1]), np.float32)
        self._clipped = self._terms if count == 1 else np.empty_like(self._terms)
        self._logits = np.empty((size, cells), np.float32)
        self._spare = np.empty((size, cells), np.float32)
        self._ones = np.ones(cells, np.float32)

    def run(self, raw: NDArray[np.uint8], scores: NDArray[np.float32]) -> None:
        """Score one block."""
        records, n = self._read(raw), len(raw)
        units, terms, clipped = self._units[:n], self._terms[:n], self._clipped[:n]
        logits, spare = self._logits[:n], self._spare[:n]
        np.copyto(terms, records["terms"])
        terms *= records["term_scale"][:, None]
        np.copyto(units, records["unit"])
        base = records["base"]
        by_cell = units.reshape(n, len(self._probes), -1).transpose(1, 2, 0)
        similarity = np.matmul(self._probes, by_cell)
        for row, floor in enumerate(self._floor):
            np.maximum(terms, floor, out=clipped)
            self._attention.logits(clipped, logits)
            logits += base
            logits += self._base[row]
            self._attention.finish(logits, spare)
            np.einsum("nk,kn->n", logits, similarity[:, row], out=scores[row])
            scores[row] /= logits @ self._ones
        scores *= records["unit_scale"]
