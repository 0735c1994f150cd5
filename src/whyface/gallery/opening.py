"""Open a gallery together with the model that it was made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from whyface.errors import DataError
from whyface.gallery import feature_file
from whyface.gallery.gallery import Gallery
from whyface.gallery.layout import Storage
from whyface.models.atomic_write import write_atomic
from whyface.models.preprocessing import Preprocessing, preprocessing_from_dict
from whyface.xcos.open_model import open_model

MODEL_NAME: Final = "model.json"
"""Which model a gallery needs, beside it: how it was asked for."""


def open_or_create(
    path: Path | str,
    model: str,
    *,
    storage: Storage = "int16",
    directory: Path | str | None = None,
    grid: str | None = None,
    preprocessing: Preprocessing | None = None,
    threads: int | None = None,
) -> Gallery:
    """Open a gallery for writing, or make it.

    Parameters
    ----------
    path
        The gallery.
    model, directory, grid, preprocessing, threads
        As for :func:`whyface.xcos.open_model.open_model`.
    storage
        Of a new gallery.

    Raises
    ------
    ModelError
        If the model cannot be opened, or the gallery was made with another.
    OutputError
        If it cannot be written.
    """
    opened = open_model(model, directory=directory, grid=grid, preprocessing=preprocessing, threads=threads)
    path = Path(path)
    if (path / feature_file.FILE_NAME).is_file():
        gallery = Gallery.open(path, opened.method, writable=True)
        if (path / MODEL_NAME).is_file():
            return gallery
    else:
        gallery = Gallery.create(path, opened.method, storage=storage)
    asked = {
        "model": model,
        "grid": grid,
        "preprocessing": None if preprocessing is None else preprocessing.to_dict(),
    }
    write_atomic(path / MODEL_NAME, f"{json.dumps(asked, indent=1)}\n".encode())
    return gallery


def open_for_search(
    path: Path | str,
    *,
    model: str | None = None,
    writable: bool = False,
    directory: Path | str | None = None,
    threads: int | None = None,
) -> Gallery:
    """Open a gallery with its model, which is looked for where it was when the gallery was made.

    Parameters
    ----------
    path
        The gallery.
    model
        Where the model is now, if not there; it must be the same.
    writable
        Open it for changes.
    directory, threads
        As for :func:`whyface.xcos.open_model.open_model`.

    Raises
    ------
    DataError
        If there is no gallery, or nothing says which model it needs.
    ModelError
        If the model is gone, or another one by now.
    """
    path = Path(path)
    if not (path / feature_file.FILE_NAME).is_file():
        raise DataError(f"{path}: no gallery here; whyface gallery enroll makes one")
    try:
        asked: dict[str, Any] = json.loads((path / MODEL_NAME).read_text(encoding="utf-8"))
        where, grid, pixels = model or str(asked["model"]), asked["grid"], asked["preprocessing"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path / MODEL_NAME}: cannot be read, so the gallery's model is not known") from error
    opened = open_model(
        where,
        directory=directory,
        grid=grid,
        preprocessing=None if pixels is None else preprocessing_from_dict(pixels),
        threads=threads,
    )
    return Gallery.open(path, opened.method, writable=writable)
