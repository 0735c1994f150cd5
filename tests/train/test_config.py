"""Configurations: presets are complete, typos are named with what was meant, paths are the file's own."""

from pathlib import Path

import pytest

from helpers.face_folders import write_config
from whyface.errors import InputError
from whyface.train.config import PRESETS, preset_text, read_config


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(preset_text(name), encoding="utf-8")
    config = read_config(path)
    assert config.data.sources[0].path == tmp_path / "faces"
    assert config.teacher is not None
    assert config.teacher.startswith(str(tmp_path))


def test_the_paper_s_schedule_is_the_default(tmp_path: Path) -> None:
    config = read_config(write_config(tmp_path / "run.yaml", tmp_path))
    assert (config.optimiser.lr, config.optimiser.milestones, config.optimiser.gamma) == (1e-3, [12, 15, 18], 0.1)
    assert config.batch.genuine == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": {}}, "unknown key 'optimizer'; did you mean 'optimiser'"),
        ({"losses": {"similarty": 1}}, "unknown key 'losses.similarty'; did you mean 'similarity'"),
        ({"losses": {"similarity": -1}}, "losses.similarity"),
        ({"losses": {"margin": -0.5}}, "losses.margin"),
        ({"losses": {"scale": 0}}, "losses.scale"),
        ({"losses": {"margin": float("inf")}}, "losses.margin"),
        ({"augment": {"coverage": [0.5, 0.1]}}, "coverage falls from 0.5 to 0.1"),
        ({"losses": {"similarity": 1.0}}, "needs a teacher"),
        ({"losses": {"identification": 0}}, "nothing would be learnt"),
        ({"data": {"protocol": "lfw"}}, "protocol and protocol_data go together"),
        ({"data": {"held_out": 0}}, "held_out people or a protocol"),
        ({"network": {"backbone": "resnet"}}, "network.backbone"),
        ({"network": {"backbone": "iresnet18", "head": "placed"}}, "head 'placed'"),
        ({"steps": 0}, "steps"),
        ({"data": {"sources": [{"path": "x", "align_cache": "y"}]}}, "add align: true"),
    ],
)
def test_mistakes_are_named(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    path = write_config(tmp_path / "run.yaml", tmp_path, **changes)
    with pytest.raises(InputError) as error:
        read_config(path)
    assert message in str(error.value)
    assert "run.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_key_in_a_source(tmp_path: Path) -> None:
    path = write_config(tmp_path / "run.yaml", tmp_path, data={"sources": [{"path": "x", "layuot": "tree"}]})
    with pytest.raises(InputError, match="did you mean 'layout'"):
        read_config(path)


def test_changes_from_the_command_line(tmp_path: Path) -> None:
    path = write_config(tmp_path / "run.yaml", tmp_path)
    config = read_config(path, ["losses.margin_kind=arcface", "seed=7"])
    assert (config.losses.margin_kind, config.seed) == ("arcface", 7)
    with pytest.raises(InputError, match="write key.key=value"):
        read_config(path, ["seed"])
    with pytest.raises(InputError, match="holds no keys"):
        read_config(path, ["steps.x=1"])


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text("a: [", encoding="utf-8")
    with pytest.raises(InputError, match="not valid YAML"):
        read_config(path)
    path.write_text("- 1", encoding="utf-8")
    with pytest.raises(InputError, match="must hold keys"):
        read_config(path)


def test_digest_changes_with_settings(tmp_path: Path) -> None:
    path = write_config(tmp_path / "run.yaml", tmp_path)
    assert read_config(path).digest() == read_config(path).digest()
    assert read_config(path).digest() != read_config(path, ["seed=2"]).digest()


def test_unknown_preset() -> None:
    with pytest.raises(InputError, match="unknown preset 'fast'"):
        preset_text("fast")
