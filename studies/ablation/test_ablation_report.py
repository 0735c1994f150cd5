"""The ablation's tables: means and spreads over seeds, and the lead over the baseline."""

from __future__ import annotations

from typing import Any

import pytest

from studies.ablation.report import (
    ablation_cells,
    ablation_table,
    against_baseline,
    lead_table,
    recipe_of,
)
from whyface.errors import InputError


def row(variant: str, kind: str, name: str, accuracy: float, seed: int = 1, error: float = 0.2) -> dict[str, Any]:
    return {
        "variant": variant,
        "seed": seed,
        "kind": kind,
        "set": name,
        "accuracy": accuracy,
        "standard_error": error,
        "pairs": 100,
    }


ROWS = [
    row("fc-arcface", "fc", "LFW", 99.0),
    row("fc-arcface", "fc", "CFP-FP", 90.0),
    *(row("xcos-arcface", "l", "LFW", value, seed) for seed, value in ((1, 99.0), (2, 99.4))),
    *(row("xcos-arcface", "l", "CFP-FP", value, seed) for seed, value in ((1, 89.0), (2, 90.0))),
    row("xcos-arcface", "p", "LFW", 98.0),
    row("xcos-arcface", "p", "CFP-FP", 90.2),
]


def test_recipe_is_shared_by_both_networks() -> None:
    assert recipe_of("xcos-arcface-masked") == recipe_of("fc-arcface-masked") == "arcface-masked"


def test_mean_and_spread_over_seeds() -> None:
    cell = ablation_cells(ROWS)["arcface", "l", "LFW"]
    assert cell.accuracy == pytest.approx(99.2)
    assert cell.spread == pytest.approx(0.2828, abs=1e-4)
    assert cell.error == pytest.approx(0.2)
    assert cell.seeds == 2
    assert ablation_cells(ROWS)["arcface", "fc", "LFW"].spread is None


def test_lead_over_the_baseline_kind_by_kind() -> None:
    found = against_baseline([*ROWS, row("xcos-arcface", "u", "LFW", 99.9)])
    assert found == {"arcface": {"l": {"LFW": 0.2, "CFP-FP": -0.5}, "p": {"LFW": -1.0, "CFP-FP": 0.2}}}
    table = lead_table(found)
    assert "| arcface | L | +0.20 | -0.50 | 1 of 2 |" in table
    assert "| arcface | P | -1.00 | +0.20 | 1 of 2 |" in table


def test_table_has_a_line_per_score_and_leaves_gaps() -> None:
    table = ablation_table([*ROWS, row("xcos-cosface", "u", "LFW", 98.5)])
    assert "| arcface | FC | 99.00 ± 0.20 | 90.00 ± 0.20 | 1 |" in table
    assert "| arcface | L | 99.20 ± 0.20 (0.28) | 89.50 ± 0.20 (0.71) | 2 |" in table
    assert "| cosface | U | 98.50 ± 0.20 |  | 1 |" in table


def test_without_its_baseline_a_recipe_is_not_compared() -> None:
    rows = [row("xcos-cosface", "l", "LFW", 99.0)]
    assert against_baseline(rows) == {}
    with pytest.raises(InputError, match="nothing to compare"):
        lead_table({})


def test_a_seed_counts_once() -> None:
    with pytest.raises(InputError, match="seed 1 occurs twice"):
        ablation_cells([ROWS[0], ROWS[0]])
