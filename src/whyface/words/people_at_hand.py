"""An identity classifier from a folder of pictures, a folder for each person."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from whyface.errors import DataError
from whyface.evaluate.pictures import open_pictures
from whyface.evaluate.progress import ProgressCallback
from whyface.words.identity_classes import IdentityClasses, fit_classes
from whyface.words.open_words import scorer_and_cells

if TYPE_CHECKING:
    from whyface.verification import Verifier

_BATCH = 64


def classes_of_pictures(
    verifier: Verifier, path: Path | str, *, least: int = 2, progress: ProgressCallback | None = None
) -> IdentityClasses:
    """Fit a classifier to aligned pictures, 112 x 112, named ``.../Person/picture.jpg``.

    Parameters
    ----------
    verifier
        Whose embeddings are classified.
    path
        A folder or an uncompressed tar file.
    least
        People with fewer pictures are left out.
    progress
        Called with the number of pictures read and their total.

    Raises
    ------
    DataError
        If a picture cannot be read or lies in no person's folder.
    InputError
        If fewer than two people are left.
    """
    _, cells = scorer_and_cells(verifier)
    assert cells is not None
    embeddings, owners = [], []
    with open_pictures(path) as source:
        names = source.names()
        for start in range(0, len(names), _BATCH):
            part = names[start : start + _BATCH]
            batch = np.ascontiguousarray(np.stack([source.read(name) for name in part]).transpose(0, 3, 1, 2))
            embeddings.append(cells.embedding(cells.read(batch)))
            owners += [_person(name, path) for name in part]
            if progress is not None:
                progress(len(owners), len(names))
    if not owners:
        raise DataError(f"{path}: holds no pictures; give a folder with a folder of aligned pictures for each person")
    return fit_classes(np.concatenate(embeddings), owners, least=least)


def _person(name: str, path: Path | str) -> str:
    folder = PurePosixPath(name).parent.name
    if not folder:
        raise DataError(f"{path}: {name} lies in no person's folder; sort the pictures into one folder for each person")
    return folder
