"""Predicted Shapley values: right where the game is additive, always adding up, and refused where they do not fit."""

from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import in_process
from helpers.face_folders import write_faces
from helpers.toy_bench import PixelModel
from whyface.errors import InputError, ModelError
from whyface.explain.amortised import (
    AmortisedMethod,
    MaskedScores,
    ShapleyPredictor,
    describe_pair,
    efficient,
    fit_predictor,
    masked_scores,
    read_predictor,
    save_predictor,
)
from whyface.explain.black_box import fill_picture
from whyface.explain.methods import open_method
from whyface.faces.regions import REGIONS
from whyface.models.catalogue import FAST_MODEL
from whyface.verification import Verifier

RNG = np.random.default_rng(0)
COUNT = len(REGIONS)


def additive_game(pairs: int) -> tuple[MaskedScores, np.ndarray]:
    """Scores that are sums of what each visible region adds, which depends linearly on the embeddings' products."""
    first, second = RNG.normal(size=(2, pairs, 6)).astype(np.float32)
    true = (first * second).astype(np.float64) @ RNG.normal(size=(6, COUNT)) + RNG.normal(size=COUNT)
    members = RNG.random((pairs, 8, COUNT)) < 0.5
    return MaskedScores(first, second, members, np.einsum("nkr,nr->nk", members, true), true.sum(axis=1)), true


def test_an_additive_game_is_found_and_adds_up() -> None:
    data, true = additive_game(300)
    predictor = fit_predictor(data)
    values = predictor(data.first, data.second, total=data.total)
    assert np.corrcoef(values.ravel(), true.ravel())[0, 1] > 0.995
    assert values.sum(axis=1) == pytest.approx(data.total)


def test_projection_on_efficiency_is_the_nearest() -> None:
    values = RNG.normal(size=(3, COUNT))
    found = efficient(values, np.array([1.0, 2.0, values[2].sum()]))
    assert found.sum(axis=1) == pytest.approx([1, 2, values[2].sum()])
    assert np.ptp(found - values, axis=1) == pytest.approx(0, abs=1e-12)
    assert found[2] == pytest.approx(values[2])


def test_what_is_seen_of_grids_and_embeddings() -> None:
    a, b = RNG.normal(size=(2, 2, 5, 3, 3))
    seen = describe_pair(a, b)
    assert seen.shape == (2, 4 * 9)
    assert seen[:, :9] == pytest.approx((a * b).sum(axis=1).reshape(2, -1))
    assert seen[:, 9:18] == pytest.approx(np.linalg.norm(a, axis=1).reshape(2, -1))
    assert (np.abs(seen[:, 27:]) <= 1).all()
    assert describe_pair(a.reshape(2, -1), b.reshape(2, -1)) == pytest.approx((a * b).reshape(2, -1))


def test_masked_scores_of_a_model_that_adds_up_over_pixels() -> None:
    """With a fill of the mean colour, what the regions of a coalition and of its complement add is known together."""
    faces = RNG.integers(0, 256, (2, 3, 112, 112)).astype(np.uint8)
    found = masked_scores(PixelModel(), faces[:1], faces[1:], coalitions=6, seed=1)
    assert found.members.shape == (1, 6, COUNT)
    assert (found.members[0, ::2] == ~found.members[0, 1::2]).all()
    assert found.gains[0, ::2] + found.gains[0, 1::2] == pytest.approx(np.full(3, found.total[0]), abs=1e-6)
    with pytest.raises(InputError, match="at least 2 coalitions"):
        masked_scores(PixelModel(), faces[:1], faces[1:], coalitions=1)


def test_many_numbers_are_reduced_and_few_pairs_refused() -> None:
    data, _ = additive_game(12)
    wide = MaskedScores(np.tile(data.first, 50), np.tile(data.second, 50), data.members, data.gains, data.total)
    assert fit_predictor(wide).weight.shape == (COUNT, 301)
    with pytest.raises(InputError, match="at least 10 pairs"):
        fit_predictor(MaskedScores(*(part[:9] for part in vars(data).values())))


def test_the_method_adds_up_and_says_what_is_missing(tmp_path: Path) -> None:
    path, size = tmp_path / "p.safetensors", 112 * 112
    weight = RNG.normal(size=(COUNT, size + 1)).astype(np.float32)
    save_predictor(
        path, ShapleyPredictor(weight, np.zeros(size, np.float32), np.ones(size, np.float32)), {"model": "m"}
    )
    faces = RNG.integers(0, 256, (2, 3, 112, 112)).astype(np.uint8)
    found = AmortisedMethod(PixelModel(), explainer=str(path)).maps(faces[:1], faces[1:])
    # The covered face has one colour, so its score is that of its mean.
    grey = np.broadcast_to(faces[:1].mean(axis=(2, 3), keepdims=True).round(), faces[:1].shape).astype(np.uint8)
    model = PixelModel()
    none = model.scores(model.embed(grey), model.embed(faces[1:]))
    assert found.map_a.sum() == pytest.approx(float(found.score[0] - none[0]), abs=1e-4)
    with pytest.raises(ModelError, match="fit-explainer"):
        AmortisedMethod(PixelModel())
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no predictor"):
        read_predictor(path)


def test_the_fast_model_has_a_predictor_whose_values_add_up() -> None:
    method = open_method("amortised", Verifier(FAST_MODEL).method)
    assert isinstance(method, AmortisedMethod)
    faces = RNG.integers(0, 256, (2, 3, 112, 112)).astype(np.uint8)
    found = method.maps(faces[:1], faces[1:])
    comparison = Verifier(FAST_MODEL).method.comparison
    grey = np.stack([fill_picture(faces[0], "mean")])
    none = comparison.scores(comparison.features(grey), comparison.features(faces[1:]))
    assert found.map_a.sum() == pytest.approx(float(found.score[0] - none[0]), abs=1e-4)


def test_the_command_fits_and_its_mistakes_end_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    faces = write_faces(tmp_path / "faces", dict.fromkeys("abcdefghijkl", 2))
    out = tmp_path / "m.safetensors"
    small = ("--pairs", "12", "--coalitions", "2", "--check", "1", "--trials", "34", "--model", FAST_MODEL)
    done = in_process(monkeypatch, capsys, "fit-explainer", "--data", str(faces), "--out", str(out), *small)
    assert done.returncode == 0, done.stderr
    assert "R2 with KernelSHAP on 1 pairs" in done.stdout
    assert read_predictor(out).weight.shape[0] == COUNT
    few = write_faces(tmp_path / "few", dict.fromkeys("abc", 2))
    refused = in_process(monkeypatch, capsys, "fit-explainer", "--data", str(few), "--out", str(out), *small)
    assert refused.returncode == 2
    assert "at least 10 are needed" in refused.stderr
    assert refused.stderr.count("\n") == 1
