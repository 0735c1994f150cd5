"""Embed many aligned pictures, streaming them through an embedder in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.evaluate.pictures import PictureSource
from whyface.evaluate.progress import ProgressCallback
from whyface.faces.face import FACE_SIZE
from whyface.models.embedder import Embedder, l2_normalise


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
