"""Scores of a protocol's pairs by a zoo model: cosine of embeddings, or xCos with each attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.evaluate.embed import embed_all, pair_scores
from whyface.evaluate.folds import fold_accuracy
from whyface.evaluate.operating_points import operating_points
from whyface.evaluate.pictures import PictureSource
from whyface.evaluate.progress import ProgressCallback
from whyface.evaluate.protocols import PairProtocol
from whyface.evaluate.rates import equal_error, supports_fmr, tar_at_far
from whyface.models.embedder import Batch, Embedder
from whyface.xcos.attention import AttentionKind
from whyface.xcos.model import XcosModel

_CHUNK = 1000


class GridAsEmbedding:
    """Stream grids where embeddings are expected; lengths are kept, since a cell's cosine divides by its own."""

    def __init__(self, model: XcosModel) -> None:
        self._model = model
        self.name, self.sha256 = model.embedder.name, model.embedder.sha256
        self.shape: tuple[int, ...] = ()

    def embed(self, batch: Batch) -> NDArray[np.float32]:
        """Map faces to their grids as rows (N, C * H * W), not normalised."""
        grid = self._model.grid(batch)
        self.shape = grid.shape[1:]
        return grid.reshape(len(grid), -1)


def score_embedder(
    embedder: Embedder, source: PictureSource, protocol: PairProtocol, *, progress: ProgressCallback | None = None
) -> NDArray[np.float32]:
    """Give the cosine of every pair of a protocol, (P,) float32; no mirror images."""
    embeddings = embed_all(embedder, source, protocol.pictures, progress=progress)
    return np.asarray(pair_scores(embeddings, protocol.left, protocol.right), np.float32)


def score_xcos(
    model: XcosModel, source: PictureSource, protocol: PairProtocol, *, progress: ProgressCallback | None = None
) -> tuple[dict[AttentionKind, NDArray[np.float32]], dict[AttentionKind, NDArray[np.float32]]]:
    """Score every pair of a protocol with each attention that the model has.

    Returns
    -------
    Scores (P,) float32 by attention, and the mean attention map (H, W) by attention; no mirror images.
    """
    streamer = GridAsEmbedding(model)
    flat = embed_all(streamer, source, protocol.pictures, progress=progress)
    grids = flat.reshape(len(flat), *streamer.shape)
    scores: dict[AttentionKind, NDArray[np.float32]] = {}
    means: dict[AttentionKind, NDArray[np.float32]] = {}
    for kind in model.attentions:
        parts = [
            model.compare_grids(grids[protocol.left[i : i + _CHUNK]], grids[protocol.right[i : i + _CHUNK]], kind)
            for i in range(0, len(protocol.left), _CHUNK)
        ]
        scores[kind] = np.concatenate([part.score for part in parts])
        means[kind] = np.concatenate([part.attention for part in parts]).mean(axis=0)
    return scores, means


def summarise_scores(scores: Mapping[str, NDArray[np.float32]], protocol: PairProtocol, dataset: str) -> dict[str, Any]:
    """Put accuracy, EER, TAR@FAR and operating points of each set of scores into plain values for JSON.

    Accuracies and rates are in percent; operating points hold rates in [0, 1].
    """
    report: dict[str, Any] = {}
    enough = supports_fmr(int((~protocol.genuine).sum()), 1e-3)
    for name, values in scores.items():
        folds = fold_accuracy(values, protocol.genuine, protocol.fold)
        points = operating_points(
            values, protocol.genuine, protocol.people_left.tolist(), protocol.people_right.tolist(), dataset=dataset
        )
        report[name] = {
            "accuracy": round(100 * folds.mean, 3),
            "accuracy_standard_error": round(100 * folds.standard_error, 3),
            "eer": round(100 * equal_error(values, protocol.genuine).rate, 3),
            # None: too few impostor pairs to tell.
            "tar_at_far_1e-3": round(100 * tar_at_far(values, protocol.genuine, 1e-3), 3) if enough else None,
            "operating_points": [point.to_dict() for point in points],
        }
    return report
