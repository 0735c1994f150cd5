"""Reliability: lengths by hand, weights that still sum to 1, a fit that finds the spoilt place, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.reliability.cells import (
    CellStatistics,
    Reliability,
    ReliableXcos,
    apply_reliability,
    cell_lengths,
    cell_statistics,
    logistic,
    open_reliability,
    reweigh,
    save_reliability,
)
from studies.reliability.fitting import FitSettings, _loss, fit_reliability
from whyface.errors import InputError, ModelError
from whyface.xcos.grid import grid_cosine, uniform_attention, xcos_score
from whyface.xcos.model import XcosMaps, XcosModel


def flat_statistics(channels: int = 4, side: int = 2) -> CellStatistics:
    shape = (channels, side, side)
    return CellStatistics(np.zeros(shape, np.float32), np.ones(shape, np.float32))


def random_reliability(seed: int = 0) -> Reliability:
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(size=(3, 2, 2)), rng.normal(size=(2, 2))
    return Reliability(flat_statistics(), weight.astype(np.float32), bias.astype(np.float32))


def test_lengths_worked_out_by_hand() -> None:
    grid = np.zeros((1, 4, 2, 2), np.float32)
    grid[0, :, 0, 0] = [3, 0, 0, 4]
    lengths = cell_lengths(grid, flat_statistics())
    np.testing.assert_allclose(lengths[0, :, 0, 0], [np.log(5), 25 / 4, np.log(25 / 4)], rtol=1e-5)
    assert np.isfinite(lengths).all()


def test_a_usual_cell_has_distance_one() -> None:
    grids = np.random.default_rng(0).normal(3, 2, (500, 8, 2, 2)).astype(np.float32)
    assert cell_lengths(grids, cell_statistics(grids))[:, 1].mean() == pytest.approx(1, abs=1e-4)


def test_reliability_is_the_logistic_function_of_a_weighted_sum() -> None:
    weight = np.zeros((3, 2, 2), np.float32)
    weight[0] = 2
    found = Reliability(flat_statistics(), weight, np.full((2, 2), -1, np.float32))(np.ones((1, 4, 2, 2), np.float32))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(1 - 2 * np.log(2))), rtol=1e-4)
    assert found.dtype == np.float32


def test_logistic_neither_overflows_nor_reaches_its_ends() -> None:
    values = logistic(np.array([-1e4, 0.0, 1e4]))
    assert 0 < values[0] < 1e-5
    assert values[1] == pytest.approx(0.5)
    assert 1 - 1e-5 < values[2] < 1


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_reweighed_attention_sums_to_one_and_heeds_both_faces(seed: int) -> None:
    rng = np.random.default_rng(seed)
    attention = rng.dirichlet(np.ones(6), 3).reshape(3, 2, 3)
    one, other = rng.uniform(0.01, 1, (2, 3, 2, 3))
    found = reweigh(attention, one, other)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(found, reweigh(attention, other, one), rtol=1e-5)
    weighed = attention * one * other
    np.testing.assert_allclose(found[:, 0, 0] * weighed[:, 1, 1], found[:, 1, 1] * weighed[:, 0, 0], rtol=1e-4)


def test_equal_reliability_everywhere_changes_nothing() -> None:
    attention = np.broadcast_to(uniform_attention(2, 2), (3, 2, 2))
    same = np.full((3, 2, 2), 0.3)
    np.testing.assert_allclose(reweigh(attention, same, same), attention, rtol=1e-6)


def test_the_score_is_still_similarity_times_attention() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 5, 4, 2, 2)).astype(np.float32)
    similarity = grid_cosine(a, b)
    weights = np.broadcast_to(uniform_attention(2, 2), similarity.shape)
    reliability = random_reliability()
    maps = apply_reliability(
        XcosMaps(similarity, weights, xcos_score(similarity, weights)), reliability(a), reliability(b)
    )
    np.testing.assert_array_equal(maps.similarity, similarity)
    np.testing.assert_allclose((maps.similarity * maps.attention).sum(axis=(1, 2)), maps.score, rtol=1e-5)


class CornerCells:
    """Grid features that are four pixels of each picture's corner; enough to be an embedder with a grid."""

    name, sha256 = "corner-cells", "0" * 64

    def grid(self, batch: np.ndarray) -> np.ndarray:
        corner = batch[:, :, :2, :2].astype(np.float32) - 128
        return np.asarray(np.concatenate([corner, corner[:, :1] ** 2 / 128], axis=1))

    def embed(self, batch: np.ndarray) -> np.ndarray:
        return self.grid(batch).reshape(len(batch), -1)


def test_a_model_that_heeds_reliability_is_used_like_any_other() -> None:
    a, b = np.random.default_rng(4).integers(0, 256, (2, 3, 3, 112, 112), dtype=np.uint8)
    plain = XcosModel(CornerCells(), correlated=np.array([[1, 2], [3, 4]], np.float32))
    reliability = random_reliability()
    reliable = ReliableXcos(plain, {"u": reliability})
    before, after = plain.compare(a, b, "u"), reliable.compare(a, b, "u")
    expected = apply_reliability(before, reliability(plain.grid(a)), reliability(plain.grid(b)))
    np.testing.assert_array_equal(after.attention, expected.attention)
    np.testing.assert_array_equal(after.score, expected.score)
    assert (after.attention != before.attention).any()
    # What has no reliability stays as it is.
    np.testing.assert_array_equal(reliable.compare(a, b, "p").attention, plain.compare(a, b, "p").attention)


def test_the_gradient_is_that_of_the_loss() -> None:
    rng = np.random.default_rng(2)
    values = {
        "weight": rng.normal(size=(3, 2, 2)),
        "bias": rng.normal(size=(2, 2)),
        "scale": np.array(3.0),
        "offset": np.array(-0.5),
    }
    lengths = (rng.normal(size=(6, 3, 2, 2)), rng.normal(size=(6, 3, 2, 2)))
    similarity = rng.uniform(-1, 1, (6, 2, 2)).astype(np.float32)
    attention = rng.dirichlet(np.ones(4), 6).reshape(6, 2, 2).astype(np.float32)
    batch = (similarity, attention, rng.random(6) < 0.5)
    _, gradients = _loss(values, lengths, *batch)
    for name, gradient in gradients.items():
        numeric = np.zeros_like(gradient)
        for place in np.ndindex(gradient.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = {key: value.copy() for key, value in values.items()}
                moved[name][place] += step
                ends.append(_loss(moved, lengths, *batch)[0])
            numeric[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(gradient, numeric, rtol=1e-4, atol=1e-7, err_msg=name)


def people_and_covers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """20 people x 4 pictures; under the one mask a random half of the cells holds long noise instead of the person."""
    rng = np.random.default_rng(3)
    people = np.repeat(np.arange(20), 4)
    clean = rng.normal(size=(20, 4, 2, 2))[people] + 0.3 * rng.normal(size=(80, 4, 2, 2))
    hidden = rng.random((80, 1, 2, 2)) < 0.5
    covered = np.where(hidden, 4 * rng.normal(size=clean.shape), clean)
    return clean.astype(np.float32), covered.astype(np.float32)[None], people


def uniform(a: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.broadcast_to(uniform_attention(2, 2), (len(a), 2, 2)).copy()


def test_the_fit_finds_what_is_hidden_and_helps() -> None:
    clean, covered, people = people_and_covers()
    reliability, record = fit_reliability(clean, covered, people, uniform, settings=FitSettings(steps=300, pairs=64))
    hidden = (covered[0] != clean).any(axis=1)
    found = reliability(covered[0])
    assert found[hidden].mean() < 0.5 * found[~hidden].mean()
    assert record["loss_at_end"] < record["loss_at_start"]


def test_equal_seeds_fit_equally() -> None:
    clean, covered, people = people_and_covers()
    short = FitSettings(steps=5, pairs=16)
    one, again = (fit_reliability(clean, covered, people, uniform, settings=short)[0] for _ in range(2))
    np.testing.assert_array_equal(one.weight, again.weight)


def test_refuses_to_fit_on_what_cannot_be_paired() -> None:
    clean, covered, people = people_and_covers()
    with pytest.raises(InputError, match="two people"):
        fit_reliability(clean, covered, np.zeros_like(people), uniform)
    with pytest.raises(InputError, match="two pictures"):
        fit_reliability(clean, covered, np.arange(len(people)), uniform)
    with pytest.raises(InputError, match="covered ones"):
        fit_reliability(clean, covered[0], people, uniform)
    with pytest.raises(InputError, match="one person per picture"):
        fit_reliability(clean, covered, people[1:], uniform)


def test_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="fitted for grids"):
        random_reliability()(np.zeros((1, 4, 3, 3), np.float32))
    with pytest.raises(InputError, match="one shape"):
        reweigh(np.ones((1, 2, 2)), np.ones((1, 2, 2)), np.ones((1, 3, 3)))
    with pytest.raises(InputError, match="nothing is left"):
        reweigh(np.ones((1, 2, 2)), np.zeros((1, 2, 2)), np.ones((1, 2, 2)))
    with pytest.raises(InputError, match="positive deviations"):
        CellStatistics(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32))
    with pytest.raises(InputError, match="at least two"):
        cell_statistics(np.zeros((1, 4, 2, 2)))


def test_files_keep_everything(tmp_path: Path) -> None:
    first = random_reliability()
    second = Reliability(first.statistics, -first.weight, first.bias)
    save_reliability(tmp_path / "r.safetensors", {"u": first, "l": second}, {"seed": 4})
    found, record = open_reliability(tmp_path / "r.safetensors")
    assert record == {"seed": 4}
    assert list(found) == ["u", "l"]
    grid = np.random.default_rng(0).normal(size=(2, 4, 2, 2)).astype(np.float32)
    np.testing.assert_array_equal(found["l"](grid), second(grid))


def test_refuses_other_files(tmp_path: Path) -> None:
    path = tmp_path / "r.safetensors"
    with pytest.raises(ModelError, match="not a reliability"):
        open_reliability(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="not a reliability"):
        open_reliability(path)
    with pytest.raises(InputError, match="nothing|no reliability"):
        save_reliability(path, {}, {})
