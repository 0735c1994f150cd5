from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from whyface.errors import InputError, ModelError, OutputError
from whyface.identify.evidential import EvidentialHead, load_evidential_head


def head(**changes: object) -> EvidentialHead:
    values: dict[str, object] = {
        "people": ("Ann", "Bob"),
        "directions": np.eye(2, 3, dtype=np.float32),
        "scale": 10.0,
        "shift": -2.0,
        "evidence": "relu",
        "record": {"model_sha256": "a" * 64, "photos": 4},
    }
    return EvidentialHead(**{**values, **changes})  # type: ignore[arg-type]


def test_belief_by_hand() -> None:
    belief = head()(np.array([[1, 0, 0], [0, 0, 1], [0.6, 0.8, 0]], np.float32))
    # Logits: (8, -2), (-2, -2), (4, 6); alpha is one more where they are positive.
    np.testing.assert_allclose(belief.alpha, [[9, 1], [1, 1], [5, 7]], rtol=1e-6)
    np.testing.assert_allclose(belief.uncertainty, [0.2, 1, 1 / 6], rtol=1e-6)
    np.testing.assert_allclose(belief.probability, [[0.9, 0.1], [0.5, 0.5], [5 / 12, 7 / 12]], rtol=1e-6)


def test_exponential_evidence_by_hand() -> None:
    belief = head(evidence="exp")(np.array([[0, 0, 1]], np.float32))
    np.testing.assert_allclose(belief.alpha, 1 + math.exp(-2))


def test_file_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "uncertainty.safetensors"
    one = head(evidence="softplus", people=("Ann", "Bob \N{GREEK SMALL LETTER ALPHA}"))
    one.save(path)
    other = load_evidential_head(path)
    assert (other.people, other.scale, other.shift, other.evidence) == (one.people, 10.0, -2.0, "softplus")
    assert other.record == one.record
    np.testing.assert_array_equal(other.directions, one.directions)


def test_another_model_is_refused() -> None:
    head().require_model("a" * 64, "x")
    with pytest.raises(ModelError, match="fit it again"):
        head().require_model("b" * 64, "x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"people": ("Ann",)}, "direction for each"),
        ({"people": ("Ann", "Ann")}, "distinct"),
        ({"directions": 2 * np.eye(2, 3, dtype=np.float32)}, "unit length"),
        ({"directions": np.full((2, 3), np.nan, np.float32)}, "unit length"),
        ({"scale": 0.0}, "scale must be positive"),
        ({"shift": math.inf}, "shift finite"),
        ({"evidence": "tanh"}, "relu, exp, softplus"),
    ],
)
def test_heads_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        head(**changes)


def test_wrong_features_are_refused() -> None:
    with pytest.raises(InputError, match="3 numbers"):
        head()(np.zeros((1, 4), np.float32))
    with pytest.raises(InputError, match="finite"):
        head()(np.full((1, 3), np.nan, np.float32))


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(ModelError, match="cannot read"):
        load_evidential_head(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ModelError, match="cannot read"):
        load_evidential_head(path)
    from safetensors.numpy import save_file

    save_file({"directions": np.eye(2, dtype=np.float32)}, path)
    with pytest.raises(ModelError, match="not an evidential head"):
        load_evidential_head(path)
    head().save(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ModelError, match="cannot read"):
        load_evidential_head(path)
    with pytest.raises(OutputError):
        head().save(tmp_path / "nowhere" / "head.safetensors")
