"""``whyface cluster`` and ``whyface album``: groups with reasons, which hands can correct and later runs keep."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest

from helpers.command_line import Ended
from whyface.albums import filling
from whyface.albums.album import FEATURES, Album, open_album
from whyface.albums.filling import open_features, start_album, update_album
from whyface.albums.outputs import write_table
from whyface.cli import main
from whyface.demo import demo_photo
from whyface.errors import DataError, InputError, OutputError
from whyface.faces.load import load_face
from whyface.files.integrity import dropped_if_empty
from whyface.gallery.gallery import Gallery
from whyface.models.catalogue import DEFAULT_MODEL, FAST_MODEL, model_entry
from whyface.models.entry import ModelEntry
from whyface.xcos.open_model import open_model


def in_process(*arguments: str) -> Ended:
    """Run a command in this process; for fixtures of a module, which cannot use those of a test."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["whyface", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
    assert isinstance(stop.value.code, int)
    return Ended(stop.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos of one man, one of another, both in a third, and a photo of nobody that can be told."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("obama-portrait", "obama-speech", "biden-portrait"):
        shutil.copy(demo_photo(f"{name}.jpg"), folder / f"{name}.jpg")
    one, other = (np.asarray(cv2.imread(str(folder / f"{name}-portrait.jpg"))) for name in ("obama", "biden"))
    height = 400
    pair = [cv2.resize(image, (round(image.shape[1] * height / image.shape[0]), height)) for image in (one, other)]
    (folder / "trip").mkdir()
    cv2.imwrite(str(folder / "trip" / "both.png"), np.concatenate(pair, axis=1))
    cv2.imwrite(str(folder / "blurred.png"), cv2.GaussianBlur(cv2.resize(one, (256, 320)), (0, 0), 5))
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "notes.txt").write_text("nothing")
    return folder


@pytest.fixture(scope="module")
def first(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("albums") / "album"
    done = in_process("cluster", str(photos), "--out", str(out), "--parquet")
    assert done.returncode == 0, done.stderr
    assert (
        "people with several faces: 2; faces alone: 0; undecided: 1; of 6 faces in 6 photos (6 read, 0 gone)"
        in done.stdout
    )
    assert "not used: broken.jpg" in done.stderr
    assert "Skipped, not photos: 1 ending in .txt" in done.stderr
    return out


def copy_of(album: Path, to: Path) -> Path:
    shutil.copytree(album, to)
    return to


def rows(album: Path) -> dict[str, dict[str, str]]:
    with (album / "faces.csv").open(encoding="utf-8", newline="") as file:
        return {f"{row['photo']}#{row['face']}": row for row in csv.DictReader(file)}


def test_people_are_grouped_with_the_pair_that_tied_them(first: Path) -> None:
    found = rows(first)
    obama, biden = found["obama-portrait.jpg#0"], found["biden-portrait.jpg#0"]
    both = {found["trip/both.png#0"]["person"], found["trip/both.png#1"]["person"]}
    assert both == {obama["person"], biden["person"]}
    assert len(both) == 2
    assert found["obama-speech.jpg#0"]["person"] == obama["person"]
    assert obama["tied_to"].startswith("trip/both.png#")
    assert float(obama["score"]) > 0.9
    assert "threshold" in obama["reason"]
    poor = found["blurred.png#0"]
    assert (poor["status"], poor["person"]) == ("undecided", "")
    assert "too blurred" in poor["reason"]


def test_the_page_shows_everybody_and_loads_nothing_from_elsewhere(first: Path) -> None:
    page = (first / "index.html").read_text(encoding="utf-8")
    assert "default-src 'none'; img-src 'self'" in page
    assert page.count("<img") == 6
    assert "Undecided, too poor to be compared: 1 face<" in page
    assert "Alone" not in page
    assert "broken.jpg" in page
    for row in rows(first).values():
        assert (first / row["crop"]).is_file()
        assert row["crop"] in page
        # Edits by hand name a face in this way.
        assert f">{row['photo']}#{row['face']}</a>" in page


def test_a_second_run_reads_nothing_again(first: Path, photos: Path, tmp_path: Path) -> None:
    album = copy_of(first, tmp_path / "album")
    before = rows(album)
    done = in_process("cluster", str(photos), "--out", str(album))
    assert "(0 read, 0 gone)" in done.stdout
    assert rows(album) == before


def test_new_photos_join_in_and_gone_ones_leave(first: Path, photos: Path, tmp_path: Path) -> None:
    album, folder = copy_of(first, tmp_path / "album"), copy_of(photos, tmp_path / "photos")
    person = rows(album)["biden-portrait.jpg#0"]["person"]
    (folder / "blurred.png").unlink()
    shutil.copy(folder / "biden-portrait.jpg", folder / "again.jpg")
    for photo in folder.rglob("*.*"):
        original = photos / photo.relative_to(folder)
        if original.exists():
            shutil.copystat(original, photo)
    done = in_process("cluster", str(folder), "--out", str(album))
    assert "(1 read, 1 gone)" in done.stdout
    found = rows(album)
    assert found["again.jpg#0"]["person"] == person
    assert "the same picture" in found["again.jpg#0"]["reason"]
    assert "blurred.png#0" not in found


def test_what_was_changed_by_hand_stays(first: Path, photos: Path, tmp_path: Path) -> None:
    album = copy_of(first, tmp_path / "album")
    path = str(album)
    assert in_process("album", "rename", path, "obama-portrait.jpg#0", "Barack").returncode == 0
    assert in_process("album", "rename", path, "biden-portrait.jpg#0", "Joe").returncode == 0
    assert in_process("album", "split", path, "obama-speech.jpg#0").returncode == 0
    for _ in range(2):
        assert in_process("cluster", str(photos), "--out", path).returncode == 0
        found = rows(album)
        assert found["obama-portrait.jpg#0"]["name"] == "Barack"
        assert found["biden-portrait.jpg#0"]["name"] == "Joe"
        assert found["obama-speech.jpg#0"]["status"] == "alone"
        assert "put apart by hand" in found["obama-speech.jpg#0"]["reason"]
    assert in_process("album", "merge", path, "Barack", "obama-speech.jpg#0").returncode == 0
    assert in_process("cluster", str(photos), "--out", path).returncode == 0
    assert rows(album)["obama-speech.jpg#0"]["name"] == "Barack"
    assert in_process("album", "merge", path, "Joe", "Barack").returncode == 0
    assert in_process("cluster", str(photos), "--out", path).returncode == 0
    assert {row["name"] for row in rows(album).values() if row["person"]} == {"Joe"}


def test_why_says_the_pair_and_its_places(first: Path) -> None:
    done = in_process("album", "why", str(first), "obama-speech.jpg#0", "--json")
    (found,) = json.loads(done.stdout)
    similarity, weights = np.array(found["S"]), np.array(found["W"])
    assert similarity.shape == (7, 7)
    assert weights.sum() == pytest.approx(1, abs=1e-4)
    assert (similarity * weights).sum() == pytest.approx(found["score"], abs=1e-3)
    plain = in_process("album", "why", str(first), "obama-speech.jpg#0").stdout
    assert plain.strip() == f"obama-speech.jpg#0: {found['sentence']}"


def test_folders_links_and_a_gallery(first: Path, photos: Path, tmp_path: Path) -> None:
    album = copy_of(first, tmp_path / "album")
    in_process("album", "rename", str(album), "obama-portrait.jpg#0", "../B/O")
    out = [str(tmp_path / name) for name in ("by-person", "staff")]
    done = in_process("cluster", str(photos), "--out", str(album), "--folders", out[0], "--links", "--gallery", out[1])
    assert done.returncode == 0, done.stderr
    folders = sorted(path.name for path in (tmp_path / "by-person").iterdir())
    assert len(folders) == 2
    assert any(name.startswith("_B_O (") for name in folders)
    assert all(path.resolve().is_file() for path in (tmp_path / "by-person").rglob("*.jpg"))
    model = open_model(DEFAULT_MODEL).model
    with Gallery.open(tmp_path / "staff", model) as gallery:
        assert gallery.names() == {"../B/O": 3, "person " + rows(album)["biden-portrait.jpg#0"]["person"]: 2}
        face = load_face(photos / "obama-speech.jpg").image.transpose(2, 0, 1)[None]
        ((best, *_),) = gallery.search(gallery.features(face), k=1)
        assert best.name == "../B/O"
        assert best.score == pytest.approx(1, abs=1e-4)
    done = in_process("gallery", "search", str(tmp_path / "staff"), str(photos / "obama-speech.jpg"))
    assert done.returncode == 0, done.stderr
    assert "1. ../B/O " in done.stdout


def test_what_cannot_be_done_is_said_in_one_line(first: Path, photos: Path, tmp_path: Path) -> None:
    album = copy_of(first, tmp_path / "album")
    (tmp_path / "empty").mkdir()
    cases = [
        (("cluster", str(tmp_path / "empty"), "--out", str(album)), "no photos here"),
        (("cluster", str(photos), "--out", str(tmp_path)), "is not an empty folder"),
        (("cluster", str(photos), "--out", str(album), "--model", "xcos-mobilefacenet"), "was made with xcos-large"),
        (("cluster", str(photos), "--out", str(album), "--folders", str(photos)), "already exists"),
        (("album", "why", str(tmp_path / "empty"), "1"), "no album here"),
        (("album", "why", str(album), "nobody"), "nobody and no face is called 'nobody'"),
        (("album", "merge", str(album), "obama-portrait.jpg#0", "obama-speech.jpg#0"), "one person already"),
        (("album", "merge", str(album), "obama-portrait.jpg#0", "blurred.png#0"), "too poor to be compared"),
        (("album", "split", str(album), "obama-portrait.jpg#0", "biden-portrait.jpg#0"), "faces of one person"),
        (("album", "rename", str(album), "obama-portrait.jpg#0", " "), "not empty"),
    ]
    for arguments, message in cases:
        done = in_process(*arguments)
        assert done.returncode == 2, arguments
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": "whyface/album/9"}', '{"schema": "whyface/album/1", "faces": 3}']
)
def test_a_damaged_album_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "album.json").write_text(text)
    with pytest.raises(DataError, match=r"album\.json: damaged"):
        open_album(tmp_path)


@pytest.mark.parametrize(
    "edit",
    ['{"name": ["x"]}', '{"merge": 3}', '{"apart": [["a"]]}', '{"apart": ["a", 1]}', '{"gone": ["a"]}', "{}", "[]"],
)
def test_changes_that_no_hand_made_are_refused(first: Path, tmp_path: Path, edit: str) -> None:
    document = json.loads((first / "album.json").read_text(encoding="utf-8"))
    document["edits"] = [json.loads(edit)]
    (tmp_path / "album.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"album\.json: damaged"):
        open_album(tmp_path)


def test_two_people_cannot_get_one_name(first: Path) -> None:
    album = open_album(first)
    album.rename("obama-portrait.jpg#0", "Ann")
    with pytest.raises(InputError, match="another person of the album already"):
        album.rename("biden-portrait.jpg#0", "Ann")


def test_a_name_like_a_formula_is_a_text_in_the_table(first: Path, tmp_path: Path) -> None:
    album = open_album(copy_of(first, tmp_path / "album"))
    person = next(iter(album.people()))
    album.rename(str(person), '=HYPERLINK("x")')
    album.save()
    write_table(album)
    named = {row["name"] for row in rows(album.path).values() if row["person"] == str(person)}
    assert named == {'\'=HYPERLINK("x")'}
    assert open_album(album.path).names()[person] == '=HYPERLINK("x")'
    with pytest.raises(InputError, match="line break"):
        album.rename(str(person), "Ann\nBob")


def test_records_of_a_run_that_broke_off_are_dropped(photos: Path, tmp_path: Path) -> None:
    model = open_model(DEFAULT_MODEL).model
    album = start_album(tmp_path / "album", model_entry(DEFAULT_MODEL))
    with open_features(album.path, model) as features:
        features.add(np.ones((2, *features.layout.shape), np.float32), ["lost", "too"], "x.jpg")
        update_album(album, features, photos)
        assert len(features) == 5
    assert len([face for face in album.faces if face.person is not None]) == 5


def test_photos_whose_paths_differ_in_the_slash_alone_stay_apart(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    shutil.copy(photos / "obama-portrait.jpg", folder / "trip_1.jpg")
    shutil.copy(photos / "obama-speech.jpg", folder / "trip" / "1.jpg")
    out = tmp_path / "by-person"
    done = in_process("cluster", str(folder), "--out", str(tmp_path / "album"), "--folders", str(out))
    assert done.returncode == 0, done.stderr
    crops = [tmp_path / "album" / row["crop"] for row in rows(tmp_path / "album").values()]
    assert len({crop.read_bytes() for crop in crops}) == 2
    assert {path.read_bytes() for path in out.rglob("*.jpg")} == {path.read_bytes() for path in folder.rglob("*.jpg")}


def test_a_first_run_with_a_wrong_folder_does_not_spoil_the_album(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong").mkdir()
    (tmp_path / "right").mkdir()
    shutil.copy(photos / "obama-portrait.jpg", tmp_path / "right")
    out = tmp_path / "album"
    assert "no photos here" in in_process("cluster", str(tmp_path / "wrong"), "--out", str(out)).stderr
    done = in_process("cluster", str(tmp_path / "right"), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "of 1 face in 1 photo (1 read" in done.stdout


def test_a_folder_of_nobody(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), rng.integers(0, 256, (80, 80, 3), np.uint8))
    done = in_process("cluster", str(tmp_path / "photos"), "--out", str(tmp_path / "album"))
    assert done.returncode == 2
    assert "no face in any of 3 photos" in done.stderr
    assert not (tmp_path / "album").exists()


def test_an_album_keeps_its_place_when_its_photos_are_gone(tmp_path: Path) -> None:
    album = start_album(tmp_path / "album", model_entry(DEFAULT_MODEL))
    with pytest.raises(DataError), dropped_if_empty(album.path, lambda: not album.faces, new=False):
        raise DataError("no face")
    assert album.path.is_dir()
    with pytest.raises(DataError), dropped_if_empty(album.path, lambda: not album.faces, new=True):
        raise DataError("no face")
    assert not album.path.exists()


def test_options_that_do_not_go_together_start_no_album(photos: Path, tmp_path: Path) -> None:
    start = ("cluster", str(photos), "--out", str(tmp_path / "album"))
    assert "--address is that of a Ray cluster" in in_process(*start, "--address", "there").stderr
    assert "already exists" in in_process(*start, "--gallery", str(photos)).stderr
    assert (
        "does not hold what that takes"
        in in_process(*start, "--gallery", f"{tmp_path / 'g'}", "--model", FAST_MODEL).stderr
    )
    assert not (tmp_path / "album").exists()


def test_nothing_is_written_among_the_photos(photos: Path, tmp_path: Path) -> None:
    inside = photos / "trip" / "album"
    for options in (("--out", str(inside)), ("--out", str(tmp_path / "album"), "--folders", str(inside))):
        done = in_process("cluster", str(photos), *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert "lies in the folder of the photos" in done.stderr
    assert not inside.exists()
    assert not (tmp_path / "album").exists()


def test_an_album_that_another_process_has_just_begun_is_not_dropped(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album = tmp_path / "album"

    def begun_elsewhere(path: Path, entry: ModelEntry) -> Album:
        made = start_album(path, entry)
        (path / FEATURES).mkdir()
        return made

    monkeypatch.setattr(filling, "start_album", begun_elsewhere)
    assert in_process("cluster", str(photos), "--out", str(album)).returncode == 2
    assert (album / FEATURES).is_dir()


@pytest.mark.parametrize("ends", [DataError("no face"), InputError("no name"), KeyboardInterrupt()])
def test_a_new_folder_goes_however_the_run_ends(tmp_path: Path, ends: BaseException) -> None:
    (tmp_path / "new").mkdir()
    with pytest.raises(type(ends)), dropped_if_empty(tmp_path / "new", lambda: True, new=True):
        raise ends
    assert not (tmp_path / "new").exists()


def test_an_album_of_another_kind_of_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        start_album(tmp_path / "file", model_entry(DEFAULT_MODEL))
