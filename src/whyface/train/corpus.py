"""Decoded training pictures in memory, by person (needs the extra ``torch``)."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from whyface.errors import DataError
from whyface.faces.face import FACE_SIZE


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
        """Say in words what is in it."""
        return f"{len(self.pictures)} pictures of {self.people} people"


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.isfile() and member.name.endswith(".jpg"):
                    stream = tar.extractfile(member)
                    if stream is not None:
                        yield member.name, stream.read()
    except (OSError, tarfile.TarError) as error:
        raise DataError(f"cannot read the pictures in {path}: {error}") from error


def _decode(data: bytes, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        picture = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except OSError as error:
        raise DataError(f"{name} is not a readable picture: {error}") from error
    if picture.shape != (FACE_SIZE, FACE_SIZE, 3):
        raise DataError(f"{name} is {picture.shape}, not an aligned {FACE_SIZE} x {FACE_SIZE} face")
    return picture.transpose(2, 0, 1)


def build_corpus(pictures: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]]) -> Corpus:
    """Stack pictures by person; people in sorted order, so that labels do not depend on the order of reading."""
    stacks, labels, rows, start = [], [], [], 0
    for label, person in enumerate(sorted(pictures)):
        count = len(pictures[person])
        stacks.append(np.stack(pictures[person]))
        labels.append(np.full(count, label))
        rows.append(torch.arange(start, start + count))
        start += count
    if not stacks:
        raise DataError("no training pictures are left; check the paths and the list of people to leave out")
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
        CFP people kept for validation, drawn with ``seed``.

    Returns
    -------
    The training corpus and the held-out one; no person is in both.
    """
    people: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]] = {}
    for path, part, prefix in ((cfp, 2, "cfp"), (glint, 1, "glint")):
        for name, data in _members(path):
            person = f"{prefix}/{name.split('/')[part]}"
            if person not in left_out:
                people.setdefault(person, []).append(_decode(data, name))
    candidates = sorted(person for person in people if person.startswith("cfp/"))
    chosen = np.random.default_rng(seed).choice(candidates, min(held_out, len(candidates)), replace=False)
    kept = {str(person): people.pop(str(person)) for person in chosen}
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
