"""Open a gallery with its model, which its folder has on record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from whyface.errors import DataError
from whyface.files.guarded import read_json
from whyface.files.integrity import write_atomic
from whyface.gallery import feature_file
from whyface.gallery.encryption import read_key
from whyface.gallery.feature_file import HEADER, FeatureFile, Storage, read_header
from whyface.gallery.gallery import Gallery
from whyface.models.preprocessing import Preprocessing, preprocessing_from_dict
from whyface.xcos.open_model import open_model

MODEL_NAME: Final = "model.json"
"""File in the gallery's folder that records how its model was opened."""


def open_or_create(
    path: Path | str,
    model: str,
    *,
    storage: Storage = "int16",
    directory: Path | str | None = None,
    grid: str | None = None,
    output: str | None = None,
    preprocessing: Preprocessing | None = None,
    unchecked: bool = False,
    threads: int | None = None,
    providers: str | Sequence[str] = "cpu",
    key: bytes | None = None,
) -> Gallery:
    """Open a gallery for writing, or create it.

    Parameters
    ----------
    path
        The gallery.
    model, directory, grid, output, preprocessing, unchecked, threads, providers
        As for :func:`whyface.xcos.open_model.open_model`.
    storage
        Storage of a new gallery.
    key
        Key of an encrypted gallery; a new one is encrypted with it.

    Raises
    ------
    ModelError
        If the model cannot be opened, or the gallery was made with another model.
    OutputError
        If the gallery cannot be written.
    """
    path = Path(path)
    if (path / feature_file.FILE_NAME).is_file():
        # Before the network is opened, which takes seconds.
        FeatureFile(path / feature_file.FILE_NAME, key)
    opened = open_model(
        model,
        directory=directory,
        grid=grid,
        output=output,
        preprocessing=preprocessing,
        unchecked=unchecked,
        threads=threads,
        providers=providers,
    )
    if (path / feature_file.FILE_NAME).is_file():
        gallery = Gallery.open(path, opened.model, writable=True, key=key)
        if (path / MODEL_NAME).is_file():
            return gallery
    else:
        gallery = Gallery.create(path, opened.model, storage=storage, key=key)
    record_model(path, model, grid=grid, output=output, preprocessing=preprocessing)
    return gallery


def open_for_search(
    path: Path | str,
    *,
    model: str | None = None,
    writable: bool = False,
    directory: Path | str | None = None,
    threads: int | None = None,
    providers: str | Sequence[str] = "cpu",
    key: bytes | None = None,
) -> Gallery:
    """Open a gallery with its model, by default from where it was when the gallery was created.

    Parameters
    ----------
    path
        The gallery.
    model
        Where the model is now, if it was moved; it must be the same model.
    writable
        Whether to open it for changes.
    directory, threads, providers
        As for :func:`whyface.xcos.open_model.open_model`.
    key
        Key of an encrypted gallery.

    Raises
    ------
    DataError
        If there is no gallery, or its model is not recorded.
    ModelError
        If the model is missing or has changed.
    """
    path = Path(path)
    if not (path / feature_file.FILE_NAME).is_file():
        raise DataError(f"{path}: no gallery here; whyface gallery enroll makes one")
    # Before the network is opened, which takes seconds.
    FeatureFile(path / feature_file.FILE_NAME, key)
    asked = recorded_model(path)
    pixels = asked["preprocessing"]
    opened = open_model(
        model or asked["model"],
        directory=directory,
        grid=asked["grid"],
        output=asked["output"],
        preprocessing=None if pixels is None else preprocessing_from_dict(pixels),
        # It was tried when the gallery was created, and its SHA-256 must be the same.
        unchecked=True,
        threads=threads,
        providers=providers,
    )
    return Gallery.open(path, opened.model, writable=writable, key=key)


def gallery_key(path: Path | str, file: Path | None) -> bytes | None:
    """Return the key for a gallery: that in a file, or else in the environment if the gallery is new or encrypted.

    Raise InputError if it is no key, and DataError if the gallery's header cannot be read.
    """
    header = Path(path) / feature_file.FILE_NAME
    if file is None and header.is_file():
        with header.open("rb") as opened:
            if not read_header(opened.read(HEADER), str(header)).seal:
                return None
    return read_key(file)


def record_model(
    path: Path | str,
    model: str,
    *,
    grid: str | None = None,
    output: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> None:
    """Write how the model of a gallery was opened, without which no command can open the gallery."""
    asked = {
        "model": model,
        "grid": grid,
        "output": output,
        "preprocessing": None if preprocessing is None else preprocessing.to_dict(),
    }
    write_atomic(Path(path) / MODEL_NAME, f"{json.dumps(asked, indent=1)}\n".encode())


def recorded_model(path: Path | str) -> dict[str, Any]:
    """Return how the model of a gallery was opened: ``model``, ``grid``, ``output`` and ``preprocessing``.

    Raises
    ------
    DataError
        If that is not on record.
    """
    path = Path(path)
    try:
        asked = read_json(path / MODEL_NAME)
        return {
            "output": asked.get("output"),
            **{key: asked[key] for key in ("grid", "preprocessing")},
            "model": str(asked["model"]),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path / MODEL_NAME}: cannot be read, so the gallery's model is not known") from error
