"""Fitting a grid head and weights that factorise, on maps of made-up people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from factorised_fit import (
    FactorisedSettings,
    GatheredFcHead,
    ViewedMaps,
    as_placed,
    fit_factorised,
    grids_of,
)
from helpers.factorised_reference import factorised_scores
from whyface.errors import InputError
from whyface.models.placed_fc import PlacedFcHead
from whyface.xcos.grid import factorised_maps

CHANNELS, SIDE, SIZE, PEOPLE, PICTURES = 6, 4, 12, 12, 5
QUICK = FactorisedSettings(
    grid_channels=4,
    context=3,
    hidden=4,
    steps=80,
    people=8,
    pictures=3,
    head_lr=0.02,
    logits_lr=0.01,
    degraded=0,
    average=0.9,
)


def made_up(seed: int = 0) -> tuple[ViewedMaps, NDArray[np.float32]]:
    """Draw maps around a map for each person, with a mean that all share, and an affine head."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(SIZE, CHANNELS, SIDE, SIDE)).astype(np.float32)
    people = np.repeat(np.arange(PEOPLE), PICTURES)
    centres = rng.normal(size=(PEOPLE, CHANNELS, SIDE, SIDE))[people]
    clean = [(2 + centres + 0.7 * rng.normal(size=centres.shape)).astype(np.float16) for _ in range(2)]
    degraded = [(3 + 0.5 * centres + 0.2 * rng.normal(size=centres.shape)).astype(np.float16)]
    embeddings = np.einsum("nchw,dchw->nd", centres, weights)
    targets = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return ViewedMaps(clean, degraded, targets.astype(np.float32), people.astype(np.int64)), weights


def errors(scores: NDArray[np.float32], targets: NDArray[np.float32]) -> float:
    return float(np.square(scores - targets @ targets.T)[np.triu_indices(len(scores), 1)].mean())


def test_the_gathered_head_gives_the_placed_heads_grid() -> None:
    torch.manual_seed(0)
    for cells, context in (((4, 4), 3), ((5, 3), 5), ((7, 7), 7)):
        gathered = GatheredFcHead(CHANNELS, cells, 40, grid_channels=4, context=context)
        placed = PlacedFcHead(CHANNELS, cells, 40, grid_channels=4, context=context)
        torch.nn.init.normal_(gathered.bias)
        placed.load_state_dict(gathered.state_dict())
        x = torch.randn(3, CHANNELS, *cells)
        np.testing.assert_allclose(gathered(x).detach(), placed(x).detach(), atol=1e-5)


def test_it_starts_from_the_networks_own_head_with_places_weighed_by_length() -> None:
    maps, weights = made_up()
    head, losses = fit_factorised(maps, weights, settings=replace(QUICK, steps=0))
    assert losses == []
    raw, weighed = (grids_of(part, maps.clean[0]) for part in (head.head, head))
    np.testing.assert_allclose(raw.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(factorised_scores(raw, raw), factorised_scores(weighed, weighed), atol=1e-4)


def test_training_follows_the_teacher_and_draws_strangers_to_zero() -> None:
    maps, weights = made_up()
    start, _ = fit_factorised(maps, weights, settings=replace(QUICK, steps=0))
    head, losses = fit_factorised(maps, weights, settings=QUICK)
    assert len(losses) == QUICK.steps
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    before, after = (grids_of(one, maps.clean[1]) for one in (start, head))
    assert errors(factorised_scores(after, after), maps.targets) < errors(
        factorised_scores(before, before), maps.targets
    )
    first, second = np.nonzero(maps.people[:, None] < maps.people)
    similarity = factorised_maps(after[first], after[second]).similarity
    assert np.abs(similarity.mean(axis=0)).max() < 0.15


def test_degraded_strangers_stop_looking_alike() -> None:
    maps, weights = made_up()
    first, second = np.nonzero(maps.people[:, None] < maps.people)
    means = []
    for share in (0.0, 0.4):
        head, _ = fit_factorised(maps, weights, settings=replace(QUICK, degraded=share))
        grids = grids_of(head, maps.degraded[0])
        means.append(float(factorised_scores(grids, grids)[first, second].mean()))
    assert means[0] > 0.5
    assert means[1] < 0.5 * means[0]


def test_the_same_seed_gives_the_same_tensors() -> None:
    maps, weights = made_up()
    settings = replace(QUICK, steps=5)
    one, same = (fit_factorised(maps, weights, settings=settings)[0].state_dict() for _ in range(2))
    for name, tensor in one.items():
        assert torch.equal(tensor, same[name])


def test_only_chosen_pictures_are_trained_on() -> None:
    maps, weights = made_up()
    settings = replace(QUICK, steps=5)
    chosen = maps.people < PEOPLE // 2
    changed = ViewedMaps(
        [np.where(chosen[:, None, None, None], view, 0) for view in maps.clean],
        maps.degraded,
        np.where(chosen[:, None], maps.targets, 0).astype(np.float32),
        maps.people,
    )
    one, same = (fit_factorised(data, weights, chosen=chosen, settings=settings)[0] for data in (maps, changed))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name])


def test_a_head_to_export_is_the_same_head() -> None:
    maps, weights = made_up()
    head, _ = fit_factorised(maps, weights, settings=replace(QUICK, steps=5))
    copy = as_placed(head)
    assert type(copy.head) is PlacedFcHead
    np.testing.assert_allclose(grids_of(copy, maps.clean[0]), grids_of(head, maps.clean[0]), atol=1e-5)
    with pytest.raises(InputError, match="fit_factorised"):
        as_placed(copy)


def test_bad_input() -> None:
    maps, weights = made_up()
    with pytest.raises(InputError, match="two people"):
        fit_factorised(maps, weights, chosen=maps.people == 0)
    with pytest.raises(InputError, match="clean view"):
        ViewedMaps([], maps.degraded, maps.targets, maps.people)
    with pytest.raises(InputError, match="fit together"):
        ViewedMaps(maps.clean, [maps.degraded[0][1:]], maps.targets, maps.people)
    with pytest.raises(InputError, match="fit together"):
        ViewedMaps(maps.clean, maps.degraded, maps.targets[1:], maps.people)
    with pytest.raises(InputError, match="shape"):
        fit_factorised(maps, weights[:, :3])
