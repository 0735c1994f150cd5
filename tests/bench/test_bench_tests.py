"""The bench's tests on a model whose exact maps are known: truth must win over nothing, by numbers worked out apart."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.toy_bench import FlatMethod, Pictures, ProductMethod, chunk_of, subject_of
from whyface.bench.base import BenchTest, PairChunk, Subject, choose_pairs, descending, first_pixels, to_pixels
from whyface.bench.planted import (
    ERASED_SHARES,
    FILLS,
    ErasureTest,
    ReplacementTest,
    filled,
    patch_chance,
    patched_faces,
)
from whyface.bench.pointing import PointingTest, pasted_faces
from whyface.bench.run import run_chunk
from whyface.bench.sanity import StabilityTest, rank_correlation, shifted
from whyface.errors import InputError
from whyface.files.parts import Rows

GENUINE, IMPOSTORS = [0, 1, 2], [6, 7, 8]


def measured(test: BenchTest, chunk: PairChunk, subject: Subject) -> dict[str, Rows]:
    return {found.measure: found for found in test.run(chunk, subject, subject.method.maps)}


def test_replacement_starts_at_the_patched_score_and_moves_towards_the_clean_one() -> None:
    chunk, subject = chunk_of(Pictures(), GENUINE + IMPOSTORS), subject_of(threshold=0.5)
    found = measured(ReplacementTest(), chunk, subject)
    scores = found["score"].value.reshape(6, 20)
    patched, _ = patched_faces(chunk)
    assert scores[:, 0] == pytest.approx(subject.scores(patched, chunk.second), abs=1e-6)
    assert found["clean"].value == pytest.approx(subject.scores(chunk.first, chunk.second), abs=1e-6)
    assert (np.abs(scores[:, -1] - found["clean"].value) < np.abs(scores[:, 0] - found["clean"].value)).all()


def test_replacement_by_the_exact_map_beats_a_flat_one() -> None:
    chunk = chunk_of(Pictures(), GENUINE)
    exact = measured(ReplacementTest(), chunk, subject_of(threshold=0.5))
    flat = measured(ReplacementTest(), chunk, subject_of(FlatMethod, threshold=0.5))
    assert exact["score"].value.reshape(3, 20)[:, 4].min() > flat["score"].value.reshape(3, 20)[:, 4].max()


def test_patches_are_found_by_the_exact_map_and_by_chance_without_one() -> None:
    chunk = chunk_of(Pictures(), GENUINE + IMPOSTORS)
    exact = measured(ReplacementTest(), chunk, subject_of(threshold=0.5))
    flat = measured(ReplacementTest(), chunk, subject_of(FlatMethod, threshold=0.5))
    # Two strangers agree in places too, so that an impostor pair's best pixels are not all patch.
    assert exact["patch precision"].value[:3].min() > 0.95
    assert (exact["patch precision"].value[3:] > exact["patch chance"].value[3:] + 0.15).all()
    assert flat["patch precision"].value == pytest.approx(flat["patch chance"].value, abs=0.1)
    assert flat["patch chance"].value == pytest.approx(patch_chance().mean(), abs=0.02)


def test_deletion_by_the_exact_map_is_faster_than_by_a_flat_one() -> None:
    chunk = chunk_of(Pictures(), GENUINE + IMPOSTORS)
    exact = measured(ErasureTest(), chunk, subject_of())["deletion"].value.reshape(6, len(ERASED_SHARES))
    flat = measured(ErasureTest(), chunk, subject_of(FlatMethod))["deletion"].value.reshape(6, len(ERASED_SHARES))
    middle = ERASED_SHARES.index(0.3)
    assert (exact[:3, middle] < flat[:3, middle]).all()
    assert (exact[3:, middle] > flat[3:, middle]).all()


def test_deletion_starts_and_insertion_ends_near_the_clean_pair() -> None:
    chunk, subject = chunk_of(Pictures(), GENUINE), subject_of()
    found = measured(ErasureTest("noise"), chunk, subject)
    clean = subject.scores(chunk.first, chunk.second)
    assert found["deletion"].value.reshape(3, -1)[:, 0] == pytest.approx(clean, abs=1e-6)
    assert (found["insertion"].value.reshape(3, -1)[:, -1] > 0.8 * clean).all()


@pytest.mark.parametrize("fill", FILLS)
def test_fills_keep_the_shape_and_are_seeded(fill: str) -> None:
    chunk = chunk_of(Pictures(), GENUINE)
    one, two = (filled(chunk.first, fill, chunk.generators(5)) for _ in range(2))  # type: ignore[arg-type]
    assert one.shape == chunk.first.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, two)
    assert not np.array_equal(one, chunk.first)


def test_mean_fill_is_each_face_s_mean_colour() -> None:
    chunk = chunk_of(Pictures(), [0])
    found = filled(chunk.first, "mean", [])
    assert found[0, :, 5, 7] == pytest.approx(chunk.first[0].mean(axis=(1, 2)), abs=0.5)


def test_unknown_fill_is_refused() -> None:
    with pytest.raises(InputError, match="unknown fill 'green'"):
        ErasureTest("green")  # type: ignore[arg-type]


def test_pointing_finds_the_pasted_part_with_the_exact_map() -> None:
    chunk = chunk_of(Pictures(), [*GENUINE, *IMPOSTORS])
    exact = measured(PointingTest(), chunk, subject_of())
    assert exact["negative share"].pair.tolist() == GENUINE
    assert (exact["negative share"].value > 5 * exact["area"].value).all()
    assert (exact["drop"].value > 0).all()
    flat = measured(PointingTest(), chunk, subject_of(FlatMethod))
    assert flat["negative share"].value.tolist() == [0, 0, 0]
    assert flat["overlap"].value == pytest.approx(flat["area"].value, abs=0.08)


def test_pasting_changes_only_the_part_and_its_edge() -> None:
    chunk = chunk_of(Pictures(), GENUINE)
    pasted, masks = pasted_faces(chunk)
    changed = (pasted != chunk.first).any(axis=1)
    assert (changed & masks).any(axis=(1, 2)).all()
    assert changed.mean() < 3 * masks.mean() + 0.1


def test_pointing_needs_genuine_pairs() -> None:
    assert measured(PointingTest(), chunk_of(Pictures(), IMPOSTORS), subject_of()) == {}


def test_stability_of_a_symmetric_method_is_perfect_under_swap() -> None:
    found = measured(StabilityTest(), chunk_of(Pictures(), GENUINE), subject_of())
    assert found["swap"].value == pytest.approx([1, 1, 1])
    assert (found["shift"].value > 0.5).all()
    assert "seed" not in found


def test_stability_of_noise_is_none() -> None:
    class NoiseMethod(ProductMethod):
        name = "noise"

        def maps(self, first, second):  # type: ignore[no-untyped-def]
            found = super().maps(first, second)
            type(self).calls += 1
            rng = np.random.default_rng(self.calls)
            found.map_a[:] = rng.normal(size=found.map_a.shape)
            found.map_b[:] = rng.normal(size=found.map_b.shape)
            return found

    found = measured(StabilityTest(), chunk_of(Pictures(), GENUINE), subject_of(NoiseMethod))
    assert np.abs(found["swap"].value).max() < 0.05


def test_another_seed_is_compared_where_there_is_one() -> None:
    subject = subject_of()
    same = replace(subject, other_seed=lambda: subject.method)
    assert measured(StabilityTest(), chunk_of(Pictures(), GENUINE), same)["seed"].value == pytest.approx([1, 1, 1])


def test_shift_moves_by_one_pixel() -> None:
    faces = np.arange(4, dtype=np.uint8).reshape(1, 1, 1, 4)
    assert shifted(faces).tolist() == [[[[0, 0, 1, 2]]]]


def test_rank_correlation_agrees_with_scipy() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    one = rng.integers(0, 9, (3, 5, 6)).astype(np.float32)
    two = one + rng.normal(0, 3, one.shape).astype(np.float32)
    expected = [spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(one, two, strict=True)]
    assert rank_correlation(one, two) == pytest.approx(expected)
    assert rank_correlation(np.ones((1, 3, 3), np.float32), one[:1, :3, :3]).tolist() == [0]


def test_controls_rank_without_a_sign() -> None:
    subject = replace(subject_of(), is_unsigned=True)
    maps = np.random.default_rng(0).normal(size=(1, 112, 112)).astype(np.float32)
    rngs = [np.random.default_rng(0)]
    (order,) = subject.most_telling_first(maps, np.array([False]), rngs)
    assert order[0] == maps.argmax()


def test_cost_is_recorded_and_maps_are_computed_once() -> None:
    subject = subject_of()
    results = run_chunk(chunk_of(Pictures(), GENUINE), subject, [ErasureTest(), ErasureTest("blur"), StabilityTest()])
    assert subject.method.calls == 3  # type: ignore[attr-defined]
    cost = {found.measure: found.value[0] for test, found in results if test == "cost"}
    assert cost["forward"] == 2
    assert cost["seconds"] > 0


def test_pixel_ranking() -> None:
    one = np.zeros((1, 2, 2), np.float32)
    one[0, 0, 0] = 1
    assert to_pixels(one)[0, 0, 0] == 1
    order = descending(to_pixels(one)[0], np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(112 * 112))
    assert first_pixels(order, 0.25).sum() == 3136
    assert first_pixels(order, 0).sum() == 0
    with pytest.raises(InputError, match="not finite"):
        to_pixels(np.full((1, 2, 2), np.nan, np.float32))
    with pytest.raises(InputError, match="one map per face"):
        to_pixels(np.zeros((2, 2), np.float32))


def test_choosing_pairs_is_balanced_and_seeded() -> None:
    protocol = Pictures(people=9).protocol()
    chosen = choose_pairs(protocol, 8, 1)
    assert protocol.genuine[chosen].sum() == 4
    assert np.array_equal(chosen, choose_pairs(protocol, 8, 1))
    assert np.array_equal(chosen[:5], choose_pairs(protocol, 5, 1))
    assert protocol.genuine[chosen].tolist() == [True, False] * 4
    with pytest.raises(InputError, match="has 8 impostor pairs"):
        choose_pairs(protocol, 18, 1)
    with pytest.raises(InputError, match="at least 2 pairs"):
        choose_pairs(protocol, 1, 1)


def test_a_limit_keeps_a_test_to_the_first_pairs_of_a_run() -> None:
    chunk, subject = chunk_of(Pictures(), GENUINE + IMPOSTORS), subject_of()
    tests = [ReplacementTest(), ErasureTest()]
    found = run_chunk(chunk, subject, tests, start=10, limits={"erasure": 12})
    pairs = {test: sorted(set(part.pair.tolist())) for test, part in found}
    assert pairs["replacement"] == GENUINE + IMPOSTORS
    assert pairs["erasure"] == GENUINE[:2]
    assert "erasure" not in dict(run_chunk(chunk, subject, tests, start=12, limits={"erasure": 12}))


def test_a_fill_is_part_of_the_erasure_test_s_name() -> None:
    assert [ErasureTest(fill).name for fill in FILLS] == ["erasure", "erasure-blur", "erasure-noise"]
