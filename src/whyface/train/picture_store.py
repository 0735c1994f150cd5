"""Training pictures by person, and augmented batches of them (needs the extra ``torch``).

Pictures are decoded once into memory or read when they are needed. A distilled network learns a function, not a label,
so that every picture that the teacher can embed is a training picture. Blending two aligned faces, whole or by region,
gives faces of people who do not exist, which a few hundred identities alone cannot supply (Beyer et al., "Knowledge
distillation: A good teacher is patient and consistent", CVPR 2022). Augmentations take and return float32 batches
(N, 3, 112, 112) in 0..255, on the device of the generator that they draw from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from whyface.data.aligning import AligningPictures
from whyface.data.folders import LabelledPictures, label_pictures, open_labelled
from whyface.data.masks import free_form_mask
from whyface.data.recordio import open_records
from whyface.errors import DataError, InputError, reason
from whyface.faces.pictures import PictureSource, open_pictures
from whyface.files.guarded import read_json
from whyface.files.progress import ProgressCallback
from whyface.train.config import AugmentConfig, DataConfig, SourceConfig
from whyface.train.corpus import people_left_out

Place = tuple[PictureSource, str]


class PictureStore:
    """N pictures of K people.

    Raise DataError if no picture can be used.

    Parameters
    ----------
    places
        Source and name of every picture.
    people
        The person in each.
    shown
        Name of every picture in ``broken``; by default, its name in its source. Two sources may have equal names.
    cache
        Whether to decode everything now; otherwise pictures are read each time they are needed.
    progress
        Called while decoding.

    Notes
    -----
    A picture that cannot be read is skipped, and ``broken`` keeps its name and the reason. With a cache it is left out
    at the start; without one, another picture of the same person replaces it.
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
            raise DataError("there are no pictures to train on; check the paths and the people left out")
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

    def move(self, device: torch.device) -> None:
        """Move the decoded pictures to a device."""
        if self._pictures is not None:
            self._pictures = self._pictures.to(device)

    def summary(self) -> str:
        """Return the contents in words."""
        text = f"{len(self)} pictures of {len(self.people)} people"
        text += f", {self.singles} of them with one picture only" if self.singles else ""
        return text + (f"; {len(self.broken)} broken and skipped" if self.broken else "")

    def read(self, index: Tensor) -> Tensor:
        """Return pictures by their numbers (n,): uint8 (n, 3, 112, 112), where the decoded pictures are."""
        if self._pictures is not None:
            return self._pictures[index.to(self._pictures.device)]
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

    Raise DataError if a source cannot be read or no people are left.

    Parameters
    ----------
    seed
        Draws the people who are held out, among those with two pictures or more.
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

    return store(False, bool(config.cache)), store(True, True) if held else None


def read_people(path: Path) -> frozenset[str]:
    """Read a JSON list of people, or the report of ``scripts/lfw_overlap.py``.

    Raise DataError if the file is neither.
    """
    try:
        document = read_json(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a list of people ({reason(error)}); give a JSON list of names") from error
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
    if source.layout == "singles":
        person_of = {name: name for name in pictures.names()}
        missing = "no pictures in it"
    else:
        # CFP's own tree: .../Images/<person>/<frontal or profile>/<picture>.
        person_of = {name: parts[-3] for name in pictures.names() if len(parts := name.split("/")) >= 4}
        missing = "not CFP's tree Images/PERSON/frontal/PICTURE; use layout: tree"
    if not person_of:
        pictures.close()
        raise DataError(f"{source.path}: {missing}")
    return label_pictures(pictures, person_of)


def _rand(*size: int, generator: torch.Generator) -> Tensor:
    return torch.rand(*size, generator=generator, device=generator.device)


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return _rand(count, generator=generator) * (high - low) + low


def blend_people(
    first: Tensor, second: Tensor, groups: int, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Replace a share of the people in a batch by people who do not exist.

    Picture k of a virtual person is the blend of picture k of two real ones under one mask for the whole person, so
    that a virtual person, like a real one, has several pictures. Half of them are blended with one opacity, the other
    half with a smooth random mask (one person's eyes with another's mouth). Return the batch and a bool tensor (groups
    * pictures,) that says which faces are virtual.

    Parameters
    ----------
    first, second
        Pictures of real people, (groups * pictures, 3, 112, 112), each person's pictures in a row.
    share
        Share of virtual people, 0..1.
    """
    n, _, height, width = first.shape
    opacity = _uniform(groups, 0.3, 0.7, generator).view(groups, 1, 1, 1)
    coarse = _rand(groups, 1, 4, 4, generator=generator)
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    smooth = torch.sigmoid((smooth - 0.5) * 12)
    by_region = (_rand(groups, generator=generator) < 0.5).view(groups, 1, 1, 1)
    virtual = _rand(groups, generator=generator) < share
    mask = torch.where(virtual.view(groups, 1, 1, 1), torch.where(by_region, smooth, opacity), 1.0)
    mask = mask.repeat_interleave(n // groups, dim=0)
    return mask * first + (1 - mask) * second, virtual.repeat_interleave(n // groups)


def jitter_geometry(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the faces; shift by up to 3 pixels, rotate by up to 5 degrees, scale by up to 5 %."""
    n, _, _, width = faces.shape
    angle = _uniform(n, -5, 5, generator) * (math.pi / 180)
    scale = _uniform(n, 0.95, 1.05, generator)
    mirror = torch.where(_rand(n, generator=generator) < 0.5, -1.0, 1.0)
    shift = _uniform(2 * n, -3, 3, generator).view(n, 2) * (2 / width)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack([mirror * cos, -sin, shift[:, 0], mirror * sin, cos, shift[:, 1]], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(rows, list(faces.shape), align_corners=False)
    return functional.grid_sample(faces, grid, padding_mode="border", align_corners=False)


def jitter_light(faces: Tensor, generator: torch.Generator) -> Tensor:
    """Vary brightness, contrast, saturation and sharpness; turn a tenth of the faces grey."""
    n = len(faces)
    view = (n, 1, 1, 1)
    grey = faces.mean(dim=1, keepdim=True)
    saturation = _uniform(n, 0.6, 1.3, generator)
    saturation = torch.where(_rand(n, generator=generator) < 0.1, 0.0, saturation).view(view)
    faces = grey + saturation * (faces - grey)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    faces = mean + _uniform(n, 0.75, 1.25, generator).view(view) * (faces - mean)
    faces = faces * _uniform(n, 0.75, 1.25, generator).view(view)
    # Sharpness: between the face and its half-resolution copy, as in small or old photographs.
    soft = functional.interpolate(functional.avg_pool2d(faces, 2), scale_factor=2.0, mode="bilinear")
    blur = (_uniform(n, -1.0, 1.0, generator).clamp_min(0)).view(view)
    return (faces + blur * (soft - faces)).clamp(0, 255)


def occlude(faces: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Cover a share of the faces with one rectangle of 4 to 25 % of the area, flat or noisy."""
    n, _, height, width = faces.shape
    area = _uniform(n, 0.04, 0.25, generator)
    ratio = torch.exp(_uniform(n, -0.9, 0.9, generator))
    box_h, box_w = (area / ratio).sqrt() * height, (area * ratio).sqrt() * width
    top = _rand(n, generator=generator) * (height - box_h).clamp_min(0)
    left = _rand(n, generator=generator) * (width - box_w).clamp_min(0)
    device = generator.device
    y, x = torch.arange(height, device=device).view(1, -1, 1), torch.arange(width, device=device).view(1, 1, -1)

    def column(value: Tensor) -> Tensor:
        return value.view(n, 1, 1)

    inside = (y >= column(top)) & (y < column(top + box_h)) & (x >= column(left)) & (x < column(left + box_w))
    inside &= column(_rand(n, generator=generator) < share)
    fill = _rand(n, 3, 1, 1, generator=generator) * 255
    noise = torch.randn(faces.shape, generator=generator, device=device) * (_rand(n, 1, 1, 1, generator=generator) * 60)
    return torch.where(inside[:, None], (fill + noise).clamp(0, 255), faces)


POOL = 400
"""Number of masks drawn for a run; enough that a network cannot memorise them."""


class Augmentation:
    """Changes that both teacher and student see, and coverings that only the student sees.

    Raise InputError if the coverage is not a range.

    Parameters
    ----------
    config
        The augmentations, and how often they apply.
    seed
        Draws the pool of masks.
    """

    def __init__(self, config: AugmentConfig, *, seed: int) -> None:
        low, high = config.coverage
        if low > high:
            raise InputError(f"augment.coverage must be a range from low to high, got {low:g} to {high:g}")
        self.config = config
        self._masks: Tensor | None = None
        if config.masked:
            rng = np.random.default_rng((seed, 7))
            masks = [free_form_mask(coverage=float(rng.uniform(low, high)), rng=rng) for _ in range(POOL)]
            self._masks = torch.from_numpy(np.stack(masks))

    def look(self, faces: Tensor, generator: torch.Generator) -> Tensor:
        """Mirror half of the faces, and vary position and light; (N, 3, 112, 112) float32 in 0..255."""
        if self.config.geometry:
            # This also mirrors half of the faces.
            faces = jitter_geometry(faces, generator)
        elif self.config.flip:
            mirrored = _rand(len(faces), generator=generator) < 0.5
            faces = torch.where(mirrored[:, None, None, None], faces.flip(-1), faces)
        return jitter_light(faces, generator) if self.config.light else faces

    def cover(self, faces: Tensor, generator: torch.Generator) -> Tensor:
        """Cover part of some faces with rectangles and black free-form masks."""
        if self.config.occluded:
            faces = occlude(faces, self.config.occluded, generator)
        if self._masks is not None:
            masked = _rand(len(faces), generator=generator) < self.config.masked
            device = generator.device
            chosen = torch.randint(len(self._masks), (len(faces),), generator=generator, device=device)
            drawn = self._masks.to(device)[chosen]
            turned = _rand(len(faces), generator=generator) < 0.5
            drawn = torch.where(turned[:, None, None], drawn.flip(-1), drawn)
            faces = faces.masked_fill((drawn & masked[:, None, None])[:, None], 0)
        return faces
