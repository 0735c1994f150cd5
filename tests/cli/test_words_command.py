"""``whyface words`` as a user meets it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from whyface.cli import main
from whyface.demo import demo_photo
from whyface.models.catalogue import FAST_MODEL

PHOTOS = [str(demo_photo(name)) for name in ("obama-portrait.jpg", "biden-portrait.jpg")]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    # The fast model, because a word takes dozens of runs.
    chosen = () if "--model" in arguments else ("--model", FAST_MODEL)
    monkeypatch.setattr(sys, "argv", ["whyface", "words", *arguments, *chosen])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], message: str, *arguments: str) -> None:
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err


def test_two_photos(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    figure = tmp_path / "words.png"
    code, out, _ = run(monkeypatch, capsys, *PHOTOS, "--draws", "20", "--figure", str(figure))
    assert code == 0
    assert out.startswith("NO MATCH: score 0.0")
    assert "Most telling: " in out or "no reasons in words" in out
    with Image.open(figure) as picture:
        assert picture.width > 1000


def test_json_and_asked_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--draws", "20", "-a", "bushy eyebrows", "-a", "big nose", "--json", "--eraser", "mean")
    code, out, _ = run(monkeypatch, capsys, *PHOTOS, *arguments)
    assert code == 0
    document = json.loads(out)
    assert document["whyface"]["settings"]["names"] == ["bushy eyebrows", "big nose"]
    assert {word["name"] for word in document["whyface"]["words"]} <= {"Bushy_Eyebrows", "Big_Nose"}
    assert document["similarity"] < document["whyface"]["threshold"]
    assert len(document["Attribute1-class"]) == len(document["whyface"]["attribute_names"])


def test_bad_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    refused(monkeypatch, capsys, "did you mean Bushy_Eyebrows", *PHOTOS, "-a", "bushy eyebrow")
    refused(monkeypatch, capsys, "--share needs --people", *PHOTOS, "--share", "0.4")
    refused(monkeypatch, capsys, "--top-k needs --people", *PHOTOS, "--top-k", "9")
    refused(
        monkeypatch, capsys, "mutually exclusive", *PHOTOS, "--people", str(tmp_path), "--top-k", "9", "--share", "0.4"
    )
    refused(monkeypatch, capsys, "--people is for two photos", PHOTOS[0], str(tmp_path), "--people", str(tmp_path))
    refused(monkeypatch, capsys, "--figure is for two photos", PHOTOS[0], str(tmp_path), "--figure", "f.png")
    refused(monkeypatch, capsys, "no picture in it shows a face", PHOTOS[0], str(tmp_path))
    refused(monkeypatch, capsys, "missing.jpg", PHOTOS[0], str(tmp_path / "missing.jpg"))
    refused(monkeypatch, capsys, "does not exist", *PHOTOS, "--figure", str(tmp_path / "no" / "f.png"))


def test_lists_of_pairs_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("no.jpg nothing.jpg 0\n")
    out = str(tmp_path / "out")
    # One kind of pair is enough to explain it, but not for an AUC, which is said before any network is opened.
    refused(monkeypatch, capsys, "none of 1 pairs could be used", "batch", str(pairs), out)
    refused(monkeypatch, capsys, "give both kinds", "compare", str(pairs), "--method", "nonsense")
    assert not Path(out).exists()


def test_against_a_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("biden-portrait.jpg", "obama-speech.jpg"):
        (tmp_path / name).write_bytes(demo_photo(name).read_bytes())
    (tmp_path / "empty.png").write_bytes(b"")
    code, out, _ = run(monkeypatch, capsys, PHOTOS[0], str(tmp_path), "--draws", "20", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["schema"] == "whyface/special-attribute/1"
    assert (document["others"], document["matches"]) == (2, 1)
    assert "leave out photos of the same person" in document["sentences"][-1]
    assert document["settings"]["draws"] == 20
    assert document["versions"]["whyface"]
    assert [reason for reason in document["left_out"] if "empty.png" in reason] == document["left_out"]
    assert len(document["left_out"]) == 1
    code, out, _ = run(monkeypatch, capsys, PHOTOS[0], str(tmp_path), "--draws", "20", "-a", "big nose")
    assert code == 0
    assert "Left out: " in out.splitlines()[-1]
    assert "empty.png" in out.splitlines()[-1]


def test_people_at_hand(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from whyface.faces.load import load_face

    for person, names in (("o", ("obama-portrait.jpg", "obama-speech.jpg")), ("b", ("biden-portrait.jpg",) * 2)):
        (tmp_path / person).mkdir()
        for number, name in enumerate(names):
            Image.fromarray(load_face(demo_photo(name)).image).save(tmp_path / person / f"{number}.png")
    word = ("--draws", "20", "-a", "big nose")
    code, out, _ = run(monkeypatch, capsys, *PHOTOS, *word, "--people", str(tmp_path), "--json")
    assert code == 0
    document = json.loads(out)
    assert (document["class1"], document["class2"], document["topk"]) == (["o"], ["b"], 1)
    refused(monkeypatch, capsys, "is not in a person's folder", *PHOTOS, "--people", str(tmp_path / "o"))
    for picture in (tmp_path / "b").iterdir():
        picture.unlink()
    refused(monkeypatch, capsys, "at least two people", *PHOTOS, "--people", str(tmp_path))


def test_the_core_install_is_enough() -> None:
    """No torch, SciPy, scikit-learn or Parquet on the way from two photos to sentences."""
    code = (
        "import sys\n"
        "for name in ('torch', 'scipy', 'sklearn', 'pyarrow'):\n"
        "    sys.modules[name] = None\n"
        "from whyface.cli import main\n"
        f"sys.argv = ['whyface', 'words', {PHOTOS[0]!r}, {PHOTOS[1]!r}, '--draws', '20', '-a', 'big nose']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("NO MATCH")
