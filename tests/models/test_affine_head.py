"""Heads measured as sums over places, against heads whose weights are known."""

from __future__ import annotations

import pytest
import torch

from whyface.errors import InputError
from whyface.models.heads import FcHead, GdcHead
from whyface.models.placed_fc import Head, PlacedFcHead, place_weights, unnormalised

SHAPE = (3, 2, 4)


def linear_head() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(24, 5)).eval()


def shake_norms(module: torch.nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)


def test_a_flatten_and_fully_connected_head_gives_its_own_matrix() -> None:
    head = linear_head()
    weights = place_weights(head, SHAPE)
    layer = head[1]
    assert isinstance(layer, torch.nn.Linear)
    torch.testing.assert_close(weights, layer.weight.view(5, *SHAPE))


def test_a_mean_over_places_gives_every_place_the_same() -> None:
    weights = place_weights(lambda x: x.mean(dim=(2, 3)), SHAPE)
    expected = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, 2, 4) / 8
    torch.testing.assert_close(weights, expected.contiguous())


@pytest.mark.parametrize("head", [FcHead(4, embedding_size=6), GdcHead(4, embedding_size=6)])
def test_own_heads_without_their_normalisation(head: torch.nn.Module) -> None:
    torch.manual_seed(1)
    shake_norms(head.eval())
    plain = unnormalised(head)
    weights = place_weights(plain, (4, 7, 7))
    x = torch.randn(3, 4, 7, 7)
    with torch.no_grad():
        embedding = torch.einsum("dchw,nchw->nd", weights, x) + plain(torch.zeros(1, 4, 7, 7))
        torch.testing.assert_close(torch.nn.functional.normalize(embedding), head(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "head",
    [
        lambda x: torch.nn.functional.normalize(torch.flatten(x, 1)),
        lambda x: torch.relu(torch.flatten(x, 1)),
        lambda x: torch.zeros(len(x), 2) + 0 * x.sum(),
    ],
    ids=["normalised", "relu", "constant"],
)
def test_what_is_no_sum_over_places_is_refused(head: Head) -> None:
    with pytest.raises(InputError, match="not a sum over places"):
        place_weights(head, SHAPE)


def test_an_endless_neighbourhood_gives_back_the_cosine_of_the_embeddings() -> None:
    """With every place seeing all others alike and one block, every cell holds the whole (rotated) embedding."""
    head = linear_head()
    placed = PlacedFcHead(3, (2, 4), 5, grid_channels=8, context=7)
    weights = place_weights(head, SHAPE)
    placed.take_over(weights, sigma=1e4, generator=torch.Generator().manual_seed(0))
    x = torch.randn(2, *SHAPE)
    with torch.no_grad():
        grid = placed(x)
        embedding = head(x) - head(torch.zeros(1, *SHAPE))
        inside = torch.nn.functional.cosine_similarity(grid[:1], grid[1:], dim=1)
    expected = torch.nn.functional.cosine_similarity(embedding[:1], embedding[1:])
    torch.testing.assert_close(inside, expected.view(1, 1, 1).expand(1, 2, 4), atol=1e-4, rtol=1e-4)


def test_tiles_share_the_embedding_and_a_narrow_neighbourhood_sees_its_own_place() -> None:
    placed = PlacedFcHead(3, (2, 4), 8, grid_channels=2, context=3)
    weights = torch.randn(8, *SHAPE)
    placed.take_over(weights, sigma=1e-3, generator=torch.Generator().manual_seed(0))
    x = torch.randn(1, *SHAPE)
    other = x.clone()
    other[..., 0, 0] += 1
    with torch.no_grad():
        changed = (placed(x) - placed(other)).abs().amax(dim=1)[0] > 1e-5
    assert changed.tolist() == [[True, False, False, False], [False] * 4]
    assert placed.place.shape == (8, 3, 8)
    placed.centre(placed(x)[0].detach())
    assert float(placed(x).detach().abs().max()) < 1e-5


def test_bad_shapes_are_named() -> None:
    with pytest.raises(InputError, match="odd"):
        PlacedFcHead(3, (2, 4), 5, context=4)
    placed = PlacedFcHead(3, (2, 4), 5)
    with pytest.raises(InputError, match=r"\(5, 3, 2, 4\), got \(5, 3, 4, 2\)"):
        placed.take_over(torch.zeros(5, 3, 4, 2), sigma=1, generator=torch.Generator())
