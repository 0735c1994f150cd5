"""Torch networks that work in place, share layers, or are of another kind: understood, or refused in one line."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.tiny_torch import curved_parts, linear_parts, random_faces
from whyface.errors import ModelError
from whyface.explain.cells import CellsMethod
from whyface.explain.gradcam import GradCamMethod
from whyface.models.linear_head import linear_head
from whyface.models.preprocessing import ARCFACE
from whyface.models.torch_embedder import TorchEmbedder


class Block(nn.Module):
    """relu(x + bn(conv(x))), as most residual networks have it: in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        y += x
        found: Tensor = self.relu(y)
        return found


class Residual(nn.Module):
    """A stem, a block, a fully connected layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Conv2d(3, 4, 16, 16)
        self.block = Block()
        self.fc = nn.Linear(196, 5)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.fc(torch.flatten(self.block(self.stem(x)), 1))
        return found


class Whole(nn.Module):
    """Trunk and head as one network, and something done to the embedding."""

    def __init__(self, what: str = "plain") -> None:
        super().__init__()
        self.trunk, self.head = linear_parts()
        self.what = what

    def forward(self, x: Tensor) -> object:
        embedding = self.head(self.trunk(x))
        return {
            "plain": embedding,
            "tuple": (embedding, embedding.norm(dim=1)),
            "dict": {"embedding": embedding, "norm": embedding.norm(dim=1)},
            "flat": embedding.flatten(),
        }[self.what]


def embedding_of(network: nn.Module, faces: np.ndarray) -> np.ndarray:
    pixels = (torch.from_numpy(faces).float() - 127.5) / 127.5
    with torch.no_grad():
        found: np.ndarray = functional.normalize(copy.deepcopy(network).eval()(pixels)).numpy()
    return found


def test_a_layer_inside_a_residual_block_is_refused_and_the_block_is_named() -> None:
    network = Residual().train()
    for layer in ("block.bn", "block.conv"):
        with pytest.raises(ModelError, match=f"'mine'.*not made from the output of layer '{layer}' alone.*'block'"):
            TorchEmbedder.from_layer(network, layer, preprocessing=ARCFACE, name="mine")
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("layer", ["block", "block.relu", "stem"])
def test_a_layer_that_all_paths_lead_through_gives_the_networks_own_embedding(layer: str) -> None:
    network, faces = Residual(), random_faces(3)
    found = TorchEmbedder.from_layer(network, layer, preprocessing=ARCFACE)
    np.testing.assert_allclose(found.embed(faces), embedding_of(network, faces), atol=1e-6)


def test_a_layer_that_is_used_twice_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.relu, self.fc = nn.Conv2d(3, 4, 16, 16), nn.ReLU(), nn.Linear(196, 5)
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.fc(torch.flatten(self.relu(self.conv(self.relu(self.stem(x)))), 1))
            return found

    with pytest.raises(ModelError, match="'relu' is used 2 times in one run.*all paths have come together"):
        TorchEmbedder.from_layer(Twice(), "relu", preprocessing=ARCFACE)


def test_a_layer_that_is_not_used_and_a_network_that_draws_are_refused() -> None:
    network = Whole()
    network.spare = nn.Identity()
    with pytest.raises(ModelError, match="'spare' was not used"):
        TorchEmbedder.from_layer(network, "spare")

    class Noisy(Whole):
        def forward(self, x: Tensor) -> Tensor:
            return functional.dropout(self.head(self.trunk(x)), 0.5)

    torch.manual_seed(0)
    with pytest.raises(ModelError, match="a different result each time"):
        TorchEmbedder.from_layer(Noisy(), "trunk")


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("tuple", "gives a tuple of 2 instead of one tensor"),
        ("dict", "gives a dict with 'embedding', 'norm' instead of one tensor"),
        ("flat", "shape .*must give a row per face"),
    ],
)
def test_outputs_that_are_no_embedding_are_refused_in_one_line(what: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as refused:
        TorchEmbedder.from_layer(Whole(what), "trunk")
    assert "\n" not in str(refused.value)
    with pytest.raises(ModelError, match=message):
        TorchEmbedder.from_functions(
            Whole(what), lambda net, x: net.trunk(x), lambda net, x: net(x.mean() + torch.zeros(len(x), 3, 112, 112))
        ).embed(random_faces(2))


def test_a_layer_that_gives_a_tuple_and_a_network_for_another_size_are_refused() -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    class Paired(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pair, self.pool = Pair(), nn.AvgPool2d(16)

        def forward(self, x: Tensor) -> Tensor:
            return torch.flatten(self.pool(self.pair(x)[0]), 1)

    with pytest.raises(ModelError, match="layer 'pair' gives a tuple of 2"):
        TorchEmbedder.from_layer(Paired(), "pair")
    for_160 = nn.Sequential(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(300, 4))
    with pytest.raises(ModelError, match="cannot be run on 2 x 3 x 112 x 112 numbers.*shapes") as refused:
        TorchEmbedder.from_layer(for_160, "0")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_precision_run_as_float32(kind: torch.dtype) -> None:
    trunk, head = (part.to(kind) for part in curved_parts())
    faces = random_faces(2)
    expected = TorchEmbedder(copy.deepcopy(trunk).float(), copy.deepcopy(head).float())
    whole = nn.Sequential(trunk, head)
    for found in (TorchEmbedder(trunk, head), TorchEmbedder.from_layer(whole, "0")):
        np.testing.assert_allclose(found.embed(faces), expected.embed(faces), atol=1e-5)
        assert found.embed(faces).dtype == np.float32
        assert len(found.sha256) == 64
    assert next(whole.parameters()).dtype == kind


def test_a_network_that_casts_inside_gives_float32() -> None:
    class Casting(nn.Module):
        def __init__(self, part: nn.Module, kind: torch.dtype) -> None:
            super().__init__()
            self.part, self.kind = part, kind

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.part(x).to(self.kind)
            return found

    trunk, head = linear_parts()
    found = TorchEmbedder(Casting(trunk, torch.float64), Casting(head, torch.bfloat16))
    assert found.embed(random_faces(1)).dtype == found.grid(random_faces(1)).dtype == np.float32


def test_torchscript_parts_work_and_a_split_of_a_script_is_refused() -> None:
    trunk, head = linear_parts()
    faces = random_faces(2)
    scripted = TorchEmbedder(torch.jit.script(trunk), torch.jit.script(head))
    np.testing.assert_allclose(scripted.embed(faces), TorchEmbedder(trunk, head).embed(faces), atol=1e-6)
    assert np.abs(GradCamMethod(scripted).maps(faces[:1], faces[1:]).map_a).max() > 0
    with pytest.raises(ModelError, match="TorchScript network cannot be split.*Python module"):
        TorchEmbedder.from_layer(torch.jit.script(nn.Sequential(trunk, head)), "0")


class DoublesInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mul_(2)


def test_a_head_that_works_in_place_is_explained_and_leaves_the_map_alone() -> None:
    trunk, head = linear_parts()
    faces = random_faces(2)
    plain, working = TorchEmbedder(trunk, head), TorchEmbedder(trunk, nn.Sequential(DoublesInPlace(), head))
    grid = working.embed_with_grid(faces)[1]
    np.testing.assert_allclose(grid, plain.grid(faces), rtol=1e-6)
    spatial, _ = working.map_and_embedding(working.pixels(faces))
    np.testing.assert_allclose(spatial.numpy(), grid, rtol=1e-6)
    relu = TorchEmbedder(trunk, nn.Sequential(nn.ReLU(inplace=True), head))
    calm = TorchEmbedder(trunk, nn.Sequential(nn.ReLU(), head))
    found, wanted = (GradCamMethod(network).maps(faces[:1], faces[1:]) for network in (relu, calm))
    np.testing.assert_allclose(found.map_a, wanted.map_a, rtol=1e-5)


def test_cells_of_a_head_that_works_in_place_by_hand() -> None:
    # Doubling is affine, and the mean over 49 cells of one channel each takes a third of it from every colour.
    head = linear_head(TorchEmbedder(nn.AvgPool2d(16), nn.Sequential(DoublesInPlace(), nn.AvgPool2d(7))))[1]
    np.testing.assert_allclose(head.weights, np.eye(3)[:, :, None, None] * np.full((7, 7), 2 / 49), rtol=1e-5)
    found = CellsMethod(TorchEmbedder(nn.AvgPool2d(16), nn.Sequential(DoublesInPlace(), nn.Flatten())))
    maps = found.maps(*random_faces(2)[:, None])
    np.testing.assert_allclose(maps.map_a.sum(axis=(1, 2)), maps.score, atol=1e-5)


def test_a_trunk_that_works_in_place_leaves_the_pixels_alone() -> None:
    embedder = TorchEmbedder(nn.Sequential(DoublesInPlace(), nn.AvgPool2d(16)), nn.Flatten())
    # In the order in which colours come last, as OpenCV gives pictures.
    faces = np.ascontiguousarray(random_faces(2).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    pixels = embedder.pixels(faces).requires_grad_()
    (gradient,) = torch.autograd.grad(embedder.map_of(pixels).sum(), pixels)
    torch.testing.assert_close(gradient, torch.full_like(gradient, 2 / 256))
    np.testing.assert_array_equal(pixels.detach().numpy(), faces)


def test_a_convolution_that_is_used_twice_is_not_folded_twice() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.one, self.two = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return functional.avg_pool2d(self.two(self.conv(self.one(self.conv(x)))), 16)

    trunk = Shared()
    trunk.one.running_var, trunk.two.running_mean = torch.full((3,), 4.0), torch.full((3,), 3.0)
    faces = random_faces(2)
    folded, plain = (TorchEmbedder(trunk, nn.Flatten(), fold=fold) for fold in (True, False))
    np.testing.assert_allclose(folded.grid(faces), plain.grid(faces), rtol=1e-4, atol=1e-3)


def test_weights_that_a_hook_makes_are_kept() -> None:
    conv = nn.Conv2d(3, 4, 1)
    conv.register_forward_hook(lambda _, __, output: output + 7)
    trunk = nn.Sequential(conv, nn.BatchNorm2d(4), nn.AvgPool2d(16)).eval()
    faces = random_faces(2)
    with torch.no_grad():
        expected = trunk(torch.from_numpy(faces).float()).numpy()
    np.testing.assert_allclose(TorchEmbedder(trunk, nn.Flatten()).grid(faces), expected, rtol=1e-4, atol=1e-3)


def test_networks_without_weights_and_those_that_cannot_be_copied_are_refused() -> None:
    for empty in (nn.LazyConv2d(4, 16), nn.Conv2d(3, 4, 16, device="meta")):
        with pytest.raises(ModelError, match="'mine'.*no weights yet"):
            TorchEmbedder(empty, nn.Flatten(), name="mine")
    trunk, head = linear_parts()
    trunk.kept = trunk(torch.zeros(1, 3, 112, 112))
    with pytest.raises(ModelError, match="'mine'.*cannot be copied.*earlier runs"):
        TorchEmbedder(trunk, head, name="mine")


def test_threads_share_a_split_network() -> None:
    embedder = TorchEmbedder.from_layer(Residual(), "block", preprocessing=ARCFACE)
    faces = random_faces(8)
    expected, found = embedder.embed(faces), {}

    def run(row: int) -> None:
        found[row] = [embedder.embed(faces[row : row + 1])[0] for _ in range(10)]

    threads = [threading.Thread(target=run, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row, rows in found.items():
        np.testing.assert_allclose(rows, np.broadcast_to(expected[row], (10, 5)), atol=1e-5)
    assert len(found) == 8
