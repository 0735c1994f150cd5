"""Whole runs on a card, against the processor; skipped where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.face_folders import write_config, write_faces
from whyface.models.weights import save_safetensors
from whyface.train.config import NetworkConfig, read_config
from whyface.train.networks import build_network
from whyface.train.run_files import NETWORK, describe_trained, load_trained, trained_correlation
from whyface.train.trainer import Report, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that uses all that a card has to do: teacher, hint, blends, average, pictures in its memory."""
    teacher = NetworkConfig(backbone="mobilefacenet-large", head="fc")
    (tmp_path / "teacher").mkdir()
    torch.manual_seed(3)
    save_safetensors(build_network(teacher), tmp_path / "teacher" / NETWORK, describe_trained(teacher))
    return write_config(
        tmp_path / "run.yaml",
        write_faces(tmp_path / "faces", {"a": 3, "b": 3, "c": 3, "d": 3, "e": 1}),
        data={"cache": "device"},
        network={"backbone": "iresnet18", "se": True},
        teacher="teacher",
        losses={"similarity": 1.0, "hint": 1.0, "balanced": True},
        batch={"mode": "all", "people": 3, "pictures": 2},
        augment={"flip": False},
        optimiser={"kind": "adamw", "clip": 1.0},
        average=0.5,
    )


def losses_of(run: Path, out: Path, *changes: str) -> dict[str, float]:
    """Return the losses of the first step."""
    reports: list[Report] = []
    out.mkdir()
    train(read_config(run, changes), out, report=reports.append)
    return {name: reports[0].values[name] for name in ("total", "identification", "similarity", "hint")}


def test_the_first_step_is_that_of_the_processor(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    card = losses_of(run, tmp_path / "card", "accelerator=gpu", "steps=1")
    assert card == pytest.approx(losses_of(run, tmp_path / "cpu", "steps=1", "data.cache=true"), rel=1e-3, abs=1e-5)


def test_a_run_in_half_precision_with_every_change_to_the_pictures(run: Path, tmp_path: Path) -> None:
    augment = "augment={geometry: true, light: true, blended: 0.5, occluded: 0.5, masked: 0.5}"
    losses = losses_of(run, tmp_path / "card", "accelerator=gpu", "precision=bf16", augment)
    # All three people of a small batch may be blends, which have no identity.
    assert all(0 <= value < 1000 for value in losses.values())
    assert min(losses["similarity"], losses["hint"]) > 0
    network, _ = load_trained(tmp_path / "card")
    assert all(torch.isfinite(tensor).all() for tensor in network.state_dict().values())
    assert trained_correlation(tmp_path / "card") is not None
