"""Features of all pictures of a set, kept in a file, and the scores of all pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.evaluate.all_pairs import AllPairs, compare_all
from whyface.faces.pictures import open_pictures
from whyface.files.progress import progress_bar
from whyface.gallery.kernel import GalleryFeatures, score_records
from whyface.xcos.grid import AttentionKind

_AT_ONCE: Final = 256


def features_of(model: GalleryFeatures, source: Path, names: Sequence[str], cache: Path) -> NDArray[np.float32]:
    """Run the network on all pictures, or open what an earlier run left."""
    path = cache / f"{model.embedder.name}-{model.embedder.sha256[:12]}.npy"
    if path.exists():
        return np.asarray(np.load(path), np.float32)
    cache.mkdir(parents=True, exist_ok=True)
    parts = []
    with open_pictures(source) as pictures, progress_bar(f"Running {model.embedder.name}") as progress:
        for start in range(0, len(names), _AT_ONCE):
            faces = np.stack([pictures.read(name) for name in names[start : start + _AT_ONCE]])
            parts.append(model.features(np.ascontiguousarray(faces.transpose(0, 3, 1, 2))))
            progress(min(start + _AT_ONCE, len(names)), len(names))
    found = np.concatenate(parts)
    np.save(path, found)
    return found


def all_pairs(
    model: GalleryFeatures, features: NDArray[np.float32], people: list[str], kind: AttentionKind | None, threads: int
) -> AllPairs:
    """Score all pairs as a gallery does, with unrounded features."""
    records = model.records(model.layout(features.shape[1:], "float32"), 0, features)

    def score(rows: slice, columns: slice) -> NDArray[np.float32]:
        probes = model.probes(features[rows], kind)
        learned = None if probes.terms is None else model.attention
        return score_records(records[columns], probes, learned, threads=threads)

    with progress_bar(f"Scoring all pairs with {model.embedder.name}") as progress:
        return compare_all(score, people, progress=progress)
