"""Spatial maps and embeddings of training faces, computed once with a frozen network (needs the extra ``train``).

The output of a frozen network for a picture never changes, so it is run once, and training reads maps instead of
pictures.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from whyface.data.folders import open_labelled
from whyface.errors import InputError
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import Batch, Embedder
from whyface.train.picture_store import PictureStore

_CHUNK: Final = 64


class MapNetwork(Embedder, Protocol):
    """An embedder that returns embedding and spatial map from one pass, such as OnnxEmbedder or TorchEmbedder."""

    def embed_with_grid(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return embeddings (N, D), L2-normalised, and maps (N, C, H, W)."""
        ...


@dataclass(frozen=True, eq=False)
class FrozenMaps:
    """Maps, and embeddings of the teacher, of N pictures in V views (plain, and mirrored).

    Attributes
    ----------
    maps
        (V, N, C, H, W) float16, which halves the memory; float32 where a value is too large for it.
    embeddings
        Embeddings of the teacher, L2-normalised, (V, N, D) float32.
    people
        The person in each picture, (N,) int64, numbered from 0.
    names
        Names of network and teacher, and their SHA-256.
    """

    maps: NDArray[np.floating[Any]]
    embeddings: NDArray[np.float32]
    people: NDArray[np.int64]
    names: dict[str, str]

    def __post_init__(self) -> None:
        views, count = self.maps.shape[:2]
        if self.maps.ndim != 5 or self.embeddings.shape[:2] != (views, count) or self.people.shape != (count,):
            raise InputError(
                f"maps (V, N, C, H, W), embeddings (V, N, D) and people (N,) do not fit together: {self.maps.shape}, "
                f"{self.embeddings.shape}, {self.people.shape}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a map."""
        channels, height, width = self.maps.shape[2:]
        return channels, height, width

    def of(self, rows: NDArray[Any]) -> FrozenMaps:
        """Return some of the pictures, by their numbers or a mask (N,)."""
        people = np.unique(self.people[rows], return_inverse=True)[1].astype(np.int64)
        return FrozenMaps(self.maps[:, rows], self.embeddings[:, rows], people, self.names)


def freeze_maps(
    network: MapNetwork,
    faces: Batch,
    people: Sequence[Any] | NDArray[Any],
    *,
    teacher: Embedder | None = None,
    mirror: bool = True,
    progress: ProgressCallback | None = None,
) -> FrozenMaps:
    """Run a network once on all pictures.

    Parameters
    ----------
    network
        The network that returns the maps.
    faces
        (N, 3, 112, 112), RGB, 0..255; may be a memory map.
    people
        Person in each picture, (N,): names or numbers.
    teacher
        The network whose cosine is learnt; by default, `network` itself.
    mirror
        Whether to run every picture mirrored as well.
    progress
        Called as ``progress(done, total)``.

    Raises
    ------
    InputError
        If pictures and people do not match.
    ModelError
        If the network has no spatial map.
    """
    if len(faces) != len(people) or not len(faces):
        raise InputError(f"need one person for each picture, got {len(people)} for {len(faces)} pictures")
    maps: list[list[NDArray[np.floating[Any]]]] = [[], []]
    embeddings: list[list[NDArray[np.float32]]] = [[], []]
    for start in range(0, len(faces), _CHUNK):
        batch: Batch = faces[start : start + _CHUNK].copy()
        for view in range(1 + mirror):
            seen: Batch = np.flip(batch, axis=3).copy() if view else batch
            own, spatial = network.embed_with_grid(seen)
            fits = float(np.abs(spatial).max(initial=0)) < np.finfo(np.float16).max
            maps[view].append(spatial.astype(np.float16) if fits else spatial)
            embeddings[view].append(own if teacher is None else teacher.embed(seen))
        if progress is not None:
            progress(min(start + _CHUNK, len(faces)), len(faces))
    used = network if teacher is None else teacher
    names = {"network": network.name, "network_sha256": network.sha256}
    return FrozenMaps(
        np.stack([np.concatenate(parts) for parts in maps if parts]),
        np.stack([np.concatenate(parts) for parts in embeddings if parts]),
        np.unique(np.asarray(people), return_inverse=True)[1].astype(np.int64),
        names | {"teacher": used.name, "teacher_sha256": used.sha256},
    )


def read_faces(path: Path | str) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Read a folder or tar file ``person/picture`` of aligned faces into memory.

    Broken pictures are left out with a warning.

    Returns
    -------
    Faces (N, 3, 112, 112) uint8, and the person in each, (N,).

    Raises
    ------
    DataError
        If no picture can be read.
    """
    labelled = open_labelled(path)
    with labelled.source as source:
        who = [labelled.people[label] for label in labelled.labels.tolist()]
        store = PictureStore([(source, name) for name in labelled.names], who)
        faces: NDArray[np.uint8] = store.read(torch.arange(len(store))).numpy()
    for name, reason in store.broken.items():
        warnings.warn(f"skipped {name}: {reason}", stacklevel=2)
    return faces, np.array([store.people[label] for label in store.labels.tolist()])
