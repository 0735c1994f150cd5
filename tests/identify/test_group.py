"""Group photos: every face gets a name or none, one person is there only once, and the figure shows who is where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from helpers.group_photos import BIDEN, OBAMA, SPEECH, group_photo
from whyface.demo import demo_photo
from whyface.errors import InputError
from whyface.explain.provenance import ThresholdSource
from whyface.faces.face import Face
from whyface.faces.load import find_faces
from whyface.faces.photo import read_photo
from whyface.figures.identify import group_figure
from whyface.gallery.opening import open_for_search
from whyface.identify.group import identify_group
from whyface.identify.identification import identify

MINE = ThresholdSource()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("group")


@pytest.fixture
def gallery(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Obama alone is known."""
    path = root / "g"
    if not path.exists():
        (root / "people" / "Obama").mkdir(parents=True)
        shutil.copy(demo_photo(f"{SPEECH}.jpg"), root / "people" / "Obama")
        assert run_whyface(monkeypatch, capsys, "gallery", "enroll", str(path), str(root / "people"))[0] == 0
    return str(path)


@pytest.fixture(scope="module")
def group(root: Path) -> str:
    return str(group_photo(root / "group.png", BIDEN, OBAMA, heights=(800, 300)))


def test_everybody_is_named(
    group: str, gallery: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "who.png"
    code, out, err = run_whyface(monkeypatch, capsys, "identify", group, "-g", gallery, "--figure", str(figure))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"{group}: 2 faces: Obama; 1 without a name"
    assert lines[1].startswith("0. NOBODY IN THE GALLERY") and lines[2].startswith("1. Obama: score 0.")
    assert lines[3].startswith("The threshold's rates are those of one face")
    assert lines[4] == f"Figure: {figure}"
    with Image.open(figure) as picture:
        assert picture.width == 1400

    code, out, _ = run_whyface(monkeypatch, capsys, "identify", group, "-g", gallery, "--json")
    document = json.loads(out)
    assert (code, document["names"]) == (0, ["Obama"])
    assert [one["name"] for one in document["faces"]] == [None, "Obama"]
    assert [(one["face"]["index"], one["face"]["count"]) for one in document["faces"]] == [(0, 2), (1, 2)]
    assert document["sentences"][0] == lines[0] and document["faces"][1]["sentences"][0] == lines[2][3:]

    code, out, _ = run_whyface(monkeypatch, capsys, "identify", group, "-g", gallery, "--threshold", "0.99")
    assert code == 1 and out.startswith(f"{group}: 2 faces: nobody whom the gallery knows\n")


def test_one_face_on_request(
    group: str, gallery: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run_whyface(monkeypatch, capsys, "identify", group, "-g", gallery, "--face", "1")
    assert code == 0 and out.splitlines()[1] == f"{group}: 2 faces found, used number 1"
    code, out, _ = run_whyface(monkeypatch, capsys, "identify", group, "-g", gallery, "--face", "0", "--json")
    document = json.loads(out)
    assert (code, document["name"], document["face"]["count"]) == (1, None, 2)
    for message, more in {"--words is for one face": ("--words",), "none with index 2": ("--face", "2")}.items():
        assert_refused(monkeypatch, capsys, message, "identify", group, "-g", gallery, *more)


def test_the_same_picture_is_pointed_out(
    gallery: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "This very picture is in the gallery, as Obama (Obama/obama-speech.jpg)"
    _, out, _ = run_whyface(monkeypatch, capsys, "identify", str(demo_photo(f"{SPEECH}.jpg")), "-g", gallery)
    assert said in out
    _, out, _ = run_whyface(monkeypatch, capsys, "identify", str(demo_photo(f"{OBAMA}.jpg")), "-g", gallery)
    assert "very picture" not in out


def test_the_rules_without_the_command(group: str, gallery: str) -> None:
    faces = find_faces(group)
    with open_for_search(gallery, threads=1) as opened:
        found = identify_group(opened, faces, threshold=-1.0, source=MINE, threads=1)
        alone = identify(opened, faces[1], threshold=-1.0, source=MINE, threads=1)
        assert found.found[1].best.score == alone.best.score
        # Everybody is above this threshold, and there is one person to be.
        assert found.names == ("Obama",)
        assert "Obama was named for 2 faces (0, 1): at least 1 of them must be wrong" in found.sentences()
        assert len(found.to_dict()["faces"]) == 2
        with pytest.raises(InputError, match="no faces to identify"):
            identify_group(opened, [], threshold=0.5, source=MINE)
        crops = identify_group(opened, [Face(face.image) for face in faces], threshold=0.5, source=MINE, threads=1)
    with pytest.raises(InputError, match="has no place in a photo"):
        group_figure(crops, read_photo(group))
    with pytest.raises(InputError, match="must be"):
        group_figure(found, np.zeros((4, 4), np.uint8))


def test_the_boxes_are_where_the_faces_are(group: str, gallery: str) -> None:
    faces, photo = find_faces(group), read_photo(group)
    with open_for_search(gallery, threads=1) as opened:
        found = identify_group(opened, faces, threshold=0.35, source=MINE, threads=1)
    figure = group_figure(found, photo)
    (axes,) = (one for one in figure.axes if one.get_label() == "photo")
    assert axes.get_xlim() == (-0.5, photo.shape[1] - 0.5)
    back = axes.transData.inverted()
    drawn = {patch.get_label(): patch.get_extents().transformed(back).extents for patch in axes.patches}
    for number, face in enumerate(faces):
        assert face.box is not None
        left, bottom, right, top = drawn[f"face {number}"]
        assert (left, top, right, bottom) == pytest.approx(face.box)
    labels = {text.get_text(): text.get_position() for text in axes.texts}
    assert set(labels) == {"0 nobody", "1 Obama"}
    assert faces[1].box is not None and labels["1 Obama"] == pytest.approx(faces[1].box[:2])
