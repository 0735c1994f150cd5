"""Pairs: proportions, people with one picture, every picture once an epoch, nothing but seed and step counts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from whyface.errors import InputError
from whyface.train.corpus import draw_partners, epoch_batch, people_batch, step_generator, steps_per_epoch


def labelled(counts: list[int], shuffle: int = 0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(shuffle))]
    return labels, [torch.nonzero(labels == person)[:, 0] for person in range(len(counts))]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.integers(0, 1000))
def test_partners_are_never_the_picture_itself_and_singles_meet_others(counts: list[int], seed: int) -> None:
    labels, rows = labelled(counts, seed)
    index = torch.arange(len(labels)).repeat(20)
    partners = draw_partners(index, labels, rows, genuine=0.5, generator=torch.Generator().manual_seed(seed))
    assert (partners != index).all()
    single = torch.tensor(counts)[labels[index]] == 1
    assert (labels[partners][single] != labels[index][single]).all()


@pytest.mark.parametrize("genuine", [0.0, 0.5, 1.0])
def test_the_share_of_genuine_pairs(genuine: float) -> None:
    labels, rows = labelled([4, 3, 2])
    index = torch.arange(9).repeat(2000)
    partners = draw_partners(index, labels, rows, genuine=genuine, generator=torch.Generator().manual_seed(0))
    assert float((labels[partners] == labels[index]).float().mean()) == pytest.approx(genuine, abs=0.02)


def test_partners_are_uniform_over_people_and_their_pictures() -> None:
    labels, rows = labelled([3, 1, 4])
    start = int(rows[0][0])
    index = torch.full((40_000,), start)
    partners = draw_partners(index, labels, rows, genuine=0.5, generator=torch.Generator().manual_seed(1))
    share = torch.bincount(partners, minlength=8).float() / len(index)
    for person, expected in ((1, 0.25), (2, 0.0625)):
        assert share[rows[person]].tolist() == pytest.approx([expected] * len(rows[person]), abs=0.01)
    assert share[rows[0][1:]].tolist() == pytest.approx([0.25, 0.25], abs=0.01)


def test_one_person_makes_no_pairs() -> None:
    labels, rows = labelled([3])
    with pytest.raises(InputError, match="at least two people"):
        draw_partners(torch.arange(3), labels, rows, genuine=0.5, generator=torch.Generator())


@given(st.integers(1, 50), st.integers(1, 20), st.integers(0, 99))
def test_every_picture_comes_once_an_epoch(pictures: int, size: int, seed: int) -> None:
    steps = steps_per_epoch(pictures, size)
    for epoch in (0, 3):
        seen = torch.cat([epoch_batch(pictures, size, seed, epoch * steps + k) for k in range(steps)])
        assert sorted(seen.tolist()) == list(range(pictures))


def test_epochs_differ_and_steps_repeat() -> None:
    assert epoch_batch(50, 50, 1, 0).tolist() != epoch_batch(50, 50, 1, 1).tolist()
    assert epoch_batch(50, 7, 1, 3).tolist() == epoch_batch(50, 7, 1, 3).tolist()
    first, again, other = (torch.rand(3, generator=step_generator(1, 5, rank)) for rank in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_people_batches_hold_whole_groups() -> None:
    labels, rows = labelled([5, 1, 3, 2])
    index = people_batch(rows, 3, 4, torch.Generator().manual_seed(0))
    groups = labels[index].view(3, 4)
    assert (groups == groups[:, :1]).all()
    assert len(set(groups[:, 0].tolist())) == 3
    assert people_batch(rows, 9, 2, torch.Generator().manual_seed(0)).shape == (8,)
