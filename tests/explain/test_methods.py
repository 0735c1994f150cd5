from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from helpers.made_up_networks import LinearEmbedder, both_maps, noisy_face
from whyface.demo import demo_photo
from whyface.errors import InputError, ModelError
from whyface.explain.black_box import BlackBoxMethod
from whyface.explain.methods import default_methods, open_method
from whyface.explain.pair_method import PairMethod
from whyface.explain.provenance import ThresholdSource
from whyface.explain.registry import METHODS, method_entry, parse_methods, without_gradients
from whyface.explain.verdict import VerdictMethod
from whyface.models.catalogue import DEFAULT_MODEL, FAST_MODEL
from whyface.verification import Verifier
from whyface.xcos.comparison import CosineComparison

COSINE = VerdictMethod(CosineComparison(LinearEmbedder()), threshold=0.5, source=ThresholdSource(name="made up"))


@pytest.mark.parametrize("name", METHODS)
def test_every_entry_names_its_class(name: str) -> None:
    entry = METHODS[name]
    if entry.needs == "torch":
        pytest.importorskip("torch", reason="needs the extra torch")
    assert entry.load().name == name
    assert len(entry.caption) < 200
    assert entry.is_control == (name in ("random", "centre"))


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    script = (
        "import sys, whyface.explain.methods\n"
        "assert not {'torch', 'matplotlib', 'onnxruntime', 'sklearn', 'rich.progress'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(("wrong", "right"), [("xfase", "xface"), ("XFACE", "xface"), ("center", "centre")])
def test_unknown_method_names_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(InputError, match=f"unknown method '{wrong}'; did you mean '{right}'. known: xcos, "):
        method_entry(wrong)


def test_parse_methods() -> None:
    assert parse_methods("xface, centre,xface,") == ["xface", "centre"]
    for empty in ("", " , "):
        with pytest.raises(InputError, match="no method given"):
            parse_methods(empty)


ANY_EMBEDDER = [name for name, entry in METHODS.items() if entry.needs == "any embedder" and name != "amortised"]
"""Without the one that must be fitted to a network first; see test_amortised.py."""


@pytest.mark.parametrize("name", ANY_EMBEDDER)
def test_open_for_any_embedder(name: str) -> None:
    method = open_method(name, COSINE, batch_size=9, workers=2, seed=4)
    assert isinstance(method, BlackBoxMethod)
    assert (method.name, method.threshold, method.batch_size) == (name, 0.5, 9)
    assert (method.workers, method.seed) == (2, 4)
    assert method.source.name == "made up"


def test_options_go_through() -> None:
    method: Any = open_method("xface", COSINE, pairing="both", stride=9)
    assert (method.pairing, method.stride) == ("both", 9)


def test_a_method_that_does_not_fit_the_model() -> None:
    with pytest.raises(ModelError, match="needs a model with attention over a grid.*xface"):
        open_method("xcos", COSINE)
    assert default_methods(COSINE) == ("xface",)


def test_black_box_methods_explain_the_score_that_decides() -> None:
    verifier = Verifier(threads=1)
    assert verifier.method.name == "xcos"
    assert default_methods(verifier.method) == ("xcos", "xface")
    assert open_method("xcos", verifier.method) is verifier.method
    method: Any = open_method("xface", verifier.method, patch_sizes=(28,), stride=28)
    assert method.comparison.kind == "l"
    result = verifier(demo_photo("obama-portrait.jpg"), demo_photo("obama-speech.jpg"))
    explanation = method((result.face_a, result.face_b))
    assert explanation.score == pytest.approx(result.score, abs=1e-5)
    assert explanation.threshold == result.explanation.threshold
    assert np.abs(both_maps(explanation)[0]).max() > 0.01


def test_pairing_all_needs_the_cosine() -> None:
    with pytest.raises(InputError, match="needs the cosine"):
        open_method("xface", Verifier(threads=1).method, pairing="all")


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [name for name, entry in METHODS.items() if entry.needs == "torch"]
    if not names:
        pytest.skip("no method needs torch")
    monkeypatch.setattr("whyface.explain.methods.importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelError, match=r"pip install 'whyface\[torch\]', or use one of xface, corrrise"):
        open_method(names[0], COSINE)


def test_gradients_of_an_onnx_network() -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    names = [name for name, entry in METHODS.items() if entry.needs == "torch"]
    for name in names:
        with pytest.raises(ModelError, match=f"{name!r} needs gradients.*xface, corrrise.*cells \\(if"):
            open_method(name, COSINE)


def test_the_same_explanation_twice() -> None:
    pair = noisy_face(1), noisy_face(2)
    one, other = (open_method("corrrise", COSINE, masks=10, workers=workers)(pair) for workers in (1, 2))
    np.testing.assert_allclose(both_maps(one)[0], both_maps(other)[0], atol=1e-6)
    assert without_gradients().startswith("xface")


def test_cells_of_a_model_that_is_compared_by_xcos() -> None:
    with pytest.raises(ModelError, match="use xcos, or a model that compares embeddings"):
        open_method("cells", Verifier(threads=1).method)


# fggb goes backward 3,136 times for this model.
GRADIENTS = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "fggb" else [])
    for name, entry in METHODS.items()
    if entry.needs == "torch"
]


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient_methods_explain_the_score_that_decides(name: str) -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    # Subtrees go backward once for each layer.
    verifier = Verifier(FAST_MODEL if name == "subtree-ebp" else DEFAULT_MODEL, threads=1)
    result = verifier(demo_photo("obama-portrait.jpg"), demo_photo("obama-speech.jpg"))
    options: dict[str, Any] = {"top": 1} if name == "subtree-ebp" else {}
    explanation = open_method(name, verifier.method, **options)((result.face_a, result.face_b))
    assert explanation.method == name
    assert explanation.score == pytest.approx(result.score, abs=1e-4)
    assert np.abs(both_maps(explanation)[0]).max() > 0


def test_a_part_of_the_dimensions_is_drawn_from_the_seed() -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    verdict = Verifier().method

    def settings(**options: Any) -> Mapping[str, Any]:
        method = open_method("fggb", verdict, **options)
        assert isinstance(method, PairMethod)
        return method.settings

    assert [settings(seed=seed, dimensions=3)["seed"] for seed in (0, 7)] == [0, 7]
    assert "seed" not in settings(seed=7)
