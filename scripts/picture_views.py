"""Views of training pictures, and the maps that a frozen network makes of them, kept on disk.

A view is a change of every picture: none, a mirror image, a small change of geometry and light, or a degradation. Fits
with different settings share the files.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from factorised_fit import ViewedMaps
from whyface.data.degradations import degrade, jitter
from whyface.errors import InputError
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.files.progress import ProgressCallback
from whyface.models.embedder import GridEmbedder, l2_normalise
from whyface.models.linear_head import LinearHead

_VIEW: Final = re.compile(r"plain|mirror|(moved|poor)-(\d+)")
_PICTURES_AT_ONCE: Final = 32
_BATCH: Final = 1024


def change_view(face: NDArray[np.uint8], view: str, *, name: str) -> NDArray[np.uint8]:
    """Return one view of a picture.

    Parameters
    ----------
    face
        (H, W, 3) uint8.
    view
        ``"plain"``, ``"mirror"``; ``"moved-N"``: moved and lit slightly differently, half of the pictures mirrored;
        ``"poor-N"``: degraded, half of them mirrored. N is any whole number, part of the seed.
    name
        The picture's name, which together with N is the seed.

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
    """Run a network over one view of all pictures, or open the result of an earlier run.

    Parameters
    ----------
    folder, key
        Folder of the maps, and name of the set of pictures; the same name must mean the same pictures.
    network
        The network that returns the maps.
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
        Name of the set in file names.
    path
        Folder or tar file of aligned pictures.
    names, people
        The pictures, and the person in each.
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
        Folder of the maps.
    network, head
        The network, and its head as a sum over places.
    sets
        The pictures.
    clean, degraded
        Views, as in :func:`change_view`; ``"plain"`` and ``"mirror"`` are always computed.
    progress
        Called as ``progress(done, total)`` for each set and view.

    Returns
    -------
    The maps, whose targets are the normalised sum of both embeddings; and the person in each picture, (N,).
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
