"""Training pictures in memory, and the batches and pairs of each step (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.errors import DataError, InputError
from whyface.faces.face import FACE_SIZE
from whyface.faces.pictures import open_pictures
from whyface.files.guarded import read_json

CFP_FRONTAL: Final = 10
"""Frontal pictures of each person in CFP."""


DEMO_PEOPLE: Final = frozenset({"Barack_Obama"})
"""The person in the demo, excluded from training."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Pictures uint8 (N, 3, 112, 112), labels int64 (N,) in 0..people-1, and each person's row numbers."""

    pictures: Tensor
    labels: Tensor
    rows: tuple[Tensor, ...]

    @property
    def people(self) -> int:
        """Number of identities."""
        return len(self.rows)

    def summary(self) -> str:
        """Return the contents in words."""
        return f"{len(self.pictures)} pictures of {self.people} people"


def _person(name: str) -> str:
    """Return the person from ``cfp/Images/<id>/frontal/01.jpg`` or ``glint24/<name>/0.jpg``."""
    parts = name.split("/")
    return parts[2] if parts[0] == "cfp" else parts[1]


def build_corpus(pictures: dict[str, list[NDArray[np.uint8]]]) -> Corpus:
    """Stack pictures by person; people in sorted order, so that labels do not depend on the order of reading."""
    stacks, labels, rows, start = [], [], [], 0
    for label, person in enumerate(sorted(pictures)):
        count = len(pictures[person])
        stacks.append(np.stack(pictures[person]))
        labels.append(np.full(count, label))
        rows.append(torch.arange(start, start + count))
        start += count
    if not stacks:
        return Corpus(torch.empty(0, 3, FACE_SIZE, FACE_SIZE, dtype=torch.uint8), torch.empty(0, dtype=torch.int64), ())
    return Corpus(torch.from_numpy(np.concatenate(stacks)), torch.from_numpy(np.concatenate(labels)), tuple(rows))


def people_left_out(overlap: Path) -> frozenset[str]:
    """Read the people whom a model for LFW and for the demo must not see.

    Parameters
    ----------
    overlap
        Report of ``scripts/lfw_overlap.py``.

    Raises
    ------
    DataError
        If the report cannot be read.
    """
    try:
        report = read_json(overlap)
        people = {f"cfp/{entry['person']}" for entry in report["cfp"]}
        people |= {f"glint/{entry['person']}" for entry in report["glint24"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{overlap}: not a report of people to leave out ({error}); run lfw_overlap.py") from error
    return frozenset(people | {f"glint/{name}" for name in DEMO_PEOPLE})


def load_corpus(cfp: Path, glint: Path, left_out: Set[str], *, held_out: int, seed: int) -> tuple[Corpus, Corpus]:
    """Read CFP and glint24 into memory, without the people to leave out.

    Parameters
    ----------
    cfp, glint
        Tar files with ``cfp/Images/<id>/...jpg`` and ``glint24/<name>/...jpg``.
    left_out
        People by ``cfp/<id>`` or ``glint/<name>``.
    held_out
        CFP people whose frontal pictures are kept for validation, drawn with ``seed``.

    Returns
    -------
    The training corpus and the held-out one; no person is in both.

    Raises
    ------
    DataError
        If the pictures cannot be read, or no people are left to train on.
    """
    people: dict[str, list[NDArray[np.uint8]]] = {}
    for path, prefix in ((cfp, "cfp"), (glint, "glint")):
        with open_pictures(path) as source:
            for name in source.names():
                person = f"{prefix}/{_person(name)}"
                if person not in left_out:
                    people.setdefault(person, []).append(source.read(name).transpose(2, 0, 1))
    candidates = sorted(person for person in people if person.startswith("cfp/"))
    chosen = np.random.default_rng(seed).choice(candidates, min(held_out, len(candidates)), replace=False)
    # A CFP person's pictures come frontal first; the held-out set is for frontal verification.
    kept = {str(person): people.pop(str(person))[:CFP_FRONTAL] for person in chosen}
    if not people:
        raise DataError("no training pictures are left; check the paths and the list of people to leave out")
    return build_corpus(people), build_corpus(kept)


def sample_batch(corpus: Corpus, people: int, pictures: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw ``people`` people, each as likely as the root of their picture count, and ``pictures`` pictures of each.

    Returns
    -------
    Pictures uint8 (people * pictures, 3, 112, 112) and labels (people * pictures,). A person with fewer pictures than
    asked for gives some of them twice.
    """
    weights = torch.tensor([len(rows) for rows in corpus.rows], dtype=torch.float32).sqrt()
    chosen = torch.multinomial(weights, min(people, corpus.people), generator=generator)
    index = []
    for person in chosen.tolist():
        rows = corpus.rows[person]
        order = torch.randperm(len(rows), generator=generator)
        index.append(rows[order[torch.arange(pictures) % len(rows)]])
    picked = torch.cat(index)
    return corpus.pictures[picked], corpus.labels[picked]


_EPOCH, _STEP = 1, 2
_PRIME: Final = 1_000_003


def generator_for(seed: int, purpose: int, *numbers: int) -> torch.Generator:
    """Return a generator that depends only on these numbers."""
    mixed = seed
    for number in (purpose, *numbers):
        mixed = (mixed * _PRIME + number + 1) % (2**63 - 1)
    return torch.Generator().manual_seed(mixed)


def steps_per_epoch(pictures: int, size: int) -> int:
    """Return the number of batches of an epoch; the last one may be smaller."""
    return -(-pictures // size)


def epoch_batch(pictures: int, size: int, seed: int, step: int) -> Tensor:
    """Return the numbers of the pictures of one step: every picture once an epoch, in an order drawn per epoch."""
    epoch, part = divmod(step, steps_per_epoch(pictures, size))
    order = torch.randperm(pictures, generator=generator_for(seed, _EPOCH, epoch))
    return order[part * size : (part + 1) * size]


def draw_partners(
    index: Tensor, labels: Tensor, rows: Sequence[Tensor], *, genuine: float, generator: torch.Generator
) -> Tensor:
    """Draw a partner for every picture: with probability ``genuine`` another picture of the same person.

    Otherwise a picture of somebody else: a person uniformly, then one of their pictures. A person with one picture only
    has no genuine pair, and always meets somebody else.

    Parameters
    ----------
    index
        Numbers of the pictures (n,).
    labels, rows
        The person in every picture; each person's pictures.
    genuine
        In 0..1.
    generator
        Source of randomness.

    Raises
    ------
    InputError
        If there is only one person.
    """
    if len(rows) < 2:
        raise InputError("pairs need pictures of at least two people")
    counts = torch.tensor([len(part) for part in rows])
    starts = torch.cumsum(counts, 0) - counts
    order = torch.cat(list(rows))
    own = labels[index]
    same = (torch.rand(len(index), generator=generator) < genuine) & (counts[own] > 1)
    # Another person: one of the other K - 1, by stepping over one's own number.
    other = torch.randint(len(rows) - 1, (len(index),), generator=generator)
    other = other + (other >= own)
    chosen = torch.where(same, own, other)
    place = torch.empty(len(order), dtype=torch.long)
    place[order] = torch.arange(len(order))
    # Another picture: one of the other n - 1, by stepping over the picture's own place.
    room = counts[chosen] - same.long()
    drawn = (torch.rand(len(index), generator=generator, dtype=torch.float64) * room).long().clamp_max(room - 1)
    mine = place[index] - starts[own]
    drawn = drawn + (same & (drawn >= mine))
    return order[starts[chosen] + drawn]


def people_batch(rows: Sequence[Tensor], people: int, pictures: int, generator: torch.Generator) -> Tensor:
    """Draw people, each as likely as the root of their picture count, and some pictures of each: numbers (P * K,).

    A person with fewer pictures than asked for gives some of them twice.
    """
    weights = torch.tensor([len(part) for part in rows], dtype=torch.float32).sqrt()
    chosen = torch.multinomial(weights, min(people, len(rows)), generator=generator)
    index = []
    for person in chosen.tolist():
        order = torch.randperm(len(rows[person]), generator=generator)
        index.append(rows[person][order[torch.arange(pictures) % len(order)]])
    return torch.cat(index)


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Return the generator of one process in one step."""
    return generator_for(seed, _STEP, step, rank)
