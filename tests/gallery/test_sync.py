"""A gallery and its folder: what came, changed, moved or went; and strangers in somebody's folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import run_whyface
from helpers.gallery_models import faces, tiny_xcos
from whyface.demo import demo_photo
from whyface.errors import DataError
from whyface.faces.load import load_face
from whyface.gallery.enroll import EnrolReport, enroll_faces
from whyface.gallery.gallery import Gallery
from whyface.gallery.opening import open_or_create
from whyface.gallery.sync import sync_folder

PICTURES = faces(6).transpose(0, 2, 3, 1)


def put(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(PICTURES[number]).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "people"
    for number, name in enumerate(("ann/1.png", "ann/2.png", "bob/1.png", "cem/1.png")):
        put(root / name, number)
    return root


def sources(gallery: Gallery) -> list[tuple[str, str]]:
    return sorted((row.name, row.source) for row in gallery.rows(number for number, _ in gallery.labels()).values())


@pytest.mark.parametrize("remove", [False, True])
def test_everything_that_happened_to_the_photos_is_seen(tmp_path: Path, folder: Path, remove: bool) -> None:
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        first = sync_folder(gallery, folder, aligned=True, accept_poor=True)
        assert (first.enrolled.added, first.changed, first.moved, first.gone) == (4, {}, {}, {})
        put(folder / "ann/1.png", 4)
        (folder / "ann/2.png").rename(folder / "ann/renamed.png")
        (folder / "bob/1.png").unlink()
        put(folder / "dee/1.png", 5)
        report = sync_folder(gallery, folder, aligned=True, accept_poor=True, remove=remove)
        assert report.enrolled.added == 2
        assert report.changed == {"ann/1.png": 0}
        assert report.moved == {"ann/2.png": "ann/renamed.png"}
        assert report.gone == {"bob/1.png": 2}
        assert report.removed == ([0, 2] if remove else [])
        expected = [("ann", "ann/1.png"), ("ann", "ann/2.png"), ("cem", "cem/1.png"), ("dee", "dee/1.png")]
        former = [] if remove else [("ann", "ann/1.png"), ("bob", "bob/1.png")]
        assert sources(gallery) == sorted([*expected, *former])
        again = sync_folder(gallery, folder, aligned=True, accept_poor=True)
        assert (again.enrolled.added, again.changed) == (0, {})


def test_an_empty_folder_removes_nobody(tmp_path: Path, folder: Path) -> None:
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        sync_folder(gallery, folder, aligned=True, accept_poor=True)
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="no pictures"):
            sync_folder(gallery, tmp_path / "empty", remove=True)
        assert len(gallery) == 4


def test_folders_whose_accents_are_written_apart(tmp_path: Path) -> None:
    for number, name in enumerate(("Jos\u00e9", "Jose\u0301")):
        put(tmp_path / "people" / name / f"{number}.png", number)
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        report = sync_folder(gallery, tmp_path / "people", aligned=True, accept_poor=True)
        assert gallery.names() == {"Jos\u00e9": 2}
        assert (report.enrolled.people, report.enrolled.without_photo) == (1, [])


def test_a_stranger_among_somebody_s_photos_is_doubted(tmp_path: Path) -> None:
    names = ("obama-portrait.jpg", "obama-speech.jpg", "biden-portrait.jpg")
    same, other, stranger = (load_face(demo_photo(name)).image.transpose(2, 0, 1) for name in names)
    with open_or_create(tmp_path / "g", "xcos-mobilefacenet", threads=1) as gallery:
        report = EnrolReport()
        enroll_faces(gallery, [same], ["Barack"], ["1.jpg"], report)
        enroll_faces(gallery, [other], ["Barack"], ["2.jpg"], report)
        assert report.doubts == []
        enroll_faces(gallery, [stranger], ["Barack"], ["3.jpg"], report)
        (doubt,) = report.doubts
        assert (doubt.source, doubt.name, doubt.other_name) == ("3.jpg", "Barack", "Barack")
        assert doubt.describe().startswith("somebody else among the photos of Barack? 3.jpg")
        assert np.isfinite(doubt.score)


def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    common = ("--aligned", "--accept-poor")
    gallery = str(tmp_path / "g")
    assert run_whyface(monkeypatch, capsys, "gallery", "enroll", gallery, str(folder), *common)[0] == 0
    (folder / "bob/1.png").unlink()
    status, output, _ = run_whyface(monkeypatch, capsys, "gallery", "sync", gallery, str(folder), *common)
    assert status == 0
    assert "gone: bob/1.png, record 2" in output
    assert "--remove removes them" in output
    assert "4 faces of 3 people" in output
    arguments = ("gallery", "sync", gallery, str(folder), *common, "--remove", "--json")
    _, output, _ = run_whyface(monkeypatch, capsys, *arguments)
    found = json.loads(output)
    assert (found["gone"], found["removed"]) == ({"bob/1.png": 2}, [2])
