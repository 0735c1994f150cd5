"""What holds for every method that runs backward: who is whose map, and that nothing depends on the company."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from helpers.tiny_networks import write_tiny
from helpers.tiny_torch import corner_embedder, curved_embedder, random_faces
from whyface.errors import InputError, ModelError
from whyface.explain.ebp import EbpMethod
from whyface.explain.fggb import FggbMethod
from whyface.explain.gradcam import GradCamMethod
from whyface.explain.gradient_method import CosineScore, GradientMethod, PairScore, XcosScore, open_pair_score
from whyface.explain.subtree_ebp import SubtreeEbpMethod
from whyface.explain.xssab import XssabMethod, argument_gradients
from whyface.faces.face import Face
from whyface.models.onnx_embedder import OnnxEmbedder
from whyface.models.torch_embedder import TorchEmbedder
from whyface.xcos.learned import LearnedAttention
from whyface.xcos.model import open_xcos

METHODS = (XssabMethod, FggbMethod, GradCamMethod, EbpMethod, SubtreeEbpMethod)
every = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)


def learned_score(embedder: TorchEmbedder) -> XcosScore:
    torch.manual_seed(5)
    return XcosScore(embedder, LearnedAttention(5, hidden=3))


def score_of(kind: str) -> PairScore:
    embedder = curved_embedder()
    return CosineScore(embedder) if kind == "cosine" else learned_score(embedder)


def make(method: type[GradientMethod], kind: str = "cosine", **options: object) -> GradientMethod:
    score = score_of(kind)
    return method(score.embedder, score=score, threshold=0.2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["cosine", "xcos"])
@every
def test_swapping_the_faces_swaps_the_maps(method: type[GradientMethod], kind: str) -> None:
    if kind == "xcos":
        # A learned attention that is not tied depends on the order; uniform weights do not.
        embedder = curved_embedder()
        score: PairScore = XcosScore(embedder, torch.full((7, 7), 1 / 49))
        explain = method(embedder, score=score, threshold=0.2)
    else:
        explain = make(method)
    one, other = random_faces(2)[:, None]
    there, back = explain.maps(one, other), explain.maps(other, one)
    np.testing.assert_allclose(there.score, back.score, atol=1e-6)
    scale = np.abs(there.map_a).max()
    assert scale > 0
    np.testing.assert_allclose(there.map_a, back.map_b, atol=1e-4 * scale)
    np.testing.assert_allclose(there.map_b, back.map_a, atol=1e-4 * np.abs(there.map_b).max())
    assert np.abs(there.map_a - there.map_b).max() > 0.01 * scale


@every
def test_identical_photos_have_score_one_and_one_map(method: type[GradientMethod]) -> None:
    face = random_faces(1)
    found = make(method).maps(face, face)
    np.testing.assert_allclose(found.score, 1, atol=1e-5)
    np.testing.assert_allclose(found.map_a, found.map_b, atol=1e-4 * np.abs(found.map_a).max() + 1e-9)


@pytest.mark.parametrize(
    ("method", "kind"),
    [*((method, "cosine") for method in METHODS), (XssabMethod, "xcos"), (GradCamMethod, "xcos"), (EbpMethod, "xcos")],
)
def test_a_pair_is_explained_alike_alone_and_among_others(method: type[GradientMethod], kind: str) -> None:
    faces = random_faces(6)
    together = make(method, kind, batch_size=4).maps(faces[:3], faces[3:])
    for row in range(3):
        alone = make(method, kind, batch_size=20).maps(faces[row : row + 1], faces[3 + row : 4 + row])
        np.testing.assert_allclose(together.score[row], alone.score[0], atol=1e-6)
        np.testing.assert_allclose(together.map_a[row], alone.map_a[0], atol=1e-4 * np.abs(alone.map_a).max())
        np.testing.assert_allclose(together.map_b[row], alone.map_b[0], atol=1e-4 * np.abs(alone.map_b).max())


@pytest.mark.parametrize("method", [one for one in METHODS if one is not GradCamMethod], ids=lambda method: method.name)
def test_a_network_that_sees_a_corner_only_is_explained_by_the_corner_only(method: type[GradientMethod]) -> None:
    found = method(corner_embedder()).maps(*random_faces(2)[:, None])
    assert np.abs(found.map_a[0, :32, :32]).max() > 0
    outside = found.map_a.copy()
    outside[0, :32, :32] = 0
    assert np.abs(outside).max() == 0


@every
def test_an_explanation_says_what_it_cost(method: type[GradientMethod]) -> None:
    one, other = (Face(np.ascontiguousarray(face.transpose(1, 2, 0))) for face in random_faces(2))
    explanation = make(method)((one, other))
    assert explanation.method == method.name
    assert explanation.cost.forward >= 2
    assert explanation.cost.backward >= 2
    assert explanation.map_a is not None


@every
def test_a_network_without_gradients_is_refused_and_what_works_is_named(
    method: type[GradientMethod], tmp_path: Path
) -> None:
    embedder = OnnxEmbedder(write_tiny(tmp_path / "tiny.onnx"), grid="map")
    with pytest.raises(ModelError, match=f"'{method.name}' needs gradients, which model 'tiny'.*corrrise.*cells"):
        method(embedder)


@every
def test_bad_input(method: type[GradientMethod]) -> None:
    embedder = curved_embedder()
    with pytest.raises(InputError, match="at least 2"):
        method(embedder, batch_size=1)
    with pytest.raises(InputError, match="another embedder"):
        method(embedder, score=CosineScore(curved_embedder()))
    faces = random_faces(2)
    with pytest.raises(InputError, match="cannot pair 2 faces with 1"):
        method(embedder).maps(faces, faces[:1])
    with pytest.raises(InputError, match="no pairs"):
        method(embedder).maps(faces[:0], faces[:0])
    with pytest.raises(InputError, match="no pairs"):
        method(embedder).explain([])


@pytest.mark.parametrize("kind", ["cosine", "xcos"])
def test_arguments_add_up_to_the_score_and_shares_to_one(kind: str) -> None:
    score = score_of(kind)
    first, second = (score.embedder.pixels(faces) for faces in random_faces(4).reshape(2, 2, 3, 112, 112))
    with torch.no_grad():
        features = score.features(first), score.features(second)
        terms, shares = score.arguments(*features)
        torch.testing.assert_close(terms.sum(1), score(first, second))
        torch.testing.assert_close(shares.sum(1), torch.ones(2))
        if isinstance(score, XcosScore):
            torch.testing.assert_close(score.cells(*features).score, score(first, second))


@pytest.mark.parametrize("kind", ["cosine", "xcos"])
def test_both_signs_together_are_the_gradient_of_the_score(kind: str) -> None:
    score = score_of(kind)
    first, second = (score.embedder.pixels(faces) for faces in random_faces(4).reshape(2, 2, 3, 112, 112))
    found, positive, negative = argument_gradients(score, first, second, 0.2)
    inputs = first.clone().requires_grad_(), second.clone().requires_grad_()
    with torch.enable_grad():
        scores = score(*inputs)
    expected = torch.autograd.grad(scores.sum(), inputs)
    torch.testing.assert_close(found, scores.detach())
    for side in (0, 1):
        assert positive[side].abs().max() > 0
        assert negative[side].abs().max() > 0
        total = positive[side] + negative[side]
        torch.testing.assert_close(total, expected[side], atol=1e-4 * float(total.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("kind", ["u", "p", "l"])
def test_the_shipped_score_is_the_deployed_one_and_its_gradient_points_uphill(kind: str) -> None:
    score = open_pair_score("xcos-mobilefacenet", attention=kind)  # type: ignore[arg-type]
    faces = random_faces(2)
    first, second = (score.embedder.pixels(face[None]) for face in faces)
    expected = open_xcos("xcos-mobilefacenet").compare(faces[:1], faces[1:], kind)  # type: ignore[arg-type]
    with torch.no_grad():
        np.testing.assert_allclose(score(first, second).numpy(), expected.score, atol=1e-5)
    _, positive, negative = argument_gradients(score, first, second, 0.3)
    step = 0.02 * (uphill := positive[0] + negative[0]) / uphill.abs().max()
    with torch.no_grad():
        rise = float(score(first + step, second) - score(first - step, second))
    assert rise == pytest.approx(2 * float((uphill * step).sum()), rel=0.05)


def test_a_fixed_attention_of_another_size_is_refused() -> None:
    embedder = curved_embedder()
    score = XcosScore(embedder, torch.full((5, 5), 1 / 25))
    with pytest.raises(ModelError, match="differ in shape"):
        XssabMethod(embedder, score=score).maps(*random_faces(2)[:, None])


def test_a_plain_model_has_uniform_attention_only() -> None:
    with pytest.raises(ModelError, match=r"not known as a torch network|no attention|is not part of the package"):
        open_pair_score("mobilefacenet-large", attention="l")


class Towards(nn.Module):
    """The cosine with a fixed other face, as a plain network, for other libraries."""

    def __init__(self, embedder: TorchEmbedder, other: Tensor) -> None:
        super().__init__()
        self.trunk, self.head = embedder.trunk, embedder.head
        self.other = other

    def forward(self, x: Tensor) -> Tensor:
        return (nn.functional.normalize(self.head(self.trunk(x))) * self.other).sum(dim=1, keepdim=True)


def towards(embedder: TorchEmbedder, faces: np.ndarray) -> tuple[Towards, Tensor]:
    pixels = embedder.pixels(faces)
    with torch.no_grad():
        return Towards(embedder, embedder.forward_tensor(pixels[1:])), pixels[:1]


def test_gradcam_equals_captums_for_each_face() -> None:
    attr = pytest.importorskip("captum.attr")
    embedder = curved_embedder()
    faces = random_faces(2)
    found = GradCamMethod(embedder).maps(faces[:1], faces[1:])
    for order, ours in ((faces, found.map_a), (faces[::-1].copy(), found.map_b)):
        network, pixels = towards(embedder, order)
        theirs = attr.LayerGradCam(network, network.trunk).attribute(pixels, target=0)[:, 0]
        np.testing.assert_allclose(ours, theirs.detach().numpy(), atol=1e-5 * np.abs(ours).max(), rtol=1e-3)
    cut = GradCamMethod(embedder, relu=True).maps(faces[:1], faces[1:])
    np.testing.assert_allclose(cut.map_a, np.maximum(found.map_a, 0))
    assert found.map_a.min() < 0


def test_with_everything_positive_xssab_is_captums_saliency() -> None:
    attr = pytest.importorskip("captum.attr")
    embedder = curved_embedder()
    faces = random_faces(2)
    found = XssabMethod(embedder, threshold=-100).maps(faces[:1], faces[1:])
    network, pixels = towards(embedder, faces)
    theirs = attr.Saliency(network).attribute(pixels, target=0).mean(dim=1)
    np.testing.assert_allclose(found.map_a, theirs.detach().numpy(), atol=1e-4 * found.map_a.max(), rtol=1e-3)
