"""The ablation's rows as Markdown tables, and U, P and L compared with the FC baseline of the same recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from whyface.errors import InputError

Row = Mapping[str, Any]
"""``variant``, ``seed``, ``kind`` (fc, u, p, l), ``set``, ``accuracy`` and ``standard_error`` in percent, ``pairs``."""

KINDS: Final = ("fc", "u", "p", "l")
COMPARED: Final = ("p", "l")
NAMES: Final = {"fc": "FC", "u": "U", "p": "P", "l": "L"}


@dataclass(frozen=True)
class Cell:
    """One number of the table.

    Attributes
    ----------
    accuracy
        Percent, mean over seeds.
    error
        Standard error over the folds, mean over seeds: the variation over samples of pairs.
    spread
        Standard deviation over seeds; None with one seed.
    seeds
        Number of seeds.
    """

    accuracy: float
    error: float
    spread: float | None
    seeds: int

    def __str__(self) -> str:
        text = f"{self.accuracy:.2f} ± {self.error:.2f}"
        return text if self.spread is None else f"{text} ({self.spread:.2f})"


def ablation_cells(rows: Sequence[Row]) -> dict[tuple[str, str, str], Cell]:
    """Average the rows over seeds: (recipe, kind, set) -> cell; a recipe is a variant without ``xcos-`` or ``fc-``.

    Raises
    ------
    InputError
        If a seed occurs twice.
    """
    groups: dict[tuple[str, str, str], dict[int, Row]] = {}
    for row in rows:
        key = (recipe_of(row["variant"]), row["kind"], row["set"])
        if row["seed"] in groups.setdefault(key, {}):
            raise InputError(f"{row['variant']}, {row['kind']}, {row['set']}: seed {row['seed']} occurs twice")
        groups[key][row["seed"]] = row
    return {key: _cell(list(found.values())) for key, found in groups.items()}


def recipe_of(variant: str) -> str:
    """Return the recipe that an xCos network and its baseline share: ``xcos-arcface-masked`` -> ``arcface-masked``."""
    return variant.partition("-")[2]


def ablation_table(rows: Sequence[Row]) -> str:
    """Return one Markdown table: a line per recipe and kind, a column per set."""
    cells = ablation_cells(rows)
    recipes = list(dict.fromkeys(recipe for recipe, _, _ in cells))
    sets = list(dict.fromkeys(name for _, _, name in cells))
    lines = [f"| recipe | score | {' | '.join(sets)} | seeds |", "|---" * (len(sets) + 3) + "|"]
    for recipe in recipes:
        for kind in KINDS:
            own = [cells.get((recipe, kind, name)) for name in sets]
            if not any(own):
                continue
            seeds = max(cell.seeds for cell in own if cell)
            texts = ["" if cell is None else str(cell) for cell in own]
            lines.append(f"| {recipe} | {NAMES[kind]} | {' | '.join(texts)} | {seeds} |")
    return "\n".join(lines) + "\n"


def against_baseline(rows: Sequence[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the lead of P and L over FC in points, recipe -> kind -> set, for recipes that have both networks."""
    cells = ablation_cells(rows)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (recipe, kind, name), cell in cells.items():
        baseline = cells.get((recipe, "fc", name))
        if kind in COMPARED and baseline is not None:
            lead = round(cell.accuracy - baseline.accuracy, 3)
            found.setdefault(recipe, {}).setdefault(kind, {})[name] = lead
    return found


def lead_table(leads: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return :func:`against_baseline` as a Markdown table, with the number of sets where the lead is not negative.

    Raises
    ------
    InputError
        If there is nothing to compare.
    """
    sets = list(dict.fromkeys(name for kinds in leads.values() for own in kinds.values() for name in own))
    if not sets:
        raise InputError("no recipe has both xCos and its baseline measured, so there is nothing to compare")
    lines = [f"| recipe | score | {' | '.join(sets)} | at least FC on |", "|---" * (len(sets) + 3) + "|"]
    for recipe, kinds in leads.items():
        for kind, own in kinds.items():
            texts = [f"{own[name]:+.2f}" if name in own else "" for name in sets]
            held = sum(lead >= 0 for lead in own.values())
            lines.append(f"| {recipe} | {NAMES[kind]} | {' | '.join(texts)} | {held} of {len(own)} |")
    return "\n".join(lines) + "\n"


def _cell(rows: list[Row]) -> Cell:
    values = [float(row["accuracy"]) for row in rows]
    mean = sum(values) / len(values)
    spread = None
    if len(values) > 1:
        spread = sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    error = sum(float(row["standard_error"]) for row in rows) / len(rows)
    return Cell(mean, error, spread, len(values))
