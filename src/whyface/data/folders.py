"""Labelled pictures: a tree ``person/picture``, in a folder or a tar file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError, InputError
from whyface.faces.pictures import PictureSource, open_pictures


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """N pictures of K people.

    Attributes
    ----------
    source
        Where the pictures are read from; the caller who opened the set must close it.
    names
        N unique picture names of ``source``.
    people
        K people; every one has at least one picture.
    labels
        The person in each picture as an index into ``people``, shape (N,) int64.
    """

    source: PictureSource
    names: tuple[str, ...]
    people: tuple[str, ...]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.names or self.labels.shape != (len(self.names),) or self.labels.dtype != np.int64:
            raise InputError("labelled pictures need N > 0 names and int64 labels of shape (N,)")
        if len(set(self.names)) != len(self.names) or len(set(self.people)) != len(self.people):
            raise InputError("labelled pictures need unique names and unique people")
        if not np.array_equal(np.unique(self.labels), np.arange(len(self.people))):
            raise InputError("labels must be the numbers 0..people-1, each with at least one picture")

    @property
    def counts(self) -> NDArray[np.int64]:
        """Pictures of each person, shape (K,) int64, all at least 1."""
        return np.bincount(self.labels, minlength=len(self.people)).astype(np.int64)

    @property
    def singles(self) -> int:
        """Number of people with only one picture, who have no genuine pairs."""
        return int((self.counts == 1).sum())

    def summary(self) -> str:
        """Return the contents in words."""
        alone = f", {self.singles} of them with one picture only" if self.singles else ""
        people = "1 person" if len(self.people) == 1 else f"{len(self.people)} people"
        return f"{len(self.names)} pictures of {people}{alone}"

    def without(self, names: Collection[str]) -> LabelledPictures:
        """Return the set without these pictures and without people who have none left; labels are renumbered.

        Raise DataError if nothing is left.
        """
        gone = frozenset(names)
        kept = {
            name: self.people[label]
            for name, label in zip(self.names, self.labels.tolist(), strict=True)
            if name not in gone
        }
        if not kept:
            raise DataError(f"none of the {len(self.names)} pictures is left; check why they were left out")
        left = set(kept.values())
        return label_pictures(self.source, kept, [person for person in self.people if person in left])


def label_pictures(
    source: PictureSource, person_of: Mapping[str, str], people: Iterable[str] | None = None
) -> LabelledPictures:
    """Return labelled pictures from a mapping of pictures to people.

    Parameters
    ----------
    person_of
        The person in each picture, in the order of the result.
    people
        The people in the order of their labels; sorted by default, so that labels do not depend on the order
        of the pictures.
    """
    order = tuple(sorted(set(person_of.values())) if people is None else people)
    number = {person: label for label, person in enumerate(order)}
    labels = np.array([number[person] for person in person_of.values()], np.int64)
    return LabelledPictures(source, tuple(person_of), order, labels)


def open_labelled(path: str | Path, *, folder: str | None = None) -> LabelledPictures:
    """Open a folder ``person/picture``, or an uncompressed tar file of one, as labelled pictures.

    One folder around all people is allowed (``lfw/Name/Name_0001.jpg``, as in a tar file of a folder). Files
    other than pictures are ignored. Pictures are decoded on demand.

    Parameters
    ----------
    path
        The folder or the tar file.
    folder
        The folder inside it that holds the people's folders, ``""`` for the top; detected by default.

    Raises
    ------
    DataError
        If there are no pictures, or a picture is not directly in a person's folder.
    """
    source = open_pictures(path)
    try:
        return label_by_folder(source, str(path), folder=folder)
    except BaseException:
        source.close()
        raise


def label_by_folder(source: PictureSource, where: str, *, folder: str | None = None) -> LabelledPictures:
    """Label the pictures of an open source.

    Raise DataError as for :func:`open_labelled`.
    """
    names = source.names()
    if not names:
        raise DataError(f"{where}: holds no pictures; expected a folder for each person with pictures in it")
    prefix = _find_prefix(names) if folder is None else f"{folder.strip('/')}/".lstrip("/")
    inside = [name for name in names if name.startswith(prefix)]
    if not inside:
        raise DataError(f"{where}: holds no pictures in {prefix.rstrip('/')}; check the name of the folder")
    person_of: dict[str, str] = {}
    for name in inside:
        person, _, picture = name.removeprefix(prefix).partition("/")
        if not picture:
            raise DataError(f"{where}: {name} is not in a person's folder; expected {prefix}PERSON/PICTURE")
        if "/" in picture:
            raise DataError(f"{where}: {name} is too deep; expected {prefix}PERSON/PICTURE, or name the folder to use")
        person_of[name] = person
    return label_pictures(source, person_of)


def _find_prefix(names: tuple[str, ...]) -> str:
    """Return the one folder around ``person/picture``, with a slash, or ``""`` if there is none."""
    parts = [name.split("/") for name in names]
    wrapped = all(len(part) == 3 for part in parts) and len({part[0] for part in parts}) == 1
    return f"{parts[0][0]}/" if wrapped else ""
