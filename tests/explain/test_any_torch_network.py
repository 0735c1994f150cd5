"""Every method on a torch network that nobody knows by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from helpers.tiny_torch import curved_embedder, curved_parts, random_faces
from whyface.errors import InputError, ModelError
from whyface.explain.gradient_method import CosineScore, XcosScore, pair_score
from whyface.explain.methods import open_method
from whyface.explain.pair_method import PairMethod
from whyface.explain.provenance import ThresholdSource
from whyface.explain.registry import METHODS
from whyface.explain.verdict import VerdictMethod
from whyface.faces.face import Face
from whyface.models.preprocessing import Preprocessing
from whyface.models.torch_embedder import TorchEmbedder
from whyface.xcos.comparison import CosineComparison, XcosComparison
from whyface.xcos.grid import AttentionKind
from whyface.xcos.model import XcosModel, open_xcos

GRADIENTS = [name for name, entry in METHODS.items() if entry.needs == "torch"]


def halves(left: int, right: int) -> Face:
    image = np.full((112, 112, 3), left, np.uint8)
    image[:, 56:] = right
    return Face(image)


def quarters() -> TorchEmbedder:
    """The embedding is the mean of each quarter and colour, less grey."""
    return TorchEmbedder(nn.AvgPool2d(56), nn.Flatten(), preprocessing=Preprocessing(mean=(127.5,) * 3), name="mine")


@pytest.mark.parametrize(
    ("name", "left", "right"),
    # Cells: four quarters of 1/4 each. Grad-CAM: mean weight times the map; the weights of a side cancel out, as the
    # cosine is 0 and e_B is +1 on the left and -1 on the right.
    [("cells", 0.25, -0.25), ("gradcam", 0.0, 0.0), ("ebp", 1 / (112 * 56), -1 / (112 * 56))],
)
def test_known_answers_by_hand(name: str, left: float, right: float) -> None:
    method = open_method(name, embedder=quarters(), threshold=0.3)
    found = method((halves(255, 255), halves(255, 0)))
    assert (found.threshold, found.model.name) == (0.3, "mine")
    assert found.score == pytest.approx(0, abs=1e-6)
    assert found.map_a is not None
    middle = found.map_a.shape[1] // 2
    np.testing.assert_allclose(found.map_a[:, :middle], left, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.map_a[:, middle:], right, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", [name for name in GRADIENTS if name not in ("xcos-guided", "evidence-sum")])
def test_gradient_methods_open_on_an_embedder_or_its_verdict(name: str) -> None:
    embedder, faces = curved_embedder(), random_faces(2)
    verdict = VerdictMethod(CosineComparison(embedder), threshold=0.2, source=ThresholdSource(kind="user"))
    entry = METHODS[name]
    expected = entry.load()(embedder, threshold=0.2).maps(faces[:1], faces[1:])
    for method in (open_method(name, embedder=embedder, threshold=0.2), open_method(name, verdict)):
        assert isinstance(method, PairMethod)
        found = method.maps(faces[:1], faces[1:])
        np.testing.assert_allclose(found.map_a, expected.map_a, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.score, (embedder.embed(faces)[0] * embedder.embed(faces)[1]).sum(), atol=1e-6)


@pytest.mark.parametrize("kind", ["u", "p"])
def test_an_xcos_model_on_a_torch_network(kind: AttentionKind) -> None:
    correlated = np.arange(49, dtype=np.float32).reshape(7, 7)
    model, source = XcosModel(curved_embedder(), correlated=correlated), ThresholdSource(kind="user")
    verdict = VerdictMethod(XcosComparison(model, kind), threshold=0.2, source=source)
    faces = tuple(Face(np.ascontiguousarray(face.transpose(1, 2, 0))) for face in random_faces(2))
    found = open_method("xcos-guided", verdict)((faces[0], faces[1]))
    assert found.score == pytest.approx(verdict((faces[0], faces[1])).score, abs=1e-5)


def test_which_score_is_made_and_what_is_refused() -> None:
    embedder = curved_embedder()
    assert isinstance(pair_score(CosineComparison(embedder)), CosineScore)
    assert isinstance(pair_score(XcosComparison(XcosModel(embedder), "u")), XcosScore)
    with pytest.raises(ModelError, match="needs a model with attention"):
        open_method("xcos-guided", embedder=embedder)
    with pytest.raises(InputError, match="either a verdict .* or an embedder"):
        open_method("xface")
    assert isinstance(pair_score(XcosComparison(open_xcos("xcos-mobilefacenet"))), XcosScore)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_callers_mode_without_gradients_does_not_matter(mode: type[torch.no_grad]) -> None:
    faces = random_faces(2)
    expected = open_method("xssab", embedder=curved_embedder())
    assert isinstance(expected, PairMethod)
    with mode():
        # The network is made and used in there.
        method = open_method("xssab", embedder=TorchEmbedder(*curved_parts()))
        assert isinstance(method, PairMethod)
        found = method.maps(faces[:1], faces[1:])
    np.testing.assert_allclose(found.map_a, expected.maps(faces[:1], faces[1:]).map_a, rtol=1e-3, atol=1e-6)
