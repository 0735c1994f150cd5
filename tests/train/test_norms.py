"""Restated norms compute the same function."""

from __future__ import annotations

import pytest
import torch

from norms import restate_norms
from whyface.errors import InputError


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU())
    norm = module[1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 3)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    return module.eval()


def test_same_function_and_measured_statistics() -> None:
    module = network()
    batches = [torch.randn(n, 2, 6, 6) for n in (5, 3)]
    before = module(batches[0])
    assert restate_norms(module, batches, module) == 1
    torch.testing.assert_close(module(batches[0]), before, atol=1e-5, rtol=1e-5)
    seen = module[0](torch.cat(batches))
    norm = module[1]
    assert isinstance(norm, torch.nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(norm.running_var, seen.var((0, 2, 3), unbiased=False), atol=1e-5, rtol=1e-5)


def test_train_mode_and_no_data_are_refused() -> None:
    with pytest.raises(InputError, match="eval"):
        restate_norms(network().train(), [], print)
    with pytest.raises(InputError, match="no data"):
        restate_norms(network(), [], print)
