"""Scores and verdicts of the open-set study, on people whose features leave no doubt, and counts worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from studies.strangers.comparison import (
    CONDITIONS,
    COSINE,
    XCOS,
    Scored,
    accepted_but_doubted,
    score_heads,
    verdicts_of,
)
from studies.strangers.open_set import OpenSetSplit
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.train.evidential_fit import EvidentialSettings


def split_of(people: int, strangers: int) -> OpenSetSplit:
    """Two enrolled pictures and one probe of each person, then strangers, the last of them a loner."""
    known = 3 * people
    return OpenSetSplit(
        people=tuple(f"p{i}" for i in range(people)),
        enrolled=np.array([i for i in range(known) if i % 3 < 2]),
        enrolled_labels=np.repeat(np.arange(people), 2),
        probes=np.arange(2, known, 3),
        probe_labels=np.arange(people),
        strangers=np.arange(known, known + strangers - 1),
        loners=np.array([known + strangers - 1]),
    )


def test_known_people_are_told_from_strangers() -> None:
    rng = np.random.default_rng(0)
    split = split_of(6, 5)
    centres = rng.standard_normal((11, 32, 7, 7)).astype(np.float32)
    owners = [i // 3 for i in range(18)] + list(range(6, 11))
    grids = {row: centres[owner] + 0.1 * rng.standard_normal((32, 7, 7)) for row, owner in enumerate(owners)}
    scored = score_heads({"u": EvidentialSettings()}, split, {c.key: grids for c in CONDITIONS})
    assert set(scored) == {condition.key for condition in CONDITIONS}
    for name in (COSINE, "softmax head", "u"):
        values = scored["clean"][name]
        assert values["right"].all()
        assert values["known"].min() > max(values["strangers"].max(), values["loners"].max())
    assert scored["clean"]["u"]["known"].max() <= 0


def test_verdicts_counted_by_hand() -> None:
    scored: Scored = {
        XCOS: {
            "known": np.array([0.9, 0.8, 0.2, 0.9]),
            "right": np.array([True, True, True, False]),
            "strangers": np.array([0.5, 0.1]),
            "loners": np.array([0.3]),
        },
        "u": {"known": -np.array([0.1, 0.7, 0.1, 0.1]), "strangers": -np.array([0.6, 0.1]), "loners": -np.array([1.0])},
    }
    verdicts = verdicts_of([scored], "u", 0.35, [0.6])
    single = verdicts["threshold of one comparison, FMR 1e-3"]
    assert single == {"identified": 0.5, "fpir_strangers": 0.5, "fpir_loners": 0.0}
    assert verdicts["threshold for this many faces, FPIR 1e-2"]["fpir_strangers"] == 0
    doubted = verdicts["threshold of one comparison, and u at most 0.5"]
    assert doubted == {"identified": 0.25, "fpir_strangers": 0.0, "fpir_loners": 0.0}


def test_accepted_but_doubted() -> None:
    scored: Scored = {
        XCOS: {"known": np.array([0.99, 0.99, 0.0]), "strangers": np.array([0.99]), "loners": np.array([0.0])},
        "u": {"known": -np.array([0.1, 0.99, 0.99]), "strangers": -np.array([0.97]), "loners": -np.array([0.99])},
    }
    counts = accepted_but_doubted([scored, scored], "u", model_entry(FAST_MODEL), [split_of(3, 2)] * 2)
    assert counts == {"known": [4, 2], "strangers": [2, 2], "loners": [0, 0]}


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_have_names_of_their_own(condition: object) -> None:
    assert sum(condition == other for other in CONDITIONS) == 1
