"""Sim2Word's files, read as the published scripts read them, and their AUC and top 5."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from whyface.commands.word_batch import write_overlays
from whyface.commands.word_compare import _table
from whyface.demo import demo_photo
from whyface.errors import DataError, InputError, OutputError
from whyface.models.catalogue import FAST_MODEL
from whyface.models.own_network import demo_crops
from whyface.words.attribute_model import ATTRIBUTES, AttributeEvidence
from whyface.words.sim2word import (
    PUBLISHED,
    UNKNOWN,
    PublishedEvidence,
    display_score,
    published_evidence,
    published_scores,
    read_published,
    word_of,
)

PHOTOS = ["obama-portrait", "obama-speech", "biden-portrait"]
NAMES = [attribute.name for attribute in ATTRIBUTES]
KNOWN = [bool(known.ours) for known in PUBLISHED]


def evidence(**logits: float) -> AttributeEvidence:
    values = np.full((1, len(NAMES)), -3, np.float32)
    for name, value in logits.items():
        values[0, NAMES.index(name)] = value
    maps = np.arange(len(NAMES) * 4, dtype=np.float32).reshape(1, len(NAMES), 2, 2)
    return AttributeEvidence(maps, values)


def test_the_30_names_in_their_order() -> None:
    names = [known.name for known in PUBLISHED]
    assert len(names) == len(set(names)) == 30
    assert [names[number] for number in (0, 1, 2, 8, 9, 19, 25, 29)] == [
        *("Gender", "Age", "Race", "Hair color", "no beard", "Obstructed Forehead", "Mouth Closed", "Pointy Nose"),
    ]
    assert {name for known in PUBLISHED for name in known.ours} <= set(NAMES)
    assert [known.name for known in PUBLISHED if known.always_counts] == ["Gender", "Age", "Race", "Hair color"]


def test_classes_and_maps() -> None:
    found = published_evidence(
        evidence(Male=2, Race_Black=1, Blond_Hair=2, Brown_Hair=1, Goatee=1, Mouth_Slightly_Open=-2, Age_45_Up=1),
        NAMES,
        0,
    )
    words = {known.name: found.word(number) for number, known in enumerate(PUBLISHED)}
    assert (words["Gender"], words["Race"], words["Age"]) == ("Male", "Black", "Senior")
    assert (words["Hair color"], words["Goatee"], words["Mouth Closed"]) == ("Blond Hair", "Goatee", "Mouth Closed")
    assert words["Bald"] is None
    maps = evidence().maps[0]
    for name, ours, sign in (
        ("Goatee", "Goatee", 1),
        ("Bald", "Bald", -1),
        ("Mouth Closed", "Mouth_Slightly_Open", -1),
    ):
        number = [known.name for known in PUBLISHED].index(name)
        np.testing.assert_array_equal(found.maps[number], sign * maps[NAMES.index(ours)])
    unknown = ~np.array(KNOWN)
    assert unknown.sum() == 5
    assert (found.classes[unknown] == UNKNOWN).all()
    assert not found.maps[unknown].any()
    assert found.scores[[known.name for known in PUBLISHED].index("Goatee")] == pytest.approx(1 / (1 + math.exp(-1)))


def test_no_hair_colour_is_unknown_and_a_woman_is_class_1() -> None:
    found = published_evidence(evidence(Male=-2), NAMES, 0)
    assert (found.classes[0], found.word(0), found.classes[8], found.word(8)) == (1, "Female", 4, "Unknown Hair")


def test_a_model_that_lacks_a_word_is_refused() -> None:
    with pytest.raises(InputError, match="Pointy_Nose"):
        published_evidence(evidence(), [name.replace("Pointy_Nose", "x") for name in NAMES], 0)


def document(similarity: float, match: int, raised: float, *, number: int = 12) -> dict[str, Any]:
    """A file of the layout, with one attribute that raises the similarity in face 1."""
    classes = [1] * 30
    classes[number] = 0
    found: dict[str, Any] = {"match": match, "similarity": similarity, "image-path1": "a.jpg", "image-path2": "b.jpg"}
    for label in "12":
        found[f"Attribute{label}-class"] = list(classes)
        found[f"attributes-image{label}"] = {f"image{label}-f_attr_{n}": [0.5, similarity - 0.1] for n in range(30)}
    found["attributes-image1"][f"image1-f_attr_{number}"][1] = raised
    found["attributes-both-masked"] = {f"Both_masked-f_attr_{n}": 0.01 * n for n in range(30)}
    return found


def test_published_auc_takes_the_best_word_of_each_face_and_matches_twice(tmp_path: Path) -> None:
    pairs = []
    for number, (similarity, match, raised) in enumerate([(0.6, 1, 0.9), (0.1, 0, 0.4), (0.3, 0, 0.2)]):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(document(similarity, match, raised)))
        pairs.append(read_published(path))
    found = published_scores(pairs)
    np.testing.assert_allclose(found["before"], [display_score(score) for score in (0.6, 0.1, 0.3)])
    expected = [0.6, 0.6, 0.4, 0.1, 0.3, 0.3]
    np.testing.assert_allclose(found["after"], [display_score(score) for score in expected])
    assert found["after label"].tolist() == [1, 1, 0, 0, 0, 0]


def test_top_of_a_face_and_of_both(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    values = document(0.1, 0, 0.4)
    values["Attribute2-class"][5] = 0
    path.write_text(json.dumps(values))
    pair = read_published(path)
    assert pair.top(0)[0] == ("Goatee", 0.4)
    # Gender, age, race and hair colour always count; of both, an attribute of either face does.
    assert {word for word, _ in pair.top(0, 30)} == {"Goatee", "Female", "Middle Aged", "White", "Blond Hair"}
    assert {word for word, _ in pair.top(None, 30)} == {
        *("Goatee", "Gender", "Age", "Race", "Hair color", PUBLISHED[5].name),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Attribute1-class": [0] * 50}, "50 attributes, not 30"),
        ({"attributes-image1": {}}, "lacks 'image1-f_attr_0'"),
        ({"similarity": "x"}, "must be a number"),
        ({"match": -1}, "negative"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "1.json"
    path.write_text(json.dumps(document(0.1, 0, 0.4) | change))
    with pytest.raises(DataError, match=message):
        read_published(path)


def test_display_score() -> None:
    assert [display_score(cosine) for cosine in (1, 0, -1, 1.0000001)] == pytest.approx([1, 0.5, 0, 1])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sim2word")
    for name, crop in zip(PHOTOS, demo_crops(), strict=True):
        Image.fromarray(np.ascontiguousarray(crop.transpose(1, 2, 0))).save(folder / f"{name}.png")
    lines = ["obama-portrait.png biden-portrait.png 0", "obama-portrait.png obama-speech.png 1"]
    (folder / "pairs.txt").write_text("\n".join(lines))
    return folder


def test_batch_auc_and_top5(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, said, err = run_whyface(
        monkeypatch,
        capsys,
        "words",
        "batch",
        str(made / "pairs.txt"),
        str(out),
        "--aligned",
        "--accept-poor",
        "--threads",
        "1",
        "--model",
        FAST_MODEL,
    )
    assert (code, err) == (0, "")
    assert "2 pairs" in said
    # As the published scripts read it.
    files = sorted((out / "json").iterdir())
    assert [file.name for file in files] == ["1.json", "2.json"]
    found = json.loads(files[0].read_text())
    assert (found["match"], found["topk"], len(found["Attribute1-class"]), len(found["Attribute2-score"])) == (
        0,
        1,
        30,
        30,
    )
    for number in range(30):
        own, other = found["attributes-image1"][f"image1-f_attr_{number}"]
        both = found["attributes-both-masked"][f"Both_masked-f_attr_{number}"]
        assert all(-1 <= score <= 1 for score in (own, other, both))
        if not KNOWN[number]:
            # Nothing was erased.
            assert own == pytest.approx(1, abs=1e-5)
            assert other == both == pytest.approx(found["similarity"], abs=1e-5)
    place = out / "cam" / "1-obama-portrait-biden-portrait"
    assert (out / "cam" / "1-biden-portrait-obama-portrait").is_dir()
    for number, known in enumerate(PUBLISHED):
        mask = np.asarray(Image.open(place / "mask" / f"Attribute-{number}-{known.name}.png"))
        copy = np.asarray(Image.open(place / "images" / f"Attribute-{number}-{known.name}.png"))
        whole = np.asarray(Image.open(made / "obama-portrait.png"))
        assert set(np.unique(mask)) <= {0, 255}
        assert np.array_equal(copy[mask == 255], whole[mask == 255])
        assert not copy[mask == 0].any()
    assert sorted(place.name for place in (out / "visualization").iterdir()) == sorted(PHOTOS)
    drawn = sorted(file.name for file in (out / "visualization" / "obama-portrait").iterdir())
    assert len(drawn) == sum(KNOWN)
    # Among classes that are words, the word of the class is in the name.
    assert any(name.startswith(("Attribute-0-Male-", "Attribute-0-Female-")) for name in drawn)
    code, said, _ = run_whyface(monkeypatch, capsys, "words", "auc", str(out))
    assert code == 0
    assert "before erasing: AUC 1.00000 (2 scores)" in said
    assert "after erasing: AUC" in said
    code, said, _ = run_whyface(monkeypatch, capsys, "words", "top5", str(out), str(tmp_path / "plates"))
    assert code == 0
    assert (tmp_path / "plates" / "2.png").stat().st_size > 5000
    assert_refused(monkeypatch, capsys, "is not an empty folder", "words", "batch", str(made / "pairs.txt"), str(out))


def test_overlays_are_half_map_and_half_face(tmp_path: Path) -> None:
    face = np.full((112, 112, 3), 100, np.uint8)
    maps = np.zeros((30, 7, 7), np.float32)
    maps[3, 0, 0] = 1
    evidence = PublishedEvidence(np.zeros(30, np.intp), np.ones(30), maps)
    write_overlays(tmp_path / "one", face, evidence, "gradcam")
    with Image.open(tmp_path / "one" / "Attribute-3-Bald-GradCAM.jpg") as picture:
        pixels = np.asarray(picture).astype(int)
    # JET is dark red at 1 and dark blue at 0.
    assert np.abs(pixels[2, 2] - [(128 + 100) // 2, 50, 50]).max() <= 12
    assert np.abs(pixels[100, 100] - [50, 50, (128 + 100) // 2]).max() <= 6
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_overlays(tmp_path / "file" / "one", face, evidence, "evidence")


def test_two_pictures_of_one_name_have_folders_of_their_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path
) -> None:
    for place, name in (("a/1", "obama-portrait"), ("b/1", "biden-portrait"), ("a/2", "obama-speech")):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / f"{place}.png").write_bytes((made / f"{name}.png").read_bytes())
    (tmp_path / "pairs.txt").write_text("a/1.png b/1.png 0\na/1.png a/2.png 1\n")
    fast = ("--aligned", "--accept-poor", "--threads", "1", "--model", FAST_MODEL)
    out = tmp_path / "out"
    code, _, err = run_whyface(monkeypatch, capsys, "words", "batch", str(tmp_path / "pairs.txt"), str(out), *fast)
    assert (code, err) == (0, "")
    assert sorted(place.name for place in (out / "visualization").iterdir()) == ["1", "1-1", "2"]


def test_a_batch_by_grad_cam(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path
) -> None:
    fast = ("--aligned", "--accept-poor", "--threads", "1", "--model", FAST_MODEL, "--no-pictures")
    found = {}
    for chosen in ("evidence", "gradcam", "gradcam++"):
        arguments = ("words", "batch", str(made / "pairs.txt"), str(tmp_path / chosen), *fast, "--heatmap", chosen)
        code, _, err = run_whyface(monkeypatch, capsys, *arguments)
        assert (code, err) == (0, "")
        found[chosen] = json.loads((tmp_path / chosen / "json" / "1.json").read_text())
    names = [one["Heatmap-method"] for one in found.values()]
    assert names == ["closed form", "GradCAM", "GradCAM++"]
    classes, erased = (
        [json.dumps(one[key]) for one in found.values()] for key in ("Attribute1-class", "attributes-both-masked")
    )
    assert len(set(classes)) == 1
    assert len(set(erased)) == 3


def test_our_own_format_and_photos_that_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path
) -> None:
    lines = ["obama-portrait.png biden-portrait.png 0", "obama-portrait.png none.png 1"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    fast = ("--aligned", "--accept-poor", "--threads", "1", "--model", FAST_MODEL)
    options = (*fast, "--data", str(made), "--format", "whyface")
    code, said, err = run_whyface(
        monkeypatch, capsys, "words", "batch", str(tmp_path / "pairs.txt"), str(tmp_path / "out"), *options
    )
    assert code == 0
    assert "1 pairs" in said
    assert "none.png" in err
    assert len(json.loads((tmp_path / "out" / "json" / "1.json").read_text())["whyface"]["attribute_names"]) == 50


def test_two_photos_need_no_name_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(monkeypatch, capsys, "no.jpg", "words", "no.jpg", "such.jpg")
    assert_refused(monkeypatch, capsys, "no.jpg", "words", "pair", "no.jpg", "such.jpg")
    assert_refused(monkeypatch, capsys, "no JSON files", "words", "auc", str(demo_photo(f"{PHOTOS[0]}.jpg").parent))
    code, said, _ = run_whyface(monkeypatch, capsys, "words", "--help")
    assert code == 0
    assert all(name in said for name in ("pair", "batch", "auc", "top5"))


def test_words_of_classes() -> None:
    assert (word_of(0, 1), word_of(8, 4), word_of(3, 0), word_of(3, 1), word_of(14, 2), word_of(1, 9)) == (
        *("Female", "Unknown Hair", "Bald", None, None, None),
    )


def test_what_is_gained_beyond_another_pair() -> None:
    plain = np.array([0.8, 0.1, 0.2, 0.3], np.float32)
    erased = {"m": np.array([[0.3, 0.1], [0.5, 0.2], [0.3, 0.3]], np.float32)}
    there = {
        "m": np.array([[0.2, np.nan], [0.2, 0.2], [np.nan, np.nan]], np.float32),
        "random": np.array([[0.1, 0.1], [0.2, 0.2], [np.nan, np.nan]], np.float32),
    }
    row = _table(plain, np.array([True, False, False, False]), erased, there)["m"]
    assert row["change"] == pytest.approx((0.1 + 0.15 + 0) / 3)
    # Without a word there, nothing was erased there; the last pair has no other beside it.
    assert row["specific"] == pytest.approx((0.05 + 0.15) / 2)
    assert row["specific_error"] == pytest.approx(np.std([0.05, 0.15], ddof=1) / np.sqrt(2))


def test_words_beside_other_methods(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made: Path
) -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    fast = ("--aligned", "--accept-poor", "--threads", "1", "--model", FAST_MODEL)
    command = ("words", "compare", str(made / "pairs.txt"), *fast)
    code, out, err = run_whyface(monkeypatch, capsys, *command, "-m", "centre")
    # On a slow machine, progress is written there.
    assert code == 0, err
    assert out.startswith("2 pairs, 1 of one person.")
    assert all(f"\n{name} " in out for name in ("nothing", "centre", "ebp:truncate=0.2, triplet", "words"))
    few = ("-m", "xcos", "--triplet", "", "--json", "--erase-above", "0.6")
    found = json.loads(run_whyface(monkeypatch, capsys, *command, *few)[1])
    assert (found["erased"], found["pairs"]) == ({"above": 0.6}, {"one person": 1, "two people": 1})
    rows = found["methods"]
    assert (rows["nothing"]["auc"], rows["nothing"]["change"]) == (1, 0)
    assert rows["words"]["similarity"] == pytest.approx(rows["nothing"]["similarity"] + rows["words"]["change"])
    # The best of several words is at least as good as the first one.
    assert rows["words"]["similarity"] >= rows["first word"]["similarity"]
    assert abs(rows["xcos"]["change"]) > 1e-3
    # With one pair of two people, there is no other to compare with.
    assert not any("specific" in row for row in rows.values())
    assert_refused(monkeypatch, capsys, "unknown method", *command, "-m", "odd")
    (made / "one.txt").write_text("obama-portrait.png biden-portrait.png 0\nobama-portrait.png none.png 1\n")
    assert_refused(monkeypatch, capsys, "give both kinds", "words", "compare", str(made / "one.txt"), *fast, *few)
