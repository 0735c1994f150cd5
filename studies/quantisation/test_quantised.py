"""The int8 version of the default model: a model folder like any other, near the original."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studies.quantisation.quantised import quantise, write_variant
from whyface.demo import demo_photo
from whyface.errors import InputError
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.models.catalogue import FAST_MODEL, model_entry, read_entry
from whyface.xcos.model import open_xcos
from whyface.xcos.separable import separable_attention


def test_scores_stay_near(tmp_path: Path) -> None:
    photos = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")
    faces = stack_faces([load_face(demo_photo(name)) for name in photos])
    plain = model_entry(FAST_MODEL).locate("onnx")
    quantise(plain, tmp_path / "int8.onnx", np.concatenate([faces, faces[..., ::-1]]))
    folder = write_variant(tmp_path / "int8", tmp_path / "int8.onnx")
    assert folder.files["onnx"].bytes < plain.stat().st_size / 2
    model, original = open_xcos(read_entry(tmp_path / "int8")), open_xcos(FAST_MODEL)
    assert model.embedder.sha256 != original.embedder.sha256
    for kind in ("u", "p", "l"):
        found = model.compare(faces[:2], faces[1:], kind).score
        expected = original.compare(faces[:2], faces[1:], kind).score
        np.testing.assert_allclose(found, expected, atol=0.08)
        assert not np.allclose(found, expected, atol=1e-6)
    separable_attention(model)


def test_without_faces(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs faces to calibrate"):
        quantise(tmp_path / "in.onnx", tmp_path / "out.onnx", np.zeros((0, 3, 112, 112), np.uint8))
