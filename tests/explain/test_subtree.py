"""Weighted subtrees on networks small enough to work out by hand, and triplets of every method."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.made_up_networks import CornerEmbedder
from helpers.tiny_torch import curved_embedder, random_faces
from whyface.errors import InputError, ModelError
from whyface.explain.dise import CELLS, DiseMethod, cell_density, spot_masks
from whyface.explain.ebp import EbpMethod, usual_mass
from whyface.explain.gradient_method import CosineScore
from whyface.explain.methods import open_method
from whyface.explain.subtree_ebp import SubtreeEbpMethod, choose_nodes
from whyface.explain.xface import XfaceMethod
from whyface.models.embedder import Batch
from whyface.models.torch_embedder import TorchEmbedder


def test_the_node_that_lowers_the_non_mate_and_not_the_mate_is_chosen() -> None:
    mate = [torch.tensor([[1.0, -1.0, 0.0]]), torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 1.0]])]
    other = [torch.tensor([[-2.0, -9.0, -3.0]]), torch.tensor([[-1.0, 4.0]]), torch.tensor([[2.0, 0.0]])]
    won = [torch.ones(1, 3), torch.ones(1, 2), torch.ones(1, 2)]
    # Layer 0: element 1 would lower the mate's score, so element 2 wins by 3. Layer 2: nothing lowers the other's.
    nodes = choose_nodes(mate, other, won, top=3)
    assert nodes.weights[:, 0].tolist() == [3.0, 1.0, 0.0]
    assert nodes.elements[:2, 0].tolist() == [2, 0]
    assert choose_nodes(mate, other, won, top=1).weights[:, 0].tolist() == [3.0, 0.0, 0.0]
    won[0][0, 2] = 0
    assert choose_nodes(mate, other, won, top=1).weights[:, 0].tolist() == [0.0, 1.0, 0.0]


class Halves(nn.Module):
    """Dimension 0 reads the left half and dimension 1 the right, through one layer with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.eye(2))

    def forward(self, x: Tensor) -> Tensor:
        means: Tensor = self.layer(functional.avg_pool2d(x.mean(dim=1, keepdim=True), (112, 56)).flatten(1))
        return means[:, :, None, None]


def halves() -> tuple[Batch, Batch, Batch]:
    left, right = (np.zeros((1, 3, 112, 112), np.uint8) for _ in range(2))
    left[..., :56], right[..., 56:] = 200, 200
    return np.full((1, 3, 112, 112), 200, np.uint8), left, right


def test_a_triplet_points_at_the_place_that_only_the_mate_shares() -> None:
    method = SubtreeEbpMethod(TorchEmbedder(Halves(), nn.Flatten()))
    both, left, right = halves()
    found = method.triplet(both, left, right)[0]
    np.testing.assert_allclose(found[:, :56], 1 / (56 * 112), rtol=1e-3)
    np.testing.assert_allclose(found[:, 56:], -1 / (56 * 112), rtol=1e-3)
    np.testing.assert_allclose(method.triplet(both, right, left)[0], -found, atol=1e-9)
    assert np.abs(method.triplet(both, left, left)).max() == 0


def test_a_pair_of_a_curved_network() -> None:
    embedder = curved_embedder()
    first, second = random_faces(3, seed=1), random_faces(3, seed=2)
    found = SubtreeEbpMethod(embedder, top=3).maps(first, second)
    np.testing.assert_allclose(found.score, EbpMethod(embedder).maps(first, second).score, atol=1e-6)
    assert np.abs(found.map_a).max() > 0
    for one in (*found.map_a, *found.map_b):
        # The difference of two maps with sum 1, or with nothing to show.
        assert min(abs(float(one.sum()) - total) for total in (-1, 0, 1)) < 1e-4
    # Pairs do not see each other, and a cosine has no order.
    alone = SubtreeEbpMethod(embedder, top=3).maps(first[1:2], second[1:2])
    np.testing.assert_allclose(alone.map_a[0], found.map_a[1], atol=1e-7)
    swapped = SubtreeEbpMethod(embedder, top=3).maps(second, first)
    np.testing.assert_allclose(swapped.map_b, found.map_a, atol=1e-7)
    # Each face has 4 passes, and at most one for each of 3 layers and sign.
    assert (alone.forward, alone.backward <= 2 * (4 + 2 * 3)) == (6, True)


def test_layers_in_place_change_nothing() -> None:
    torch.manual_seed(0)

    def network(inplace: bool) -> TorchEmbedder:
        torch.manual_seed(0)
        trunk = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(inplace), nn.Conv2d(4, 4, 2, 2), nn.ReLU(inplace))
        return TorchEmbedder(trunk, nn.Sequential(nn.Flatten(), nn.Linear(196, 5)))

    first, second = random_faces(2, seed=1), random_faces(2, seed=2)
    one, other = (SubtreeEbpMethod(network(inplace)).maps(first, second) for inplace in (False, True))
    np.testing.assert_allclose(one.map_a, other.map_a, atol=1e-7)


def test_wrong_options() -> None:
    for wrong in (0, -1):
        with pytest.raises(InputError, match="number of layers"):
            SubtreeEbpMethod(curved_embedder(), top=wrong)
    script = TorchEmbedder(torch.jit.script(nn.Sequential(nn.AvgPool2d(16))), nn.Flatten())
    with pytest.raises(ModelError, match="subtree-ebp needs the network's layers"):
        SubtreeEbpMethod(script)


def test_spots_are_drawn_where_the_density_is() -> None:
    mass = np.zeros((112, 112))
    mass[:, :50] = 1
    density = cell_density(mass)
    assert density.sum() == pytest.approx(1)
    assert density[:, 10:].max() == 0
    masks = np.concatenate(list(spot_masks(density, 60, spots=1, seed=0, at_once=7)))
    assert np.array_equal(masks, np.concatenate(list(spot_masks(density, 60, spots=1, seed=0, at_once=60))))
    covered = (1 - masks).mean(axis=0)
    assert covered[:, 68:].max() == 0
    assert covered[:, :40].min(axis=0).max() >= 0
    # A spot is a cell with soft edges, of which the border of the picture may cut off a part.
    assert np.median((1 - masks).sum(axis=(1, 2))) == pytest.approx((118 / CELLS) ** 2, rel=0.1)
    assert np.allclose(cell_density(np.zeros((112, 112))), 1 / CELLS**2)


def test_dise_finds_the_corner_that_counts() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 256, (2, 1, 3, 112, 112), np.uint8)
    found = DiseMethod(CornerEmbedder(), masks=300, density="uniform").maps(one, other)
    # A face compared with itself: every cover lowers the score.
    same = DiseMethod(CornerEmbedder(), masks=300, density="uniform").maps(one, one)
    assert same.map_a.min() >= -1e-6
    assert same.map_a[0, :40, :40].sum() > 0.99 * same.map_a.sum() > 0
    assert np.abs(found.map_a[0, 70:, 70:]).max() < 1e-7
    for options, message in (({"masks": 0}, "1 mask"), ({"spots": 0}, "spots"), ({"density": "odd"}, "density")):
        with pytest.raises(InputError, match=message):
            DiseMethod(CornerEmbedder(), **options)


def test_dise_without_torch_names_what_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyface.explain.dise.importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match="density=uniform"):
        DiseMethod(CornerEmbedder(), masks=2).maps(random_faces(1), random_faces(1))


def test_the_lent_density_is_that_of_the_face() -> None:
    embedder = curved_embedder()
    faces = random_faces(2)
    mass = usual_mass(CosineScore(embedder), embedder.pixels(faces)).numpy()
    assert mass.shape == (2, 112, 112)
    assert mass.min() >= 0
    np.testing.assert_allclose(mass.sum(axis=(1, 2)), 1, rtol=1e-4)
    assert np.abs(mass[0] - mass[1]).max() > 1e-6
    density = DiseMethod(embedder)._density(faces[0].astype(np.float32))
    assert density.shape == (CELLS, CELLS)
    assert (density == 0).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", ["xface", "dise"])
def test_triplets_of_methods_that_look_from_outside(name: str) -> None:
    chosen: dict[str, dict[str, Any]] = {
        "xface": {"patch_sizes": (28,), "stride": 28},
        "dise": {"masks": 40, "density": "uniform"},
    }
    method: Any = open_method(name, embedder=curved_embedder(), **chosen[name])
    probe, mate, other = (random_faces(2, seed=seed) for seed in (1, 2, 3))
    found = method.triplet(probe, mate, other)
    assert found.shape == (2, 112, 112)
    np.testing.assert_allclose(found, -method.triplet(probe, other, mate), atol=1e-6)
    assert np.abs(method.triplet(probe, mate, mate)).max() < 1e-7


@pytest.mark.parametrize("name", ["xface", "dise", "ebp", "subtree-ebp"])
def test_of_several_photos_the_mean_counts(name: str) -> None:
    chosen: dict[str, dict[str, Any]] = {
        "xface": {"patch_sizes": (28,), "stride": 28},
        "dise": {"masks": 40, "density": "uniform"},
    }
    method: Any = open_method(name, embedder=curved_embedder(), **chosen.get(name, {}))
    probe, mate, other, third = (random_faces(2, seed=seed) for seed in (1, 2, 3, 4))
    single = method.triplet(probe, mate, other)
    twice = np.stack([mate, mate], axis=1), np.stack([other, other, other], axis=1)
    np.testing.assert_allclose(method.triplet(probe, *twice), single, atol=1e-6)
    mixed = method.triplet(probe, np.stack([mate, third], axis=1), other)
    assert mixed.shape == single.shape
    assert np.abs(mixed - single).max() > 1e-6
    if name in {"xface", "dise"}:
        # Linear in the scores.
        np.testing.assert_allclose(mixed, (single + method.triplet(probe, third, other)) / 2, atol=1e-5)
    # The same people on both sides leave nothing, in whatever order.
    both, turned = (np.stack(pair, axis=1) for pair in ((mate, third), (third, mate)))
    assert np.abs(method.triplet(probe, both, turned)).max() < 1e-5


def test_without_a_triplet_of_its_own_a_method_subtracts() -> None:
    method = XfaceMethod(curved_embedder(), patch_sizes=(28,), stride=28)
    probe, mate, other = (random_faces(1, seed=seed) for seed in (1, 2, 3))
    expected = method.maps(probe, mate).map_a - method.maps(probe, other).map_a
    np.testing.assert_array_equal(method.triplet(probe, mate, other), expected)
