"""Scores of the pairs of a protocol, by any model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyface.data.protocols import PairProtocol
from whyface.errors import InputError, ModelError
from whyface.evaluate.operating_points import operating_points
from whyface.evaluate.rates import equal_error, fold_accuracy, supports_fmr, tar_at_far
from whyface.faces.face import FACE_SIZE
from whyface.faces.pictures import PictureSource
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import Batch, Embedder, GridEmbedder, l2_normalise
from whyface.models.preprocessing import Preprocessing
from whyface.xcos.attention import AttentionKind
from whyface.xcos.model import XcosModel
from whyface.xcos.open_model import open_model


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

    Only one batch of pictures is in memory at a time.

    Parameters
    ----------
    embedder
        Called with batches (n, 3, 112, 112) uint8 RGB.
    source
        Where the pictures are read from.
    names
        Which pictures, N of them; each is read once per occurrence.
    batch
        Pictures per call of the embedder.
    mirror
        Also embed every picture mirrored left to right and return the mean of both features, scaled back to
        unit length. Costs twice the time.
    progress
        Called after every batch with the number of pictures done and N.

    Returns
    -------
    ndarray
        Shape (N, D) float32, unit length.

    Raises
    ------
    InputError
        If ``names`` is empty or ``batch`` is below 1.
    DataError
        If a picture is missing, broken or not 112 x 112.
    ModelError
        If the embedder returns another shape than (n, D) or values that are not finite.
    """
    if batch < 1:
        raise InputError(f"batch must be at least 1, got {batch}")
    if not names:
        raise InputError("there are no pictures to embed; give at least one name")
    total = len(names)
    embeddings: NDArray[np.float32] | None = None
    for start in range(0, total, batch):
        chunk = names[start : start + batch]
        faces = np.empty((len(chunk), 3, FACE_SIZE, FACE_SIZE), np.uint8)
        for row, name in enumerate(chunk):
            faces[row] = source.read(name).transpose(2, 0, 1)
        rows = _checked(embedder.embed(faces), len(chunk))
        if mirror:
            rows = l2_normalise(rows + _checked(embedder.embed(np.ascontiguousarray(faces[..., ::-1])), len(chunk)))
        if embeddings is None:
            embeddings = np.empty((total, rows.shape[1]), np.float32)
        elif embeddings.shape[1] != rows.shape[1]:
            raise ModelError(
                f"the embedder changed its dimension from {embeddings.shape[1]} to {rows.shape[1]}; "
                "it must give every batch the same"
            )
        embeddings[start : start + len(chunk)] = rows
        if progress is not None:
            progress(start + len(chunk), total)
    assert embeddings is not None
    return embeddings


def pair_scores(
    embeddings: NDArray[np.float32], left: NDArray[np.intp], right: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return the cosine of every pair, shape (P,) float64.

    Parameters
    ----------
    embeddings
        Shape (N, D), unit length.
    left, right
        Rows of ``embeddings`` that make up each pair, shape (P,).
    """
    one = embeddings[left].astype(np.float64)
    other = embeddings[right].astype(np.float64)
    return np.asarray(np.einsum("pd,pd->p", one, other), dtype=np.float64)


def _checked(rows: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    if rows.ndim != 2 or rows.shape[0] != count:
        raise ModelError(f"the embedder returned shape {rows.shape} for {count} faces; it must be ({count}, D)")
    if not np.isfinite(rows).all():
        raise ModelError("the embedder returned values that are not finite; check its preprocessing")
    return rows.astype(np.float32, copy=False)


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
