"""Spatial maps and embeddings of training faces, worked out once with a frozen network (needs the extra ``train``).

What a frozen network makes of a picture never changes, so it is run once, and training reads maps instead of pictures.
A view is what is done to every picture before: nothing, a mirror, a small change of geometry and light, or a
degradation. Views are kept on disk, so that fits with other settings share them.
"""

from __future__ import annotations

import os
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from whyface.data.degradations import degrade, jitter
from whyface.data.folders import open_labelled
from whyface.errors import InputError
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import Batch, Embedder, GridEmbedder, l2_normalise
from whyface.models.linear_head import LinearHead
from whyface.train.factorised_fit import ViewedMaps
from whyface.train.picture_store import PictureStore

_CHUNK: Final = 64


class MapNetwork(Embedder, Protocol):
    """An embedder that returns embedding and spatial map in one pass, such as OnnxEmbedder or TorchEmbedder."""

    def embed_with_grid(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return embeddings (N, D), L2-normalised, and maps (N, C, H, W)."""
        ...


@dataclass(frozen=True, eq=False)
class FrozenMaps:
    """Maps and teacher's embeddings of N pictures in V views (plain, and mirrored).

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
        Returns the maps.
    faces
        (N, 3, 112, 112), RGB, 0..255; may be a memory map.
    people
        Person in each picture, (N,): names or numbers.
    teacher
        Returns the embeddings whose cosine is learnt; the network itself by default.
    mirror
        Whether to run every picture mirrored too.
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

    A picture that is broken is left out with a warning.

    Returns
    -------
    Faces (N, 3, 112, 112) uint8, and the person in each, (N,).

    Raises
    ------
    DataError
        If there are no pictures that can be read.
    """
    labelled = open_labelled(path)
    with labelled.source as source:
        who = [labelled.people[label] for label in labelled.labels.tolist()]
        store = PictureStore([(source, name) for name in labelled.names], who)
        faces: NDArray[np.uint8] = store.read(torch.arange(len(store))).numpy()
    for name, reason in store.broken.items():
        warnings.warn(f"skipped {name}: {reason}", stacklevel=2)
    return faces, np.array([store.people[label] for label in store.labels.tolist()])


_VIEW: Final = re.compile(r"plain|mirror|(moved|poor)-(\d+)")
_PICTURES_AT_ONCE: Final = 32
_BATCH: Final = 1024


def change_view(face: NDArray[np.uint8], view: str, *, name: str) -> NDArray[np.uint8]:
    """Make one view of a picture.

    Parameters
    ----------
    face
        (H, W, 3) uint8.
    view
        ``"plain"``, ``"mirror"``; ``"moved-N"``: moved and lit a little otherwise, half of the pictures mirrored;
        ``"poor-N"``: degraded, half of them mirrored. N is any whole number, another one draws anew.
    name
        The picture's name, which decides with N what is drawn.

    Raises
    ------
    InputError
        If there is no such view.
    """
    found = _VIEW.fullmatch(view)
    if found is None:
        raise InputError(f"a view is plain, mirror, moved-N or poor-N, got {view!r}")
    if view == "plain":
        return face
    mirrored = np.ascontiguousarray(face[:, ::-1])
    if view == "mirror":
        return mirrored
    rng = np.random.default_rng([zlib.crc32(view.encode()), zlib.crc32(name.encode())])
    chosen = mirrored if rng.random() < 0.5 else face
    return jitter(chosen, rng=rng) if found[1] == "moved" else degrade(chosen, rng=rng)


def cached_view(
    folder: Path,
    key: str,
    network: GridEmbedder,
    source: PictureSource,
    names: Sequence[str],
    view: str,
    *,
    progress: ProgressCallback | None = None,
) -> NDArray[np.floating[Any]]:
    """Run a network over one view of all pictures, or open what an earlier run left.

    Parameters
    ----------
    folder, key
        Where the maps go, and what the set of pictures is called; the same key must mean the same pictures.
    network
        Gives the maps.
    source, names
        The pictures.
    view
        See :func:`change_view`.
    progress
        Called as ``progress(done, total)``.

    Returns
    -------
    (N, C, H, W) float16, mapped from the file.

    Raises
    ------
    InputError
        If there are no pictures or no such view, or the file holds other pictures.
    """
    if not len(names):
        raise InputError(f"{key}: there are no pictures to run the network on")
    path = folder / f"{key}-{view}-{network.sha256[:12]}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.npy")
        maps: np.memmap[Any, np.dtype[np.float16]] | None = None
        for start in range(0, len(names), _PICTURES_AT_ONCE):
            part = names[start : start + _PICTURES_AT_ONCE]
            faces = [change_view(source.read(name), view, name=name).transpose(2, 0, 1) for name in part]
            found = network.grid(np.ascontiguousarray(np.stack(faces)))
            if maps is None:
                shape = (len(names), *found.shape[1:])
                maps = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float16, shape=shape)
            maps[start : start + len(part)] = found
            if progress is not None:
                progress(start + len(part), len(names))
        assert maps is not None
        maps.flush()
        unfinished.replace(path)
    stored: NDArray[np.floating[Any]] = np.load(path, mmap_mode="r")
    if len(stored) != len(names):
        raise InputError(f"{path}: holds {len(stored)} pictures, not {len(names)}; delete it")
    return stored


@dataclass(frozen=True)
class PictureSet:
    """Some pictures of a folder or tar file.

    Attributes
    ----------
    key
        What the set is called in the names of files.
    path
        Folder or tar file of aligned pictures.
    names, people
        The pictures, and who is in each.
    """

    key: str
    path: Path
    names: tuple[str, ...]
    people: tuple[str, ...]


def read_views(
    folder: Path,
    network: GridEmbedder,
    head: LinearHead,
    sets: Sequence[PictureSet],
    *,
    clean: Sequence[str] = ("plain", "mirror"),
    degraded: Sequence[str] = (),
    progress: ProgressCallback | None = None,
) -> tuple[ViewedMaps, NDArray[np.str_]]:
    """Read sets of pictures in several views; the teacher is the network's own head, on picture and mirror image.

    Parameters
    ----------
    folder
        Where maps are kept.
    network, head
        The network, and its head as a sum over places.
    sets
        The pictures.
    clean, degraded
        Views, as in :func:`change_view`; ``"plain"`` and ``"mirror"`` are worked out in any case.
    progress
        Called as ``progress(done, total)`` for each set and view.

    Returns
    -------
    The maps, whose targets are the normalised sum of both embeddings; and who is in each picture, (N,).
    """

    def view(name: str) -> NDArray[np.floating[Any]]:
        parts = []
        for one in sets:
            with open_pictures(one.path) as source:
                parts.append(cached_view(folder, one.key, network, source, one.names, name, progress=progress))
        return np.concatenate(parts)

    views = {name: view(name) for name in dict.fromkeys(("plain", "mirror", *clean, *degraded))}
    embeddings = [
        np.concatenate([head(np.asarray(maps[at : at + _BATCH], np.float32)) for at in range(0, len(maps), _BATCH)])
        for maps in (views["plain"], views["mirror"])
    ]
    people = np.array([person for one in sets for person in one.people])
    labels = np.unique(people, return_inverse=True)[1].astype(np.int64)
    targets = l2_normalise(np.asarray(embeddings[0] + embeddings[1], np.float32))
    maps = ViewedMaps([views[name] for name in clean], [views[name] for name in degraded], targets, labels)
    return maps, people
