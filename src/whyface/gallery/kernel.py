"""The features of faces in a gallery, and the search's inner loop over all records.

Records are compared in blocks that fit a core's cache, with NumPy and its BLAS only. Learned attention costs, per pair,
one clipping, a narrow matrix product, a softmax over the places and one dot product per place (see
:mod:`whyface.xcos.separable`). Attention that factorises costs two matrix products and a division for all pairs of a
block together (see :mod:`whyface.xcos.grid`). ``benchmarks/gallery_speed.py`` compares ways of doing this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from whyface.errors import InputError, ModelError
from whyface.gallery.feature_file import Layout, Storage, make_records
from whyface.models.embedder import Batch
from whyface.onnx_runtime import usable_cores
from whyface.xcos.comparison import FaceModel, comparisons, file_hashes
from whyface.xcos.grid import AttentionKind, place_lengths
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
        self._comparisons = comparisons(model)
        # All comparisons share their features and places; the last is the model's best.
        self.comparison = list(self._comparisons.values())[-1]
        self.embedder = self.comparison.embedder
        self.weighed = self.comparison.weighed
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
        kind = "grid" if self.kinds else "embedding"
        terms = 0 if self.attention is None else self.attention.split.size
        if self.weighed:
            terms = int(np.prod(shape[1:]))
        return Layout(kind, self.embedder.name, self.sha256, shape, terms, storage, self.weighed)  # type: ignore[arg-type]

    def require(self, layout: Layout, gallery: Path) -> None:
        """Raise ModelError if a gallery's records are not of this model."""
        if dict(layout.sha256) != dict(self.sha256):
            raise ModelError(
                f"{gallery}: made with model {layout.model!r} ({_short(layout.sha256)}), not with "
                f"{self.embedder.name!r} ({_short(self.sha256)}); features of different models do not compare"
            )
        if layout.weighed != self.weighed:
            raise ModelError(
                f"{gallery}: its records hold {'weighed' if layout.weighed else 'plain'} grids, those of the model are "
                f"{'weighed' if self.weighed else 'plain'}; enroll the photos again with this model"
            )

    def records(self, layout: Layout, start: int, features: NDArray[np.float32]) -> NDArray[Any]:
        """Return N faces as records, numbered from ``start``; see :func:`whyface.gallery.feature_file.make_records`."""
        if self.weighed:
            return make_records(layout, start, *_weighed(features))
        unit = self.comparison.cells(features).reshape(len(features), -1)
        if self.attention is None:
            return make_records(layout, start, unit)
        terms = self.attention.split.second_terms(features)
        return make_records(layout, start, unit, terms, self.attention.second_base(terms))

    def probes(self, features: NDArray[np.float32], kind: AttentionKind | None) -> Probes:
        """Prepare N probes for a search with one kind of attention; by default the best available.

        Raise InputError for attention over embeddings, and ModelError if the model lacks this attention.
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
            return Probes(cells, None, fixed.reshape(-1), self.weighed)
        if self.weighed:
            vectors, lengths = _weighed(features)
            return Probes(vectors.reshape(len(vectors), lengths.shape[1], -1), lengths, None, True)
        assert self.attention is not None
        return Probes(cells, self.attention.split.first_terms(features), None)

    @property
    def default_kind(self) -> AttentionKind:
        """Learned attention where there is one, else uniform."""
        return "l" if "l" in self.kinds else "u"


def _short(hashes: Mapping[str, str]) -> str:
    return ", ".join(f"{role} {digest[:12]}" for role, digest in sorted(hashes.items()))


BLOCK: Final = 384
"""Records per step: larger blocks exceed the cache, smaller ones need more calls (``benchmarks/gallery_speed.py``)."""

_STRETCH: Final = 64 * BLOCK
_FEW_PROBES: Final = 6
"""So many probes are faster rounded, one after the other, than exact and together."""


@dataclass(frozen=True, eq=False)
class Probes:
    """P probes, prepared for comparison.

    Attributes
    ----------
    cells
        Unit vectors, places first: (P, K, C); an embedding has one place. Where attention factorises, vectors as long
        as the places are worth.
    terms
        First faces' terms (P, T) where attention is learned, else None. Where it factorises, the lengths (P, K).
    weights
        Fixed attention (K,), else None.
    weighed
        Whether the gallery holds weighed grids.
    """

    cells: NDArray[np.float32]
    terms: NDArray[np.float32] | None
    weights: NDArray[np.float32] | None
    weighed: bool = False

    def row(self, number: int) -> Probes:
        """Return one of the probes alone."""
        terms = None if self.terms is None else self.terms[number : number + 1]
        return Probes(self.cells[number : number + 1], terms, self.weights, self.weighed)


def _weighed(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return weighed grids (N, C, H, W) as vectors (N, K * C), places first, and the lengths of the places (N, K).

    Every face is scaled to the same length; a score is a quotient that does not depend on it.
    """
    lengths = place_lengths(features).reshape(len(features), -1)
    total = np.maximum(np.linalg.norm(lengths, axis=1, keepdims=True), 1e-20)
    places = features.reshape(*features.shape[:2], -1).transpose(0, 2, 1).reshape(len(features), -1)
    return np.ascontiguousarray(places / total, np.float32), np.ascontiguousarray(lengths / total, np.float32)


def score_records(
    records: NDArray[Any],
    probes: Probes,
    attention: ClippedAttention | None,
    *,
    threads: int | None = None,
    block: int = BLOCK,
    errors: NDArray[np.float32] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Score P probes against N records: (P, N) float32.

    Parameters
    ----------
    records
        Records of :mod:`whyface.gallery.feature_file`.
    attention
        The learned attention, None for a fixed one.
    errors
        (P, N) float32; receives how far each score may be off, at most. Scores may be inexact only if it is given:
        weighed grids of 8 bits are then multiplied by probes of 8 bits if SimSIMD is installed (extra ``ann``).
    """
    scores = np.empty((len(probes.cells), len(records)), np.float32)
    outputs: tuple[NDArray[np.float32], ...] = (scores,)
    kind: Callable[..., _Fixed | _Factorised | _Rounded | _Learned] = _Fixed if attention is None else _Learned
    if probes.weighed and probes.terms is not None:
        kind = _Factorised
    if errors is not None:
        errors[:] = 0
        few = len(scores) <= _FEW_PROBES and records.dtype["unit"].base == np.int8
        if kind is _Factorised and few and find_spec("simsimd") is not None:
            kind, outputs, block = _Rounded, (scores, errors), _STRETCH
    raw = np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.dtype.itemsize)
    cores = threads or usable_cores()
    # One thread per block uses the cache better than BLAS threads within one small product. But for a single probe that
    # is multiplied by the numbers where they lie, memory is the limit, and long blocks that BLAS shares out are faster.
    streams = kind is _Factorised and records.dtype["unit"].base == np.float32 and len(probes.cells) == 1
    if streams:
        block = _STRETCH

    def work(start: int) -> int:
        stop = min(start + _STRETCH, len(records))
        step = kind(records.dtype, probes, attention, min(block, stop - start))
        # Damaged bytes may hold any value; the caller checks the scores.
        with np.errstate(all="ignore"):
            for first in range(start, stop, block):
                last = min(first + block, stop)
                step.run(raw[first:last], *(output[:, first:last] for output in outputs))
        return stop - start

    done = 0
    with threadpool_limits(cores if streams else 1, "blas"), ThreadPoolExecutor(1 if streams else cores) as pool:
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
    product = np.einsum("nkc,kc->nk", cells, probe.cells[0]) * records["unit_scale"][:, None]
    if probe.weighed:
        lengths = records["terms"].astype(np.float64)
        if probe.terms is None:
            similarity = np.clip(_shares(product, lengths), -1, 1)
        else:
            weights = lengths * probe.terms[0]
            similarity = np.clip(_shares(product, weights), -1, 1)
            weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
            return similarity.astype(np.float32), weights.astype(np.float32)
    else:
        similarity = np.clip(product, -1, 1)
    if attention is None or probe.terms is None:
        fixed = np.ones(similarity.shape[1], np.float32) if probe.weights is None else probe.weights
        return similarity.astype(np.float32), np.broadcast_to(fixed, similarity.shape).astype(np.float32)
    terms = records["terms"].astype(np.float32) * records["term_scale"][:, None]
    return similarity.astype(np.float32), attention.split.weights(probe.terms[:1], terms)


def _shares(product: NDArray[Any], of: NDArray[Any]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(product, of, out=np.zeros(product.shape), where=of > 0)
    return shares


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
        self._weighed = probes.weighed
        self._units = np.empty((size, self._probes.shape[1]), np.float32)

    def run(self, raw: NDArray[np.uint8], scores: NDArray[np.float32]) -> None:
        """Score one block."""
        records = self._read(raw)
        units = self._units[: len(raw)]
        np.copyto(units, records["unit"])
        if self._weighed:
            by_place = units.reshape(*records["terms"].shape, -1)
            by_place /= np.maximum(records["terms"], 1e-30)[:, :, None]
        np.matmul(self._probes, units.T, out=scores)
        scores *= records["unit_scale"]


class _Factorised(_Step):
    """Weights that are a product of both faces': two matrix products and a division."""

    def __init__(self, dtype: np.dtype[Any], probes: Probes, attention: ClippedAttention | None, size: int) -> None:
        del attention
        assert probes.terms is not None
        super().__init__(dtype, size)
        self._probes = probes.cells.reshape(len(probes.cells), -1)
        self._lengths = probes.terms
        # Numbers that are float32 already are multiplied where they are.
        self._units = None if dtype["unit"].base == np.float32 else np.empty((size, self._probes.shape[1]), np.float32)
        self._totals = np.empty((len(probes.terms), size), np.float32)

    def run(self, raw: NDArray[np.uint8], scores: NDArray[np.float32]) -> None:
        """Score one block."""
        if self._units is None:
            records: NDArray[Any] = raw.view(self._dtype)[:, 0]
            units = records["unit"]
        else:
            records, units = self._read(raw), self._units[: len(raw)]
            np.copyto(units, records["unit"])
        totals = self._totals[:, : len(raw)]
        np.matmul(self._probes, units.T, out=scores)
        np.matmul(self._lengths, records["terms"].T, out=totals)
        scores *= records["unit_scale"]
        np.maximum(totals, np.float32(1e-30), out=totals)
        scores /= totals


class _Rounded:
    """As :class:`_Factorised`, for 8-bit records and probes that are rounded to 8 bits as well."""

    def __init__(self, dtype: np.dtype[Any], probes: Probes, attention: ClippedAttention | None, size: int) -> None:
        from simsimd import cdist  # noqa: PLC0415 - an extra

        del attention, size
        assert probes.terms is not None
        self._dtype, self._product, self._lengths = dtype, cdist, probes.terms
        exact = probes.cells.reshape(len(probes.cells), -1)
        self._scale = np.maximum(np.abs(exact).max(axis=1, keepdims=True), 1e-20) / 127
        self._probes = np.rint(exact / self._scale).astype(np.int8)
        # Records have length 1 but for their own rounding, so this bounds the error of the inner product.
        self._error = 1.02 * np.linalg.norm(exact - self._probes * self._scale, axis=1, keepdims=True)

    def run(self, raw: NDArray[np.uint8], scores: NDArray[np.float32], errors: NDArray[np.float32]) -> None:
        """Score one block."""
        records: NDArray[Any] = raw.view(self._dtype)[:, 0]
        np.maximum(np.matmul(self._lengths, records["terms"].T, out=errors), np.float32(1e-30), out=errors)
        for probe, row in zip(self._probes, scores, strict=True):
            row[:] = np.asarray(self._product(probe[None], records["unit"], "dot")).ravel()
        scores *= records["unit_scale"] * self._scale
        scores /= errors
        np.divide(self._error, errors, out=errors)


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
