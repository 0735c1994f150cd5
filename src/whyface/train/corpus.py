"""The batches and pairs of each training step, and the people to leave out (needs the extra ``torch``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from whyface.errors import DataError, InputError, reason
from whyface.files.guarded import read_json

DEMO_PEOPLE: Final = frozenset({"Barack_Obama"})
"""The person in the demo, excluded from training."""


def people_left_out(overlap: Path) -> frozenset[str]:
    """Read the people whom a model that is tested on LFW and in the demo must not be trained on.

    Raise DataError if the report cannot be read.

    Parameters
    ----------
    overlap
        Report of ``scripts/lfw_overlap.py``.
    """
    try:
        report = read_json(overlap)
        people = {f"cfp/{entry['person']}" for entry in report["cfp"]}
        people |= {f"glint/{entry['person']}" for entry in report["glint24"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{overlap}: not a report of people to leave out ({reason(error)}); run lfw_overlap.py"
        ) from error
    return frozenset(people | {f"glint/{name}" for name in DEMO_PEOPLE})


_EPOCH, _STEP = 1, 2
_PRIME: Final = 1_000_003


def generator_for(seed: int, purpose: int, *numbers: int) -> torch.Generator:
    """Return a generator that depends only on these numbers."""
    mixed = seed
    for number in (purpose, *numbers):
        mixed = (mixed * _PRIME + number + 1) % (2**63 - 1)
    return torch.Generator().manual_seed(mixed)


def steps_per_epoch(pictures: int, size: int) -> int:
    """Return the number of batches in an epoch; the last one may be smaller."""
    return -(-pictures // size)


def epoch_batch(pictures: int, size: int, seed: int, step: int) -> Tensor:
    """Return the numbers of the pictures of one step: every picture once per epoch, in an order drawn per epoch."""
    epoch, part = divmod(step, steps_per_epoch(pictures, size))
    order = torch.randperm(pictures, generator=generator_for(seed, _EPOCH, epoch))
    return order[part * size : (part + 1) * size]


def draw_partners(
    index: Tensor, labels: Tensor, rows: Sequence[Tensor], *, genuine: float, generator: torch.Generator
) -> Tensor:
    """Draw a partner for every picture: with probability ``genuine`` another picture of the same person.

    Otherwise a picture of another person, drawn uniformly, then one of their pictures. A person with only one picture
    has no genuine pair, and always gets another person. Raise InputError if there is only one person.

    Parameters
    ----------
    labels, rows
        The person in every picture; each person's pictures.
    """
    if len(rows) < 2:
        raise InputError("pairs need pictures of at least two people")
    counts = torch.tensor([len(part) for part in rows])
    starts = torch.cumsum(counts, 0) - counts
    order = torch.cat(list(rows))
    own = labels[index]
    same = (torch.rand(len(index), generator=generator) < genuine) & (counts[own] > 1)
    # Another person: one of the other K - 1, skipping the own number.
    other = torch.randint(len(rows) - 1, (len(index),), generator=generator)
    other = other + (other >= own)
    chosen = torch.where(same, own, other)
    place = torch.empty(len(order), dtype=torch.long)
    place[order] = torch.arange(len(order))
    # Another picture: one of the other n - 1, skipping the picture itself.
    room = counts[chosen] - same.long()
    drawn = (torch.rand(len(index), generator=generator, dtype=torch.float64) * room).long().clamp_max(room - 1)
    mine = place[index] - starts[own]
    drawn = drawn + (same & (drawn >= mine))
    return order[starts[chosen] + drawn]


def bundle_singles(rows: Sequence[Tensor], pictures: int) -> tuple[Tensor, ...]:
    """Put pictures of people with only one into groups, as if each group were a person.

    :func:`people_batch` then draws different pictures instead of one again and again. No loss may ask who is in them.
    """
    single = [part for part in rows if len(part) == 1]
    groups = torch.split(torch.cat(single), pictures) if single else ()
    return (*(part for part in rows if len(part) > 1), *groups)


def people_batch(rows: Sequence[Tensor], people: int, pictures: int, generator: torch.Generator) -> Tensor:
    """Draw people, with probabilities as the root of their picture counts, and pictures of each: numbers (P * K,).

    If a person has fewer pictures than asked for, some are repeated.
    """
    weights = torch.tensor([len(part) for part in rows], dtype=torch.float32).sqrt()
    chosen = torch.multinomial(weights, min(people, len(rows)), generator=generator)
    index = []
    for person in chosen.tolist():
        order = torch.randperm(len(rows[person]), generator=generator)
        index.append(rows[person][order[torch.arange(pictures) % len(order)]])
    return torch.cat(index)


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Return the random generator of one process for one step."""
    return generator_for(seed, _STEP, step, rank)
