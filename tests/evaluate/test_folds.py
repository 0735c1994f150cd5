from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from whyface.errors import InputError
from whyface.evaluate.rates import best_threshold, fold_accuracy, published_grid

Floats = NDArray[np.float64]

SCORES = np.array([0.9, 0.7, 0.4, 0.6, 0.3, 0.1])
GENUINE = np.array([True, True, True, False, False, False])


def test_best_threshold_is_the_middle_of_the_widest_best_gap() -> None:
    # Five of six are right in (0.6, 0.7) and in (0.3, 0.4), both 0.1 wide up to rounding.
    assert best_threshold(SCORES, GENUINE) in (pytest.approx(0.35), pytest.approx(0.65))
    # Now the upper gap is wider.
    assert best_threshold([0.9, 0.8, 0.4, 0.6, 0.3, 0.1], GENUINE) == pytest.approx(0.7)
    # Binary fractions make the widths exactly equal: the lower gap counts.
    assert best_threshold([1.0, 0.75, 0.5, 0.625, 0.375, 0.0], GENUINE) == 0.4375


def test_best_threshold_beyond_all_scores() -> None:
    assert best_threshold([0.0, 1.0, 1.0], [True, False, False]) == 1.0
    lowest = best_threshold([0.0, 0.0, 1.0], [True, True, False])
    assert lowest < 0.0
    assert lowest == np.nextafter(0.0, -1.0)


def test_best_threshold_between_neighbouring_floats() -> None:
    low = 0.5
    high = float(np.nextafter(low, 1.0))
    assert best_threshold([high, low], [True, False]) == low


def test_folds_by_hand() -> None:
    # Fold 1 is separated anywhere in (0.2, 0.8), fold 2 in (0.4, 0.5): each is judged with the other's middle.
    scores = [0.8, 0.9, 0.2, 0.5, 0.7, 0.4]
    genuine = [True, True, False, True, True, False]
    found = fold_accuracy(scores, genuine, [1, 1, 1, 2, 2, 2])
    np.testing.assert_allclose(found.thresholds, [0.45, 0.5])
    np.testing.assert_allclose(found.accuracy, [1.0, 2 / 3])
    assert found.mean == pytest.approx(5 / 6)
    assert found.standard_error == pytest.approx(np.std([1.0, 2 / 3], ddof=1) / np.sqrt(2))
    assert found.grid == "exact"


def test_published_grid() -> None:
    grid = published_grid()
    assert grid.shape == (400,)
    assert (grid[0], grid[-1]) == (-1.0, pytest.approx(0.995))
    np.testing.assert_allclose(grid, np.arange(-1.0, 1.0, 0.005), atol=1e-12)
    assert grid[200] == 0.0


def test_published_variant_takes_the_first_best() -> None:
    scores = [0.8, 0.9, 0.2, 0.5, 0.7, 0.4]
    genuine = [True, True, False, True, True, False]
    found = fold_accuracy(scores, genuine, [1, 1, 1, 2, 2, 2], grid="published")
    # Grid values carry rounding: the first one not below 0.4 and 0.2 decides.
    np.testing.assert_allclose(found.thresholds, [0.4, 0.2], atol=0.0051)
    np.testing.assert_allclose(found.accuracy, [1.0, 2 / 3])


def accuracies(thresholds: Floats, scores: Floats, genuine: NDArray[np.bool_]) -> Floats:
    return np.asarray(np.mean((scores > thresholds[:, None]) == genuine, axis=1))


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 20, 10_000]))
@settings(max_examples=15, deadline=None)
def test_against_a_plain_search(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    genuine = np.tile([True, False], 20)
    scores = np.clip(np.round((rng.normal(size=40) + genuine) / 3 * levels) / levels, -0.99, 0.99)
    fold = np.repeat(np.arange(4), 10)
    exact = fold_accuracy(scores, genuine, fold)
    published = fold_accuracy(scores, genuine, fold, grid="published")
    for row, (train, test) in enumerate(KFold(4).split(scores)):
        candidates = np.concatenate(([-2.0], scores[train]))
        reached = np.mean((scores[train] > exact.thresholds[row]) == genuine[train])
        assert reached == accuracies(candidates, scores[train], genuine[train]).max()
        assert exact.accuracy[row] == np.mean((scores[test] > exact.thresholds[row]) == genuine[test])
        grid = published_grid()
        first = grid[np.argmax(accuracies(grid, scores[train], genuine[train]))]
        assert published.thresholds[row] == first


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="at least two folds"):
        fold_accuracy(SCORES, GENUINE, np.zeros(6))
    with pytest.raises(InputError, match="one entry per pair"):
        fold_accuracy(SCORES, GENUINE, [1, 2])
    with pytest.raises(InputError, match="unknown grid 'fine'"):
        fold_accuracy(SCORES, GENUINE, [1, 1, 1, 2, 2, 2], grid="fine")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least one genuine and one impostor"):
        fold_accuracy(SCORES, GENUINE, [1, 1, 1, 2, 2, 2])
