"""Whole runs on a few made-up faces: killed ones go on to the same bits, full disks leave the old checkpoint."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.face_folders import write_config, write_faces
from whyface.errors import DataError, InputError, ModelError, OutputError
from whyface.files.integrity import TEMPORARY
from whyface.models import backbones
from whyface.models.backbones import MobileFaceNet
from whyface.models.heads import GdcHead, PlacedGridHead
from whyface.train.config import LossConfig, NetworkConfig, read_config
from whyface.train.networks import FcNetwork, build_network, load_initial, settle
from whyface.train.objective import Objective, build_margin
from whyface.train.run_files import load_trained, trained_correlation
from whyface.train.teachers import OnnxTeacher, open_teacher
from whyface.train.trainer import Report, build_optimisers, tell_broken, train
from whyface.xcos.learned import XcosNetwork

pytestmark = pytest.mark.usefixtures("small_backbones")

COUNTS = {"a": 3, "b": 2, "c": 2, "d": 3, "e": 1}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("train") / "faces", COUNTS)


@pytest.fixture(scope="module")
def tensors(small_backbones: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_file({**MobileFaceNet().state_dict(), **GdcHead().state_dict()}, path)
    return path


def test_a_killed_run_resumes_to_the_same_bits(faces: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", faces, steps=12, save_every=1, average=0.9, augment={"light": True})
    whole = train(read_config(config), _made(tmp_path / "whole"))
    # The child has the same small backbone.
    code = "from whyface.cli import main; from whyface.models import backbones; "
    code += f"backbones._STAGES = {backbones._STAGES}; main()"
    command = [sys.executable, "-c", code, "train", str(config), "--out", str(tmp_path / "cut")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state = tmp_path / "cut" / "state.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if state.exists() and json.loads(state.read_text())["step"] >= 2:
            break
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 2 <= json.loads(state.read_text())["step"] < 12
    assert not (tmp_path / "cut" / "last.safetensors").exists()
    steps: list[int] = []
    leftover = tmp_path / "cut" / f".state.json.1{TEMPORARY}"
    leftover.touch()
    os.utime(leftover, (0, 0))
    again = train(read_config(config), tmp_path / "cut", report=lambda report: steps.append(report.step))
    assert steps[0] > 2
    assert not leftover.exists()
    for name in ("last.safetensors", "network.safetensors"):
        one, two = load_file(whole.parent / name), load_file(again.parent / name)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_people_seen_once_have_no_part_in_the_identity_loss(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[torch.Tensor, torch.Tensor]] = []
    whole = Objective.forward

    def forward(
        self: Objective, faces: torch.Tensor, labels: torch.Tensor, known: torch.Tensor, *more: object
    ) -> object:
        asked.append((labels, known))
        return whole(self, faces, labels, known, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Objective, "forward", forward)
    config = write_config(tmp_path / "run.yaml", faces, batch={"mode": "all", "people": 3, "pictures": 2})
    train(read_config(config), _made(tmp_path / "out"))
    # Two of a to d are held out, so that e is the last of three.
    assert all(torch.equal(known, labels != 2) for labels, known in asked)
    assert any((labels == 2).any() for labels, _ in asked)


def test_other_settings_do_not_go_on(faces: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", faces, steps=1)
    folder = _made(tmp_path / "out")
    train(read_config(config), folder)
    with pytest.raises(DataError, match="other settings"):
        train(read_config(config, ["seed=2"]), folder)
    train(read_config(config, ["seed=2"]), folder, fresh=True)


def test_a_fresh_run_that_is_stopped_does_not_go_back(faces: Path, tmp_path: Path) -> None:
    """Before its first checkpoint, nothing of the run before is left to go on with."""
    folder = _made(tmp_path / "out")
    config = write_config(tmp_path / "run.yaml", faces, steps=3, save_every=9, validate_every=9)
    train(read_config(config), folder)

    def stop(report: Report) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(read_config(config), folder, fresh=True, report=stop)
    steps: list[int] = []
    train(read_config(config), folder, report=lambda report: steps.append(report.step))
    assert steps == [1, 2, 3]


def test_fresh_where_the_checkpoint_cannot_be_removed(faces: Path, tmp_path: Path) -> None:
    folder = _made(tmp_path / "out")
    (folder / "state.json").mkdir()
    config = write_config(tmp_path / "run.yaml", faces, steps=1)
    with pytest.raises(OutputError, match="cannot be removed"):
        train(read_config(config), folder, fresh=True)


def test_a_full_disk_leaves_the_old_checkpoint(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _made(tmp_path / "out")
    config = write_config(tmp_path / "run.yaml", faces, steps=4, save_every=1, validate_every=9)
    real = os.fsync
    written = 0

    def full(descriptor: int) -> None:
        nonlocal written
        written += 1
        # Each checkpoint is two files, each synced with its folder; the third checkpoint's tensors find no room.
        if written == 9:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        train(read_config(config), folder)
    monkeypatch.undo()
    state = json.loads((folder / "state.json").read_text())
    assert state["step"] == 2
    assert (folder / state["file"]).exists()
    assert train(read_config(config), folder).exists()


def test_a_picture_that_breaks_in_the_middle_of_an_epoch(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces", dict.fromkeys("abcde", 3))
    config = write_config(tmp_path / "run.yaml", root, steps=6, data={"cache": False})
    lines: list[str] = []

    def spoil(report: Report) -> None:
        if report.step == 1:
            for person in root.iterdir():
                (person / "1.png").write_bytes((person / "1.png").read_bytes()[:300])

    assert train(read_config(config), _made(tmp_path / "out"), report=spoil, say=lines.append).exists()
    assert "Broken pictures, skipped: 3" in lines
    named = [line for line in lines if line.startswith("skipped ")]
    assert len(named) == 3
    assert all("1.png" in line for line in named)


def test_one_held_out_person_is_not_enough_and_that_is_said_before_the_work(faces: Path, tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path / "run.yaml", faces, data={"held_out": 1}))
    reports: list[Report] = []
    with pytest.raises(InputError, match="hold out at least two people"):
        train(config, _made(tmp_path / "out"), report=reports.append)
    assert not reports


def test_many_broken_pictures_are_counted_and_the_first_are_named() -> None:
    lines: list[str] = []
    tell_broken({f"{number}.png": "cut short" for number in range(25)}, lines.append)
    assert lines[0] == "Broken pictures, skipped: 25"
    assert lines[1] == "skipped 0.png: cut short"
    assert lines[-1] == "and 5 more"
    assert len(lines) == 22
    tell_broken({}, lines.append)
    assert len(lines) == 22


def test_the_published_optimisers(tmp_path: Path) -> None:
    losses = {"similarity": 1.0}
    config = read_config(write_config(tmp_path / "run.yaml", tmp_path, losses=losses, teacher="teacher.onnx"))
    network = build_network(config.network)
    margin = build_margin(network, config.losses, 3)
    trunk, margin_rule, attention = build_optimisers(
        config, Objective(network, margin, config.losses, config.network, half=False)
    )
    for rule, rate, decay in ((trunk, 1e-3, 4e-5), (margin_rule, 1e-3, 4e-4), (attention, 1e-4, 4e-5)):
        assert (rule.defaults["lr"], rule.defaults["weight_decay"]) == (rate, decay)
    assert trunk.defaults["momentum"] == margin_rule.defaults["momentum"] == 0.9
    assert attention.defaults["amsgrad"]


def test_a_damaged_checkpoint_is_refused(faces: Path, tmp_path: Path) -> None:
    folder = _made(tmp_path / "out")
    config = read_config(write_config(tmp_path / "run.yaml", faces, steps=1))
    train(config, folder)
    tensors = folder / json.loads((folder / "state.json").read_text())["file"]
    tensors.write_bytes(tensors.read_bytes()[:-4] + b"oops")
    with pytest.raises(ModelError):
        train(config, folder)


@pytest.mark.parametrize("head", ["fc", "grid", "placed"])
@pytest.mark.parametrize("mode", ["pairs", "all"])
def test_every_kind_of_network_learns_from_a_teacher(
    faces: Path, tensors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, mode: str
) -> None:
    # People and pictures of each that attention P is correlated on: of 256 and 4, the same few come again and again.
    monkeypatch.setattr("whyface.train.trainer._CORRELATED", (16, 4))
    monkeypatch.setattr("whyface.train.picture_store.POOL", 10)
    config = write_config(
        tmp_path / "run.yaml",
        faces,
        teacher=str(tensors),
        network={"head": head, "init": str(tensors), "norms": "fixed", "trainable": "head"},
        losses={"similarity": 1.0, "uniform": 0.5, "identification": 0.01},
        batch={"mode": mode, "people": 2, "pictures": 2},
        optimiser={"kind": "adamw", "clip": 1.0},
        augment={"masked": 0.5},
        steps=2,
    )
    reports: list[Report] = []
    path = train(read_config(config), _made(tmp_path / "out"), report=reports.append)
    network, description = load_trained(path)
    correlated = trained_correlation(path.parent)
    if head == "fc":
        assert correlated is None
    else:
        assert correlated is not None
        assert correlated.shape == (7, 7)
        assert float(correlated.abs().max()) <= 1
        assert float(correlated.std()) > 0
    assert isinstance(network, FcNetwork if head == "fc" else XcosNetwork)
    assert description["network"]["head"] == head
    assert 0 <= reports[-1].values["accuracy"] <= 1
    assert all(np.isfinite(value) for report in reports for value in report.values.values())
    # The backbone was fixed, so it is the teacher's to the bit.
    assert torch.equal(network.backbone.state_dict()["conv2.0.weight"], load_file(tensors)["conv2.0.weight"])


def test_the_loss_falls(faces: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", faces, steps=12, optimiser={"kind": "adamw", "lr": 1e-3})
    losses: list[float] = []
    train(read_config(config), _made(tmp_path / "out"), report=lambda report: losses.append(report.values["total"]))
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_fixed_norms_and_frozen_parts_stay_in_eval_mode() -> None:
    for norms, trainable, expected in (("fixed", "all", False), ("train", "head", False), ("train", "all", True)):
        config = NetworkConfig.model_validate({"norms": norms, "trainable": trainable})
        objective = Objective(build_network(config), None, LossConfig(similarity=0, uniform=1), config, half=False)
        assert objective.train().network.backbone.conv1[1].training is expected  # type: ignore[union-attr, index]


@pytest.mark.parametrize(("similarity", "uniform"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0)])
def test_whatever_learns_gets_a_gradient(similarity: float, uniform: float) -> None:
    """Processes that share a step wait for every gradient that was announced."""
    losses = LossConfig(identification=1.0, similarity=similarity, uniform=uniform)
    config = NetworkConfig()
    network = build_network(config)
    objective = Objective(network, build_margin(network, losses, 3), losses, config, half=False).train()
    known = torch.ones(3, dtype=torch.bool)
    objective(torch.rand(3, 3, 112, 112) * 255, torch.arange(3), known, torch.rand(3), None).total.backward()
    learning = {name for name, value in objective.named_parameters() if value.requires_grad}
    assert learning == {name for name, value in objective.named_parameters() if value.grad is not None}
    assert any("attention" in name for name in learning) == bool(similarity)


def test_a_batch_of_blends_only_has_no_identity_to_learn() -> None:
    losses = LossConfig(identification=1.0, similarity=0.0)
    config = NetworkConfig(head="fc")
    network = build_network(config)
    objective = Objective(network, build_margin(network, losses, 3), losses, config, half=False)
    known = torch.zeros(2, dtype=torch.bool)
    found = objective(torch.rand(2, 3, 112, 112), torch.arange(2), known, None, None)
    assert float(found.total) == 0


def test_a_placed_head_takes_the_fc_head_over(tensors: Path) -> None:
    config = NetworkConfig(head="placed", init=tensors)
    network = build_network(config)
    load_initial(network, config, seed=1)
    assert isinstance(network, XcosNetwork)
    assert isinstance(network.head, PlacedGridHead)
    gdc = load_file(tensors)["gdconv.depthwise.weight"]
    scale = network.head.scale / gdc[:, 0]
    torch.testing.assert_close(scale, scale[:, :1, :1].expand_as(scale))
    pictures = torch.rand(6, 3, 112, 112) * 255
    settle(network.eval(), pictures)
    with torch.no_grad():
        assert float(network.features(pictures).mean(dim=0).abs().max()) < 1e-3


def test_margin_needs_people() -> None:
    network = build_network(NetworkConfig(head="fc"))
    with pytest.raises(InputError, match="at least two people"):
        build_margin(network, LossConfig(), 1)
    margin = build_margin(network, LossConfig(), 3)
    assert margin is not None
    assert margin.weight.shape == (3, 128)


def test_teachers(tensors: Path, tmp_path: Path) -> None:
    teacher = open_teacher("xcos-mobilefacenet")
    assert isinstance(teacher, OnnxTeacher)
    embeddings = teacher(torch.rand(2, 3, 112, 112) * 255)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    with pytest.raises(ModelError):
        open_teacher(str(tmp_path / "none.safetensors"))
    with pytest.raises(ModelError):
        open_teacher("no-such-model")
    assert open_teacher(str(tensors))(torch.zeros(1, 3, 112, 112)).shape == (1, 128)


def test_files_that_are_not_trained_networks(tensors: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not written by whyface train"):
        load_trained(tensors)
    with pytest.raises(ModelError):
        load_trained(tmp_path)


@pytest.mark.slow
def test_two_processes(faces: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "run.yaml", faces, steps=2, devices=2)
    command = [sys.executable, "-m", "whyface", "train", str(config), "--out", str(tmp_path / "out")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stderr
    network, _ = load_trained(tmp_path / "out")
    assert all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
