"""``whyface gallery`` as a user meets it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from helpers.gallery_models import faces
from helpers.tiny_networks import write_tiny
from whyface.cli import main
from whyface.demo import demo_photo
from whyface.gallery.feature_file import HEADER
from whyface.gallery.gallery import Gallery
from whyface.models.catalogue import FAST_MODEL


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    # Most pictures here are random blocks, in which there is nothing to recognise.
    poor = ["--accept-poor"] if arguments[0] in {"enroll", "add", "search"} else []
    monkeypatch.setattr(sys, "argv", ["whyface", "gallery", *map(str, arguments), *poor])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, out, err


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Four people: two with two pictures, one whose only picture is broken, one with none."""
    pictures = faces(5, seed=1)
    root = tmp_path / "people"
    for index, name in enumerate(["ann/1.png", "ann/2.png", "bob/1.png", "bob/2.png"]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[index].transpose(1, 2, 0)).save(root / name)
    (root / "cleo").mkdir()
    (root / "cleo" / "1.jpg").write_bytes(b"no picture")
    (root / "dan").mkdir()
    return root


def test_enroll_search_remove(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, people: Path
) -> None:
    gallery = str(tmp_path / "g")
    code, out, err = run(monkeypatch, capsys, "enroll", gallery, str(people), "--aligned")
    assert (code, err) == (0, "")
    assert "added 4 faces" in out
    assert "not used: cleo/1.jpg: " in out
    assert "no usable photo: cleo" in out
    assert "no usable photo: dan" in out
    assert f"{gallery}: 4 faces of 2 people" in out

    code, out, _ = run(monkeypatch, capsys, "enroll", gallery, str(people), "--aligned", "--json")
    report = json.loads(out)
    assert (code, report["added"], len(report["skipped"])) == (0, 0, 4)
    assert report["people_without_usable_photo"] == ["cleo", "dan"]

    code, out, _ = run(monkeypatch, capsys, "search", gallery, str(people / "bob" / "2.png"), "--aligned")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 3)
    assert lines[2].startswith("Accepted as asked, although the face is too ")
    assert lines[0].split()[:2] == ["1.", "bob"]
    assert float(lines[0].split()[2]) == pytest.approx(1, abs=1e-4)

    code, out, _ = run(
        monkeypatch, capsys, "search", gallery, str(people / "bob/2.png"), "--aligned", "--json", "--faces"
    )
    document = json.loads(out)
    best = document["candidates"][0]
    assert (np.array(best["S"]) * np.array(best["W"])).sum() == pytest.approx(best["score"], abs=1e-6)
    assert len(document["candidates"]) == 4
    assert document["sha256"]["onnx"]

    assert run(monkeypatch, capsys, "remove", gallery, "bob")[1] == "removed 2 faces of bob; 2 faces left\n"
    assert run(monkeypatch, capsys, "remove", gallery, "--record", "0")[1] == "removed 1 face of ann; 1 face left\n"
    code, out, _ = run(monkeypatch, capsys, "info", gallery, "--check", "--people")
    assert code == 0
    assert b"bob" not in b"".join(file.read_bytes() for file in Path(gallery).iterdir())
    assert "1 face of 1 person, 3 removed" in out
    assert "all records are intact" in out
    assert out.splitlines()[-1].split() == ["1", "ann"]


@pytest.mark.parametrize(
    ("asked", "storage"), [(["--bits", "8"], "int8"), (["--bits", "32"], "float32"), ([], "int16")]
)
def test_numbers_are_stored_with_as_many_bits_as_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    people: Path,
    asked: list[str],
    storage: str,
) -> None:
    gallery = str(tmp_path / "g")
    code, _, err = run(monkeypatch, capsys, "enroll", gallery, str(people), "--aligned", *asked)
    assert code == 0, err
    code, out, _ = run(monkeypatch, capsys, "info", gallery, "--json")
    assert json.loads(out)["storage"] == storage


def test_photos_of_the_demo(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Photographs are found and aligned on the way; one person alone is said to be alone."""
    (tmp_path / "people" / "Obama").mkdir(parents=True)
    shutil.copy(demo_photo("obama-portrait.jpg"), tmp_path / "people" / "Obama" / "portrait.jpg")
    gallery = str(tmp_path / "g")
    code, out, _ = run(monkeypatch, capsys, "enroll", gallery, str(tmp_path / "people"))
    assert code == 0
    assert "There is only one person" in out
    code, out, _ = run(monkeypatch, capsys, "add", gallery, "Biden", str(demo_photo("biden-portrait.jpg")))
    assert (code, out) == (0, "Biden: added 1 face, 1 face in all\n")
    # Once more, and twice at once: it is there already.
    twice = [str(demo_photo("biden-portrait.jpg"))] * 2
    code, out, _ = run(monkeypatch, capsys, "add", gallery, "Biden", *twice)
    assert (code, out) == (0, "Biden: added 0 faces, 1 face in all\n2 pictures skipped: already in the gallery\n")
    code, out, _ = run(monkeypatch, capsys, "add", gallery, "Joe", *twice)
    assert (code, out.splitlines()[:2]) == (
        0,
        ["Joe: added 1 face, 1 face in all", "1 picture skipped: already in the gallery"],
    )
    assert out.count("the same picture") == 1
    code, out, _ = run(monkeypatch, capsys, "search", gallery, str(demo_photo("obama-speech.jpg")))
    assert (code, out.split()[1]) == (0, "Obama")


def test_a_folder_with_nobody_usable_leaves_no_gallery(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, people: Path
) -> None:
    nobody = tmp_path / "nobody"
    shutil.copytree(people / "cleo", nobody / "cleo")
    gallery = tmp_path / "g"
    code, out, err = run(monkeypatch, capsys, "enroll", str(gallery), str(nobody), "--aligned")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "none of 1 pictures could be used" in err
    assert not gallery.exists()
    assert run(monkeypatch, capsys, "enroll", str(gallery), str(people), "--aligned")[0] == 0
    assert run(monkeypatch, capsys, "enroll", str(gallery), str(nobody), "--aligned")[0] == 2
    assert "4 faces" in run(monkeypatch, capsys, "info", str(gallery))[1]


def test_photos_that_verify_takes_are_enrolled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A photo of 24 MiB, a TIFF; what is no photo is named, hidden files and folders are not."""
    people = tmp_path / "people"
    for name in ("Biden", "Obama", ".hidden"):
        (people / name).mkdir(parents=True)
    portrait = demo_photo("obama-portrait.jpg").read_bytes()
    (people / "Obama" / "large.jpg").write_bytes(portrait + bytes(24 * 2**20 - len(portrait)))
    with Image.open(demo_photo("biden-portrait.jpg")) as picture:
        picture.save(people / "Biden" / "scan.tif")
    (people / "Biden" / "._scan.tif").write_bytes(b"\0\5\x16\7")
    (people / "Biden" / "phone.mov").write_bytes(b"nothing to us")
    gallery = str(tmp_path / "g")
    code, out, err = run(monkeypatch, capsys, "enroll", gallery, str(people))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "added 2 faces",
        "Skipped, not photos: 1 ending in .mov",
        f"{gallery}: 2 faces of 2 people",
    ]
    code, out, _ = run(monkeypatch, capsys, "enroll", gallery, str(people), "--json")
    assert json.loads(out)["passed_over"] == {"Biden/phone.mov": "ending in .mov"}


def test_names_that_are_no_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, people: Path
) -> None:
    (people / "ann").rename(people / os.fsdecode(b"caf\xe9"))
    gallery = str(tmp_path / "g")
    code, out, err = run(monkeypatch, capsys, "enroll", gallery, str(people), "--aligned")
    assert (code, err) == (0, "")
    assert "Skipped, not photos: 1 with a name that is not in UTF-8" in out
    code, out, _ = run(monkeypatch, capsys, "enroll", gallery, str(people), "--aligned", "--json")
    assert list(json.loads(out)["passed_over"]) == ["caf\\xe9"]
    for arguments in (("ann", people / os.fsdecode(b"caf\xe9") / "1.png"), ("caf\udce9", people / "bob" / "1.png")):
        code, out, err = run(monkeypatch, capsys, "add", gallery, *map(str, arguments), "--aligned")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "not in UTF-8" in err
    code, out, err = run(monkeypatch, capsys, "add", gallery, "Ann\nBob", str(people / "bob" / "1.png"), "--aligned")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'Ann\\nBob': a person or a photo with a line break" in err


def test_a_crop_with_transparency_is_found_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name, face in zip(("ann", "bob"), faces(2, seed=1), strict=True):
        picture = Image.fromarray(face.transpose(1, 2, 0))
        picture.putalpha(Image.fromarray(rng.integers(0, 256, (112, 112), np.uint8)))
        (tmp_path / "people" / name).mkdir(parents=True)
        picture.save(tmp_path / "people" / name / "1.png")
    gallery, photo = str(tmp_path / "g"), str(tmp_path / "people" / "ann" / "1.png")
    assert run(monkeypatch, capsys, "enroll", gallery, str(tmp_path / "people"), "--aligned")[0] == 0
    _, out, _ = run(monkeypatch, capsys, "search", gallery, photo, "--aligned")
    assert out.split()[:2] == ["1.", "ann"]
    assert float(out.split()[2]) == pytest.approx(1, abs=1e-4)


def test_one_face_under_two_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    people = tmp_path / "people"
    for name in ("Barry", "Joe", "Obama"):
        (people / name).mkdir(parents=True)
    shutil.copy(demo_photo("obama-portrait.jpg"), people / "Obama" / "portrait.jpg")
    shutil.copy(demo_photo("obama-portrait.jpg"), people / "Barry" / "copy.jpg")
    with Image.open(demo_photo("obama-portrait.jpg")) as picture:
        picture.save(people / "Barry" / "again.jpg", quality=60)
    shutil.copy(demo_photo("biden-portrait.jpg"), people / "Joe" / "portrait.jpg")
    code, out, _ = run(monkeypatch, capsys, "enroll", str(tmp_path / "g"), str(people))
    assert code == 0
    same, alike = [line for line in out.splitlines() if line.startswith("one person under two names?")]
    assert "Obama/portrait.jpg (Obama) and Barry/copy.jpg (Barry): the same picture" in same
    assert "Obama/portrait.jpg (Obama) and Barry/again.jpg (Barry): look alike, score 0.9" in alike
    code, out, _ = run(monkeypatch, capsys, "enroll", str(tmp_path / "h"), str(people), "--no-doubts", "--json")
    assert [doubt["score"] for doubt in json.loads(out)["doubts"]] == [1.0]


def test_a_network_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, people: Path
) -> None:
    network = write_tiny(tmp_path / "net.onnx")
    gallery = str(tmp_path / "g")
    code, _, err = run(monkeypatch, capsys, "enroll", gallery, str(people), "--aligned", "--model", str(network))
    assert (code, err) == (0, "")
    code, out, _ = run(monkeypatch, capsys, "search", gallery, str(people / "ann/1.png"), "--aligned", "--json")
    best = json.loads(out)["candidates"][0]
    assert (code, best["name"]) == (0, "ann")
    assert "S" not in best
    moved = network.rename(tmp_path / "moved.onnx")
    assert run(monkeypatch, capsys, "search", gallery, str(people / "ann/1.png"), "--aligned")[0] == 2
    arguments = ("search", gallery, str(people / "ann/1.png"), "--aligned", "--model", str(moved))
    assert run(monkeypatch, capsys, *arguments)[0] == 0


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("no such folder or tar file", ("enroll", "{tmp}/g", "{tmp}/nowhere")),
        ("no pictures here", ("enroll", "{tmp}/g", "{tmp}/empty")),
        ("are in no person's folder", ("enroll", "{tmp}/g", "{tmp}/flat", "--aligned")),
        ("none of 1 pictures could be used, the first: x/a.png", ("enroll", "{tmp}/g", "{tmp}/bad", "--aligned")),
        ("no gallery here", ("search", "{tmp}/g", "{photo}")),
        ("no gallery here", ("info", "{tmp}/empty")),
        ("no gallery here", ("remove", "{tmp}/empty", "ann")),
        ("give either a name or --record NUMBER to remove", ("remove", "{tmp}/g")),
    ],
)
def test_bad_input(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    message: str,
    arguments: tuple[str, ...],
) -> None:
    for folder in ("empty", "flat", "bad/x"):
        (tmp_path / folder).mkdir(parents=True)
    Image.fromarray(faces(1)[0].transpose(1, 2, 0)).save(tmp_path / "flat" / "a.png")
    (tmp_path / "bad" / "x" / "a.png").write_bytes(b"\x89PNG broken")
    texts = [text.format(tmp=tmp_path, photo=demo_photo("obama-speech.jpg")) for text in arguments]
    code, out, err = run(monkeypatch, capsys, *texts)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    if arguments[0] == "enroll" and message != "none of 1 pictures could be used, the first: x/a.png":
        assert not (tmp_path / "g").exists()


def test_a_damaged_record_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, people: Path
) -> None:
    gallery = tmp_path / "g"
    run(monkeypatch, capsys, "enroll", str(gallery), str(people), "--aligned")
    with Gallery.open(gallery) as opened:
        size = opened.layout.record.itemsize
    with (gallery / "features.bin").open("r+b") as file:
        file.seek(HEADER + 2 * size + 50)
        file.write(os.urandom(8))
    code, out, _ = run(monkeypatch, capsys, "info", str(gallery), "--check")
    assert code == 1
    assert "damaged: record 2, bob, bob/1.png; enroll it again" in out
    code, out, _ = run(monkeypatch, capsys, "search", str(gallery), str(people / "bob/1.png"), "--aligned", "--faces")
    assert code == 0
    assert "Left out: 1 damaged record" in out
    assert "bob/1.png" not in out


def test_two_writers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, people: Path
) -> None:
    gallery = tmp_path / "g"
    run(monkeypatch, capsys, "enroll", str(gallery), str(people), "--aligned")
    with Gallery.open(gallery, writable=True):
        code, out, err = run(monkeypatch, capsys, "enroll", str(gallery), str(people), "--aligned")
        assert (code, out) == (2, "")
        assert "another process is writing to this gallery" in err
        assert run(monkeypatch, capsys, "search", str(gallery), str(people / "bob/1.png"), "--aligned")[0] == 0


def test_search_in_two_stages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, people: Path
) -> None:
    pytest.importorskip("faiss", reason="needs the extra 'ann'")
    gallery, photo = str(tmp_path / "g"), str(people / "bob" / "2.png")
    run(monkeypatch, capsys, "enroll", gallery, str(people), "--aligned")
    code, _, err = run(monkeypatch, capsys, "search", gallery, photo, "--aligned", "--shortlist", "9")
    assert (code, err.count("\n")) == (2, 1)
    assert f"whyface gallery index {gallery}" in err
    assert run(monkeypatch, capsys, "index", gallery)[:2] == (0, f"{gallery}: indexed 4 faces\n")
    whole = run(monkeypatch, capsys, "search", gallery, photo, "--aligned")
    assert run(monkeypatch, capsys, "search", gallery, photo, "--aligned", "--shortlist", "9") == whole


def test_an_encrypted_gallery(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, people: Path
) -> None:
    """Every command takes its key from a file or from the environment, and says in one line what is wrong with it."""
    pytest.importorskip("cryptography", reason="needs the extra 'encrypt'")
    monkeypatch.delenv("WHYFACE_KEY", raising=False)
    gallery, photo = str(tmp_path / "g"), str(people / "bob" / "2.png")
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_text("12" * 32 + "\n")
    other.write_text("34" * 32)
    with_key = ("--key", str(key))
    enroll = ("enroll", gallery, str(people), "--aligned", "--model", FAST_MODEL)
    assert run(monkeypatch, capsys, *enroll, *with_key)[::2] == (0, "")
    commands = [
        enroll,
        ("search", gallery, photo, "--aligned"),
        ("add", gallery, "bob", photo, "--aligned"),
        ("info", gallery, "--check"),
        ("sync", gallery, str(people), "--aligned", "--accept-poor"),
        ("repair", gallery),
        ("remove", gallery, "ann"),
        ("copy", gallery, str(tmp_path / "copy")),
    ]
    for command in commands:
        for wrong, message in (((), "encrypted; give its key"), (("--key", str(other)), "not the key")):
            code, out, err = run(monkeypatch, capsys, *command, *wrong)
            assert (code, out, err.count("\n")) == (2, "", 1), command
            assert message in err
        code, _, err = run(monkeypatch, capsys, *command, *with_key)
        assert (code, err) == (0, ""), command
    monkeypatch.setenv("WHYFACE_KEY", "12" * 32)
    code, out, _ = run(monkeypatch, capsys, "info", gallery, "--people")
    assert code == 0
    assert "encrypted on disk" in out
    assert out.splitlines()[-1].split() == ["2", "bob"]
    code, out, err = run(monkeypatch, capsys, "index", gallery)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "encrypted, and this file would not be" in err
    assert run(monkeypatch, capsys, "copy", gallery, str(tmp_path / "plain"), "--plain")[0] == 0
    assert "encrypted" not in run(monkeypatch, capsys, "info", str(tmp_path / "plain"))[1]
    code, _, err = run(monkeypatch, capsys, "info", str(tmp_path / "plain"), *with_key)
    assert (code, err.count("\n")) == (2, 1)
    assert "not encrypted, but a key was given" in err
    code, _, err = run(monkeypatch, capsys, "copy", gallery, str(tmp_path / "x"), "--plain", "--new-key", str(other))
    assert (code, err) == (2, "whyface: give either --plain or --new-key\n")


def test_identify_in_an_encrypted_gallery(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("cryptography", reason="needs the extra 'encrypt'")
    for name in ("obama", "biden"):
        (tmp_path / "people" / name).mkdir(parents=True)
        shutil.copy(demo_photo(f"{name}-portrait.jpg"), tmp_path / "people" / name / "1.jpg")
    gallery = str(tmp_path / "g")
    monkeypatch.setenv("WHYFACE_KEY", "ab" * 32)
    fast = ("--model", FAST_MODEL)
    assert run_whyface(monkeypatch, capsys, "gallery", "enroll", gallery, str(tmp_path / "people"), *fast)[0] == 0
    asked = ("identify", str(demo_photo("obama-speech.jpg")), "--gallery", gallery)
    code, out, err = run_whyface(monkeypatch, capsys, *asked)
    assert (code, err) == (0, "")
    assert out.startswith("obama")
    monkeypatch.delenv("WHYFACE_KEY")
    assert_refused(monkeypatch, capsys, "encrypted; give its key", *asked)


def test_options_that_do_not_go_together_create_no_gallery(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], people: Path, tmp_path: Path
) -> None:
    enroll = ("gallery", "enroll", str(tmp_path / "new"), str(people), "--model", FAST_MODEL)
    assert_refused(monkeypatch, capsys, "--address is that of a Ray cluster", *enroll, "--address", "there")
    assert_refused(monkeypatch, capsys, "leave one of them out", *enroll, "--bits", "8", "--float32")
    assert_refused(monkeypatch, capsys, "--bits 16 stores 16", *enroll, "--bits", "16", "--float32")
    assert not (tmp_path / "new").exists()
