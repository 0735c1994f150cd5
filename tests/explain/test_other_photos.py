"""Faces of other people from a folder, whatever else lies in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from whyface.demo import demo_photo
from whyface.errors import DataError, InputError
from whyface.faces.load import other_photos


def test_every_kind_of_photo_counts_and_the_rest_is_named(tmp_path: Path) -> None:
    """TIFF is read, hidden files are not, and a link in a circle ends nothing."""
    (tmp_path / "sub").mkdir()
    shutil.copy(demo_photo("biden-portrait.jpg"), tmp_path / "sub" / "one.jpg")
    with Image.open(demo_photo("obama-portrait.jpg")) as picture:
        picture.save(tmp_path / "two.tiff")
    shutil.copy(demo_photo("obama-speech.jpg"), tmp_path / "three.jpg")
    (tmp_path / "._two.tiff").write_bytes(b"x")
    (tmp_path / "film.mov").write_bytes(b"x")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    faces, left_out = other_photos(tmp_path, besides=[tmp_path / "three.jpg"], threads=1)
    assert [Path(face.source).name for face in faces] == ["one.jpg", "two.tiff"]
    assert left_out == [f"{tmp_path}: Skipped, not photos: 1 ending in .mov, 1 link to a folder"]


def test_no_face_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture in it shows a face"):
        other_photos(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        other_photos(tmp_path / "missing")
