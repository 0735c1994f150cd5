"""The inpainting game on a model whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.toy_bench import FlatMethod, Pictures, PixelModel, ProductMethod, chunk_of, subject_of
from whyface.bench.base import Subject
from whyface.bench.inpainting import FALSE_ALARMS, InpaintingTest, _first_pixels, inpainted
from whyface.bench.pointing import parts_in_turn
from whyface.commands.benchmark import open_tests
from whyface.errors import InputError
from whyface.explain.pair_method import PairMaps
from whyface.files.parts import Rows
from whyface.models.embedder import Batch


def play(subject: Subject, numbers: list[int]) -> dict[str, Rows]:
    chunk = chunk_of(Pictures(), numbers)
    return {found.measure: found for found in InpaintingTest().run(chunk, subject, subject.method.maps)}


class BackwardsMethod(ProductMethod):
    """The exact map, upside down."""

    name = "backwards"

    def maps(self, first: Batch, second: Batch) -> PairMaps:
        found = super().maps(first, second)
        return PairMaps(found.score, -found.map_a, -found.map_b, forward=2)


def test_only_the_part_is_painted() -> None:
    chunk = chunk_of(Pictures(), [0, 1, 2, 3])
    masks = parts_in_turn(chunk.numbers)
    painted = inpainted(chunk.first, masks)
    outside = np.broadcast_to(~masks[:, None], painted.shape)
    assert np.array_equal(painted[outside], chunk.first[outside])
    assert all((painted[n] != chunk.first[n])[:, masks[n]].mean() > 0.5 for n in range(4))
    with pytest.raises(InputError, match="do not fit"):
        inpainted(chunk.first, masks[:2])


def test_steps_keep_to_their_false_alarms() -> None:
    mask = parts_in_turn(np.arange(1))[0]
    order = np.random.default_rng(0).permutation(112 * 112)
    steps = _first_pixels(order, mask)
    for share, step in zip(FALSE_ALARMS, steps, strict=True):
        outside = (step & ~mask).sum()
        assert outside == int(share * (~mask).sum() + 1e-9)
    # Inside the part, pixels come free until the next false alarm.
    assert not (steps[0] & ~mask).any()
    assert steps[-1].all()
    perfect = np.argsort(~mask.reshape(-1), kind="stable")
    assert np.array_equal(_first_pixels(perfect, mask)[0], mask)


def test_the_exact_map_wins_and_its_opposite_loses() -> None:
    exact, nothing, wrong = (
        play(subject_of(kind), [0, 1, 2, 3, 4, 5]) for kind in (ProductMethod, FlatMethod, BackwardsMethod)
    )
    assert exact["playable"].value.mean() == wrong["playable"].value.mean() > 0.5
    areas = [found["game"].value.mean() for found in (exact, nothing, wrong)]
    assert areas[0] > areas[1] > areas[2]
    assert areas[0] > 0.95
    # Everything replaced, the probe is the painted probe, which is the non-mate.
    for found in (exact, nothing, wrong):
        rates = found["non-mate rate"].value.reshape(-1, len(FALSE_ALARMS))
        assert (rates[:, -1] == 1).all()
        assert ((rates == 0) | (rates == 1)).all()


def test_impostor_pairs_and_blind_networks_have_no_game() -> None:
    assert InpaintingTest().run(chunk_of(Pictures(), [6, 7]), subject_of(), subject_of().method.maps) == []
    # A network that sees a corner only, where nothing is painted over.
    found = play(subject_of(window=(slice(0, 6), slice(0, 6))), [3])
    assert set(found) == {"playable"}
    assert found["playable"].value.tolist() == [0.0]


def test_chunks_do_not_matter_and_it_has_a_name() -> None:
    subject = subject_of(FlatMethod)
    together, alone = play(subject, [0, 1, 2, 3]), play(subject, [2])
    row = together["game"].pair.tolist().index(2)
    assert together["game"].value[row] == alone["game"].value[0]
    assert [test.name for test in open_tests("inpainting")] == ["inpainting"]
    assert PixelModel().name == "pixels"
