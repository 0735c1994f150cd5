"""The occlusion study on toy models whose answers are known: sides, masks, scores, losses, tables and figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from studies.occlusion.conditions import (
    CLEAN,
    Condition,
    StudyModel,
    clean_features,
    covered_sides,
    open_study_model,
    score_condition,
    study_conditions,
)
from studies.occlusion.figure import examples_figure, occlusion_figure
from studies.occlusion.report import (
    END,
    START,
    condition_name,
    occlusion_document,
    occlusion_table,
    put_between_marks,
    score_name,
)
from studies.occlusion.summary import OcclusionSummary
from studies.reliability.cells import CellStatistics, Reliability
from whyface.data.protocols import PairProtocol, build_protocol
from whyface.errors import DataError, InputError, ModelError
from whyface.evaluate.rates import fold_accuracy
from whyface.models.preprocessing import RAW
from whyface.xcos.grid import uniform_attention
from whyface.xcos.model import XcosModel
from whyface.xcos.open_model import OpenedModel

PEOPLE, PICTURES = 24, 4


class BlockMeans:
    """Grid features that are the mean colours of 2 x 2 blocks; embeddings are the flattened grid."""

    name, sha256 = "block-means", "0" * 64

    def grid(self, batch: np.ndarray) -> np.ndarray:
        blocks = batch.astype(np.float32).reshape(len(batch), 3, 2, 56, 2, 56).mean(axis=(3, 5))
        return np.asarray(blocks - 100, np.float32)

    def embed(self, batch: np.ndarray) -> np.ndarray:
        return self.grid(batch).reshape(len(batch), -1)


class ToySource:
    """Every person is one colour per quarter, every picture a little off."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        colours = rng.integers(60, 140, (PEOPLE, 1, 2, 2, 3)) + rng.integers(-25, 26, (PEOPLE, PICTURES, 2, 2, 3))
        self._pictures = colours.astype(np.uint8).repeat(56, axis=2).repeat(56, axis=3)
        self.reads = 0

    def read(self, name: str) -> np.ndarray:
        self.reads += 1
        person, picture = name.split("/")
        return np.asarray(self._pictures[int(person), int(picture)])


def toy_protocol() -> PairProtocol:
    pairs = []
    for person in range(PEOPLE):
        other = (person + 1) % PEOPLE
        pairs.append((f"{person}/0", f"{person}/1", True, person % 2))
        pairs.append((f"{person}/2", f"{person}/3", True, person % 2))
        pairs.append((f"{person}/0", f"{other}/1", False, person % 2))
        pairs.append((f"{person}/2", f"{other}/3", False, person % 2))
    people = {f"{person}/{picture}": str(person) for person in range(PEOPLE) for picture in range(PICTURES)}
    return build_protocol("toy", pairs, people)


def fc_model() -> StudyModel:
    return StudyModel("FC", OpenedModel("toy", BlockMeans(), None, {"onnx": "0"}, RAW))


def xcos_model() -> StudyModel:
    statistics = CellStatistics(np.zeros((3, 2, 2), np.float32), np.ones((3, 2, 2), np.float32))
    weight = np.zeros((3, 2, 2), np.float32)
    weight[0] = -1
    reliability = Reliability(statistics, weight, np.full((2, 2), 3, np.float32))
    scoring = OpenedModel("toy", XcosModel(BlockMeans()), None, {"onnx": "0"}, RAW)
    return StudyModel("xCos", scoring, {"u": reliability})


def all_scores(model: StudyModel) -> dict[str, dict[str, np.ndarray]]:
    source, protocol = ToySource(), toy_protocol()
    clean = clean_features(model, source, protocol)  # type: ignore[arg-type]
    found: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in model.kinds}
    for condition in study_conditions((30, 60)):
        rows = score_condition(model, source, protocol, condition, clean, seed=1)  # type: ignore[arg-type]
        for kind, values in rows.items():
            found[kind][condition.key] = values
    return found


def test_the_study_has_every_share_and_both_accessories() -> None:
    keys = [condition.key for condition in study_conditions()]
    assert keys == ["clean", *(f"free-{n}" for n in (10, 20, 30, 40, 50, 60)), "sunglasses", "scarf"]


def test_masks_cover_what_the_condition_says() -> None:
    rng = np.random.default_rng(0)
    assert CLEAN.mask(rng) is None
    mask = Condition("free-40", 40).mask(rng)
    assert mask is not None
    assert mask.mean() == pytest.approx(0.4, abs=1e-4)
    scarf = Condition("scarf", accessory="scarf").mask(rng)
    assert scarf is not None
    assert scarf[100, 56]


def test_one_side_or_both() -> None:
    one = covered_sides(2000, "one", 3)
    np.testing.assert_array_equal(one.sum(axis=0), 1)
    assert 0.45 < one[0].mean() < 0.55
    np.testing.assert_array_equal(one, covered_sides(2000, "one", 3))
    assert covered_sides(5, "both", 3).all()


@pytest.mark.parametrize("model", [fc_model(), xcos_model()], ids=["fc", "xcos"])
def test_an_uncovered_face_scores_as_without_the_study(model: StudyModel) -> None:
    source, protocol = ToySource(), toy_protocol()
    clean = clean_features(model, source, protocol)  # type: ignore[arg-type]
    found = score_condition(model, source, protocol, CLEAN, clean)  # type: ignore[arg-type]
    pictures = np.stack([source.read(name) for name in protocol.pictures]).transpose(0, 3, 1, 2)
    cells = BlockMeans().grid(pictures).reshape(len(pictures), 3, 4)
    if model.label == "FC":
        flat = cells.reshape(len(cells), -1)
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        expected = (flat[protocol.left] * flat[protocol.right]).sum(axis=1)
        np.testing.assert_allclose(found["cosine"], expected, atol=1e-5)
    else:
        cells = cells / np.linalg.norm(cells, axis=1, keepdims=True)
        expected = (cells[protocol.left] * cells[protocol.right]).sum(axis=1) @ uniform_attention(1, 4)[0]
        np.testing.assert_allclose(found["u"], expected, atol=1e-5)


def test_only_the_covered_sides_are_read_and_the_seed_decides_everything() -> None:
    model, source, protocol = fc_model(), ToySource(), toy_protocol()
    clean = clean_features(model, source, protocol)  # type: ignore[arg-type]
    kept = clean.copy()
    source.reads = 0
    half = Condition("free-50", 50)
    one = score_condition(model, source, protocol, half, clean, seed=4)["cosine"]  # type: ignore[arg-type]
    assert source.reads == len(protocol.genuine)
    np.testing.assert_array_equal(clean, kept)
    again = score_condition(model, source, protocol, half, clean, seed=4)["cosine"]  # type: ignore[arg-type]
    other = score_condition(model, source, protocol, half, clean, seed=5)["cosine"]  # type: ignore[arg-type]
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    source.reads = 0
    score_condition(model, source, protocol, half, clean, seed=4, cover="both")  # type: ignore[arg-type]
    assert source.reads == 2 * len(protocol.genuine)


def test_losses_add_up_and_shares_are_their_quotient() -> None:
    protocol, summary = toy_protocol(), OcclusionSummary(toy_protocol(), replicates=200)
    fc, xcos = all_scores(fc_model())["cosine"], all_scores(xcos_model())
    one, other = summary.results(fc), summary.results(xcos["u+r"])
    for rows in (one, other):
        clean = rows["clean"]
        assert clean.drop.value == clean.kept_drop.value == 0
        for row in rows.values():
            assert row.accuracy.value + row.drop.value == pytest.approx(clean.accuracy.value)
            assert row.kept.value + row.kept_drop.value == pytest.approx(clean.accuracy.value)
            assert row.drop.interval.low <= row.drop.value + 0.1
    expected = fold_accuracy(fc["free-60"], protocol.genuine, protocol.fold).mean
    assert one["free-60"].accuracy.value == pytest.approx(expected)
    share = summary.share_of_drop(xcos["u+r"], fc, "free-60")
    assert share["kept_drop"].value == pytest.approx(other["free-60"].kept_drop.value / one["free-60"].kept_drop.value)


def test_results_become_a_table_a_document_and_figures() -> None:
    summary = OcclusionSummary(toy_protocol(), replicates=100)
    scores = {"FC": all_scores(fc_model()), "xCos": all_scores(xcos_model())}
    results = {label: {kind: summary.results(rows) for kind, rows in kinds.items()} for label, kinds in scores.items()}
    shares = {"xCos": {"u": summary.share_of_drop(scores["xCos"]["u"], scores["FC"]["cosine"], "free-60")}}
    table = occlusion_table(results, shares, 60)
    assert "| xCos U + reliability |" in table
    assert f"{100 * results['FC']['cosine']['free-30'].accuracy.value:.2f}" in table
    document = occlusion_document(results, shares, {}, {"seed": 1}, {}, 96)
    assert document["results"]["FC"]["cosine"]["scarf"]["accuracy"]["value"] <= 1
    lines = {f"{label}:{kind}": rows for label, kinds in results.items() for kind, rows in kinds.items()}
    figure = occlusion_figure(lines, percents=(30, 60), pairs=96)
    assert len(figure.axes) == 3
    drawn = np.asarray(figure.axes[0].lines[0].get_ydata())
    np.testing.assert_array_equal(
        drawn, [results["FC"]["cosine"][key].accuracy.value for key in ("clean", "free-30", "free-60")]
    )
    with pytest.raises(InputError, match="1 to 6 scores"):
        occlusion_figure({}, percents=(30,), pairs=1)


def test_examples_show_every_face() -> None:
    face = np.zeros((112, 112, 3), np.uint8)
    assert len(examples_figure({"clean": face, "free-30": face, "scarf": face}).axes) == 3
    with pytest.raises(InputError, match="no faces"):
        examples_figure({})


def test_names_for_readers() -> None:
    assert score_name("FC", "cosine") == "FC"
    assert score_name("xCos", "l+r") == "xCos L + reliability"
    assert condition_name("free-10") == "10 %"
    assert condition_name("scarf") == "scarf"


def test_the_table_goes_between_its_marks_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "doc.md"
    path.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    put_between_marks(path, "new")
    put_between_marks(path, "newer")
    assert path.read_text() == f"before\n{START}\n\nnewer\n\n{END}\nafter\n"
    path.write_text("no marks")
    with pytest.raises(DataError, match="no place for the table"):
        put_between_marks(path, "new")
    with pytest.raises(DataError, match="cannot be read"):
        put_between_marks(tmp_path / "none.md", "new")


def test_opens_known_models_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    model = open_study_model("xcos-mobilefacenet", "mine", reliability=xcos_model().reliability)
    assert model.label == "mine"
    assert model.kinds == ("u", "p", "l", "u+r")
    with pytest.raises(InputError, match="plain label"):
        open_study_model("xcos-mobilefacenet", "a/b")
    with pytest.raises(ModelError):
        open_study_model("no-such-model")
    with pytest.raises(ModelError, match="no model here"):
        open_study_model(str(tmp_path))
