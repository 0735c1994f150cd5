"""Photos that cannot support a verdict, as a user meets them: status 3, the reason, and nothing that looks certain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import run_whyface as run
from helpers.poor_photos import poor_photo
from whyface.explain.explanation import Explanation

BIDEN, OBAMA = "biden-portrait", "obama-portrait"


@pytest.mark.parametrize(
    ("fault", "word"), [("blurred", "blurred"), ("dark", "dark"), ("tiny", "blurred"), ("moved", "blurred")]
)
def test_two_poor_photos_of_strangers_get_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, fault: str, word: str
) -> None:
    photos = [str(poor_photo(tmp_path, name, fault)) for name in (BIDEN, OBAMA)]
    code, out, err = run(monkeypatch, capsys, "verify", *photos)
    assert (code, err) == (3, "")
    assert out.startswith(f"UNDECIDED: both faces are too {word} to compare\n")
    assert "score of" not in out and "Probability" not in out and "MATCH" not in out


@pytest.mark.parametrize("colours", [(0, 255), (0, 0), (120, 60)])
def test_blank_crops_get_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, colours: tuple[int, int]
) -> None:
    paths = []
    for number, colour in enumerate(colours):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((112, 112, 3), colour, np.uint8)).save(paths[-1])
    code, out, _ = run(monkeypatch, capsys, "verify", "--aligned", *paths)
    assert code == 3 and out.startswith("UNDECIDED: ")


def test_crops_of_noise_get_no_verdict(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    paths = []
    for seed in (1, 2):
        paths.append(str(tmp_path / f"{seed}.png"))
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (112, 112, 3), np.uint8)).save(paths[-1])
    code, out, _ = run(monkeypatch, capsys, "verify", "--aligned", *paths)
    assert code == 3 and "both faces are too noisy to compare" in out


def test_one_poor_photo_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = [str(poor_photo(tmp_path, BIDEN, "good")), str(poor_photo(tmp_path, OBAMA, "blurred"))]
    code, out, _ = run(monkeypatch, capsys, "verify", *photos, "--json")
    found = Explanation.from_json(out)
    assert code == 3 and found.verdict == "undecided"
    assert found.doubt == "the second face is too blurred to compare"
    assert found.faces is not None and found.faces[0].quality is not None
    assert found.faces[0].quality.shortcoming is None and found.faces[0].quality.unified is not None


def test_poor_photos_are_compared_if_asked_and_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = [str(poor_photo(tmp_path, name, "blurred")) for name in (BIDEN, OBAMA)]
    figure = tmp_path / "why.png"
    code, out, _ = run(monkeypatch, capsys, "verify", *photos, "--accept-poor", "--figure", str(figure))
    assert code in (0, 1) and "score" in out and "Probability" not in out
    assert "Accepted as asked, although both faces are too blurred to compare" in out
    assert figure.stat().st_size > 10_000


def test_the_figure_of_what_is_undecided_shows_faces_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = [str(poor_photo(tmp_path, name, "dark")) for name in (BIDEN, OBAMA)]
    figure = tmp_path / "why.svg"
    code, out, _ = run(monkeypatch, capsys, "verify", *photos, "--figure", str(figure))
    assert code == 3 and f"Figure: {figure}" in out and figure.is_file()


def test_explain_gives_no_reasons_for_what_is_undecided(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = [str(poor_photo(tmp_path, name, "blurred")) for name in (BIDEN, OBAMA)]
    code, out, _ = run(monkeypatch, capsys, "explain", *photos, "-m", "xcos", "--json")
    (only,) = json.loads(out)["explanations"]
    assert code == 3 and only["verdict"] == "undecided" and only["similarity"] is None
    code, out, _ = run(monkeypatch, capsys, "explain", *photos, "-m", "xcos", "--accept-poor", "--json")
    (only,) = json.loads(out)["explanations"]
    assert code == 0 and only["similarity"] is not None and "too blurred" in only["doubt"]


def test_words_galleries_and_searches_leave_poor_photos_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    good, poor = str(poor_photo(tmp_path, BIDEN, "good")), str(poor_photo(tmp_path, OBAMA, "blurred"))
    code, out, err = run(monkeypatch, capsys, "words", good, poor)
    assert (code, err) == (3, "")
    assert out.startswith("UNDECIDED: the second face is too blurred to compare\n")
    code, out, _ = run(monkeypatch, capsys, "words", good, poor, "--json")
    assert (code, json.loads(out)["verdict"]) == (3, "undecided")

    (tmp_path / "people" / "Biden").mkdir(parents=True)
    Path(good).rename(tmp_path / "people" / "Biden" / "1.png")
    gallery = str(tmp_path / "gallery")
    assert run(monkeypatch, capsys, "gallery", "enroll", gallery, str(tmp_path / "people"))[0] == 0
    code, out, err = run(monkeypatch, capsys, "gallery", "add", gallery, "Obama", poor)
    assert (code, out) == (2, "") and "the face is too blurred to compare" in err and "--accept-poor" in err
    code, out, _ = run(monkeypatch, capsys, "gallery", "search", gallery, poor)
    assert (code, out) == (3, "UNDECIDED: the face is too blurred to compare\n")
    code, out, _ = run(monkeypatch, capsys, "gallery", "search", gallery, poor, "--accept-poor")
    assert code == 0 and "Biden" in out and "Accepted as asked" in out
    code, out, _ = run(monkeypatch, capsys, "identify", poor, "--gallery", gallery)
    assert code == 3 and out.startswith("UNDECIDED: the face is too blurred to compare\n") and "Biden" not in out
    assert run(monkeypatch, capsys, "gallery", "add", gallery, "Obama", poor, "--accept-poor")[0] == 0
