"""Training pictures in memory, and batches drawn from them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyface.errors import DataError
from whyface.faces.face import FACE_SIZE
from whyface.faces.pictures import open_pictures

CFP_FRONTAL: Final = 10
"""Frontal pictures of each person in CFP."""


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
    # A CFP person's frontal pictures come first; the held-out set is for frontal verification.
    kept = {str(person): people.pop(str(person))[:CFP_FRONTAL] for person in chosen}
    if not people:
        raise DataError("no training pictures are left; check the paths and the list of people to leave out")
    return build_corpus(people), build_corpus(kept)


def sample_batch(corpus: Corpus, people: int, pictures: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw ``people`` people, weighted by the root of their picture counts, and ``pictures`` pictures of each.

    Returns
    -------
    Pictures uint8 (people * pictures, 3, 112, 112) and labels (people * pictures,). If a person has fewer pictures than
    asked for, some are repeated.
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
