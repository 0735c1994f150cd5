"""The reference in docs/reference/configuration.md is the schema's, and says something about every key."""

from pathlib import Path

import pytest
import yaml

from config_table import END, START, reference_table
from whyface.train.config import PRESETS, TrainConfig, preset_text

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "configuration.md"


def rows() -> dict[str, list[str]]:
    cells = [line.strip("| ").split(" | ") for line in reference_table().splitlines()[2:]]
    return {row[0].strip("`"): row[1:] for row in cells}


def test_the_document_is_up_to_date() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    made = text.split(START)[1].split(END)[0].strip()
    assert made == reference_table(), "run python scripts/config_reference.py"


def test_every_key_is_explained() -> None:
    assert all(len(row) == 3 and row[2] for row in rows().values())


def test_rows_by_hand() -> None:
    table = rows()
    assert table["optimiser.lr"][:2] == ["number > 0", "`0.001`"]
    assert table["batch.genuine"][:2] == ["number ≥ 0, ≤ 1", "`0.5`"]
    assert table["losses.margin_kind"][:2] == ["`arcface`, `cosface`, `softmax`", "`cosface`"]
    assert table["data.sources[].path"][:2] == ["path", "must be given"]
    assert table["steps"][:2] == ["whole number ≥ 1 or none", "none"]
    assert table["optimiser.milestones"][:2] == ["list: whole number", "`[12, 15, 18]`"]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_use_known_keys_only(name: str) -> None:
    known = {key.replace("[]", "") for key in rows()}

    def keys(value: object, prefix: str) -> list[str]:
        if isinstance(value, dict):
            return [key for name, inner in value.items() for key in keys(inner, f"{prefix}.{name}".lstrip("."))]
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return [key for inner in value for key in keys(inner, prefix)]
        return [prefix]

    used = keys(yaml.safe_load(preset_text(name)), "")
    assert set(used) <= known
    assert len(used) > 10


def test_no_field_is_forgotten() -> None:
    assert {key.split(".")[0] for key in rows()} == set(TrainConfig.model_fields)
