"""Non-maximum suppression on boxes whose overlap is worked out by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from whyface.faces.detection import box_areas, suppress_overlaps

# Neighbours share half of each: 50 of 150 (union) and 50 of 100 (the smaller).
ROW = np.array([(0, 0, 10, 10), (5, 0, 15, 10), (10, 0, 20, 10)], float)


def test_areas() -> None:
    assert box_areas(np.array([(0, 0, 4, 5), (3, 3, 1, 9), (2, 2, 2, 2)], float)).tolist() == [20, 0, 0]


def test_union() -> None:
    scores = np.array([0.9, 0.8, 0.7])
    assert suppress_overlaps(ROW, scores, 0.34).tolist() == [0, 1, 2]
    assert suppress_overlaps(ROW, scores, 0.33).tolist() == [0, 2]


def test_smaller() -> None:
    scores = np.array([0.7, 0.9, 0.8])
    assert suppress_overlaps(ROW, scores, 0.5, "smaller").tolist() == [1, 2, 0]
    assert suppress_overlaps(ROW, scores, 0.49, "smaller").tolist() == [1]


def test_a_box_inside_another_counts_as_the_smaller() -> None:
    boxes, scores = np.array([(0, 0, 100, 100), (10, 10, 20, 20)], float), np.array([0.6, 0.9])
    assert suppress_overlaps(boxes, scores, 0.5).tolist() == [1, 0]
    assert suppress_overlaps(boxes, scores, 0.5, "smaller").tolist() == [1]


def test_equal_scores_keep_their_order_and_none_is_fine() -> None:
    assert suppress_overlaps(ROW, np.ones(3), 0.9).tolist() == [0, 1, 2]
    assert suppress_overlaps(np.empty((0, 4)), np.empty(0), 0.5).shape == (0,)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 30), limit=st.floats(0, 1))
def test_what_stays_does_not_overlap_and_what_goes_does(seed: int, count: int, limit: float) -> None:
    random = np.random.default_rng(seed)
    low = random.uniform(0, 20, (count, 2))
    boxes = np.hstack([low, low + random.uniform(1, 20, (count, 2))])
    scores = random.uniform(size=count)
    kept = suppress_overlaps(boxes, scores, limit).tolist()

    def overlap(a: int, b: int) -> float:
        sides = np.minimum(boxes[a, 2:], boxes[b, 2:]) - np.maximum(boxes[a, :2], boxes[b, :2])
        shared = float(np.prod(np.clip(sides, 0, None)))
        return shared / float(box_areas(boxes[[a, b]]).sum() - shared)

    assert all(overlap(a, b) <= limit + 1e-9 for a in kept for b in kept if a != b)
    gone = set(range(count)) - set(kept)
    assert all(any(overlap(a, b) >= limit - 1e-9 and scores[b] >= scores[a] for b in kept) for a in gone)
