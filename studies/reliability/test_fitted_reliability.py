"""The reliability that comes with the default model: fits it, and sees a mask in the grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from studies.reliability.cells import apply_reliability, open_reliability
from whyface.data.covering import apply_mask, landmark_mask
from whyface.demo import demo_photo
from whyface.faces.load import load_face
from whyface.models.catalogue import FAST_MODEL, model_entry
from whyface.xcos.model import open_xcos


def test_it_was_fitted_for_the_shipped_model_and_sees_a_scarf() -> None:
    fitted, record = open_reliability(Path(__file__).with_name(f"{FAST_MODEL}-reliability.safetensors"))
    files = model_entry(FAST_MODEL).files
    assert record["sha256"] == {role: file.sha256 for role, file in files.items()}
    model = open_xcos(FAST_MODEL)
    assert set(fitted) == set(model.attentions)
    names = ("biden-portrait.jpg", "obama-portrait.jpg", "obama-speech.jpg")
    faces = [load_face(demo_photo(name)).image for name in names]
    scarf = landmark_mask("scarf")
    covered = [apply_mask(face, scarf) for face in faces]
    grids = model.grid(np.stack([*faces, *covered]).transpose(0, 3, 1, 2))
    below = scarf.reshape(7, 16, 7, 16).mean(axis=(1, 3)) > 0.9
    for kind, reliability in fitted.items():
        seen = reliability(grids)
        loss = (seen[3:] / seen[:3]).mean(axis=0)
        assert loss[below].mean() < 0.7 * loss[~below].mean(), kind
        maps = model.compare_grids(grids[3:], grids[[1, 2, 0]], kind)
        heeded = apply_reliability(maps, seen[3:], seen[[1, 2, 0]])
        np.testing.assert_allclose(heeded.attention.sum(axis=(1, 2)), 1, rtol=1e-5)
        np.testing.assert_allclose((heeded.similarity * heeded.attention).sum(axis=(1, 2)), heeded.score, atol=1e-6)
        assert heeded.attention[:, below].sum() < maps.attention[:, below].sum(), kind
