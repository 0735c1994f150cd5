"""Every kind of network as a teacher, and learning from its maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from helpers.face_folders import write_config, write_faces
from whyface.errors import InputError, ModelError
from whyface.models.heads import flatten_grid
from whyface.models.weights import save_safetensors
from whyface.train.config import NetworkConfig, read_config
from whyface.train.losses import Hint
from whyface.train.networks import build_network, load_initial
from whyface.train.run_files import NETWORK, describe_trained, load_trained
from whyface.train.teachers import FrozenNetwork, open_teacher
from whyface.train.trainer import Report, build_hint, train

pytestmark = pytest.mark.usefixtures("small_backbones")


def write_run(folder: Path, **network: object) -> NetworkConfig:
    config = NetworkConfig.model_validate(network)
    torch.manual_seed(3)
    folder.mkdir()
    save_safetensors(build_network(config), folder / NETWORK, describe_trained(config))
    return config


@pytest.mark.parametrize(
    "network",
    [
        {"backbone": "iresnet18", "se": True, "head": "fc"},
        {"backbone": "mobilefacenet-large", "head": "fc"},
        {"backbone": "mobilefacenet", "head": "grid"},
    ],
)
def test_the_folder_and_the_file_of_any_run_are_teachers(tmp_path: Path, network: dict[str, object]) -> None:
    write_run(tmp_path / "run", **network)
    faces = torch.rand(2, 3, 112, 112) * 255
    trained, _ = load_trained(tmp_path / "run")
    with torch.no_grad():
        expected = trained.features(faces)
    expected = flatten_grid(expected) if expected.ndim == 4 else expected
    for name in (tmp_path / "run", tmp_path / "run" / NETWORK):
        torch.testing.assert_close(open_teacher(str(name))(faces), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "network",
    [
        {"backbone": "iresnet18", "se": True},
        {"backbone": "iresnet18", "units": "insightface"},
        {"backbone": "mobilefacenet-large"},
        {"backbone": "mobilefacenet"},
    ],
)
def test_the_bare_tensors_of_any_backbone_are_a_teacher(tmp_path: Path, network: dict[str, object]) -> None:
    torch.manual_seed(3)
    made = build_network(NetworkConfig.model_validate({**network, "head": "fc"})).eval()
    trunk = getattr(made.backbone, "trunk", made.backbone)
    flat = {**trunk.state_dict(), **made.head.state_dict()}
    faces = torch.rand(2, 3, 112, 112) * 255
    with torch.no_grad():
        expected = made.features(faces)
    for number, tensors in enumerate((flat, dict(made.state_dict()))):
        path = tmp_path / f"{number}.safetensors"
        save_safetensors(tensors, path)
        torch.testing.assert_close(open_teacher(str(path))(faces), expected, atol=1e-6, rtol=1e-5)
    lost = {name: tensor for name, tensor in flat.items() if "fc.weight" not in name}
    save_safetensors({**lost, "odd": torch.ones(1)}, tmp_path / "odd.safetensors")
    with pytest.raises(ModelError, match="not those of a known backbone"):
        open_teacher(str(tmp_path / "odd.safetensors"))


def test_a_network_starts_from_one_with_another_head(tmp_path: Path) -> None:
    write_run(tmp_path / "run", backbone="iresnet18", head="grid")
    config = NetworkConfig(backbone="iresnet18", head="fc", init=tmp_path / "run" / NETWORK)
    network = build_network(config)
    load_initial(network, config, seed=1)
    start, _ = load_trained(tmp_path / "run")
    for name, value in start.backbone.state_dict().items():
        assert torch.equal(network.backbone.state_dict()[name], value), name


def test_a_hint_that_is_followed_costs_nothing() -> None:
    maps = (
        torch.rand(8, 4, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 3, 4])[:, None, None]
    )
    head = nn.Linear(36, 5)

    def embed(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(head(torch.flatten(x, 1)))

    hint = Hint(4, maps, embed)
    assert hint.project.bias is not None
    with torch.no_grad():
        hint.project.weight.copy_(torch.diag(1 / hint.deviation[:, 0, 0])[:, :, None, None])
        hint.project.bias.copy_(-hint.mean[:, 0, 0] / hint.deviation[:, 0, 0])
        assert float(hint(maps, maps, embed(maps))) == pytest.approx(0, abs=1e-5)
        # A constant prediction explains nothing: the mean square of standardised maps is 1.
        hint.project.weight.zero_()
        hint.project.bias.zero_()
        alone = float(hint(maps, maps, embed(hint.mean.expand_as(maps))))
    assert alone == pytest.approx(1, abs=0.02)


def test_training_from_scratch_follows_the_teacher_s_maps(tmp_path: Path) -> None:
    faces = write_faces(tmp_path / "faces", {"a": 3, "b": 2, "c": 2, "d": 3, "e": 1})
    write_run(tmp_path / "teacher", backbone="mobilefacenet-large", head="fc")
    config = write_config(
        tmp_path / "run.yaml",
        faces,
        data={"cache": "device"},
        teacher="teacher",
        losses={"identification": 0.0, "hint": 1.0},
        optimiser={"kind": "adamw", "lr": 1e-3},
        steps=6,
    )
    reports: list[Report] = []
    (tmp_path / "out").mkdir()
    path = train(read_config(config), tmp_path / "out", report=reports.append)
    hints = [report.values["hint"] for report in reports]
    assert min(hints[-2:]) < hints[0]
    # What the hint learns is no part of the network.
    assert not any("hint" in name for name in load_trained(path)[0].state_dict())


def test_only_a_torch_teacher_gives_hints() -> None:
    network = build_network(NetworkConfig())
    with pytest.raises(InputError, match="torch network"):
        build_hint(network, open_teacher("xcos-mobilefacenet"), torch.zeros(1, 3, 112, 112))
    small = FrozenNetwork(nn.Conv2d(3, 2, 1, stride=16), nn.Flatten())
    assert build_hint(network, small, torch.rand(2, 3, 112, 112)).project.out_channels == 2
    coarse = FrozenNetwork(nn.Conv2d(3, 2, 1, stride=28), nn.Flatten())
    with pytest.raises(InputError, match="places"):
        build_hint(network, coarse, torch.rand(2, 3, 112, 112))
