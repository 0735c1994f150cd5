from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from helpers.made_up_networks import CornerEmbedder, LinearEmbedder, both_maps, noisy_face, quartered_face
from whyface.errors import InputError
from whyface.explain.kernelshap import KernelShapMethod, coalitions, shapley_values
from whyface.faces.regions import REGIONS, region_masks


def by_all_orders(game: dict[frozenset[int], float], players: int) -> NDArray[np.float64]:
    """Shapley values from their definition."""
    values: NDArray[np.float64] = np.zeros(players)
    orders = list(permutations(range(players)))
    for order in orders:
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            values[player] += game[before | {player}] - game[before]
    values /= len(orders)
    return values


@given(st.lists(st.floats(-10, 10), min_size=32, max_size=32))
@settings(max_examples=30, deadline=None)
def test_all_coalitions_give_the_definition(numbers: list[float]) -> None:
    game = {frozenset(i for i in range(5) if code >> i & 1): numbers[code] for code in range(32)}
    trials = coalitions(5, 100, seed=0)
    assert len(trials) == 30
    values = np.array([game[frozenset(np.flatnonzero(row).tolist())] for row in trials.members])
    found = shapley_values(trials, values, none=numbers[0], everyone=numbers[31])
    np.testing.assert_allclose(found, by_all_orders(game, 5), atol=1e-8)


@given(seed=st.integers(0, 99), players=st.integers(2, 12), extra=st.integers(0, 60))
@settings(max_examples=50, deadline=None)
def test_any_trials_keep_the_sum_and_solve_sums(seed: int, players: int, extra: int) -> None:
    trials = coalitions(players, 2 * players + extra, seed=seed)
    assert len(trials) <= 2 * players + extra
    assert trials.weights.sum() == pytest.approx(1)
    assert trials.members.any(axis=1).all()
    assert not trials.members.all(axis=1).any()
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=len(trials))
    assert shapley_values(trials, noise, none=0.25, everyone=2.0).sum() == pytest.approx(1.75)
    worth = rng.normal(size=players)
    found = shapley_values(trials, 0.5 + trials.members @ worth, none=0.5, everyone=0.5 + float(worth.sum()))
    np.testing.assert_allclose(found, worth, atol=1e-8)


def test_trials_come_with_their_opposites() -> None:
    rows = {row.tobytes() for row in coalitions(17, 512, seed=1).members}
    assert all((~np.frombuffer(row, np.bool_)).tobytes() in rows for row in rows)


@pytest.mark.parametrize(("players", "trials"), [(1, 10), (17, 33)])
def test_bad_trials(players: int, trials: int) -> None:
    with pytest.raises(InputError):
        coalitions(players, trials, seed=0)


def test_agrees_with_captum() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    captum = pytest.importorskip("captum.attr", reason="needs captum")

    def game(rows: Any) -> Any:
        return 2 * rows[:, 0] + rows[:, 1] * rows[:, 2] - 3 * rows[:, 3] * rows[:, 0]

    torch.manual_seed(0)
    theirs = captum.KernelShap(game).attribute(torch.ones(1, 4), n_samples=3000, perturbations_per_eval=500)
    trials = coalitions(4, 14, seed=0)
    ours = shapley_values(trials, game(trials.members.astype(float)), none=0, everyone=0)
    np.testing.assert_allclose(ours, theirs.numpy()[0], atol=0.1)
    np.testing.assert_allclose(ours, [0.5, 0.5, 0.5, -1.5], atol=1e-9)


def test_maps_add_up_to_what_the_face_is_worth() -> None:
    embedder = LinearEmbedder(4, 4)
    first, second = noisy_face(1), quartered_face(200, 20, 90, 10)
    method = KernelShapMethod(embedder, fill=0, trials=60)
    explanation = method((first, second))
    assert explanation.cost.forward == sum(embedder.seen) == method.passes
    for side, one in zip("ab", both_maps(explanation), strict=True):
        found = explanation.settings["details"][side]
        assert found["covered"] == 0
        assert one.sum(dtype=np.float64) == pytest.approx(explanation.score, abs=1e-4)
        for name, mask in region_masks(112, 112).items():
            assert one[mask].sum(dtype=np.float64) == pytest.approx(found["values"][name], abs=1e-5)
            assert np.ptp(one[mask]) == 0
    assert set(found["values"]) == set(REGIONS)


def test_regions_that_the_network_does_not_see_are_worth_nothing() -> None:
    method = KernelShapMethod(CornerEmbedder(20), fill=0, trials=400)
    values = method((quartered_face(200, 10, 60, 250), quartered_face(90, 90, 30, 20))).settings["details"]["a"][
        "values"
    ]
    seen = {name for name, mask in region_masks(112, 112).items() if mask[:20, :20].any()}
    assert 0 < len(seen) < 6
    # The game of the seen regions is nearly a sum; what is left to chance goes to all.
    assert all(abs(values[name]) < 5e-3 for name in set(REGIONS) - seen)
    assert max(abs(values[name]) for name in seen) > 0.02
