"""A network trained by evidence: its losses by hand, and a run of a few steps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from helpers.face_folders import write_config, write_faces
from whyface.errors import InputError
from whyface.gallery.name_rebuild import HEAD_NAME
from whyface.identify import uncertainty_words
from whyface.identify.evidential import EXP_LIMIT, EvidentialHead, evidence, load_evidential_head
from whyface.identify.uncertainty_words import word_masks
from whyface.models.own_network import demo_crops
from whyface.train.config import LossConfig, NetworkConfig, read_config
from whyface.train.losses import EvidentialLayer, MarginHead, avu_balance, avu_terms
from whyface.train.networks import build_network
from whyface.train.objective import build_margin, trained_head
from whyface.train.run_files import load_trained, run_features
from whyface.train.trainer import train

pytestmark = pytest.mark.usefixtures("small_backbones")


def layer_of(loss: str, **options: float) -> EvidentialLayer:
    """Two people in two dimensions; with relu, logits are 2 cos + 1."""
    layer = EvidentialLayer(2, 2, loss, evidence="relu", **options)  # type: ignore[arg-type]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        layer.raw.copy_(torch.tensor([math.log(2), 0.5]))
    return layer


def test_losses_of_a_network_by_hand() -> None:
    # Along the first axis: evidence 3 and 1, so alpha = (4, 2).
    faces, right, wrong = torch.tensor([[5.0, 0.0]]), torch.tensor([0]), torch.tensor([1])
    torch.testing.assert_close(layer_of("log")(faces), torch.tensor([[4.0, 2.0]]))
    log = layer_of("log", divergence=0.0)
    assert log.summed_loss(faces, right).item() == pytest.approx(math.log(6 / 4))
    assert log.summed_loss(faces, wrong).item() == pytest.approx(math.log(6 / 2))
    # psi(6) - psi(4) = 1 / 5 + 1 / 4.
    assert layer_of("digamma").summed_loss(faces, right).item() == pytest.approx(0.45, abs=1e-5)
    # p = (2/3, 1/3): 2 / 9 squared error and 2 (2 / 9) / 7 variance.
    assert layer_of("mse").summed_loss(faces, right).item() == pytest.approx(2 / 9 + 4 / 63, abs=1e-5)
    # Half of the divergence after 5 epochs: KL[Dir(1, 2) || Dir(1, 1)] = log 2 - 1 / 2.
    later = layer_of("log", divergence=1.0).summed_loss(faces, right, epoch=5).item()
    assert later == pytest.approx(math.log(6 / 4) + 0.5 * (math.log(2) - 0.5), abs=1e-5)
    # Two faces have the sum of their losses, and none has none.
    both = log.summed_loss(faces.repeat(2, 1), torch.tensor([0, 1]))
    assert both.item() == pytest.approx(math.log(6 / 4) + math.log(6 / 2))
    assert log.summed_loss(faces[:0], right[:0]).item() == 0


def test_accuracy_and_uncertainty_by_hand() -> None:
    alpha = torch.tensor([[4.0, 2.0]])
    # p = 2 / 3 and u = 1 / 3.
    right, wrong = (avu_terms(alpha, torch.tensor([label]), 0.25).item() for label in (0, 1))
    assert right == pytest.approx(-0.25 * 2 / 3 * math.log(2 / 3), abs=1e-6)
    assert wrong == pytest.approx(-0.75 * 1 / 3 * math.log(1 / 3), abs=1e-6)
    assert [avu_balance(done) for done in (-1.0, 0.0, 0.5, 1.0, 2.0)] == pytest.approx([0.01, 0.01, 0.1, 1, 1])
    # No evidence and all evidence keep it finite.
    assert torch.isfinite(avu_terms(torch.tensor([[1.0, 1.0], [1e30, 1.0]]), torch.tensor([0, 1]), 0.5)).all()
    faces, label = torch.tensor([[5.0, 0.0]]), torch.tensor([0])
    plain, more = (layer_of("log", avu=weight).summed_loss(faces, label, progress=1.0) for weight in (0.0, 2.0))
    assert (more - plain).item() == pytest.approx(-2 * 2 / 3 * math.log(2 / 3), abs=1e-5)


def test_the_clamp_is_an_option() -> None:
    assert evidence(np.array([15.0]), "exp", 10.0)[0] == pytest.approx(math.exp(10))
    layer = EvidentialLayer(2, 2, limit=10.0)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
    assert layer(torch.tensor([[1.0, 0.0]]))[0, 0].item() == pytest.approx(math.exp(10) + 1, rel=1e-5)
    heads = [EvidentialHead(("a", "b"), np.eye(2, dtype=np.float32), 20, -5, "exp", {}, limit) for limit in (10, 20)]
    floors = [float(head(np.array([[1.0, 0.0]])).uncertainty[0]) for head in heads]
    assert floors[0] == pytest.approx(2 / (math.exp(10) + 2 + math.exp(-5)), rel=1e-6)
    assert floors[1] < floors[0]
    with pytest.raises(InputError, match="limit of logits"):
        EvidentialHead(("a",), np.eye(1, dtype=np.float32), 20, -5, "exp", {}, 0)


def test_settings() -> None:
    chosen = LossConfig.model_validate({"identification": "evidential", "similarity": 0})
    assert (chosen.identification, chosen.evidential, chosen.clamp) == (1, "log", EXP_LIMIT)
    other = LossConfig.model_validate({"identification": "evidential", "evidential": "mse", "similarity": 0})
    assert other.evidential == "mse"
    with pytest.raises(ValueError, match="evidential"):
        LossConfig.model_validate({"evidential": "hinge"})
    assert LossConfig().evidential is None


@pytest.mark.parametrize("head", ["grid", "fc"])
def test_a_run(tmp_path: Path, head: str) -> None:
    faces = write_faces(tmp_path / "faces", {"a": 4, "b": 4, "c": 4, "d": 4, "e": 4})
    losses = {"identification": "evidential", "evidential": "digamma", "divergence": 0.5, "avu": 1.0, "clamp": 10.0}
    config = read_config(
        write_config(tmp_path / "run.yaml", faces, losses=losses, network={"head": head}, steps=2, validate_every=1)
    )
    folder = tmp_path / "run"
    folder.mkdir()
    seen: list[float] = []
    train(config, folder, report=lambda report: seen.append(report.values["identification"]))
    assert len(seen) == 2
    assert np.isfinite(seen).all()
    made = load_evidential_head(folder / HEAD_NAME)
    # Two of the five people are held out.
    assert len(made.people) == 3
    assert set(made.people) < set("abcde")
    assert (made.evidence, made.limit) == ("exp", 10.0)
    assert made.record["losses"]["evidential"] == "digamma"
    network, _ = load_trained(folder)
    rows = run_features(network)(np.random.default_rng(0).integers(0, 256, (2, 3, 112, 112), np.uint8))
    assert ((made(rows).uncertainty > 0) & (made(rows).uncertainty <= 1)).all()


def test_the_head_of_a_network_gives_the_layers_evidence() -> None:
    torch.manual_seed(0)
    faces = np.random.default_rng(0).integers(0, 256, (3, 3, 112, 112), np.uint8)
    for head in ("grid", "fc"):
        network = build_network(NetworkConfig.model_validate({"head": head})).eval()
        layer = build_margin(network, LossConfig(evidential="log", similarity=0), 3)
        assert isinstance(layer, EvidentialLayer)
        with torch.no_grad():
            embeddings = torch.flatten(network.features(torch.from_numpy(faces).float()), 1)
            # Each face is the direction of one person, so that there is evidence.
            layer.weight.copy_(embeddings)
            expected = layer(embeddings).numpy()
        made = trained_head(network.eval(), layer, ("a", "b", "c"), {})
        assert made is not None
        np.testing.assert_allclose(made(run_features(network)(faces)).alpha, expected, rtol=0.02)
        assert expected.max() > 1000
        assert trained_head(network, MarginHead(4, 3), ("a", "b", "c"), {}) is None


def test_figures_for_each_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    people = tmp_path / "people"
    name = "Obama"
    (people / name).mkdir(parents=True)
    Image.fromarray(np.ascontiguousarray(demo_crops()[0].transpose(1, 2, 0))).save(people / name / "one.png")
    (people / "Nobody").mkdir()
    (people / "Nobody" / "one.png").write_bytes(b"no picture")
    run = tmp_path / "run"
    run.mkdir()
    faces = write_faces(tmp_path / "faces", {"a": 4, "b": 4, "c": 4, "d": 4})
    losses = {"identification": "evidential"}
    train(read_config(write_config(tmp_path / "run.yaml", faces, losses=losses, steps=1)), run)
    # Two words are enough: each is compared with 20 random places.
    monkeypatch.setattr(uncertainty_words, "word_masks", lambda *a, **k: dict(list(word_masks(*a, **k).items())[:2]))
    command = ("uncertainty", str(people), str(tmp_path / "out"))
    code, said, err = run_whyface(
        monkeypatch, capsys, *command, "--run", str(run), "--aligned", "--accept-poor", "--threads", "1"
    )
    assert code == 0
    assert err.startswith("Left out: ")
    assert said.endswith("1 of 2 people\n")
    found = json.loads((tmp_path / "out" / "json" / f"{name}.json").read_text())
    assert (found["Ground-Truth-ID"], found["image_path"]) == (name, f"{name}/one.png")
    assert 0 < found["uncertain_original"] <= 1
    assert found["uncertain_value"] == sorted(found["uncertain_value"], reverse=True)
    assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5000
    assert_refused(monkeypatch, capsys, "either --gallery", *command)
    assert_refused(monkeypatch, capsys, "identification: evidential", *command, "--run", str(tmp_path))
    assert_refused(monkeypatch, capsys, "no folders of people", "uncertainty", str(faces / "a"), "x", "--run", str(run))
