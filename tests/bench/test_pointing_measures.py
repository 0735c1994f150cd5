"""Measures of pointing and of salience: worked out by hand, and against an independent implementation."""

import numpy as np
import pytest

from helpers.toy_bench import Pictures, chunk_of, subject_of
from whyface.bench.merits import concordance
from whyface.bench.planted import SUBSETS, SaCoTest, salience_faithfulness
from whyface.bench.pointing import (
    PAINTED,
    PointingTest,
    bits_at,
    painted_faces,
    painted_masks,
    part_masks,
    shuffled_auc,
)
from whyface.bench.sanity import map_entropy, rank_correlation

GENUINE, IMPOSTORS = [0, 1, 2, 3], [6, 7, 8]
RNG = np.random.default_rng(0)


def test_shuffled_auc_by_hand() -> None:
    values = np.array([3.0, 1.0, 1.0, 0.0, 2.0])
    mask = np.array([True, True, False, False, False])
    # 3 beats both; 1 ties with the first, of weight 2, and beats the second, of weight 1. The last is nowhere.
    assert shuffled_auc(values, mask, np.array([9, 9, 2, 1, 0])) == pytest.approx((1 + (1 + 1) / 3) / 2)
    assert shuffled_auc(values, mask, np.zeros(5)) == 0.5


def test_a_map_of_where_parts_lie_is_worth_no_more_than_chance() -> None:
    parts = part_masks().astype(np.float64)
    usual = parts.sum(axis=0)
    found = [shuffled_auc(usual, mask > 0, usual - mask) for mask in parts]
    assert found == pytest.approx([0.5] * 4, abs=0.02)


def test_information_of_a_map_that_says_nothing_or_puts_all_into_the_part() -> None:
    mask = np.zeros((112, 112), np.bool_)
    mask[:8, :8] = True
    assert bits_at(np.ones((112, 112)), mask) == pytest.approx(np.log2(2 / 12544))
    assert bits_at(np.zeros((112, 112)), mask) == bits_at(np.ones((112, 112)), mask)
    assert bits_at(mask.astype(float), mask) == pytest.approx(np.log2(1 / 12544 + 1 / 64))
    assert bits_at((~mask).astype(float), mask) == pytest.approx(np.log2(1 / 12544))


def test_paint_changes_its_place_and_little_else_and_lies_where_its_name_says() -> None:
    chunk = chunk_of(Pictures(), GENUINE)
    faces, masks = painted_faces(chunk)
    changed = (np.abs(faces.astype(int) - chunk.first) > 30).any(axis=1)
    assert (changed & masks).any(axis=(1, 2)).all()
    assert (changed & ~masks).mean() < 0.06
    centres = dict(zip(PAINTED, (np.argwhere(mask)[:, 0].mean() for mask in painted_masks()), strict=True))
    assert centres["eyebrows"] < centres["sunglasses"] < 60 < centres["beard"]
    assert centres["scarf"] > 90
    assert np.array_equal(faces, painted_faces(chunk)[0])


@pytest.mark.parametrize("kind", ["pointing", "painting", "partner"])
def test_the_exact_map_points_at_what_was_planted(kind: str) -> None:
    chunk, subject = chunk_of(Pictures(), GENUINE + IMPOSTORS), subject_of()
    found = {rows.measure: rows for rows in PointingTest(kind).run(chunk, subject, subject.method.maps)}
    assert found["auc"].pair.tolist() == (IMPOSTORS if kind == "partner" else GENUINE)
    assert (found["drop"].value > 0).all()
    assert found["auc"].value.mean() > 0.55
    assert found["overlap"].value.mean() > found["area"].value.mean() + 0.1


def test_salience_that_follows_the_effect_and_one_that_goes_against_it() -> None:
    salience = np.array([4.0, 3.0, 1.0])
    assert salience_faithfulness(salience, np.array([0.3, 0.2, 0.1])) == 1
    assert salience_faithfulness(salience, np.array([0.1, 0.2, 0.3])) == -1
    # Differences 1, 3 and 2; only that of 1 is the wrong way round.
    assert salience_faithfulness(salience, np.array([0.2, 0.3, 0.1])) == pytest.approx((3 + 2 - 1) / 6)
    assert salience_faithfulness(np.ones(3), np.array([1.0, 2.0, 3.0])) == 0


def test_saco_of_the_exact_map_is_high() -> None:
    chunk, subject = chunk_of(Pictures(), GENUINE + IMPOSTORS), subject_of()
    (found,) = SaCoTest().run(chunk, subject, subject.method.maps)
    assert SUBSETS == 10
    assert (found.value > 0.8).all()


def test_concordance_of_equal_opposite_and_tied_rankings() -> None:
    up = np.arange(1.0, 6)
    assert concordance(np.stack([up, up, up])) == pytest.approx(1)
    assert concordance(np.stack([up, up[::-1]])) == pytest.approx(0)
    tied = np.array([1.5, 1.5, 3.0])
    assert concordance(np.stack([tied, tied])) == pytest.approx(1)
    # Friedman's chi square is W (R - 1) M' in other words: R (M - 1) W.
    from scipy.stats import friedmanchisquare, rankdata

    values = RNG.normal(size=(4, 5))
    expected = friedmanchisquare(*values.T).statistic / (4 * (5 - 1))
    assert concordance(rankdata(values, axis=1)) == pytest.approx(expected)


def test_against_quantus_as_an_independent_implementation() -> None:
    quantus = pytest.importorskip("quantus", reason="Quantus is not installed")
    from quantus.functions.complexity_func import discrete_entropy
    from quantus.functions.similarity_func import correlation_spearman

    maps, others = RNG.normal(size=(2, 3, 40, 40)).astype(np.float32)
    assert map_entropy(maps) == pytest.approx([discrete_entropy(one, one) for one in maps])
    expected = [correlation_spearman(one.ravel(), other.ravel()) for one, other in zip(maps, others, strict=True)]
    assert rank_correlation(maps, others) == pytest.approx(expected)

    chunk, subject = chunk_of(Pictures(), GENUINE), subject_of()
    test = PointingTest()
    ours = {rows.measure: rows.value for rows in test.run(chunk, subject, subject.method.maps)}
    part, changed, second = test.asked(chunk)
    against = -subject.method.maps(changed, second).map_a[:, None]
    masks = part_masks()[part.numbers % 4][:, None]
    common = {
        "model": None,
        "x_batch": changed.astype(np.float32),
        "y_batch": np.zeros(len(part), int),
        "s_batch": masks.astype(int),
    }
    options = {"normalise": False, "disable_warnings": True}
    ranked = quantus.RelevanceRankAccuracy(abs=False, **options)(a_batch=against, **common)
    assert ours["overlap"] == pytest.approx(ranked, abs=0.01)
    mass = quantus.RelevanceMassAccuracy(abs=False, **options)(a_batch=np.maximum(against, 0), **common)
    assert ours["negative share"] == pytest.approx(mass)
