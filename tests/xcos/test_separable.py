"""The split attention against the module that it is made from, the reference in plain arrays and the pair graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from helpers.attention_reference import learned_attention
from whyface.errors import InputError, ModelError
from whyface.models.catalogue import FAST_MODEL
from whyface.xcos.learned import LearnedAttention
from whyface.xcos.model import XcosModel, open_xcos
from whyface.xcos.separable import PREFIX, prelu, read_attention, separable_attention, split_attention, unit_cells


def module(seed: int, *, slope: float = 0.25) -> LearnedAttention:
    torch.manual_seed(seed)
    attention = LearnedAttention().eval()
    for part in attention.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 2)
            part.bias.data.normal_()
            part.running_mean.normal_()  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        if isinstance(part, torch.nn.PReLU):
            part.weight.data.fill_(slope)
    return attention


@pytest.mark.parametrize("slope", [0.25, -0.5, 1.0, 1.7])
def test_equals_module_and_reference(slope: float) -> None:
    attention = module(3, slope=slope)
    tensors = {name: value.numpy() for name, value in attention.state_dict().items()}
    grids = np.random.default_rng(1).standard_normal((2, 6, 32, 7, 7)).astype(np.float32)
    split = split_attention(tensors)
    found = split.weights(split.first_terms(grids[0]), split.second_terms(grids[1])).reshape(-1, 7, 7)
    with torch.no_grad():
        expected = attention(*map(torch.from_numpy, grids)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found, learned_attention(grids[0], grids[1], tensors), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, atol=1e-5)


def test_the_halves_keep_their_places() -> None:
    """A pair convolution whose halves differ tells the first face from the second, and so must the split."""
    tensors = {name: value.numpy() for name, value in module(4).state_dict().items()}
    split = split_attention(tensors)
    grids = np.random.default_rng(2).standard_normal((2, 3, 32, 7, 7)).astype(np.float32)
    there = split.weights(split.first_terms(grids[0]), split.second_terms(grids[1]))
    back = split.weights(split.first_terms(grids[1]), split.second_terms(grids[0]))
    assert np.abs(there - back).max() > 1e-3


def test_one_probe_against_many() -> None:
    split = split_attention({name: value.numpy() for name, value in module(5).state_dict().items()})
    grids = np.random.default_rng(3).standard_normal((5, 32, 7, 7)).astype(np.float32)
    first, second = split.first_terms(grids[:1]), split.second_terms(grids)
    together = split.weights(first, second)
    np.testing.assert_allclose(together[3:4], split.weights(first, second[3:4]), atol=1e-6)


def test_shipped_model_equals_its_pair_graph() -> None:
    model = open_xcos(FAST_MODEL)
    split = separable_attention(model)
    grids = np.random.default_rng(4).standard_normal((2, 9, 32, 7, 7)).astype(np.float32)
    found = split.weights(split.first_terms(grids[0]), split.second_terms(grids[1]))
    np.testing.assert_allclose(found.reshape(-1, 7, 7), model.compare_grids(grids[0], grids[1]).attention, atol=1e-5)


def test_tensors_of_another_training_are_refused(tmp_path: Path) -> None:
    model = open_xcos(FAST_MODEL)
    assert model.tensors is not None
    tensors = read_attention(model.tensors)
    tensors["out.0.weight"] = tensors["out.0.weight"] * 1.5
    path = tmp_path / "other.safetensors"
    save_file({f"{PREFIX}{name}": value for name, value in tensors.items()}, path)
    with pytest.raises(ModelError, match="disagree with"):
        separable_attention(XcosModel(model.embedder, pair=model.pair, tensors=path))
    with pytest.raises(ModelError, match="no tensors"):
        separable_attention(XcosModel(model.embedder, pair=model.pair))
    with pytest.raises(ModelError, match="no attention 'l'"):
        separable_attention(XcosModel(model.embedder))
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot read this file"):
        read_attention(path)


def test_missing_tensor_and_wrong_grid() -> None:
    tensors = {name: value.numpy() for name, value in module(6).state_dict().items()}
    with pytest.raises(InputError, match=r"grids of 32 channels, got \(1, 16, 7, 7\)"):
        split_attention(tensors).first_terms(np.zeros((1, 16, 7, 7), np.float32))
    del tensors["out.1.bias"]
    with pytest.raises(InputError, match=r"out\.1\.bias"):
        split_attention(tensors)


def test_unit_cells_and_prelu() -> None:
    grids = np.random.default_rng(7).standard_normal((2, 4, 3, 3)).astype(np.float32)
    cells = unit_cells(grids)
    assert cells.shape == (2, 9, 4)
    np.testing.assert_allclose(np.linalg.norm(cells, axis=2), 1, atol=1e-6)
    np.testing.assert_allclose(cells[1, 5], grids[1, :, 1, 2] / np.linalg.norm(grids[1, :, 1, 2]), atol=1e-6)
    values = np.array([-2.0, 0.0, 3.0], np.float32)
    prelu(values, -0.5, np.empty_like(values))
    np.testing.assert_allclose(values, [1.0, 0.0, 3.0])
