"""Filling a gallery from a folder, whatever lies in it."""

from __future__ import annotations

import shutil
import tarfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from helpers.gallery_models import faces, tiny_xcos
from whyface.demo import demo_photo
from whyface.errors import DataError, OutputError
from whyface.faces.load import load_face
from whyface.faces.photo import read_photo
from whyface.gallery import enroll
from whyface.gallery.gallery import Gallery

# The pictures here are random blocks, in which there is nothing to recognise.
enroll_folder = partial(enroll.enroll_folder, accept_poor=True)


def write(root: Path, names: list[str], *, seed: int = 0, same: bool = False) -> Path:
    pictures = faces(len(names), seed)
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[0 if same else index].transpose(1, 2, 0)).save(root / name)
    return root


def test_folders_and_tars_alike(tmp_path: Path) -> None:
    root = write(tmp_path / "people", ["ann/1.png", "bob/1.png", "bob/2.png"])
    with tarfile.open(tmp_path / "people.tar", "w") as tar:
        tar.add(root, "people")
    for source in (root, tmp_path / "people.tar"):
        steps: list[tuple[int, int]] = []
        with Gallery.create(tmp_path / f"g-{source.name}", tiny_xcos()) as gallery:
            report = enroll_folder(
                gallery, source, aligned=True, progress=lambda *step, steps=steps: steps.append(step)
            )
            assert gallery.names() == {"ann": 1, "bob": 2}
        assert (report.added, report.people, report.failures, report.without_photo) == (3, 2, {}, [])
        assert steps[-1] == (3, 3)


def test_faces_that_tell_nothing_are_refused_and_listed(tmp_path: Path) -> None:
    face = load_face(demo_photo("obama-portrait.jpg")).image
    root = write(tmp_path / "people", ["noise/1.png", "mixed/1.png"])
    Image.fromarray(face).save(root / "mixed" / "2.png")
    Image.fromarray(np.full_like(face, 3)).save(root / "mixed" / "3.png")
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        report = enroll.enroll_folder(gallery, root, aligned=True)
        assert gallery.names() == {"mixed": 1}
        assert report.refused.keys() == {"noise/1.png", "mixed/1.png", "mixed/3.png"}
        assert report.refused["mixed/3.png"] == "the face is too dark"
        assert report.without_photo == ["noise"] and report.to_dict()["refused"] == report.refused
        assert enroll_folder(gallery, root, aligned=True).added == 3
        assert gallery.names() == {"mixed": 3, "noise": 1}
        with pytest.raises(DataError, match="the first: other/1.png: the face is "):
            enroll.enroll_folder(gallery, write(tmp_path / "poor", ["other/1.png"]), aligned=True)


def test_photos_are_judged_where_the_face_is_found(tmp_path: Path) -> None:
    photo = read_photo(demo_photo("obama-portrait.jpg"))
    (tmp_path / "people" / "ann").mkdir(parents=True)
    Image.fromarray(photo).save(tmp_path / "people" / "ann" / "1.png")
    Image.fromarray(cv2.GaussianBlur(photo, (0, 0), 12)).save(tmp_path / "people" / "ann" / "2.png")
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        report = enroll.enroll_folder(gallery, tmp_path / "people")
        assert (report.added, report.refused) == (1, {"ann/2.png": "the face is too blurred"})


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "people", [f"p{i}/1.png" for i in range(9)])
    monkeypatch.setattr(enroll, "_BATCH", 4)

    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery, pytest.raises(KeyboardInterrupt):
        enroll_folder(gallery, root, aligned=True, progress=stop)
    with Gallery.open(tmp_path / "g", tiny_xcos(), writable=True) as gallery:
        assert len(gallery) == 4
        report = enroll_folder(gallery, root, aligned=True)
        assert (report.added, len(report.skipped), report.people, len(gallery)) == (5, 4, 9, 9)


def test_the_same_picture_twice(tmp_path: Path) -> None:
    """Under one name it is skipped, within a batch and later; under two it is kept and pointed out."""
    root = write(tmp_path / "people", ["ann/1.png", "ann/2.png", "bob/1.png"], same=True)
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        report = enroll_folder(gallery, root, aligned=True)
        assert report.skipped == ["ann/2.png"]
        assert [(d.source, d.other_source, d.score) for d in report.doubts] == [("bob/1.png", "ann/1.png", 1.0)]
        again = enroll_folder(gallery, write(tmp_path / "more", ["cleo/9.png", "ann/7.png"], same=True), aligned=True)
        assert again.skipped == ["ann/7.png"]
        assert {doubt.other_name for doubt in again.doubts} == {"ann", "bob"}
        assert "the same picture" in again.doubts[0].describe()
        gallery.remove("ann")
        assert enroll_folder(gallery, tmp_path / "more", aligned=True).added == 1


def test_faces_that_look_alike_under_two_names(tmp_path: Path) -> None:
    root = write(tmp_path / "people", ["ann/1.png", "bob/1.png"])
    with Image.open(root / "ann/1.png") as picture:
        noisy = np.asarray(picture) // 16 * 16
    (root / "zoe").mkdir()
    Image.fromarray(noisy).save(root / "zoe" / "1.png")
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        (doubt,) = enroll_folder(gallery, root, aligned=True).doubts
        assert (doubt.name, doubt.other_name) == ("zoe", "ann")
        assert 0.7 < doubt.score < 1
        assert "look alike, score 0.9" in doubt.describe()
    with Gallery.create(tmp_path / "h", tiny_xcos()) as gallery:
        assert enroll_folder(gallery, root, aligned=True, find_doubts=False).doubts == []


def test_many_pictures_of_one_person_hide_nobody(tmp_path: Path) -> None:
    """Ann's ten pictures are more alike than Zoe's, and Bob's too: both other names are pointed out all the same."""
    base = faces(1)[0].transpose(1, 2, 0).astype(int)
    root = tmp_path / "people"
    for name, pictures, step in (("ann", 10, 1), ("bob", 10, 3), ("zoe", 1, 24)):
        (root / name).mkdir(parents=True)
        for number in range(pictures):
            changed = (base // step * step + number).clip(0, 255).astype(np.uint8)
            Image.fromarray(changed).save(root / name / f"{number}.png")
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        doubts = enroll_folder(gallery, root, aligned=True).doubts
    assert {(doubt.name, doubt.other_name) for doubt in doubts} == {("bob", "ann"), ("zoe", "ann"), ("zoe", "bob")}
    assert len([doubt for doubt in doubts if doubt.name == "zoe"]) == 2
    assert len([doubt for doubt in doubts if doubt.name == "bob"]) == 10


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_doubts_do_not_depend_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    base = faces(1)[0].transpose(1, 2, 0)
    for number, name in enumerate(["ann/1.png", "ann/2.png", "bob/1.png", "cleo/1.png"]):
        (tmp_path / "people" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(base // (8 + number) * (8 + number)).save(tmp_path / "people" / name)
    monkeypatch.setattr(enroll, "_BATCH", batch)
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        doubts = enroll_folder(gallery, tmp_path / "people", aligned=True).doubts
    found = [(doubt.name, doubt.other_name) for doubt in doubts]
    assert sorted(found) == [("bob", "ann"), ("cleo", "ann"), ("cleo", "bob")]


def test_a_picture_whose_pixels_were_not_kept(tmp_path: Path) -> None:
    """Added without a digest, it can be told by its score only; that it is as high as can be must not hide it."""
    root = write(tmp_path / "people", ["bob/1.png"])
    with Gallery.create(tmp_path / "g", tiny_xcos(), storage="float32") as gallery:
        gallery.add(gallery.features(faces(1)), "ann", "elsewhere")
        (doubt,) = enroll_folder(gallery, root, aligned=True).doubts
        assert (doubt.name, doubt.other_name) == ("bob", "ann")


def test_bad_pictures_never_stop_it(tmp_path: Path) -> None:
    root = write(tmp_path / "people", ["ann/1.png", "bob/1.png"])
    (root / "bob" / "1.png").write_bytes((root / "bob" / "1.png").read_bytes()[:200])
    (root / "cleo").mkdir()
    (root / "cleo" / "1.jpg").write_bytes(b"")
    (root / "dan").mkdir()
    Image.new("RGB", (50, 50)).save(root / "ann" / "small.png")
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        report = enroll_folder(gallery, root, aligned=True)
    assert report.added == 1
    assert sorted(report.failures) == ["ann/small.png", "bob/1.png", "cleo/1.jpg"]
    assert all(report.failures.values())
    assert report.without_photo == ["bob", "cleo", "dan"]
    assert report.to_dict()["people_without_usable_photo"] == ["bob", "cleo", "dan"]


def test_a_folder_with_a_blank_name_stops_nobody(tmp_path: Path) -> None:
    root = write(tmp_path / "people", [" /1.png", "ann/1.png"])
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        report = enroll_folder(gallery, root, aligned=True)
        assert gallery.names() == {"ann": 1}
        assert (report.added, report.people, report.without_photo) == (1, 1, [])
        assert "blank" in report.failures[" /1.png"]
        shutil.rmtree(root / "ann")
        with pytest.raises(DataError, match="none of 1 pictures could be used, the first:  /1.png: .*blank"):
            enroll_folder(gallery, root, aligned=True)


def test_nothing_to_enroll(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        with pytest.raises(DataError, match="no pictures here"):
            enroll_folder(gallery, tmp_path / "empty")
        with pytest.raises(DataError, match="are in no person's folder"):
            enroll_folder(gallery, write(tmp_path / "flat", ["1.png"]), aligned=True)
        root = write(tmp_path / "bad", ["ann/1.png"])
        (root / "ann" / "1.png").write_bytes(b"GIF")
        with pytest.raises(DataError, match=r"none of 1 pictures could be used, the first: ann/1\.png"):
            enroll_folder(gallery, root, aligned=True)
        assert len(gallery) == 0
    with Gallery.open(tmp_path / "g", tiny_xcos()) as gallery, pytest.raises(OutputError, match="reading only"):
        enroll_folder(gallery, write(tmp_path / "people", ["ann/1.png"]), aligned=True)
