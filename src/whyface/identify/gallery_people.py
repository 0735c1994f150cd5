"""The input of an evidential head: the concatenated unit vectors of a face's grid.

Every place has unit length before all are scaled together, so the cosine of two faces is the mean of the cosines of
their places (the xCos score under uniform attention), and every place has an exact part in it. A gallery stores the
same vectors in the same order, so a head can be fitted to a gallery without its photos.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import InputError
from whyface.gallery.feature_file import intact
from whyface.gallery.gallery import Gallery
from whyface.identify.evidential import EvidentialHead, load_evidential_head
from whyface.models.embedder import l2_normalise
from whyface.xcos.separable import unit_cells

FloatArray = NDArray[np.floating[Any]]


def grid_features(grids: FloatArray) -> NDArray[np.float32]:
    """Return grids (N, C, H, W) as features (N, H * W * C), rows of unit length, places first.

    Raises
    ------
    InputError
        If the grids have another shape.
    """
    return l2_normalise(unit_cells(grids).reshape(len(grids), -1))


def cosine_parts(features: FloatArray, direction: FloatArray, cells: tuple[int, int]) -> NDArray[np.float64]:
    """Split the cosine of features and a person's direction over the places.

    Parameters
    ----------
    features
        (N, H * W * C) of :func:`grid_features`.
    direction
        (H * W * C,), of unit length.
    cells
        Grid size (H, W).

    Returns
    -------
    (N, H, W) float64; each map's sum is the cosine, exactly.

    Raises
    ------
    InputError
        If the sizes do not fit.
    """
    height, width = cells
    size = features.shape[1] if features.ndim == 2 else -1
    if direction.shape != (size,) or size % max(height * width, 1):
        raise InputError(
            f"features {features.shape} and direction {direction.shape} are not of {height} x {width} cells"
        )
    products = features.astype(np.float64) * direction.astype(np.float64)
    return np.asarray(products.reshape(len(features), height, width, -1).sum(axis=-1))


HEAD_NAME: Final = "uncertainty.safetensors"
"""Name of the head's file in the gallery's folder."""


@dataclass(frozen=True, eq=False)
class GalleryPeople:
    """The faces and people of a gallery.

    Attributes
    ----------
    features
        Features of N faces, (N, D) float32, rows of unit length.
    labels
        The person of each, an index into ``people``, (N,) int64.
    people
        K names, sorted.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    people: tuple[str, ...]


def gallery_people(gallery: Gallery) -> GalleryPeople:
    """Return the features of all people, without removed and damaged faces."""
    rows = gallery.labels()
    numbers = np.array([number for number, _ in rows], np.int64)
    records = gallery.records[numbers] if len(numbers) else gallery.records[:0]
    whole = [bool(intact(gallery.records[number : number + 1], int(number))[0]) for number in numbers]
    kept = np.flatnonzero(whole)
    names = [rows[row][1] for row in kept]
    people = tuple(sorted(set(names)))
    place = {name: label for label, name in enumerate(people)}
    units = records["unit"][kept].astype(np.float32) * records["unit_scale"][kept][:, None]
    return GalleryPeople(l2_normalise(units), np.array([place[name] for name in names], np.int64), people)


def head_features(gallery: Gallery, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Convert probe features from ``gallery.features`` to the input of this gallery's head, (P, D)."""
    return grid_features(features) if gallery.layout.kind == "grid" else l2_normalise(features)


def head_path(gallery: Gallery) -> Path:
    """Return the path of the gallery's head, whether it exists or not."""
    return gallery.path / HEAD_NAME


def model_record(gallery: Gallery) -> dict[str, Any]:
    """Return the gallery's model, for a head's record."""
    return {"model": gallery.layout.model, "model_sha256": gallery.layout.sha256.get("onnx")}


def gallery_head(gallery: Gallery) -> tuple[EvidentialHead | None, str]:
    """Return the gallery's head, or None and why there is none.

    A head fitted to other people is not used: people may have been added or removed since.

    Raises
    ------
    ModelError
        If the head is damaged or belongs to another model.
    """
    path = head_path(gallery)
    people = gallery.names()
    if len(people) < 2:
        return None, "Uncertainty about who it is needs at least two people to choose from"
    if not path.is_file():
        return None, "No uncertainty was fitted for this gallery; whyface identify --fit does it"
    head = load_evidential_head(path)
    digest = gallery.layout.sha256.get("onnx")
    if digest is not None:
        head.require_model(digest, path)
    if set(head.people) != set(people):
        return None, "People came or went since the uncertainty was fitted, so it is left out; --fit fits it again"
    return head, ""
