"""Weights made random from the top: what must change does, what cannot does not, and the network itself stays."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.toy_bench import Pictures, chunk_of, subject_of
from whyface.bench.run import run_chunk
from whyface.bench.sanity import SHARES, RandomisationTest
from whyface.bench.subjects import fitting_methods, open_subject
from whyface.errors import InputError
from whyface.explain.registry import METHODS
from whyface.xcos.open_model import OpenedModel

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402 - only where torch is there

from whyface.bench.randomised import (  # noqa: E402
    ComparisonFromTorch,
    layers_from_the_top,
    open_on_torch,
    randomised_score,
)
from whyface.explain.gradient_method import CosineScore, PairScore, XcosScore  # noqa: E402
from whyface.models.torch_embedder import TorchEmbedder  # noqa: E402
from whyface.xcos.learned import LearnedAttention  # noqa: E402


def network() -> TorchEmbedder:
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 32, 4, stride=4))
    head = nn.Sequential(nn.Flatten(), nn.Linear(32 * 7 * 7, 6))
    return TorchEmbedder(trunk, head, fold=False)


def split_network() -> TorchEmbedder:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Conv2d(8, 32, 4, stride=4), nn.Flatten()]
    return TorchEmbedder.from_layer(nn.Sequential(*layers, nn.Linear(32 * 7 * 7, 6)), "2", name="mine")


def xcos_score() -> XcosScore:
    torch.manual_seed(1)
    return XcosScore(network(), LearnedAttention(32))


def weights_of(score: PairScore) -> list[np.ndarray]:
    return [p.detach().numpy().copy() for layer in layers_from_the_top(score) for p in layer.parameters(recurse=False)]


def test_layers_are_counted_from_the_score_down() -> None:
    layers = layers_from_the_top(CosineScore(network()))
    assert [type(layer).__name__ for layer in layers] == ["Linear", "Conv2d", "Conv2d"]
    assert layers[-1].in_channels == 3


def test_layers_of_a_split_network_are_counted_once_and_made_random_from_the_top() -> None:
    score = CosineScore(split_network())
    assert [type(layer).__name__ for layer in layers_from_the_top(score)] == ["Linear", "Conv2d", "Conv2d"]
    changed = randomised_score(score, 1 / 3).embedder
    faces = chunk_of(Pictures(), [0, 1]).first
    assert np.array_equal(changed.grid(faces), score.embedder.grid(faces))
    assert np.abs(changed.embed(faces) - score.embedder.embed(faces)).max() > 0.1


def test_the_bench_takes_any_torch_network() -> None:
    model = OpenedModel.of(split_network())
    comparison = model.comparison()
    fitting = fitting_methods(model)
    assert {"xface", "cells", "xssab", "fggb", "gradcam", "ebp", "random"} <= set(fitting)
    assert not {"xcos", "xcos-guided"} & set(fitting)
    chunk = chunk_of(Pictures(), [0, 6])
    for name in ("xssab", "gradcam", "ebp"):
        subject = open_subject(name, model, comparison, threshold=0.1)
        results = {rows.measure: rows.value for _, rows in run_chunk(chunk, subject, [RandomisationTest()])}
        kept = results["similarity"].reshape(2, -1)
        assert np.isfinite(results["entropy rise"]).all()
        assert np.isfinite(kept).all()
        assert np.abs(kept[:, -1]).max() < 0.9


def test_the_head_that_xcos_does_not_use_is_left_out() -> None:
    assert not any(isinstance(layer, nn.Linear) for layer in layers_from_the_top(xcos_score()))


def test_shuffling_goes_from_the_top_keeps_the_values_and_leaves_the_original() -> None:
    score = CosineScore(network())
    before = weights_of(score)
    changed = weights_of(randomised_score(score, 1 / 3))
    # The first two arrays are the linear layer's; a third of three layers is one.
    assert not np.array_equal(before[0], changed[0])
    assert np.array_equal(np.sort(before[0].ravel()), np.sort(changed[0].ravel()))
    assert all(np.array_equal(one, other) for one, other in zip(before[2:], changed[2:], strict=True))
    assert all(np.array_equal(one, other) for one, other in zip(before, weights_of(score), strict=True))
    everything = weights_of(randomised_score(score, 1))
    assert not any(np.array_equal(one, other) for one, other in zip(before, everything, strict=True))
    again = weights_of(randomised_score(score, 1))
    assert all(np.array_equal(one, other) for one, other in zip(everything, again, strict=True))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_0_and_1_is_refused(share: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        randomised_score(CosineScore(network()), share)


def test_no_share_changes_nothing() -> None:
    score = CosineScore(network())
    untouched = weights_of(randomised_score(score, 0))
    assert all(np.array_equal(one, other) for one, other in zip(weights_of(score), untouched, strict=True))


@pytest.mark.parametrize("name", ["xcos", "xcos-guided", "evidence-sum", "xssab", "gradcam", "kernelshap"])
def test_methods_open_on_an_xcos_score_and_explain_it(name: str) -> None:
    score = xcos_score()
    options = {"trials": 40} if name == "kernelshap" else {}
    method = open_on_torch(METHODS[name], score, threshold=0.1, options=options)
    chunk = chunk_of(Pictures(), [0])
    found = method.maps(chunk.first, chunk.second)
    with torch.no_grad():
        expected = score(score.embedder.pixels(chunk.first), score.embedder.pixels(chunk.second))
    assert found.score == pytest.approx(expected.numpy(), abs=1e-5)
    if name == "xcos":
        assert found.map_a.sum() == pytest.approx(float(expected) - 0.1, abs=1e-5)


def test_a_torch_score_from_outside_pairs_one_with_many() -> None:
    comparison = ComparisonFromTorch(CosineScore(network()))
    chunk = chunk_of(Pictures(), [0, 1])
    features = comparison.features(chunk.first)
    assert comparison.scores(features[:1], features) == pytest.approx(
        [1, float((features[0] * features[1]).sum())], abs=1e-6
    )


def test_a_map_that_ignores_the_weights_is_told_from_one_that_does_not() -> None:
    score = CosineScore(network())
    chunk = chunk_of(Pictures(), [0, 1, 6])

    def left(name: str) -> np.ndarray:
        method = open_on_torch(METHODS[name], score, threshold=0.1)
        subject = replace(
            subject_of(),
            method=method,
            randomised=lambda share: open_on_torch(METHODS[name], randomised_score(score, share), threshold=0.1).maps,
        )
        found, smooth, entropy = RandomisationTest().run(chunk, subject, method.maps)
        assert found.step.reshape(3, -1)[0].tolist() == list(SHARES)
        if name == "centre":
            assert smooth.value == pytest.approx(1)
            assert entropy.value == pytest.approx(0)
        return found.value.reshape(3, -1)

    assert left("centre") == pytest.approx(1)
    assert np.abs(left("xssab")[:, -1]).max() < 0.5


def test_models_without_weights_at_hand_have_no_rows() -> None:
    assert RandomisationTest().run(chunk_of(Pictures(), [0]), subject_of(), subject_of().method.maps) == []
