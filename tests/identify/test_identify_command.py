"""``whyface identify`` as a user meets it, with the shipped model and the demo photos."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from whyface.demo import demo_photo
from whyface.faces.load import load_face
from whyface.models.catalogue import DEFAULT_MODEL, model_entry

NAMES = ("obama-portrait.jpg", "biden-portrait.jpg", "obama-speech.jpg")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people with two aligned photos each (one is its mirror image), and a probe beside them."""
    root = tmp_path_factory.mktemp("demo")
    for person, name in zip(("Obama", "Biden"), NAMES[:2], strict=True):
        folder = root / "people" / person
        folder.mkdir(parents=True)
        face = load_face(demo_photo(name)).image
        Image.fromarray(face).save(folder / "one.png")
        Image.fromarray(np.ascontiguousarray(face[:, ::-1])).save(folder / "two.png")
    Image.fromarray(load_face(demo_photo(NAMES[2])).image).save(root / "probe.png")
    noise = np.random.default_rng(0).integers(0, 256, (112, 112, 3), np.uint8)
    Image.fromarray(noise).save(root / "stranger.png")
    return root


@pytest.fixture
def gallery(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A copy of the gallery, which is filled once."""
    made = people / "gallery"
    if not made.exists():
        arguments = ("gallery", "enroll", str(made), str(people / "people"), "--aligned")
        code, _, err = run_whyface(monkeypatch, capsys, *arguments)
        assert (code, err) == (0, "")
    return Path(shutil.copytree(made, tmp_path / "g"))


def test_somebody_and_nobody(
    people: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(name: str, *more: str) -> tuple[int, str, str]:
        return run_whyface(
            monkeypatch, capsys, "identify", str(people / name), "--gallery", str(gallery), "--aligned", *more
        )

    code, out, err = ask("probe.png")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("Obama: score 0.")
    assert "FPIR 0.01 among 4 faces on LFW, 6000 pairs, extrapolated" not in lines[0]
    assert "FMR 1e-3 on LFW" in lines[0]
    assert lines[1].split()[:2] == ["1.", "Obama"]
    assert lines[3].startswith("Obama comes before Biden")
    assert "whyface identify --fit" in out

    code, out, _ = ask("stranger.png")
    assert (code, out.splitlines()[0]) == (3, "UNDECIDED: the face is too noisy to compare")
    assert "Biden" not in out and "Obama" not in out

    code, out, _ = ask("stranger.png", "--json", "--figure", str(gallery / "poor.png"))
    document = json.loads(out)
    assert (code, document["verdict"], document["name"], document["score"]) == (3, "undecided", None, None)
    assert document["candidates"] == [] and document["doubt"] == "the face is too noisy to compare"
    assert not (gallery / "poor.png").exists()

    code, out, _ = ask("stranger.png", "--accept-poor")
    assert code == 1
    assert out.startswith("NOBODY IN THE GALLERY")
    assert "Accepted as asked, although the face is too noisy to compare" in out

    code, out, _ = ask("probe.png", "--threshold", "0.99")
    assert code == 1
    assert "set by the user" in out

    code, out, _ = ask("probe.png", "--fmr", "1e-2", "--attention", "u", "--json")
    document = json.loads(out)
    assert (code, document["name"], document["attention"]) == (0, "Obama", "u")
    assert document["threshold"] == model_entry(DEFAULT_MODEL).operating_point("u", fmr=1e-2).threshold
    assert document["sentences"][0].startswith("Obama: score")


def test_a_photo_is_aligned_on_the_way_and_drawn(
    people: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "who.png"
    photo = str(demo_photo(NAMES[2]))
    code, out, err = run_whyface(
        monkeypatch, capsys, "identify", photo, "-g", str(gallery), "--figure", str(figure), "--photos", str(people)
    )
    assert (code, err) == (0, "")
    assert f"Figure: {figure}" in out
    with Image.open(figure) as picture:
        assert picture.width == 1400


def test_fit_then_words(
    people: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_whyface(monkeypatch, capsys, "identify", "--fit", "-g", str(gallery))
    assert (code, out, err) == (0, "Uncertainty fitted to 4 photos of 2 people\n", "")
    assert (gallery / "uncertainty.safetensors").is_file()
    chart = tmp_path / "words.png"
    arguments = ("identify", str(people / "probe.png"), "-g", str(gallery), "--aligned")
    code, out, _ = run_whyface(monkeypatch, capsys, *arguments, "--words", "--words-figure", str(chart), "--json")
    document = json.loads(out)
    assert (code, chart.is_file()) == (0, True)
    assert 0 < document["uncertainty"] <= 1
    assert document["candidates"][0]["belief"] > 0.5
    words = document["words"]
    assert words["uncertain_original"] == pytest.approx(document["uncertainty"])
    assert words["uncertain_value"] == sorted(words["uncertain_value"], reverse=True)
    assert len(words["words"]) == len(words["attributes_sortting"]) > 0
    # Every number that is said about words is in the JSON.
    said = document["sentences"][-1]
    values = [words["uncertain_original"], *words["uncertain_value"], *(one["by_chance"] for one in words["words"])]
    assert "hang" in said
    assert {*re.findall(r"\d\.\d+(?:e-\d+)?", said)} <= {f"{value:.3g}" for value in values}
    code, out, _ = run_whyface(monkeypatch, capsys, *arguments)
    assert "Uncertainty u = " in out

    # Where no word fits, it says so and draws none.
    monkeypatch.setattr("whyface.identify.uncertainty_words.word_masks", lambda *_, **__: {})
    chart.unlink()
    code, out, _ = run_whyface(monkeypatch, capsys, *arguments, "--words", "--words-figure", str(chart))
    assert (code, chart.exists()) == (0, False)
    assert "nothing was erased" in out.splitlines()[-1]


def test_bad_input(
    people: Path, gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, where = str(people / "probe.png"), str(gallery)
    for message, arguments in {
        "--gallery FOLDER": (photo,),
        "no gallery here": (photo, "-g", str(tmp_path)),
        "give a photo, or --fit": ("-g", where),
        "needs --words": (photo, "-g", where, "--words-figure", str(tmp_path / "w.png")),
        "there is none": (photo, "-g", where, "--aligned", "--words"),
        "not several": (photo, "-g", where, "--aligned", "--threshold", "0.3", "--fmr", "1e-3"),
        "between 0 and 1": (photo, "-g", where, "--aligned", "--fpir", "2"),
        "must be in -1..1": (photo, "-g", where, "--aligned", "--threshold", "3"),
        "measured: 1e-06, 1e-05, 0.0001, 0.001, 0.01": (photo, "-g", where, "--aligned", "--fmr", "1e-7"),
        "does not exist": (photo, "-g", where, "--figure", str(tmp_path / "no" / "f.png")),
        "no such file": (str(tmp_path / "none.jpg"), "-g", where),
    }.items():
        assert_refused(monkeypatch, capsys, message, "identify", *arguments)


def test_one_person_two_names_and_nobody_usable(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = tmp_path / "alone"
    (where / "Ann").mkdir(parents=True)
    face = (people / "people" / "Obama" / "one.png").read_bytes()
    (where / "Ann" / "a.png").write_bytes(face)
    (where / "Eve").mkdir()
    (where / "Eve" / "broken.png").write_bytes(b"no picture")
    gallery = str(tmp_path / "g")
    code, out, _ = run_whyface(monkeypatch, capsys, "gallery", "enroll", gallery, str(where), "--aligned")
    assert code == 0
    assert "no usable photo: Eve" in out
    assert "only one person" in out
    code, out, _ = run_whyface(monkeypatch, capsys, "identify", str(people / "probe.png"), "-g", gallery, "--aligned")
    assert code == 0
    assert "the only person in the gallery" in out
    assert_refused(monkeypatch, capsys, "at least two people", "identify", "--fit", "-g", gallery)

    (where / "Eve" / "broken.png").write_bytes(face)
    code, out, _ = run_whyface(monkeypatch, capsys, "gallery", "enroll", gallery, str(where), "--aligned")
    assert (code, "one person under two names?" in out) == (0, True)
    # Two people with one photo each teach nothing about how photos of one person differ.
    assert_refused(monkeypatch, capsys, "two photos each", "identify", "--fit", "-g", gallery)

    # Not the same picture, but two photos of one man.
    for name, photo in (("Barack", NAMES[0]), ("Barry", NAMES[2]), ("Joe", NAMES[1])):
        (tmp_path / "two" / name).mkdir(parents=True)
        (tmp_path / "two" / name / photo).write_bytes(demo_photo(photo).read_bytes())
    code, out, _ = run_whyface(monkeypatch, capsys, "gallery", "enroll", str(tmp_path / "t"), str(tmp_path / "two"))
    (doubt,) = [line for line in out.splitlines() if line.startswith("one person under two names?")]
    assert (code, "(Barry)" in doubt, "(Barack)" in doubt, "look alike" in doubt) == (0, True, True, True)

    # Adding one photo looks too, and knows the same picture.
    where_to = ("gallery", "add", str(tmp_path / "t"))
    code, out, _ = run_whyface(monkeypatch, capsys, *where_to, "Bo", str(demo_photo(NAMES[2])))
    assert (code, "(Bo) and" in out, "(Barry): the same picture" in out) == (0, True, True)
    code, out, _ = run_whyface(monkeypatch, capsys, *where_to, "Joe", str(demo_photo(NAMES[1])))
    assert (code, "two names" in out) == (0, False)

    (tmp_path / "empty").mkdir()
    assert_refused(
        monkeypatch, capsys, "no", "gallery", "enroll", str(tmp_path / "h"), str(tmp_path / "empty"), "--aligned"
    )
