"""Training pictures by person, decoded once into memory or read when they are needed (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.data.aligning import AligningPictures
from whyface.data.folders import LabelledPictures, label_pictures, open_labelled
from whyface.data.recordio import open_records
from whyface.errors import DataError
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.files.guarded import read_json
from whyface.files.progress import ProgressCallback
from whyface.train.config import DataConfig, SourceConfig
from whyface.train.corpus import people_left_out

Place = tuple[PictureSource, str]


class PictureStore:
    """N pictures of K people.

    Parameters
    ----------
    places
        Source and name of every picture.
    people
        The person in each.
    shown
        Name of every picture in ``broken``; by default that in its source. Two sources may have equal names.
    cache
        Decode everything now; otherwise pictures are read whenever they are asked for.
    progress
        Called while decoding.

    Raises
    ------
    DataError
        If no picture can be used.

    Notes
    -----
    A picture that cannot be read is skipped and its name and reason kept in ``broken``: from a cache it is left out at
    the start; without one another picture of the same person takes its place.
    """

    def __init__(
        self,
        places: Sequence[Place],
        people: Sequence[str],
        *,
        shown: Sequence[str] | None = None,
        cache: bool = True,
        progress: ProgressCallback | None = None,
    ) -> None:
        shown = [name for _, name in places] if shown is None else shown
        self.broken: dict[str, str] = {}
        self._unreadable: set[int] = set()
        self._pictures: Tensor | None = None
        if cache:
            decoded: list[NDArray[np.uint8]] = []
            kept: list[int] = []
            for number, (source, name) in enumerate(places):
                try:
                    decoded.append(source.read(name).transpose(2, 0, 1))
                    kept.append(number)
                except DataError as error:
                    self.broken[shown[number]] = str(error)
                if progress is not None:
                    progress(number + 1, len(places))
            places, people = [places[k] for k in kept], [people[k] for k in kept]
            shown = [shown[k] for k in kept]
            if decoded:
                self._pictures = torch.from_numpy(np.stack(decoded))
        if not places:
            raise DataError("there are no pictures to train on; check the paths and who is left out")
        self._places = list(places)
        self._shown = list(shown)
        self.people = sorted(set(people))
        number_of = {person: number for number, person in enumerate(self.people)}
        self.labels = torch.tensor([number_of[person] for person in people])
        order = torch.argsort(self.labels, stable=True)
        self.rows = torch.split(order, torch.bincount(self.labels, minlength=len(self.people)).tolist())

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def singles(self) -> int:
        """Number of people with only one picture, who have no genuine pairs."""
        return sum(len(rows) == 1 for rows in self.rows)

    def summary(self) -> str:
        """Return the contents in words."""
        text = f"{len(self)} pictures of {len(self.people)} people"
        text += f", {self.singles} of them with one picture only" if self.singles else ""
        return text + (f"; {len(self.broken)} broken and skipped" if self.broken else "")

    def read(self, index: Tensor) -> Tensor:
        """Return pictures by their numbers (n,): uint8 (n, 3, 112, 112)."""
        if self._pictures is not None:
            return self._pictures[index]
        return torch.from_numpy(np.stack([self._read_one(int(number)) for number in index]))

    def _read_one(self, number: int) -> NDArray[np.uint8]:
        rows = self.rows[int(self.labels[number])].tolist()
        start = rows.index(number)
        for candidate in rows[start:] + rows[:start]:
            if candidate in self._unreadable:
                continue
            source, name = self._places[candidate]
            try:
                picture: NDArray[np.uint8] = source.read(name).transpose(2, 0, 1)
            except DataError as error:
                self._unreadable.add(candidate)
                self.broken[self._shown[candidate]] = str(error)
            else:
                return picture
        person = self.people[int(self.labels[number])]
        raise DataError(f"none of the {len(rows)} pictures of {person!r} can be read; leave this person out")


def open_stores(
    config: DataConfig,
    *,
    seed: int,
    stack: ExitStack,
    threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[PictureStore, PictureStore | None]:
    """Open the training pictures, and those of the people held out (None if there are none).

    Parameters
    ----------
    config
        What to read.
    seed
        Draws the people who are held out, among those with two pictures or more.
    stack
        Closes the sources in the end.
    threads
        Threads of ONNX Runtime for the face detector, for photographs; None leaves it to ONNX Runtime.
    progress
        Called while decoding.

    Raises
    ------
    DataError
        If a source cannot be read or no people are left.
    """
    left_out = read_people(config.leave_out) if config.leave_out is not None else frozenset()
    places: list[Place] = []
    people: list[str] = []
    shown: list[str] = []
    for source in config.sources:
        pictures = _open(source, threads)
        stack.enter_context(pictures.source)
        only = None if source.people is None else read_people(source.people)
        for name, label in zip(pictures.names, pictures.labels.tolist(), strict=True):
            person = pictures.people[label]
            full = f"{source.name}/{person}" if source.name else person
            if {person, full} & left_out or (only is not None and not {person, full} & only):
                continue
            places.append((pictures.source, name))
            people.append(full)
            shown.append(name if len(config.sources) == 1 else f"{source.path}: {name}")
    counts: dict[str, int] = {}
    for person in people:
        counts[person] = counts.get(person, 0) + 1
    able = sorted(person for person, count in counts.items() if count > 1)
    if config.held_out and len(able) <= config.held_out:
        raise DataError(f"{len(able)} people have two pictures or more, too few to hold {config.held_out} of them out")
    drawn = np.random.default_rng(seed).choice(len(able), config.held_out, replace=False) if config.held_out else ()
    held = {able[int(number)] for number in drawn}

    def store(of_held: bool, cache: bool) -> PictureStore:
        chosen = [k for k, person in enumerate(people) if (person in held) == of_held]
        return PictureStore(
            [places[k] for k in chosen],
            [people[k] for k in chosen],
            shown=[shown[k] for k in chosen],
            cache=cache,
            progress=progress,
        )

    return store(False, config.cache), store(True, True) if held else None


def read_people(path: Path) -> frozenset[str]:
    """Read a JSON list of people, or the report of ``scripts/lfw_overlap.py``.

    Raises
    ------
    DataError
        If it is neither.
    """
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no list of people ({error}); give a JSON list of names") from error
    if isinstance(document, list) and all(isinstance(name, str) for name in document):
        return frozenset(document)
    return people_left_out(path)


def _open(source: SourceConfig, threads: int | None) -> LabelledPictures:
    pictures = _open_stored(source)
    if not source.align:
        return pictures
    return replace(pictures, source=AligningPictures(pictures.source, cache=source.align_cache, threads=threads))


def _open_stored(source: SourceConfig) -> LabelledPictures:
    if source.layout == "rec":
        return open_records(source.path)
    if source.layout == "tree":
        return open_labelled(source.path)
    pictures = open_pictures(source.path)
    # CFP's own tree: .../Images/<person>/<frontal or profile>/<picture>.
    person_of = {name: parts[-3] for name in pictures.names() if len(parts := name.split("/")) >= 4}
    if not person_of:
        pictures.close()
        raise DataError(f"{source.path}: not CFP's tree Images/PERSON/frontal/PICTURE; use layout: tree")
    return label_pictures(pictures, person_of)
