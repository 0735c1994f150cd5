"""1 x 1 convolutions by oneDNN: the same numbers and gradients as PyTorch's, and only where they fit."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - only where torch is there
from torch.overrides import TorchFunctionMode  # noqa: E402

from whyface.models.torch_layers import PointwiseConv2d, with_fast_pointwise  # noqa: E402

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch is built without oneDNN")


def frozen(layer: nn.Module) -> nn.Module:
    return layer.eval().requires_grad_(False)


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 5])
def test_numbers_and_gradients_are_pytorch_s(bias: bool, count: int) -> None:
    torch.manual_seed(0)
    plain = frozen(nn.Conv2d(6, 9, 1, bias=bias))
    (fast,) = with_fast_pointwise(nn.Sequential(plain)).children()
    assert isinstance(fast, PointwiseConv2d)
    pixels = torch.randn(count, 6, 4, 5)
    weights = torch.randn(count, 9, 4, 5)
    found = []
    for layer in (plain, fast):
        x = pixels.clone().requires_grad_()
        output = layer(x)
        (gradient,) = torch.autograd.grad((output * weights).sum(), x)
        found.append((output.detach(), gradient))
    torch.testing.assert_close(found[1][0], found[0][0])
    torch.testing.assert_close(found[1][1], found[0][1])


@needs_onednn
def test_the_graph_can_be_kept_for_several_passes() -> None:
    torch.manual_seed(0)
    (fast,) = with_fast_pointwise(nn.Sequential(frozen(nn.Conv2d(3, 2, 1)))).children()
    x = torch.randn(1, 3, 2, 2, requires_grad=True)
    output = fast(x).sum()
    one, other = (torch.autograd.grad(output, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(one, other)


@needs_onednn
def test_changed_weights_count_in_the_next_gradient() -> None:
    (fast,) = with_fast_pointwise(nn.Sequential(frozen(nn.Conv2d(2, 1, 1, bias=False)))).children()
    x = torch.randn(1, 2, 3, 3, requires_grad=True)

    def gradient() -> list[float]:
        values: list[float] = torch.autograd.grad(fast(x).sum(), x)[0][0, :, 0, 0].tolist()
        return values

    gradient()
    with torch.no_grad():
        fast.weight.copy_(torch.tensor([5.0, -7.0]).view(1, 2, 1, 1))  # type: ignore[operator]
    assert gradient() == [5.0, -7.0]
    fast.weight = nn.Parameter(torch.tensor([2.0, 3.0]).view(1, 2, 1, 1), requires_grad=False)
    assert gradient() == [2.0, 3.0]


def test_other_layers_stay() -> None:
    trainable = nn.Sequential(nn.Conv2d(2, 2, 1))
    others = frozen(nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 1, stride=2), nn.Conv2d(2, 2, 1, groups=2)))
    for network in (trainable, others):
        assert not any(isinstance(layer, PointwiseConv2d) for layer in with_fast_pointwise(network).children())


@needs_onednn
def test_modes_that_watch_functions_see_a_convolution() -> None:
    seen = []

    class Watch(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    (fast,) = with_fast_pointwise(nn.Sequential(frozen(nn.Conv2d(3, 2, 1)))).children()
    with Watch():
        fast(torch.randn(1, 3, 2, 2))
    assert "conv2d" in seen


@needs_onednn
def test_nothing_in_nothing_out() -> None:
    (fast,) = with_fast_pointwise(nn.Sequential(frozen(nn.Conv2d(3, 2, 1)))).children()
    assert fast(torch.zeros(0, 3, 2, 2)).shape == (0, 2, 2, 2)
