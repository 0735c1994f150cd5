"""FC, global depthwise and grid heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whyface.errors import InputError, ModelError
from whyface.models.heads import FcHead, GdcHead, GridHead, PlacedGridHead, flatten_grid
from whyface.train.networks import split_state
from whyface.train.teachers import FrozenNetwork


@pytest.fixture
def features() -> torch.Tensor:
    return torch.rand(4, 512, 7, 7, generator=torch.Generator().manual_seed(0))


def test_fc_head_has_the_published_size(features: torch.Tensor) -> None:
    head = FcHead().eval()
    assert sum(p.numel() for p in head.parameters()) == 2 * 512 + 25088 * 512 + 512 + 2 * 512
    embedding = head(features)
    assert embedding.shape == (4, 512)
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(4))


def test_grid_head_has_the_published_size(features: torch.Tensor) -> None:
    head = GridHead().eval()
    assert sum(p.numel() for p in head.parameters()) == 16512
    grid = head(features)
    assert grid.shape == (4, 32, 7, 7)
    assert flatten_grid(grid).shape == (4, 1568)
    torch.testing.assert_close(flatten_grid(grid).norm(dim=1), torch.ones(4))


def test_papers_grid_head_is_the_convolution_alone(features: torch.Tensor) -> None:
    head = GridHead(norm=False, activation="none")
    torch.testing.assert_close(head(features), head.conv(features))
    with pytest.raises(InputError, match="prelu"):
        GridHead(activation="relu")  # type: ignore[arg-type]


def trained_global_head(channels: int = 6, size: int = 8) -> GdcHead:
    torch.manual_seed(1)
    head = GdcHead(channels, embedding_size=size, cells=4)
    for norm in (head.gdconv.bn, head.bn):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    return head.eval()


def test_placed_head_adds_up_to_the_global_one() -> None:
    """With no neighbourhood, one tile and no rotation to notice, the cells sum to the embedding up to a constant."""
    head = trained_global_head()
    placed = PlacedGridHead(6, grid_channels=8, cells=4, tiles=1, context=1)
    placed.take_over(head, sigma=1.0, generator=torch.Generator().manual_seed(0))
    x = torch.rand(5, 6, 4, 4)
    with torch.no_grad():
        sums = placed(x).sum(dim=(2, 3))
        raw = head.bn(torch.flatten(head.conv3(head.gdconv(x)), 1))
    # A rotation keeps distances, and a constant drops out of differences.
    torch.testing.assert_close(torch.cdist(sums, sums), torch.cdist(raw, raw), atol=1e-4, rtol=1e-4)


def test_placed_head_with_an_endless_neighbourhood_sees_the_embedding_in_the_middle() -> None:
    head = trained_global_head()
    placed = PlacedGridHead(6, grid_channels=8, cells=4, tiles=1, context=9)
    placed.take_over(head, sigma=1e4, generator=torch.Generator().manual_seed(0))
    x = torch.rand(5, 6, 4, 4)
    with torch.no_grad():
        grid = placed(x)
        raw = head.bn(torch.flatten(head.conv3(head.gdconv(x)), 1))
    for row in range(4):
        distances = torch.cdist(grid[:, :, row, row], grid[:, :, row, row])
        torch.testing.assert_close(distances, torch.cdist(raw, raw), atol=1e-3, rtol=1e-3)


def test_tiles_share_the_projection_out() -> None:
    placed = PlacedGridHead(3, grid_channels=2, cells=4, tiles=2, context=1)
    torch.nn.init.ones_(placed.context.weight)
    with torch.no_grad():
        for channel in range(8):
            placed.project.weight[channel] = channel
        grid = placed(torch.ones(1, 3, 4, 4))[0]
    # Block b holds the channels 2 b and 2 b + 1; three inputs of 1 each.
    np.testing.assert_allclose(grid[0, :2, :2].detach().numpy(), [[0, 6], [12, 18]])
    np.testing.assert_allclose(grid[1, :2, :2].detach().numpy(), [[3, 9], [15, 21]])
    torch.testing.assert_close(grid[:, 2:, 2:], grid[:, :2, :2])


def test_centring_takes_the_mean_off() -> None:
    placed = PlacedGridHead(3, grid_channels=2, cells=4)
    x = torch.rand(6, 3, 4, 4)
    with torch.no_grad():
        placed.centre(placed(x).mean(dim=0))
        torch.testing.assert_close(placed(x).mean(dim=0), torch.zeros(2, 4, 4), atol=1e-6, rtol=0)


def test_placed_head_refuses_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="odd"):
        PlacedGridHead(context=4)
    with pytest.raises(InputError, match="does not fit"):
        PlacedGridHead(6, grid_channels=1, cells=4, tiles=1).take_over(
            trained_global_head(), sigma=1.0, generator=torch.Generator()
        )


def test_teacher_stays_in_eval_mode(features: torch.Tensor) -> None:
    teacher = FrozenNetwork(torch.nn.Identity(), FcHead(normalise=False))
    outer = torch.nn.Sequential(teacher).train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    first, second = outer(features), outer(features)
    torch.testing.assert_close(first, second)
    assert not first.requires_grad
    for name, value in teacher.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_split_state_names_what_is_missing_or_left() -> None:
    state = GdcHead().state_dict()
    with pytest.raises(ModelError, match="lacks 1 tensors of the head"):
        split_state({k: v for k, v in state.items() if k != "conv3.bias"}, {"head": GdcHead()}, "x.safetensors")
    with pytest.raises(ModelError, match="that no part takes"):
        split_state({**state, "extra": torch.zeros(1)}, {"head": GdcHead()}, "x.safetensors")
