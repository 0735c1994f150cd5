"""Patched pairs: the right source, every pixel within reach, nothing that depends on chunking."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.toy_bench import Pictures, chunk_of
from whyface.bench.planted import PATCH_SIDE, patch_chance, patch_mask, patched_faces
from whyface.errors import InputError


def test_every_pixel_can_be_patched() -> None:
    assert patch_mask(np.random.default_rng(0), patches=200_000).all()


@given(st.integers(0, 40), st.integers(1, 112), st.integers(0, 2**32 - 1))
def test_coverage_is_between_one_patch_and_all(patches: int, side: int, seed: int) -> None:
    covered = int(patch_mask(np.random.default_rng(seed), patches=patches, side=side).sum())
    assert (side * side if patches else 0) <= covered <= min(patches * side * side, 112 * 112)


def test_mean_coverage_is_the_published_one() -> None:
    rng = np.random.default_rng(3)
    mean = np.mean([patch_mask(rng).mean() for _ in range(500)])
    assert mean == pytest.approx(0.407, abs=0.01)


def test_chance_of_a_patch_is_what_many_draws_give() -> None:
    rng = np.random.default_rng(4)
    drawn = np.mean([patch_mask(rng) for _ in range(1500)], axis=0)
    assert np.abs(drawn - patch_chance()).max() < 0.07
    assert drawn.mean() == pytest.approx(patch_chance().mean(), abs=0.005)
    # One patch: a corner is under 1 of the 97 x 97 places, the middle under 16 x 16.
    assert patch_chance(patches=1)[0, 0] == pytest.approx(1 / 97**2)
    assert patch_chance(patches=1)[56, 56] == pytest.approx(16**2 / 97**2)


def test_patches_larger_than_the_face_are_refused() -> None:
    with pytest.raises(InputError, match="do not fit"):
        patch_mask(np.random.default_rng(0), side=113)


def test_impostors_get_patches_of_the_second_face_and_genuine_pairs_of_somebody_else() -> None:
    chunk = chunk_of(Pictures(), [0, 1, 6, 7])
    patched, masks = patched_faces(chunk)
    for row in range(4):
        source = chunk.other[row] if chunk.genuine[row] else chunk.second[row]
        inside = np.broadcast_to(masks[row], (3, 112, 112))
        assert np.array_equal(patched[row][inside], source[inside])
        assert np.array_equal(patched[row][~inside], chunk.first[row][~inside])
    assert masks.sum(axis=(1, 2)).min() >= PATCH_SIDE**2


def test_the_third_face_is_of_neither_person_or_of_the_second_of_two() -> None:
    pictures = Pictures(people=3)
    protocol = pictures.protocol()
    whose = {pictures.read(name).tobytes(): name.split("/")[0] for name in pictures.names()}
    chunk = chunk_of(pictures, list(range(len(protocol.genuine))))
    for row, number in enumerate(chunk.numbers):
        pair = {protocol.people[protocol.left[number]], protocol.people[protocol.right[number]]}
        other = np.ascontiguousarray(chunk.other[row].transpose(1, 2, 0)).tobytes()
        if chunk.genuine[row]:
            assert whose[other] not in pair
        else:
            assert whose[other] == protocol.people[protocol.right[number]]
            assert not np.array_equal(chunk.other[row], chunk.second[row])


def test_nothing_depends_on_chunking() -> None:
    together, alone = chunk_of(Pictures(), [0, 3, 7]), chunk_of(Pictures(), [3])
    assert np.array_equal(patched_faces(together)[0][1], patched_faces(alone)[0][0])


def test_another_seed_gives_other_patches() -> None:
    assert not np.array_equal(
        patched_faces(chunk_of(Pictures(), [0], seed=1))[1], patched_faces(chunk_of(Pictures(), [0], seed=2))[1]
    )
