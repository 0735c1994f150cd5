"""Why an embedding found whom it found: the exact split of each candidate's cosine over the probe's cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError, ModelError
from whyface.explain.cell_terms import cell_parts, spread_constant
from whyface.explain.linear_head import linear_head
from whyface.gallery.candidates import Candidate

if TYPE_CHECKING:
    from whyface.gallery.gallery import Gallery


def explain_cells(gallery: Gallery, face: NDArray[np.uint8], candidates: Sequence[Candidate]) -> list[Candidate]:
    """Add to each candidate what every cell of the probe's face adds to the score.

    The embedding of the probe is a sum over its cells, and the candidate's is in the gallery, so that the cosine splits
    over the probe's cells without rest; no picture of the candidate is needed (see
    :class:`whyface.explain.cells.CellsMethod`).

    Parameters
    ----------
    gallery
        Of embeddings, opened with its model.
    face
        The probe's aligned face, (3, 112, 112).
    candidates
        What the search found for it.

    Raises
    ------
    InputError
        If the gallery holds grids, whose candidates carry S and W already.
    ModelError
        If the network has no grid, or the head behind it is not affine.
    """
    if gallery.layout.kind != "embedding":
        raise InputError("candidates from grids carry their reasons already; cells are for embeddings")
    grids, head = linear_head(gallery.model.embedder)
    parts = cell_parts(grids.grid(face[None]), head.weights)[0]
    whole = parts.sum(axis=(1, 2)) + head.constant
    records = gallery.records[[candidate.record for candidate in candidates]]
    others = records["unit"].astype(np.float64) * records["unit_scale"][:, None]
    terms = np.einsum("dhw,nd->nhw", parts, others) / np.linalg.norm(whole)
    maps = spread_constant(terms, others @ head.constant / np.linalg.norm(whole))
    return [replace(candidate, cells=cells) for candidate, cells in zip(candidates, maps, strict=True)]


def with_cells(gallery: Gallery, face: NDArray[np.uint8], candidates: list[Candidate]) -> list[Candidate]:
    """Explain candidates where they carry no reasons and the network allows it; else return them as they are."""
    if gallery.layout.kind != "embedding" or not candidates:
        return candidates
    try:
        return explain_cells(gallery, face, candidates)
    except ModelError:
        return candidates
