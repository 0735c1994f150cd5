"""Covered copies of pictures on disk, and the command that writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.command_line import assert_refused, run_whyface
from whyface.data.covering import MASKS, landmark_mask, write_covered
from whyface.errors import DataError, InputError, OutputError
from whyface.faces.pictures import open_pictures


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    for number in range(3):
        path = tmp_path / "faces" / "ann" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((112, 112, 3), 40 + number, np.uint8)).save(path)
    return tmp_path / "faces"


def black(path: Path) -> NDArray[np.bool_]:
    return np.asarray((np.asarray(Image.open(path)) == 0).all(axis=2), np.bool_)


def test_every_picture_has_its_own_mask_of_that_size(faces: Path, tmp_path: Path) -> None:
    with open_pictures(faces) as source:
        write_covered(tmp_path / "a", source, source.names(), coverage=0.3, seed=1)
        write_covered(tmp_path / "b", source, source.names()[1:], coverage=0.3, seed=1)
        write_covered(tmp_path / "c", source, source.names(), coverage=0.3, seed=2)
    masks = [black(tmp_path / "a" / "ann" / f"{number}.png") for number in range(3)]
    assert [mask.mean() for mask in masks] == pytest.approx([0.3] * 3, abs=1e-4)
    assert not np.array_equal(masks[0], masks[1])
    # Neither the other pictures nor their order matter, but the seed does.
    assert np.array_equal(black(tmp_path / "b" / "ann" / "1.png"), masks[1])
    assert not np.array_equal(black(tmp_path / "c" / "ann" / "1.png"), masks[1])
    assert (tmp_path / "b" / MASKS).read_text() == "ann/1.png,0.3\nann/2.png,0.3\n"


def test_what_cannot_be_written(faces: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((112, 112, 3), np.uint8)).save(faces / "ann" / "0.bmp")
    with open_pictures(faces) as source:
        with pytest.raises(DataError, match="one name"):
            write_covered(tmp_path / "a", source, source.names(), coverage=0.3)
        with pytest.raises(InputError, match="one of the two"):
            write_covered(tmp_path / "a", source, source.names())
        with pytest.raises(InputError, match="share"):
            write_covered(tmp_path / "a", source, source.names(), coverage=0.95)
        with pytest.raises(OutputError, match="already exists"):
            write_covered(faces, source, source.names(), coverage=0.3)
    assert not (tmp_path / "a").exists()


def test_the_command(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("ann/2.png\nann/0.png\n")
    out = tmp_path / "scarves"
    given = ["mask", str(faces), str(out), "--accessory", "scarf", "--names", str(names), "--jpeg"]
    code, text, _ = run_whyface(monkeypatch, capsys, *given)
    assert (code, text) == (0, f"{out}: 2 pictures and masks.csv\n")
    assert sorted(path.name for path in (out / "ann").iterdir()) == ["0.jpg", "2.jpg"]
    seen = np.asarray(Image.open(out / "ann" / "0.jpg")).max(axis=2) < 12
    assert (seen == landmark_mask("scarf")).mean() > 0.97
    names.write_text("bob/1.png\n")
    given[2] = str(tmp_path / "none")
    assert_refused(monkeypatch, capsys, "1 names are not in", *given)
