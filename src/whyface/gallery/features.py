"""What a model makes of a face for a gallery: unit vectors, the attention's terms, and how they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.gallery.feature_file import Layout, Storage, make_records
from whyface.gallery.kernel import Probes
from whyface.models.embedder import Batch, Embedder, l2_normalise
from whyface.xcos.attention import AttentionKind, uniform_attention
from whyface.xcos.model import XcosModel
from whyface.xcos.separable import ClippedAttention, clipped_attention, separable_attention, unit_cells

Model = XcosModel | Embedder
"""An xCos model, whose grids are compared place by place, or any network, whose embeddings are."""


class GalleryFeatures:
    """A model as a gallery sees it.

    Parameters
    ----------
    model
        The model.
    sha256
        SHA-256 of its files by role; of its network alone by default.
    """

    def __init__(self, model: Model, *, sha256: Mapping[str, str] | None = None) -> None:
        self.model = model
        self.embedder = model.embedder if isinstance(model, XcosModel) else model
        self.attention: ClippedAttention | None = None
        hashes = dict(sha256 or {"onnx": self.embedder.sha256})
        if isinstance(model, XcosModel) and "l" in model.attentions:
            self.attention = clipped_attention(separable_attention(model))
            if model.pair is not None:
                hashes["pair"] = model.pair.sha256
        self.sha256 = hashes

    @property
    def kinds(self) -> tuple[AttentionKind, ...]:
        """The kinds of attention that a search can use; none for embeddings."""
        return self.model.attentions if isinstance(self.model, XcosModel) else ()

    def features(self, batch: Batch) -> NDArray[np.float32]:
        """Run the network on faces (N, 3, 112, 112): grids (N, C, H, W) or embeddings (N, D)."""
        return self.model.grid(batch) if isinstance(self.model, XcosModel) else self.model.embed(batch)

    def layout(self, shape: tuple[int, ...], storage: Storage) -> Layout:
        """Describe a gallery of features of this shape, (C, H, W) or (D,)."""
        terms = 0 if self.attention is None else self.attention.split.size
        kind = "grid" if isinstance(self.model, XcosModel) else "embedding"
        return Layout(kind, self.embedder.name, self.sha256, shape, terms, storage)  # type: ignore[arg-type]

    def records(self, layout: Layout, start: int, features: NDArray[np.float32]) -> NDArray[Any]:
        """Put N faces into records, numbered from ``start``; see :func:`whyface.gallery.feature_file.make_records`."""
        unit = self._cells(features).reshape(len(features), -1)
        if self.attention is None:
            return make_records(layout, start, unit)
        terms = self.attention.split.second_terms(features)
        return make_records(layout, start, unit, terms, self.attention.second_base(terms))

    def probes(self, features: NDArray[np.float32], kind: AttentionKind | None) -> Probes:
        """Prepare N probes for a search with one kind of attention; the default is the best that there is.

        Raises
        ------
        InputError
            For attention over embeddings.
        ModelError
            If the model lacks this attention.
        """
        cells = self._cells(features)
        if not isinstance(self.model, XcosModel):
            if kind is not None:
                raise InputError("embeddings have no cells to attend to; leave the attention out")
            return Probes(cells, None, None)
        kind = kind or self.default_kind
        self.model.require(kind)
        if kind == "l" and self.attention is not None:
            return Probes(cells, self.attention.split.first_terms(features), None)
        places = features.shape[2:]
        fixed = self.model.correlated if kind == "p" else uniform_attention(*places)
        assert fixed is not None
        return Probes(cells, None, fixed.reshape(-1))

    @property
    def default_kind(self) -> AttentionKind:
        """Learned attention where there is one, else uniform."""
        return "l" if "l" in self.kinds else "u"

    def _cells(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        if isinstance(self.model, XcosModel):
            return unit_cells(features)
        return l2_normalise(features)[:, None, :]
