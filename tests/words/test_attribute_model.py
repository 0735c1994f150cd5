"""Attribute heads: what they add up to, their names, labels, fits, and the shipped file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attribute_fit import calibrated, fit_logistic
from attribute_labels import read_attribute_labels, soft_targets
from attribute_measures import contrast_map, locality, measure_attribute
from whyface.demo import demo_photo
from whyface.errors import DataError, InputError, ModelError
from whyface.faces.face import stack_faces
from whyface.faces.load import load_face
from whyface.words.attribute_model import (
    ATTRIBUTES,
    CELEBA,
    AttributeHeads,
    attribute,
    match_names,
    open_attributes,
    read_attributes,
    save_attributes,
)
from whyface.words.word_maps import Heatmap, class_activation, to_unit_range, weighted_channels


def heads(**changes: object) -> AttributeHeads:
    values: dict[str, object] = {
        "names": ("Wearing_Hat", "Young", "Attractive"),
        "weight": np.array([[1, 0], [0, 2], [1, 1]], np.float32),
        "bias": np.array([0, -1, 3], np.float32),
        "baseline": np.full((3, 2, 2), 0.5, np.float32),
        "record": {"measured": {"Wearing_Hat": {"auc": 0.9}, "Young": {"auc": 0.7}}},
    }
    return AttributeHeads(**{**values, **changes})  # type: ignore[arg-type]


def test_logits_by_hand() -> None:
    grid = np.array([[[[1, 2], [3, 6]], [[0, 0], [0, 4]]]], np.float32)
    evidence = heads()(grid)
    np.testing.assert_allclose(evidence.logits, [[3, 1, 7]])
    np.testing.assert_allclose(evidence.maps[0, 0], [[0.5, 1.5], [2.5, 5.5]])
    np.testing.assert_allclose(evidence.maps.mean(axis=(2, 3)) + heads().constants, evidence.logits)
    np.testing.assert_allclose(evidence.probabilities[0, 1], 1 / (1 + np.exp(-1)))
    assert evidence.present.tolist() == [[True, True, True]]


def test_gradcam_of_a_logit_by_hand() -> None:
    grid = np.array([[[[1, 2], [3, 6]], [[0, 0], [0, 4]]]], np.float32)
    found = heads()(grid, "gradcam")
    # The logit is the mean of w F, so each channel weighs w / 4.
    np.testing.assert_allclose(found.maps[0, 1], 2 / 4 * grid[0, 1])
    np.testing.assert_allclose(found.against, -found.maps)
    np.testing.assert_allclose(found.logits, heads()(grid).logits)
    # g = 1 / 4, the channels sum to 12 and 4: alpha is 1 / (2 + 3) and 1 / (2 + 1), at each of 4 places.
    better = heads()(grid, "gradcam++")
    np.testing.assert_allclose(better.maps[0, 2], grid[0, 0] / 5 + grid[0, 1] / 3, rtol=1e-6)
    # Against it no slope is positive.
    assert np.abs(better.against[0, 2]).max() == 0


@pytest.mark.parametrize("heatmap", ["gradcam", "gradcam++"])
def test_grad_cams_are_those_of_automatic_differentiation(heatmap: Heatmap) -> None:
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    rng = np.random.default_rng(0)
    grid = rng.random((1, 5, 3, 4)).astype(np.float32)
    weight = rng.standard_normal((2, 5)).astype(np.float32)
    maps = torch.from_numpy(grid.astype(np.float64)).requires_grad_()
    scores = torch.einsum("kc,nchw->nkhw", torch.from_numpy(weight.astype(np.float64)), maps).mean(dim=(2, 3))
    for number in (0, 1):
        (slope,) = torch.autograd.grad(scores[0, number], maps, retain_graph=True)
        if heatmap == "gradcam":
            weights = slope.mean(dim=(2, 3), keepdim=True)
        else:
            # The published score is exp(score), whose first three derivatives are it times powers of the slope.
            first, second, third = (scores[0, number].exp() * slope**power for power in (1, 2, 3))
            alpha = second / (2 * second + (maps * third).sum(dim=(2, 3), keepdim=True))
            weights = (alpha * first.relu()).sum(dim=(2, 3), keepdim=True)
        expected = to_unit_range((weights * maps).sum(dim=1).relu().detach().numpy())
        slopes = np.broadcast_to(weight[None, :, :, None, None] / 12, (1, 2, 5, 3, 4))
        found = class_activation(weighted_channels(grid, slopes, heatmap))
        np.testing.assert_allclose(found[:, number], expected, atol=1e-5)


def test_what_may_enter_a_sentence() -> None:
    # Young was not learnt well enough and is about age; attractiveness is a judgement.
    assert heads().learnt().tolist() == [True, False, True]
    assert heads().usable().tolist() == [True, False, False]
    learnt = heads(record={"measured": {"Young": {"auc": 0.9}}})
    assert learnt.usable().tolist() == [True, False, False]
    assert learnt.usable(sensitive=True).tolist() == [True, True, False]
    never_seen = heads(record={"measured": {"Wearing_Hat": {"auc": 0.99, "judged": False}}})
    assert not never_seen.usable()[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ("a", "a", "b")},
        {"bias": np.zeros(2, np.float32)},
        {"baseline": np.zeros((3, 2), np.float32)},
        {"weight": np.full((3, 2), np.nan, np.float32)},
    ],
)
def test_heads_that_do_not_fit(changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        heads(**changes)


def test_maps_of_another_network() -> None:
    with pytest.raises(InputError, match="attribute heads read maps"):
        heads()(np.zeros((1, 3, 2, 2), np.float32))


def test_saved_and_read(tmp_path: Path) -> None:
    path = tmp_path / "heads.safetensors"
    save_attributes(path, heads())
    back = read_attributes(path)
    assert back.names == heads().names
    np.testing.assert_array_equal(back.weight, heads().weight)
    np.testing.assert_array_equal(back.baseline, heads().baseline)
    assert back.record["measured"]["Young"]["auc"] == 0.7
    with pytest.raises(ModelError, match="the record lacks"):
        open_attributes(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match="no attribute heads"):
        read_attributes(path)


def test_names() -> None:
    known = [one.name for one in ATTRIBUTES]
    assert len(CELEBA) == 40
    assert len(set(known)) == len(known)
    assert match_names(["bushy eyebrows", "Wearing-Hat", "hat", "A GOATEE"], known) == [
        "Bushy_Eyebrows",
        "Wearing_Hat",
        "Goatee",
    ]
    assert attribute("Unheard_Of").phrase == "unheard of"
    assert attribute("Bushy_Eyebrows").pronoun == "them"


def test_unknown_names_are_told_what_is_near() -> None:
    known = [one.name for one in ATTRIBUTES]
    with pytest.raises(InputError, match=r"unknown attribute 'bushy eyebrow'; did you mean Bushy_Eyebrows"):
        match_names(["bushy eyebrow"], known)
    with pytest.raises(InputError, match="known: 5_o_Clock_Shadow"):
        match_names(["xyzzy"], known)


def _table(path: Path, rows: list[dict[str, object]]) -> Path:
    names = ["name", *(one.name for one in CELEBA), "df_gender", "df_race", "df_age"]
    lines = [",".join(names)]
    lines += [",".join(str(row.get(name, 0.25)) for name in names) for row in rows]
    path.write_text("\n".join(lines))
    return path


def test_labels(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"name": f"Jo_Doe_{n:04d}.jpg", "df_gender": "Woman", "df_race": "white", "df_age": 20 + n, "Goatee": n / 1000}
        for n in range(40)
    ]
    labels = read_attribute_labels(_table(tmp_path / "labels.csv", rows))
    assert set(labels.people) == {"Jo_Doe"}
    assert labels.probabilities.shape == (40, 50)
    assert labels.probabilities[:, labels.names.index("Age_Under_30")].sum() == 10
    cuts = labels.cuts(np.ones(40, bool))
    # What is rare is cut where a twentieth lies above; what came as a class in the middle.
    assert (labels.probabilities[:, labels.names.index("Goatee")] > cuts[labels.names.index("Goatee")]).sum() == 2
    assert cuts[labels.names.index("Woman")] == 0.5
    soft = soft_targets(np.array([[0.2, 1.0], [0.05, 0.0]]), np.array([0.2, 0.5]))
    np.testing.assert_allclose(soft, [[0.5, 1], [0.05 / 0.95 / (0.05 / 0.95 + 0.25), 0]])


def test_tables_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_attribute_labels(tmp_path / "missing.csv")
    wrong: list[dict[str, object]] = [{"name": "A_0001.jpg", "df_age": 30, "Bald": 2}]
    with pytest.raises(DataError, match="line 2: a probability is outside"):
        read_attribute_labels(_table(tmp_path / "labels.csv", wrong))
    (tmp_path / "short.csv").write_text("name,Bald\nA_0001.jpg,0.1")
    with pytest.raises(DataError, match="lacks the column '5_o_Clock_Shadow'"):
        read_attribute_labels(tmp_path / "short.csv")


def test_the_fit_agrees_with_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    features = rng.standard_normal((300, 4)) * (1, 5, 0.2, 3) + 2
    truth = features @ (1, 0.3, -2, 0) + rng.standard_normal(300) > 2
    standard = (features - features.mean(axis=0)) / features.std(axis=0)
    # scikit-learn: 1/2 w.w + C * sum of losses; ours: mean of losses + p w.w.
    theirs = linear_model.LogisticRegression(C=1 / (2 * 0.01 * 300), tol=1e-10, max_iter=5000).fit(standard, truth)
    ours = fit_logistic(features, truth[:, None].astype(float), penalty=0.01)
    np.testing.assert_allclose(ours(features)[:, 0], theirs.decision_function(standard), atol=2e-3)
    with pytest.raises(InputError, match="a row per face"):
        fit_logistic(features, truth[:-1, None].astype(float), penalty=0.01)


def test_calibration_undoes_a_stretch() -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((4000, 1))
    truth = rng.random((4000, 1)) < 1 / (1 + np.exp(-2 * features - 1))
    fit = fit_logistic(features, truth.astype(float), penalty=0.0)
    stretched = type(fit)(fit.weight * 5, fit.bias * 5 + 3)
    again = calibrated(stretched, features, truth)
    np.testing.assert_allclose(again.weight, fit.weight, atol=0.02)
    np.testing.assert_allclose(again.bias, fit.bias, atol=0.02)


def test_measures() -> None:
    people = [f"p{n // 2}" for n in range(400)]
    truth = np.arange(400) % 4 < 2
    rng = np.random.default_rng(0)
    good = measure_attribute(np.where(truth, 0.9, 0.1), truth, people, cut=0.5, replicates=100)
    assert (good.auc, good.balanced_accuracy, good.base_rate, good.precision) == (1, 1, 0.5, 1)
    assert good.brier == pytest.approx(0.01)
    assert (good.people, good.positive_people) == (200, 100)
    bad = measure_attribute(rng.random(400), truth, people, cut=0.5, replicates=100)
    assert bad.auc_interval.low < 0.5 < bad.auc_interval.high
    assert good.to_dict()["auc_interval"] == [1.0, 1.0]


def test_locality() -> None:
    even = np.ones((7, 7))
    assert locality(even) == pytest.approx(12 / 49)
    spot = np.zeros((7, 7))
    spot[0, :3] = 1
    assert locality(spot) == 1
    assert locality(-even) == 0
    maps = np.stack([spot, spot * 0, spot * 3, spot * 0])
    np.testing.assert_allclose(contrast_map(maps, np.array([True, False, True, False])), 2 * spot)


def test_the_shipped_heads_read_the_demo_photos() -> None:
    reader = open_attributes(threads=1)
    photos = ("obama-portrait.jpg", "biden-portrait.jpg")
    evidence = reader(stack_faces([load_face(demo_photo(name)) for name in photos]))
    names = reader.heads.names
    np.testing.assert_allclose(
        evidence.maps.mean(axis=(2, 3)) + reader.heads.constants, evidence.logits, rtol=1e-4, atol=1e-3
    )
    found = [{name for name, yes in zip(names, row, strict=True) if yes} for row in evidence.present]
    assert {"Smiling", "No_Beard"} <= found[0]
    assert {"Gray_Hair"} <= found[1]
    assert "Smiling" not in found[1]
    assert "Eyeglasses" not in found[0] | found[1]
    usable = dict(zip(names, reader.heads.usable(), strict=True))
    # Judgements, what the crop does not show, and what is about gender, age and race stay out.
    assert not any(usable[name] for name in ("Attractive", "Wearing_Necktie", "Male", "Young", "Race_White"))
    assert sum(usable.values()) > 25
    assert sum(reader.heads.usable(sensitive=True)) > sum(usable.values())
