"""The torch networks of the shipped models on a card, against the processor; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whyface.models.torch_embedder import TorchEmbedder, open_torch_embedder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")


@pytest.mark.parametrize("name", ["xcos-mobilefacenet", "xcos-large"])
def test_grids_on_a_card_are_those_of_the_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    faces = np.random.default_rng(0).integers(0, 256, (4, 3, 112, 112), np.uint8)
    plain = open_torch_embedder(name)
    expected = plain.grid(faces)
    card = TorchEmbedder(plain.trunk.cuda(), plain.head.cuda(), name=name, preprocessing=plain.preprocessing)
    assert card.device.type == "cuda"
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(card.grid(faces), expected, atol=1e-4 * scale, rtol=0)
    np.testing.assert_allclose(card.embed(faces), open_torch_embedder(name).embed(faces), atol=1e-4, rtol=0)
