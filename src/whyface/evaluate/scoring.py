"""Scores of the pairs of a protocol, by any model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.data.protocols import PairProtocol
from whyface.errors import InputError, ModelError
from whyface.evaluate.rates import equal_error, fold_accuracy, supports_fmr, tar_at_fmr
from whyface.evaluate.summary import operating_points
from whyface.faces.face import FACE_SIZE
from whyface.faces.pictures import PictureSource
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import Batch, Embedder, l2_normalise
from whyface.xcos.comparison import COSINE, Comparison, Features
from whyface.xcos.open_model import OpenedModel


def embed_all(
    embedder: Embedder,
    source: PictureSource,
    names: Sequence[str],
    *,
    batch: int = 64,
    mirror: bool = False,
    progress: ProgressCallback | None = None,
) -> NDArray[np.float32]:
    """Embed the named pictures in the order given.

    Only one batch of pictures is in memory at a time. Raise InputError if ``names`` is empty or ``batch`` is below 1,
    and DataError if a picture is missing, broken or not 112 x 112, and ModelError if the embedder returns another shape
    than (n, D) or values that are not finite.

    Parameters
    ----------
    embedder
        Called with batches (n, 3, 112, 112) uint8 RGB.
    names
        Names of N pictures; each is read once per occurrence.
    batch
        Pictures per call of the embedder.
    mirror
        Also embed every picture mirrored left to right and return the mean of both features, scaled back to
        unit length. It takes twice the time.

    Returns
    -------
    ndarray
        Shape (N, D) float32, unit length.
    """

    def read(faces: Batch) -> Features:
        rows = _checked(embedder.embed(faces), len(faces))
        return l2_normalise(rows + _checked(embedder.embed(mirrored(faces)), len(faces))) if mirror else rows

    return read_all(read, source, names, batch=batch, progress=progress)


def read_all(
    read: Callable[[Batch], Features],
    source: PictureSource,
    names: Sequence[str],
    *,
    batch: int = 64,
    progress: ProgressCallback | None = None,
) -> Features:
    """Run a network over the named pictures in the order given, (N, ...) float32; see :func:`embed_all`."""
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
    if not names:
        raise InputError("there are no pictures to embed; give at least one name")
    total = len(names)
    features: Features | None = None
    for start in range(0, total, batch):
        chunk = names[start : start + batch]
        faces = np.empty((len(chunk), 3, FACE_SIZE, FACE_SIZE), np.uint8)
        for row, name in enumerate(chunk):
            faces[row] = source.read(name).transpose(2, 0, 1)
        rows = _finite(read(faces))
        if features is None:
            features = np.empty((total, *rows.shape[1:]), np.float32)
        elif features.shape[1:] != rows.shape[1:]:
            raise ModelError(
                f"the embedder changed its dimension from {features.shape[1]} to {rows.shape[1]}; "
                "it must be the same for every batch"
            )
        features[start : start + len(chunk)] = rows
        if progress is not None:
            progress(start + len(chunk), total)
    assert features is not None
    return features


def pair_scores(
    embeddings: NDArray[np.float32], left: NDArray[np.intp], right: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the cosine of every pair of rows of the embeddings (N, D), of unit length: (P,) float64."""
    one = embeddings[left].astype(np.float64)
    other = embeddings[right].astype(np.float64)
    return np.asarray(np.einsum("pd,pd->p", one, other), dtype=np.float64)


def _checked(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if rows.ndim != 2 or rows.shape[0] != count:
        raise ModelError(f"the embedder returned shape {rows.shape} for {count} faces; it must be ({count}, D)")
    return _finite(rows)


def _finite(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(rows).all():
        raise ModelError("the embedder returned values that are not finite; check its preprocessing")
    return rows.astype(np.float32, copy=False)


def mirrored(batch: Batch) -> Batch:
    """Return faces mirrored left to right."""
    flipped: Batch = np.flip(batch, axis=-1).copy()
    return flipped


_CHUNK = 1000


def score_embedder(
    embedder: Embedder, source: PictureSource, protocol: PairProtocol, *, progress: ProgressCallback | None = None
) -> NDArray[np.float32]:
    """Return the cosine of every pair of a protocol, (P,) float32; no mirror images."""
    embeddings = embed_all(embedder, source, protocol.pictures, progress=progress)
    return np.asarray(pair_scores(embeddings, protocol.left, protocol.right), np.float32)


def score_grids(
    comparisons: Mapping[str, Comparison],
    source: PictureSource,
    protocol: PairProtocol,
    *,
    mirror: bool = False,
    progress: ProgressCallback | None = None,
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Score every pair of a protocol with each of a model's attentions.

    Return scores (P,) float32 by kind, and the mean attention map (H, W) by kind.

    Parameters
    ----------
    comparisons
        Comparisons by kind, all with places and of one model, see :func:`whyface.xcos.comparison.comparisons`.
    """
    network = next(iter(comparisons.values())).features
    read = (lambda batch: network(mirrored(batch))) if mirror else network
    grids = read_all(read, source, protocol.pictures, progress=progress)
    scores: dict[str, NDArray[np.float32]] = {}
    means: dict[str, NDArray[np.float32]] = {}
    for kind, comparison in comparisons.items():
        parts = []
        for i in range(0, len(protocol.left), _CHUNK):
            part = comparison.maps(grids[protocol.left[i : i + _CHUNK]], grids[protocol.right[i : i + _CHUNK]])
            assert part is not None
            parts.append(part)
        scores[kind] = np.concatenate([part.score for part in parts])
        means[kind] = np.concatenate([part.attention for part in parts]).mean(axis=0)
    return scores, means


def summarise_scores(scores: Mapping[str, NDArray[np.float32]], protocol: PairProtocol, dataset: str) -> dict[str, Any]:
    """Return accuracy, EER, TAR at FMR 1e-3 and operating points of each set of scores as plain values for JSON.

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
            # None: too few impostor pairs.
            "tar_at_far_1e-3": round(100 * tar_at_fmr(values, protocol.genuine, 1e-3), 3) if enough else None,
            "operating_points": [point.to_dict() for point in points],
        }
    return report


def score_pairs(
    model: OpenedModel,
    source: PictureSource,
    protocol: PairProtocol,
    *,
    mirror: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Score all pairs of a protocol, (P,) float64 for each of the model's kinds.

    With ``mirror``, every picture is also used mirrored. Embeddings of both are added, as is usual. Grids are not,
    since mirroring moves their places: the score is the mean of those of the pair and the mirrored pair.
    """
    comparisons = model.comparisons
    if COSINE in comparisons:
        rows = embed_all(comparisons[COSINE].embedder, source, protocol.pictures, mirror=mirror, progress=progress)
        return {COSINE: pair_scores(rows, protocol.left, protocol.right)}
    found, _ = score_grids(comparisons, source, protocol, progress=progress)
    scores = {kind: values.astype(np.float64) for kind, values in found.items()}
    if mirror:
        again, _ = score_grids(comparisons, source, protocol, mirror=True, progress=progress)
        scores = {kind: (values + again[kind]) / 2 for kind, values in scores.items()}
    return scores
