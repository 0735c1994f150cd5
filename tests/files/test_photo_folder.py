"""One rule says which files are photos, for folders and archives alike."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from whyface.errors import DataError, PhotoError
from whyface.faces.photo import FORMATS, read_photo
from whyface.faces.pictures import open_pictures
from whyface.files.photo_folder import (
    ENDINGS,
    LARGEST_PHOTO,
    PHOTO_ENDINGS,
    PhotoFolder,
    describe_passed_over,
    list_photos,
    sort_names,
)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_photos_at_any_depth_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b.PNG", "ann/old/2.jpg", "ann/z.tiff", "ann/1.gif", "ann-2/1.webp")
    found = list_photos(tmp_path)
    assert found.photos == ("ann-2/1.webp", "ann/1.gif", "ann/old/2.jpg", "ann/z.tiff", "b.PNG")
    assert found.folders == ("ann", "ann-2", "ann/old")
    assert found.skipped == {}


def test_what_is_passed_over_has_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "list.txt", "x/b.mov", "x/c.MOV", "README", ".hidden.jpg", ".cache/1.jpg", "x/._a.jpg")
    found = list_photos(tmp_path)
    assert found.photos == ("a.jpg",)
    assert found.skipped == {
        ".cache": "hidden",
        ".hidden.jpg": "hidden",
        "README": "without an ending",
        "list.txt": "ending in .txt",
        "x/._a.jpg": "hidden",
        "x/b.mov": "ending in .mov",
        "x/c.MOV": "ending in .mov",
    }
    assert sorted(found.passed_over) == ["README", "list.txt", "x/b.mov", "x/c.MOV"]
    text = describe_passed_over(found.passed_over)
    assert text == "Skipped, not photos: 2 ending in .mov, 1 ending in .txt, 1 without an ending"
    assert describe_passed_over({}) == ""


def test_loops_and_broken_links(tmp_path: Path) -> None:
    """Links to folders are not followed, links to photos are; a link in a circle ends nothing."""
    touch(tmp_path, "a/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "a" / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "a" / "photo.jpg").symlink_to(tmp_path / "elsewhere" / "2.jpg")
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    found = list_photos(tmp_path)
    assert found.photos == ("a/1.jpg", "a/photo.jpg", "elsewhere/2.jpg")
    assert found.skipped == {
        "a/gone.jpg": "link that leads nowhere",
        "a/pipe.jpg": "no regular file",
        "a/self.jpg": "link that leads nowhere",
        "a/up": "link to a folder",
    }


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named; at the top it is an error. The permission is made up, since root may read everything."""
    touch(tmp_path, "a/1.jpg", "closed/2.jpg")
    real = os.scandir

    def scandir(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list_photos(tmp_path)
    assert (found.photos, found.skipped) == (("a/1.jpg",), {"closed": "unreadable folder (Permission denied)"})
    with pytest.raises(DataError, match="cannot be read"):
        list_photos(tmp_path / "closed")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """They are shown with their bytes written out, so that whatever prints or stores the reasons can."""
    touch(tmp_path, "a/1.jpg", os.fsdecode(b"a/caf\xe9.jpg"), os.fsdecode(b"caf\xe9/1.jpg"))
    found = list_photos(tmp_path)
    assert (found.photos, found.folders) == (("a/1.jpg",), ("a",))
    assert found.skipped == dict.fromkeys(["a/caf\\xe9.jpg", "caf\\xe9"], "with a name that is not in UTF-8")
    broken = sort_names(["ann\nbob/1.jpg", "c\u2028.jpg", "tab\t.jpg", "Jos\u00e9\u00a0\u3000.jpg"])
    assert broken.photos == ("Jos\u00e9\u00a0\u3000.jpg",)
    assert set(broken.skipped) == {"ann\\nbob/1.jpg", "c\\u2028.jpg", "tab\\t.jpg"}
    assert set(broken.skipped.values()) == {"with a line break or another control character in the name"}
    assert sort_names(["b/\udce9.jpg"]).skipped == {"b/\\xe9.jpg": "with a name that is not in UTF-8"}
    assert sort_names(["Zoë/名.jpg"]).photos == ("Zoë/名.jpg",)


@pytest.mark.parametrize("name", ["missing", "file.jpg"])
def test_no_folder(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "file.jpg")
    with pytest.raises(DataError, match="not a folder"):
        list_photos(tmp_path / name)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert list_photos(tmp_path) == PhotoFolder(())


def test_folders_and_names_agree(tmp_path: Path) -> None:
    names = ["a/1.jpg", "a/.x/2.jpg", ".y.png", "c.tif", "d.txt", "e.JPEG"]
    listed = sort_names(names)
    assert listed.photos == list_photos(touch(tmp_path, *names)).photos == ("a/1.jpg", "c.tif", "e.JPEG")
    assert listed.skipped == {"a/.x/2.jpg": "hidden", ".y.png": "hidden", "d.txt": "ending in .txt"}


@pytest.mark.parametrize("ending", sorted(PHOTO_ENDINGS))
def test_the_decoder_reads_every_ending(tmp_path: Path, ending: str) -> None:
    """What is listed can be read, as a photo and as an aligned picture."""
    (kind,) = [kind for kind, endings in ENDINGS.items() if ending in endings]
    path = tmp_path / f"photo{ending.upper()}"
    plain = Image.new("RGB", (112, 112), (10, 200, 30))
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs the extra heif").from_pillow(plain).save(path)
    else:
        plain.save(path, format=kind)
    assert kind in FORMATS
    assert read_photo(path).shape == (112, 112, 3)
    with open_pictures(tmp_path) as pictures:
        assert pictures.names() == (path.name,)
        assert pictures.read(path.name).shape == (112, 112, 3)


def test_one_limit_for_photographs(tmp_path: Path) -> None:
    """A file is refused by all who read it or by none."""
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(LARGEST_PHOTO + 1)
    with pytest.raises(PhotoError, match="exceed the limit"):
        read_photo(tmp_path / "huge.jpg")
    with open_pictures(tmp_path) as pictures, pytest.raises(DataError, match="too large"):
        pictures.read_bytes("huge.jpg")
