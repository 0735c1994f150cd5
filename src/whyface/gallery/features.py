"""The features of a face in a gallery: unit vectors, the attention's terms, and how they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.gallery.feature_file import Layout, Storage, make_records
from whyface.gallery.kernel import Probes
from whyface.models.embedder import Batch
from whyface.xcos.attention import AttentionKind
from whyface.xcos.comparison import FaceModel, comparisons, file_hashes
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
