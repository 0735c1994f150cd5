"""Attribute labels of LFW pictures: probabilities from other models, read from a table.

The labels are opinions of two models, FaRL (Zheng et al., "General Facial Representation Learning in a
Visual-Linguistic Manner", CVPR 2022) for CelebA's 40 attributes and DeepFace (Serengil and Ozpinar, 2020) for gender,
race and age. No person has checked them.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from whyface.errors import DataError
from whyface.words.attribute_model import CELEBA

RAREST: Final = 0.05
"""If the labelling model says yes to a smaller share of pictures than this, the pictures with its highest probabilities
count as yes: it hardly ever says "bushy eyebrows" with a probability above one half, but it ranks them."""

LOWEST_CUT: Final = 0.02
"""Minimum cut: if it is lower, the labelling model hardly ever sees the attribute, and its yes means nothing."""

AGES: Final = (("Age_Under_30", 0.0, 30.0), ("Age_30_To_44", 30.0, 45.0), ("Age_45_Up", 45.0, 1000.0))
RACES: Final = ("asian", "black", "indian", "latino hispanic", "middle eastern", "white")
_TINY: Final = 1e-4


@dataclass(frozen=True, eq=False)
class AttributeLabels:
    """Labels of N pictures for K attributes.

    Attributes
    ----------
    names
        The attributes.
    pictures, people
        N file names such as ``Aaron_Eckhart_0001.jpg``, and the person in each.
    probabilities
        (N, K) float64 in [0, 1]; 0 or 1 for attributes given as classes.
    """

    names: tuple[str, ...]
    pictures: tuple[str, ...]
    people: tuple[str, ...]
    probabilities: NDArray[np.float64]

    def cuts(self, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the probability above which a label is a yes, (K,): one half, or less for rare attributes, see RAREST.

        Parameters
        ----------
        rows
            The pictures to determine it from, (N,): those that heads are fitted on.
        """
        cuts = np.minimum(0.5, np.quantile(self.probabilities[rows], 1 - RAREST, axis=0))
        is_class = ((self.probabilities == 0) | (self.probabilities == 1)).all(axis=0)
        return np.where(is_class, 0.5, cuts)


def read_attribute_labels(path: Path | str) -> AttributeLabels:
    """Read the table: a column ``name``, CelebA's 40 names, ``df_gender``, ``df_race`` and ``df_age``.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or a value is not a probability.
    """
    file = Path(path)
    try:
        with file.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as a table ({error})") from error
    if not rows:
        raise DataError(f"{file}: holds no rows")
    celeba = [attribute.name for attribute in CELEBA]
    missing = [name for name in ("name", *celeba, "df_gender", "df_race", "df_age") if name not in rows[0]]
    if missing:
        raise DataError(f"{file}: lacks the column {missing[0]!r}")
    columns: dict[str, list[float]] = {name: [] for name in celeba}
    for number, row in enumerate(rows, start=2):
        try:
            values = [float(row[name]) for name in celeba]
            age = float(row["df_age"])
        except (TypeError, ValueError) as error:
            raise DataError(f"{file}, line {number}: {error}") from error
        if not all(0 <= value <= 1 for value in values):
            raise DataError(f"{file}, line {number}: a probability is outside 0..1")
        for name, value in zip(celeba, values, strict=True):
            columns[name].append(value)
        columns.setdefault("Woman", []).append(float(row["df_gender"] == "Woman"))
        for race in RACES:
            columns.setdefault(_race_name(race), []).append(float(row["df_race"] == race))
        for name, low, high in AGES:
            columns.setdefault(name, []).append(float(low <= age < high))
    pictures = tuple(row["name"] for row in rows)
    people = tuple(picture.rsplit("_", 1)[0] for picture in pictures)
    return AttributeLabels(tuple(columns), pictures, people, np.array(list(columns.values())).T)


def soft_targets(probabilities: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shift probabilities (N, K) so that the cut (K,) is at one half; classes stay 0 or 1.

    This keeps the labelling model's doubt: heads fitted to it rank unseen people better than heads fitted to yes and
    no.
    """
    clipped = np.clip(probabilities, _TINY, 1 - _TINY)
    logits = np.log(clipped / (1 - clipped)) - np.log(cuts / (1 - cuts))
    is_class = ((probabilities == 0) | (probabilities == 1)).all(axis=0)
    return np.where(is_class, probabilities, 1 / (1 + np.exp(-logits)))


def _race_name(race: str) -> str:
    return "Race_" + race.title().replace(" ", "_")
