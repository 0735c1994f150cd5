from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from whyface.errors import ModelError, ModelIntegrityError
from whyface.files.integrity import check_sha256, read_model, sha256_of

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def abc(tmp_path: Path) -> Path:
    path = tmp_path / "abc.onnx"
    path.write_bytes(b"abc")
    return path


def test_known_digest(abc: Path) -> None:
    assert sha256_of(abc) == ABC
    assert check_sha256(abc, ABC.upper()) == ABC


def test_mismatch_names_both_hashes_and_the_file(abc: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(ModelIntegrityError) as caught:
        check_sha256(abc, other)
    message = str(caught.value)
    assert ABC[:12] in message
    assert other[:12] in message
    assert "abc.onnx" in message
    assert "\n" not in message


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file"):
        sha256_of(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="this is a folder"):
        read_model(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(ModelError, match="empty"):
        read_model(tmp_path / "empty.onnx")
