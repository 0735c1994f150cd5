"""Any model, known or of the user's own, as something that scores the pairs of a protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyface.evaluate.embed import embed_all, pair_scores
from whyface.evaluate.pictures import PictureSource
from whyface.evaluate.progress import ProgressCallback
from whyface.evaluate.protocols import PairProtocol
from whyface.evaluate.scoring import score_xcos
from whyface.models.embedder import Batch, Embedder, GridEmbedder
from whyface.models.preprocessing import Preprocessing
from whyface.xcos.model import XcosModel
from whyface.xcos.open_model import open_model

COSINE = "cosine"


@dataclass(frozen=True, eq=False)
class ScoringModel:
    """A model that is ready to score pairs.

    Attributes
    ----------
    name
        What reports call it.
    method
        An embedder, whose embeddings are compared, or an xCos model.
    kinds
        Which scores it gives: ``("cosine",)``, or kinds of attention.
    sha256
        SHA-256 of each file by its role.
    preprocessing
        What the network gets to see.
    """

    name: str
    method: Embedder | XcosModel
    kinds: tuple[str, ...]
    sha256: Mapping[str, str]
    preprocessing: Preprocessing


def open_scoring_model(
    model: str,
    *,
    attention: str | None = None,
    directory: Path | None = None,
    grid: str | None = None,
    preprocessing: Preprocessing | None = None,
    threads: int | None = None,
) -> ScoringModel:
    """Open a known model by its name, or any network by the path of its ``.onnx`` file.

    Parameters
    ----------
    model
        Name or path.
    attention
        ``"u"``, ``"p"`` or ``"l"``; None takes all that an xCos model has, and embeddings for any other.
    directory
        Where models that do not come with whyface lie.
    grid, preprocessing
        For a network of the user's own: the tensor with its last spatial map, and what it wants done to pixels.
    threads
        Threads of ONNX Runtime.

    Raises
    ------
    ModelError
        If the model is unknown or unusable, or lacks that attention.
    InputError
        If the options exclude each other.
    """
    opened = open_model(
        model, attention=attention, directory=directory, grid=grid, preprocessing=preprocessing, threads=threads
    )
    kinds: tuple[str, ...] = opened.method.attentions if isinstance(opened.method, XcosModel) else (COSINE,)
    if attention is not None:
        kinds = (attention,)
    return ScoringModel(opened.name, opened.method, kinds, opened.sha256, opened.preprocessing)


def score_pairs(
    model: ScoringModel,
    source: PictureSource,
    protocol: PairProtocol,
    *,
    mirror: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Score all pairs of a protocol, (P,) float64 for each of the model's kinds.

    With ``mirror`` every picture is also looked at mirrored. Embeddings of both are added, as is usual; grids are
    not, since their cells have places: there the score is the mean of the pair's and of the mirrored pair's.
    """
    if not isinstance(model.method, XcosModel):
        rows = embed_all(model.method, source, protocol.pictures, mirror=mirror, progress=progress)
        return {COSINE: pair_scores(rows, protocol.left, protocol.right)}
    found, _ = score_xcos(model.method, source, protocol, progress=progress)
    scores = {str(kind): values.astype(np.float64) for kind, values in found.items() if kind in model.kinds}
    if mirror:
        again, _ = score_xcos(mirrored(model.method), source, protocol, progress=progress)
        for kind, values in again.items():
            if kind in scores:
                scores[kind] = (scores[kind] + values) / 2
    return scores


def mirrored(model: XcosModel) -> XcosModel:
    """Return the same model, which gets to see every face mirrored left to right."""
    return XcosModel(_Mirrored(model.embedder), pair=model.pair, correlated=model.correlated)


class _Mirrored:
    """A grid network that gets to see every face mirrored."""

    def __init__(self, embedder: GridEmbedder) -> None:
        self._embedder = embedder
        self.name, self.sha256 = embedder.name, embedder.sha256

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        return self._embedder.embed(_mirror(batch))

    def grid(self, batch: Batch) -> NDArray[np.float32]:
        return self._embedder.grid(_mirror(batch))


def _mirror(batch: Batch) -> Batch:
    mirrored: Batch = np.flip(batch, axis=-1).copy()
    return mirrored
