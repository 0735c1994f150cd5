"""Open-set identification: split people into enrolled ones and strangers, and measure how well a score separates them.

P. Grother, M. Ngan, K. Hanaoka, Face Recognition Vendor Test Part 2: Identification, NISTIR 8271 (2019), sections 3 and
4: the detection and identification rate (1 - FNIR) at a false positive identification rate (FPIR).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from whyface.errors import DataError, InputError
from whyface.evaluate.bootstrap import Measure, Weights, auc_measure
from whyface.evaluate.rates import auc


@dataclass(frozen=True, eq=False)
class OpenSetSplit:
    """Pictures of the gallery, the probes and the strangers; indices into the pictures' names.

    Attributes
    ----------
    people
        K enrolled people.
    enrolled, enrolled_labels
        Pictures of the gallery and their people, indices into ``people``.
    probes, probe_labels
        Other pictures of the same people.
    strangers
        Pictures of people with as many pictures as the enrolled ones, but not enrolled.
    loners
        Pictures of people with only one picture: other strangers, photographed less often.
    """

    people: tuple[str, ...]
    enrolled: NDArray[np.intp]
    enrolled_labels: NDArray[np.int64]
    probes: NDArray[np.intp]
    probe_labels: NDArray[np.int64]
    strangers: NDArray[np.intp]
    loners: NDArray[np.intp]


def split_open_set(
    person_of: Sequence[str],
    people: Sequence[str],
    *,
    least: int = 4,
    enroll: int = 5,
    most: int = 20,
    seed: int = 0,
) -> OpenSetSplit:
    """Divide people into enrolled ones and strangers, and the pictures of the enrolled ones into gallery and probes.

    A random half of the people with at least ``least`` pictures is enrolled, with half of their pictures each. The
    other half are strangers, so that both are photographed equally often.

    Parameters
    ----------
    person_of
        The person in each of N pictures.
    people
        The people to split.
    least
        Minimum number of pictures of an enrolled person.
    enroll
        Maximum number of enrolled pictures per person.
    most
        Maximum number of pictures used per person, so that no person dominates the result.
    seed
        Equal seeds give equal splits.

    Raises
    ------
    InputError
        If a number is out of range.
    DataError
        If fewer than four people have enough pictures.
    """
    if least < 2 or enroll < 1 or most < least:
        raise InputError(f"a split needs least >= 2, enroll >= 1, most >= least, got {least}, {enroll}, {most}")
    rng = np.random.default_rng(seed)
    rows: dict[str, list[int]] = {name: [] for name in people}
    for row, name in enumerate(person_of):
        if name in rows:
            rows[name].append(row)
    enough = sorted(name for name, own in rows.items() if len(own) >= least)
    if len(enough) < 4:
        raise DataError(f"only {len(enough)} of the {len(rows)} people have {least} pictures or more; four are needed")
    order = [enough[number] for number in rng.permutation(len(enough))]
    known, strange = sorted(order[: len(order) // 2]), sorted(order[len(order) // 2 :])
    gallery: list[tuple[int, int]] = []
    probes: list[tuple[int, int]] = []
    for label, name in enumerate(known):
        own = rng.permutation(rows[name])[:most].tolist()
        count = min(enroll, len(own) // 2)
        gallery += [(row, label) for row in own[:count]]
        probes += [(row, label) for row in own[count:]]
    strangers = [row for name in strange for row in rng.permutation(rows[name])[:most].tolist()]
    enrolled, probe = np.array(gallery), np.array(probes)
    return OpenSetSplit(
        people=tuple(known),
        enrolled=enrolled[:, 0].astype(np.intp),
        enrolled_labels=enrolled[:, 1].astype(np.int64),
        probes=probe[:, 0].astype(np.intp),
        probe_labels=probe[:, 1].astype(np.int64),
        strangers=np.array(strangers, np.intp),
        loners=np.array([own[0] for own in rows.values() if len(own) == 1], np.intp),
    )


@dataclass(frozen=True)
class OpenSetRates:
    """Open-set rates of a score.

    Attributes
    ----------
    auroc
        Probability that an enrolled person's probe scores above a stranger's.
    rank1
        Share of the enrolled people's probes with the right best candidate.
    identified
        Share of them with the right best candidate above the threshold that ``fpir`` of the strangers exceed.
    fpir
        The false positive identification rate.
    """

    auroc: float
    rank1: float
    identified: float
    fpir: float


def open_set_rates(known: ArrayLike, strangers: ArrayLike, right: ArrayLike, *, fpir: float = 0.01) -> OpenSetRates:
    """Compute the rates of a score that is higher for known people.

    Parameters
    ----------
    known
        Scores of P probes of enrolled people.
    strangers
        Scores of Q probes of strangers.
    right
        Whether each of the P probes has the right best candidate.
    fpir
        False positive identification rate for ``identified``; at most this share of strangers exceeds it.

    Raises
    ------
    InputError
        If there are no scores, they do not match, or the rate is out of range.
    """
    inside, outside, correct = (np.asarray(values) for values in (known, strangers, right))
    if inside.ndim != 1 or outside.ndim != 1 or correct.shape != inside.shape or not len(inside) or not len(outside):
        raise InputError(f"scores of known people and strangers are needed, got {inside.shape} and {outside.shape}")
    if not 0 < fpir < 1:
        raise InputError(f"a false positive identification rate must be between 0 and 1, got {fpir:g}")
    threshold = np.sort(outside)[::-1][int(fpir * len(outside))]
    genuine = np.concatenate([np.ones(len(inside), bool), np.zeros(len(outside), bool)])
    return OpenSetRates(
        auroc=float(auc(np.concatenate([inside, outside]), genuine)),
        rank1=float(correct.mean()),
        identified=float((correct & (inside > threshold)).mean()),
        fpir=fpir,
    )


def mean_area(parts: Sequence[Mapping[str, NDArray[np.float64]]]) -> Measure:
    """Return the mean AUROC of several splits as a measure; the weights are those of all splits' probes, concatenated.

    Parameters
    ----------
    parts
        For each split, the scores of its ``"known"`` probes and of its ``"strangers"``, higher for known people.

    Returns
    -------
    A measure for :func:`whyface.evaluate.bootstrap.bootstrap_intervals`: a person in several splits is drawn or left
    out in all of them.
    """
    sizes = [len(part["known"]) + len(part["strangers"]) for part in parts]
    ends = np.cumsum(sizes)
    measures = [
        auc_measure(
            np.concatenate([part["known"], part["strangers"]]),
            np.arange(size) < len(part["known"]),
        )
        for part, size in zip(parts, sizes, strict=True)
    ]

    def measure(weights: Weights) -> NDArray[np.float64]:
        areas = [one(weights[:, end - size : end]) for one, size, end in zip(measures, sizes, ends, strict=True)]
        return np.asarray(np.mean(areas, axis=0))

    return measure


def difference(one: Measure, other: Measure) -> Measure:
    """Return the difference of two measures, replicate by replicate."""
    return lambda weights: one(weights) - other(weights)
