"""The preset of the article is the article: its pixels, its grid head and one side of the pairs at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.face_folders import write_config
from whyface.errors import InputError
from whyface.models.heads import GridHead
from whyface.train.config import LossConfig, NetworkConfig, TrainConfig, preset_text, read_config
from whyface.train.losses import MarginHead, PairIndices
from whyface.train.networks import build_network
from whyface.train.objective import Losses, Objective
from whyface.xcos.learned import LearnedAttention, XcosNetwork

PAIRS = PairIndices(torch.arange(4), torch.arange(4, 8))
LABELS = torch.tensor([0, 1, 2, 0, 0, 2, 1, 0])


def preset(name: str, folder: Path) -> TrainConfig:
    path = folder / "run.yaml"
    path.write_text(preset_text(name), encoding="utf-8")
    return read_config(path)


def test_the_article_s_preset(tmp_path: Path) -> None:
    config = preset("paper", tmp_path)
    torch.manual_seed(0)
    network = build_network(config.network.model_copy(update={"backbone": "iresnet18"}))
    # "we replace the FC layer by a 1 x 1 convolution": 512 x 32 weights and 32 biases, nothing behind it.
    assert {name: tuple(value.shape) for name, value in network.head.state_dict().items()} == {
        "conv.weight": (32, 512, 1, 1),
        "conv.bias": (32,),
    }
    seen: list[Tensor] = []
    network.backbone.get_submodule("trunk").register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network.eval().features(torch.tensor([0.0, 127.5, 255.0]).view(1, 3, 1, 1).expand(1, 3, 112, 112))
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([-127.5, 0.0, 127.5]) / 128)
    losses = config.losses
    assert (losses.identification, losses.similarity, losses.margin_kind) == (1, 1, "arcface")
    assert (config.batch.mode, config.batch.genuine, config.batch.apart) == ("pairs", 0.5, True)


def test_the_public_code_s_preset(tmp_path: Path) -> None:
    config = preset("published-code", tmp_path)
    head = GridHead(norm=config.network.grid_norm, activation=config.network.activation)
    assert sum(value.numel() for value in head.parameters()) == 16_512
    assert (config.network.pixels, config.batch.apart, config.losses.margin_kind) == (127.5, True, "cosface")


def small(*, apart: bool) -> tuple[Objective, XcosNetwork]:
    torch.manual_seed(1)
    backbone = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.PReLU(6))
    network = XcosNetwork(backbone, GridHead(6, activation="prelu"), LearnedAttention())
    margin = MarginHead(32 * 25, 3, "arcface")
    objective = Objective(network, margin, LossConfig(), NetworkConfig(), half=False, apart=apart).train()
    return objective, network


def faces() -> Tensor:
    """Return pairs whose second sides are brighter, so that statistics of one side and of both differ."""
    drawn = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(2))
    drawn[4:] += 1
    return drawn


def published(state: dict[str, Tensor], first: Tensor, second: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return both losses of a step in train mode from published formulas, each side of the pairs alone."""

    def conv(name: str, x: Tensor) -> Tensor:
        weight = state[f"{name}.weight"]
        return functional.conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[2] // 2)

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.batch_norm(x, None, None, state[f"{name}.weight"], state[f"{name}.bias"], training=True)

    def slopes(name: str, x: Tensor) -> Tensor:
        return functional.prelu(x, state[f"{name}.weight"])

    def grid(x: Tensor) -> Tensor:
        x = slopes("network.backbone.2", norm("network.backbone.1", conv("network.backbone.0", x)))
        return slopes("network.head.act", norm("network.head.bn", conv("network.head.conv", x)))

    part = "network.xcos.attention"

    def embed(x: Tensor) -> Tensor:
        return slopes(f"{part}.embed.2", norm(f"{part}.embed.1", conv(f"{part}.embed.0", x)))

    a, b = grid(first), grid(second)
    x = conv(f"{part}.pair_conv", torch.cat([embed(a), embed(b)], dim=1))
    x = conv(f"{part}.out.0", slopes(f"{part}.pair_act.1", norm(f"{part}.pair_act.0", x)))
    weights = torch.softmax(slopes(f"{part}.out.2", norm(f"{part}.out.1", x)).flatten(1), dim=1)
    cosines = (functional.normalize(a) * functional.normalize(b)).sum(dim=1).flatten(1)
    similarity = ((cosines * weights).sum(dim=1) - targets).square().mean()
    angles = functional.normalize(torch.cat([a, b]).flatten(1)) @ functional.normalize(state["margin.weight"]).T
    rows = torch.arange(8)
    theta = torch.acos(angles[rows, LABELS])
    assert bool((theta + 0.5 < torch.pi).all())
    logits = 64 * angles
    logits[rows, LABELS] = 64 * torch.cos(theta + 0.5)
    return functional.cross_entropy(logits, LABELS), similarity


def step(objective: Objective, targets: Tensor) -> Losses:
    found: Losses = objective(faces(), LABELS, torch.ones(8, dtype=torch.bool), targets, PAIRS)
    return found


def test_one_side_at_a_time_gives_the_published_losses() -> None:
    objective, _ = small(apart=True)
    targets = torch.tensor([0.7, 0.1, -0.1, 0.6])
    state = {name: value.detach().clone() for name, value in objective.state_dict().items()}
    identification, similarity = published(state, faces()[:4], faces()[4:], targets)
    found = step(objective, targets)
    torch.testing.assert_close(found.identification, identification, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(found.similarity, similarity, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.total.detach(), identification + similarity, atol=1e-4, rtol=1e-5)
    joint = step(small(apart=False)[0], targets)
    assert abs(float(joint.similarity - similarity)) > 1e-3


def test_statistics_move_once_for_each_side() -> None:
    objective, network = small(apart=True)
    with torch.no_grad():
        means = [network.backbone[0](side).mean(dim=(0, 2, 3)) for side in faces().chunk(2)]  # type: ignore[index]
    step(objective, torch.zeros(4))
    expected = 0.9 * 0.1 * means[0] + 0.1 * means[1]
    torch.testing.assert_close(network.backbone[1].running_mean, expected, atol=1e-5, rtol=0)  # type: ignore[index]


def test_in_eval_mode_nothing_depends_on_it() -> None:
    losses = []
    for apart in (False, True):
        objective, network = small(apart=apart)
        network.eval()
        losses.append(step(objective, torch.zeros(4)))
    torch.testing.assert_close(losses[0].total, losses[1].total, atol=1e-5, rtol=1e-5)


def test_sides_are_of_pairs_only(tmp_path: Path) -> None:
    path = write_config(tmp_path / "run.yaml", tmp_path, batch={"mode": "all", "apart": True})
    with pytest.raises(InputError, match="mode pairs"):
        read_config(path)
