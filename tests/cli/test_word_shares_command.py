"""``whyface words --by shares`` as a user meets it: the numbers add up, and mistakes end in a line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from helpers.command_line import in_process
from whyface.demo import demo_photo
from whyface.models.catalogue import FAST_MODEL

SAME = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "obama-speech.jpg")]
OTHER = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "biden-portrait.jpg")]


@pytest.mark.parametrize("photos", [SAME, OTHER])
def test_words_and_rest_add_up_to_the_score(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photos: list[str]
) -> None:
    found = in_process(monkeypatch, capsys, "words", *photos, "--by", "shares", "--json")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    total = sum(word["share"] for word in document["words"]) + document["rest"]
    assert total == pytest.approx(document["similarity"], abs=1e-9)
    shares = [abs(word["share"]) for word in document["words"]]
    assert shares == sorted(shares, reverse=True)
    for word in document["words"]:
        if word["is_telling"]:
            assert word["chance"] <= 0.05
            assert (word["share"] > 0) == (word["read_in"] == "both")
            assert word["phrase"] in document["sentences"][0]
    assert not any(word["phrase"] == "a man's look" for word in document["words"])


def test_sentences_and_figure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figure = tmp_path / "shares.png"
    found = in_process(monkeypatch, capsys, "words", *SAME, "--by", "shares", "--figure", str(figure))
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith("MATCH: score 0.")
    assert "No word tells" in found.stdout or "everything else" in found.stdout
    with Image.open(figure) as picture:
        assert picture.width >= 960


def test_a_photo_against_a_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(OTHER[1], folder / name)
    given = ("words", SAME[0], str(folder), "--by", "shares")
    found = in_process(monkeypatch, capsys, *given, "--json")
    assert found.returncode == 0, found.stderr
    document = json.loads(found.stdout)
    assert document["schema"] == "whyface/special-shares/1"
    total = sum(word["share"] for word in document["words"]) + document["rest"]
    assert total == pytest.approx(document["similarity"], abs=1e-9)
    # Both others are the one photo, so the shares are those of the pair.
    pair = json.loads(in_process(monkeypatch, capsys, "words", *OTHER, "--by", "shares", "--json").stdout)
    shares = {word["name"]: word["share"] for word in pair["words"]}
    assert {word["name"]: word["share"] for word in document["words"]} == pytest.approx(shares, abs=1e-6)
    told = in_process(monkeypatch, capsys, *given)
    assert told.returncode == 0
    assert told.stdout.startswith(("No word tells this face from these 2", "The mean score of"))
    (folder / "two.jpg").unlink()
    few = in_process(monkeypatch, capsys, *given)
    assert few.returncode == 2
    assert "at least two other faces" in few.stderr


def test_mistakes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, message in (
        ((*SAME, "--model", FAST_MODEL), "does not split into words"),
        ((SAME[0], str(tmp_path)), "no picture in it shows a face"),
        ((*SAME, "--people", str(tmp_path)), "--by shares needs no --people"),
        ((*SAME, "--eraser", "white"), "--eraser is about erasing, and --by shares erases nothing"),
        ((*SAME, "--erase-above", "0.5"), "--erase-above is about erasing"),
        ((*SAME, "--heatmap", "gradcam"), "--heatmap is about erasing"),
        ((SAME[0], str(tmp_path), "--draws", "50"), "--draws is about erasing"),
        ((*SAME, "-a", "eyeglases"), "did you mean Eyeglasses"),
    ):
        found = in_process(monkeypatch, capsys, "words", *arguments, "--by", "shares")
        assert found.returncode == 2
        assert message in found.stderr
        assert found.stderr.count("\n") == 1
