"""Winning probabilities on networks small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.tiny_torch import curved_embedder, random_faces
from whyface.errors import InputError, ModelError
from whyface.explain.ebp import EbpMethod, ExcitationMode, contrast, winning_mass
from whyface.faces.face import Face
from whyface.models.preprocessing import ARCFACE, Preprocessing
from whyface.models.torch_embedder import TorchEmbedder


def probabilities(network: nn.Module, x: Tensor, prior: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    with torch.enable_grad(), ExcitationMode():
        y = network(x)
    torch.testing.assert_close(y, network(x))
    (found,) = torch.autograd.grad(y, x, prior)
    return found


def linear(*rows: list[float], bias: list[float] | None = None) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer.requires_grad_(False)


def test_positive_inputs_share_by_positive_weights_only() -> None:
    layer = linear([1.0, 2.0, -5.0], [3.0, 0.0, 1.0], bias=[20.0, 0.0])
    found = probabilities(layer, torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 0.5]]))
    # Output 0: 1 and 4 of 5; output 1: 3 and 3 of 6.
    torch.testing.assert_close(found, torch.tensor([[0.1 + 0.25, 0.4, 0.25]]))


def test_two_layers_by_hand() -> None:
    network = nn.Sequential(linear([1.0, 1.0], [1.0, -1.0], [2.0, 0.0]), nn.ReLU(), linear([1.0, 1.0, -1.0]))
    # x = (1, 3): hidden (4, -2, 2) -> (4, 0, 2); output 4 from the first alone, which is 1 + 3.
    found = probabilities(network, torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75]]))


def test_an_output_below_zero_goes_to_what_pushed_it_down() -> None:
    found = probabilities(linear([1.0, 2.0, -5.0]), torch.tensor([[1.0, -2.0, 3.0]]), torch.tensor([[1.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 4 / 19, 15 / 19]]))


def test_a_shortcut_shares_by_what_each_branch_brings() -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(linear([1.0, 0.0], [0.0, 3.0]), nn.PReLU(init=0.1))

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = x + self.branch(x)
            return y

    x, prior = torch.tensor([[2.0, 1.0]]), torch.tensor([[0.5, 0.5]])
    torch.testing.assert_close(probabilities(Shortcut(), x, prior), prior)


def test_a_matrix_for_each_place_shares_as_a_layer_does() -> None:
    class Placed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = torch.bmm(x, torch.tensor([[[1.0], [2.0], [-5.0]]]))
            return y

    found = probabilities(Placed(), torch.tensor([[[1.0, -2.0, 3.0]]]), torch.ones(1, 1, 1))
    torch.testing.assert_close(found, torch.tensor([[[0.0, 4 / 19, 15 / 19]]]))


def test_a_difference_shares_by_what_each_side_brings() -> None:
    class Difference(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1] - x[:, 1:]

    # 3 - (-1) = 4: three quarters from the first. 1 - 3 = -2: what pushed it down is the second alone.
    for x, expected in (([[3.0, -1.0]], [[0.75, 0.25]]), ([[1.0, 3.0]], [[0.0, 1.0]])):
        found = probabilities(Difference(), torch.tensor(x), torch.ones(1, 1))
        torch.testing.assert_close(found, torch.tensor(expected))


def test_the_weight_of_a_place_is_a_gate_and_gets_nothing() -> None:
    class Weighed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
            y: Tensor = x * (length - length.amax()).exp()
            return y

    x, prior = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.25, 0.75]])
    torch.testing.assert_close(probabilities(Weighed(), x, prior), prior)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1), nn.MaxPool2d(2)])
def test_pools(pool: nn.Module) -> None:
    x = torch.tensor([[[[1.0, 2.0], [0.0, 5.0]]]])
    expected = torch.tensor([[0.0, 0.0], [0.0, 1.0]]) if isinstance(pool, nn.MaxPool2d) else x[0, 0] / 8
    torch.testing.assert_close(probabilities(pool, x, torch.ones(1, 1, 1, 1))[0, 0], expected)


@pytest.mark.parametrize("inplace", [False, True])
def test_probability_is_kept_where_nothing_is_below_zero_and_nothing_is_biased(inplace: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.ReLU6(inplace),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        nn.ReLU(inplace),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 4, bias=False),
        nn.ReLU(inplace),
    ).requires_grad_(False)
    x = torch.rand(2, 3, 16, 16)
    y = network(x)
    prior = y / y.sum(dim=1, keepdim=True)
    found = probabilities(network, x, prior)
    assert found.min() >= 0
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), torch.ones(2))


def test_a_gate_gets_nothing() -> None:
    class Gated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x.mean((2, 3), keepdim=True))

    x = torch.rand(1, 2, 3, 3)
    prior = torch.rand(1, 2, 3, 3)
    torch.testing.assert_close(probabilities(Gated(), x, prior), prior)


def test_a_layer_without_rule_is_named() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.softmax(x, dim=1)

    with pytest.raises(ModelError, match="no rule for 'softmax'"):
        probabilities(Odd(), torch.rand(1, 3), torch.rand(1, 3))


def test_each_map_is_a_distribution_and_their_difference_sums_to_zero() -> None:
    embedder = curved_embedder()
    faces = random_faces(2)
    pixels = embedder.pixels(faces).requires_grad_()
    with torch.enable_grad(), ExcitationMode():
        features = embedder.forward_tensor(pixels)
    won = winning_mass(features, pixels, torch.randn(2, 6, generator=torch.Generator().manual_seed(0))).sum(dim=1)
    assert won.min() >= 0
    torch.testing.assert_close(won.sum(dim=(1, 2)), torch.ones(2))
    found = EbpMethod(embedder).maps(faces[:1], faces[1:])
    assert np.abs(found.map_a).sum() > 0.01
    np.testing.assert_allclose([found.map_a.sum(), found.map_b.sum()], 0, atol=1e-5)


def test_nothing_that_drives_gives_an_empty_map() -> None:
    embedder = curved_embedder()
    pixels = embedder.pixels(random_faces(1)).requires_grad_()
    with torch.enable_grad(), ExcitationMode():
        features = embedder.forward_tensor(pixels)
    assert winning_mass(features, pixels, torch.zeros(1, 6)).abs().max() == 0


def halves(left: int, right: int) -> Face:
    image = np.full((112, 112, 3), left, np.uint8)
    image[:, 56:] = right
    return Face(image)


GREY = (127.5, 127.5, 127.5)


@pytest.mark.parametrize(
    "how", [ARCFACE, Preprocessing(mean=GREY, order="bgr"), Preprocessing(mean=GREY, columns=(8, 104))]
)
def test_mass_goes_through_the_preprocessing_whole(how: Preprocessing) -> None:
    # On the left both faces are bright; on the right one is bright and one is dark, which speaks against a match.
    embedder = TorchEmbedder(nn.AvgPool2d((56, how.size[1] // 2)), nn.Flatten(), preprocessing=how)
    found = EbpMethod(embedder)((halves(255, 255), halves(255, 0)))
    assert found.score == pytest.approx(0, abs=1e-6)
    start, stop = how.columns or (0, 112)
    expected = np.zeros((112, 112))
    expected[:, start:56], expected[:, 56:stop] = 1, -1
    for given in (found.map_a, found.map_b):
        assert given is not None
        np.testing.assert_allclose(given, expected / (56 * (stop - start)), rtol=1e-4)


def test_networks_that_the_rules_cannot_follow_are_refused_when_opened() -> None:
    class InPlace(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = functional.relu_(x - 128)
            functional.relu_(y.sub_(64))
            return functional.avg_pool2d(y, 16)

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.softmax(functional.avg_pool2d(x, 16), dim=1)

    script = torch.jit.script(nn.Sequential(nn.AvgPool2d(16)))
    for trunk, message in ((InPlace(), "changes in place"), (Odd(), "no rule for 'softmax'"), (script, "TorchScript")):
        with pytest.raises(ModelError, match=message):
            EbpMethod(TorchEmbedder(trunk, nn.Flatten()))


def test_truncated_contrast_by_hand() -> None:
    # The smallest masses of each side that hold less than 31 % are cut off: 0.1 and 0.15; twice 0.05 and 0.2.
    for_it = torch.tensor([[[[0.1, 0.15, 0.25, 0.5]]]])
    against = torch.tensor([[[[0.05, 0.2, 0.7, 0.05]]]])
    torch.testing.assert_close(contrast(for_it, against), (for_it - against)[:, 0])
    found = contrast(for_it, against, 0.31)
    torch.testing.assert_close(found, torch.tensor([[[0.0, 0.0, 0.25 - 0.7, 0.5 - 0.05]]]))


def test_truncation_is_an_option_and_zero_changes_nothing() -> None:
    embedder = curved_embedder()
    first, second = random_faces(2, seed=1), random_faces(2, seed=2)
    plain, cut = (EbpMethod(embedder, truncate=share).maps(first, second) for share in (0.0, 0.2))
    np.testing.assert_allclose(plain.map_a.sum(axis=(1, 2)), 0, atol=1e-4)
    assert np.abs(plain.map_a - cut.map_a).max() > 0
    assert (np.abs(cut.map_a) <= np.abs(plain.map_a) + 1e-6).mean() > 0.9
    assert EbpMethod(embedder, truncate=0.2).settings == {"truncate": 0.2}
    for wrong in (-0.1, 1.0, float("nan")):
        with pytest.raises(InputError, match="share of the mass"):
            EbpMethod(embedder, truncate=wrong)


def test_a_triplet_turns_round_with_its_roles_and_is_nothing_for_one_person() -> None:
    method = EbpMethod(curved_embedder())
    probe, mate, other = (random_faces(2, seed=seed) for seed in (1, 2, 3))
    found = method.triplet(probe, mate, other)
    assert found.shape == (2, 112, 112)
    assert np.abs(found).max() > 0
    np.testing.assert_allclose(found, -method.triplet(probe, other, mate), atol=1e-6)
    assert np.abs(method.triplet(probe, mate, mate)).max() == 0


def test_a_triplet_points_at_the_place_that_only_the_mate_shares() -> None:
    # Dimension 0 reads the left half, dimension 1 the right half; the mate has the left, the other face the right.
    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return functional.avg_pool2d(x.mean(dim=1, keepdim=True), (112, 56))

    embedder = TorchEmbedder(Halves(), nn.Flatten())
    left, right = (np.zeros((1, 3, 112, 112), np.uint8) for _ in range(2))
    left[..., :56], right[..., 56:] = 200, 200
    both = np.full((1, 3, 112, 112), 200, np.uint8)
    found = EbpMethod(embedder).triplet(both, left, right)[0]
    assert found[:, :56].sum() == pytest.approx(1, abs=1e-4)
    assert found[:, 56:].sum() == pytest.approx(-1, abs=1e-4)
