"""Two folders of photos compared: the rule of video sets, the photos that decide, and what cannot be compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.command_line import assert_refused, run_whyface
from whyface.data.protocols import build_protocol
from whyface.data.video_sets import SetProtocol
from whyface.demo import demo_photo
from whyface.errors import InputError
from whyface.evaluate.set_scoring import SetMean, score_sets
from whyface.explain.explanation import Explanation
from whyface.faces.face import Face
from whyface.faces.load import load_face
from whyface.faces.pictures import open_pictures
from whyface.models.catalogue import FAST_MODEL
from whyface.set_verification import verify_sets
from whyface.verification import Verifier
from whyface.xcos.open_model import open_model

OBAMA, SPEECH, BIDEN = (f"{name}.jpg" for name in ("obama-portrait", "obama-speech", "biden-portrait"))


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(FAST_MODEL, threads=1)


@pytest.fixture(scope="module")
def faces() -> dict[str, Face]:
    return {name: load_face(demo_photo(name)) for name in (OBAMA, SPEECH, BIDEN)}


def mirrored(face: Face) -> Face:
    return Face(image=np.ascontiguousarray(face.image[:, ::-1]), source=f"mirrored {Path(face.source).name}")


@pytest.fixture
def folders(tmp_path: Path, faces: dict[str, Face]) -> tuple[Path, Path]:
    """Write two sets of aligned faces: one man, and the same man with a picture that is too blurred."""
    for folder, named in (("one", [OBAMA]), ("other", [SPEECH])):
        (tmp_path / folder).mkdir()
        for name in named:
            for kind, image in (("plain", faces[name].image), ("mirrored", mirrored(faces[name]).image)):
                cv2.imwrite(str(tmp_path / folder / f"{kind}-{Path(name).stem}.png"), image[:, :, ::-1])
    blurred = cv2.GaussianBlur(faces[SPEECH].image, (0, 0), 6)
    cv2.imwrite(str(tmp_path / "other" / "blurred.png"), blurred[:, :, ::-1])
    return tmp_path / "one", tmp_path / "other"


def test_sets_of_one_face_are_a_pair(verifier: Verifier, faces: dict[str, Face]) -> None:
    pair = verifier.compare(faces[OBAMA], faces[SPEECH])
    sets = verify_sets(verifier, [faces[OBAMA]], [faces[SPEECH]])
    assert sets.score == pytest.approx(pair.score, abs=1e-6)
    together, alone = sets.explanation.contributions, pair.explanation.contributions
    assert together is not None
    assert alone is not None
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert sets.probability is None
    assert sets.sentences[:2] == pair.sentences[:2]


def test_the_rule_is_that_of_video_sets(folders: tuple[Path, Path], verifier: Verifier) -> None:
    names = [[f"{folder.name}/{path.name}" for path in sorted(folder.glob("[mp]*.png"))] for folder in folders]
    protocol = build_protocol("two", [("one", "other", True, 0)], {"one": "x", "other": "x"})
    sets = SetProtocol(protocol, tuple(map(tuple, names)))
    with open_pictures(folders[0].parent) as source:
        expected = score_sets(open_model(FAST_MODEL, threads=1), source, sets)["l"]
    sides = [[load_face(folders[0].parent / name, aligned=True) for name in side] for side in names]
    found = verify_sets(verifier, *sides)
    assert found.score == pytest.approx(expected[0], abs=1e-5)
    # S * W add up to the score of the means.
    assert found.explanation.contributions is not None
    assert found.explanation.contributions.sum() == pytest.approx(found.score, abs=1e-5)


def test_the_photos_that_decide_are_those_most_like_the_other_set(verifier: Verifier, faces: dict[str, Face]) -> None:
    found = verify_sets(verifier, [faces[BIDEN], faces[OBAMA]], [faces[SPEECH], mirrored(faces[SPEECH])])
    assert found.face_a.source == faces[OBAMA].source
    alone = {Path(one["file"]).name: one["score"] for one in found.explanation.settings["set_a"]}
    assert alone[OBAMA] > found.score > alone[BIDEN]
    assert "The means of 2 and 2 faces were compared" in found.sentences[-2]
    assert "do not hold for sets" in found.sentences[-1]


def test_poor_faces_are_left_out_while_there_are_others(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = map(str, folders)
    given = ("--aligned", "--model", FAST_MODEL, "--threads", "1")
    code, out, _ = run_whyface(monkeypatch, capsys, "verify", "--set-a", one, "--set-b", other, *given)
    assert code == 0
    assert out.startswith("MATCH: score ")
    assert "The means of 2 and 2 faces were compared, without 1 too poor to support a verdict" in out
    code, out, _ = run_whyface(monkeypatch, capsys, "verify", "--set-a", one, "--set-b", one, *given, "--json")
    again = Explanation.from_dict(json.loads(out))
    assert again.score == pytest.approx(1, abs=1e-5)
    assert "2 of the pictures are in both sets, which says nothing." in again.sentences
    assert not any("compared with itself" in sentence for sentence in again.sentences)
    single = folders[0].parent / "single"
    single.mkdir()
    shutil.copy(min(folders[0].iterdir()), single)
    _, out, _ = run_whyface(monkeypatch, capsys, "verify", "--set-a", one, "--set-b", str(single), *given)
    assert "\n1 of the pictures is in both sets, which says nothing." in out


def test_a_verdict_about_sets_is_computed_again(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ("--aligned", "--model", FAST_MODEL, "--threads", "1", "--json")
    code, out, _ = run_whyface(
        monkeypatch, capsys, "verify", "--set-a", str(folders[0]), "--set-b", str(folders[1]), *given
    )
    assert code == 0
    record = str(tmp_path / "sets.json")
    Path(record).write_text(out)
    (poor,) = json.loads(out)["settings"]["poor_b"]
    assert Path(poor["file"]).name == "blurred.png"
    code, out, _ = run_whyface(monkeypatch, capsys, "check", record)
    assert (code, "DIFFERENT" in out, "not checked" in out) == (0, False, False)
    # Moved and renamed photos are found by their content; those that are not on record do not count.
    moved = [tmp_path / "new" / folder.name for folder in folders]
    for old, new in zip(folders, moved, strict=True):
        new.mkdir(parents=True)
        for path in old.iterdir():
            path.rename(new / f"moved-{path.name}")
    (moved[0] / "another.png").write_bytes((moved[1] / "moved-blurred.png").read_bytes())
    code, out, _ = run_whyface(monkeypatch, capsys, "check", record)
    assert code == 3
    assert "set A: " in out and "not at hand; give both folders with --photos" in out
    code, out, _ = run_whyface(monkeypatch, capsys, "check", record, "--photos", *map(str, moved))
    assert (code, "DIFFERENT" in out, "not checked" in out) == (0, False, False)
    # A wrong path is no finding about the photos.
    for wrong in (str(tmp_path / "nowhere"), record):
        assert_refused(monkeypatch, capsys, "not a folder", "check", record, "--photos", str(moved[0]), wrong)
    # One photo that is another now, and one that is gone.
    document = json.loads(Path(record).read_text())
    document["settings"]["set_a"][0]["score"] -= 0.01
    Path(record).write_text(json.dumps(document))
    code, out, _ = run_whyface(monkeypatch, capsys, "check", record, "--photos", *map(str, moved))
    assert code == 1
    assert "DIFFERENT    settings: largest difference: " in out
    (moved[0] / f"moved-{Path(document['settings']['set_a'][0]['file']).name}").unlink()
    code, out, _ = run_whyface(monkeypatch, capsys, "check", record, "--photos", *map(str, moved))
    assert code == 1
    assert "no photo in the folder has the SHA-256 of" in out
    assert "score: both sets are needed" in out
    del document["settings"]["set_a"]
    Path(record).write_text(json.dumps(document))
    assert_refused(monkeypatch, capsys, "does not list the photos of set A", "check", record)


def test_only_poor_faces_are_undecided(verifier: Verifier, faces: dict[str, Face]) -> None:
    dark = Face(image=np.asarray(faces[OBAMA].image // 12, np.uint8))
    found = verify_sets(verifier, [dark, dark], [faces[SPEECH]])
    assert found.verdict == "undecided"
    assert found.explanation.similarity is None


def test_what_is_no_set_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verifier: Verifier
) -> None:
    photo, empty = str(demo_photo(OBAMA)), str(tmp_path)
    for message, given in (
        ("no picture in it shows a face", ("--set-a", empty, "--set-b", empty)),
        ("give two photos, or two folders", ("--set-a", empty)),
        ("give two photos, or two folders", (photo,)),
        ("give two folders and no photo", (photo, "--set-a", empty, "--set-b", empty)),
        ("give two folders and no photo", ("--any-face", "--set-a", empty, "--set-b", empty)),
    ):
        assert_refused(monkeypatch, capsys, message, "verify", *given, "--model", FAST_MODEL)
    with pytest.raises(InputError, match="a set has no face"):
        verify_sets(verifier, [], [])
    with pytest.raises(InputError, match="weight above 0"):
        _ = SetMean().value
