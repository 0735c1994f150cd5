from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch (the extra torch)")

from torch import Tensor, nn  # noqa: E402

from whyface.errors import InputError  # noqa: E402
from whyface.models import backbones as iresnet  # noqa: E402
from whyface.models.backbones import DEPTHS, IResNet, IRUnit, SqueezeExcite  # noqa: E402


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("depth", "se", "count"),
    [(18, False, 11_169_920), (50, False, 30_727_360), (50, True, 30_950_080), (100, False, 52_282_176)],
)
def test_parameter_counts(depth: int, se: bool, count: int) -> None:
    with torch.device("meta"):
        assert _parameters(IResNet(depth, se=se)) == count


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("se", [False, True])
def test_every_depth_by_its_name(depth: int, se: bool) -> None:
    with torch.device("meta"):
        trunk = getattr(iresnet, f"iresnet{depth}")(se=se)
    assert (trunk.depth, trunk.se) == (depth, se)
    assert any(isinstance(module, SqueezeExcite) for module in trunk.modules()) == se


@pytest.mark.parametrize(("depth", "se"), [(18, False), (50, True)])
def test_shapes(depth: int, se: bool) -> None:
    with torch.inference_mode():
        assert IResNet(depth, se=se).eval()(torch.zeros(1, 3, 112, 112)).shape == (1, 512, 7, 7)


def test_number_of_convolutions_is_the_depth() -> None:
    with torch.device("meta"):
        trunk = IResNet(50, se=True)
    # 3 x 3 convolutions: the stem and two per unit; the depth counts the head's FC layer too.
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in trunk.modules()) == 49


def test_unit_against_the_definition() -> None:
    torch.manual_seed(0)
    unit = IRUnit(16, 16, 2, se=False).eval()
    x = torch.randn(1, 16, 8, 8)
    norm, first, act, second, last = unit.residual
    expected = last(second(act(first(norm(x))))) + x[:, :, ::2, ::2]
    assert torch.equal(unit(x), expected)


def test_squeeze_excite_by_hand() -> None:
    gate = SqueezeExcite(32)
    assert gate.squeeze.weight.shape == (2, 32, 1, 1)
    with torch.no_grad():
        gate.squeeze.weight.fill_(1 / 32)
        gate.excite.weight.fill_(0.5)
    x = torch.full((1, 32, 4, 4), 3.0)
    # Both squeezed values are 3, so every gate is sigmoid(0.5 * 3 + 0.5 * 3).
    torch.testing.assert_close(gate(x), x * torch.sigmoid(torch.tensor(3.0)))


def test_gradient_reaches_every_weight_and_the_pixels() -> None:
    torch.manual_seed(0)
    trunk = IResNet(18, se=True)
    x = torch.rand(2, 3, 112, 112).mul(2).sub(1).requires_grad_()
    trunk(x).square().mean().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    for name, parameter in trunk.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_evaluation_is_deterministic_and_free_of_the_batch() -> None:
    torch.manual_seed(0)
    trunk = IResNet(18).eval()
    x = torch.rand(2, 3, 112, 112)
    with torch.inference_mode():
        both = trunk(x)
        assert torch.equal(both, trunk(x))
        torch.testing.assert_close(trunk(x[:1]), both[:1], rtol=1e-4, atol=1e-5)


def test_unknown_depth() -> None:
    with pytest.raises(InputError, match="no IResNet of depth 101; choose one of 18, 34, 50, 100, 152"):
        IResNet(101)


class _Narrow(nn.Module):
    """A narrow stand-in for the family: its stem and units, cheap enough to export in a test."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.BatchNorm2d(16), nn.PReLU(16))
        self.units = nn.Sequential(IRUnit(16, 16, 2, se=True), IRUnit(16, 32, 2, se=True), IRUnit(32, 32, 1, se=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.units(self.stem(x))
        return y


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "make", [_Narrow, pytest.param(lambda: IResNet(50, se=True), marks=pytest.mark.slow)], ids=["narrow", "50"]
)
def test_exported_network_agrees(tmp_path: Path, make: type[nn.Module]) -> None:
    pytest.importorskip("onnxscript", reason="needs onnxscript (the extra torch)")
    from whyface.models.onnx_embedder import OnnxEmbedder
    from whyface.models.preprocessing import ARCFACE

    torch.manual_seed(0)
    trunk = make().eval()
    path = tmp_path / "trunk.onnx"
    torch.onnx.export(
        trunk,
        (torch.rand(2, 3, 112, 112),),
        path,
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=["x"],
        output_names=["map"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
    )
    faces = np.random.default_rng(0).integers(0, 256, (3, 3, 112, 112), np.uint8)
    grid = OnnxEmbedder(path, preprocessing=ARCFACE, grid="map", threads=1).grid(faces)
    with torch.inference_mode():
        expected = trunk(torch.from_numpy(ARCFACE.apply(faces))).numpy()
    np.testing.assert_allclose(grid, expected, atol=1e-4)
