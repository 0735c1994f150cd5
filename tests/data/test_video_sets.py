"""Pairs of videos: the list, and the pictures of each video."""

from __future__ import annotations

from pathlib import Path

import pytest

from whyface.data.video_sets import list_videos, read_video_sets
from whyface.errors import DataError

HEADER = "split number, first name, second name, is same\n"
NAMES = [f"{person}/{video}/frame.{k}.jpg" for person in ("Ann_A", "Bo_B") for video in (0, 1) for k in (9, 10, 100)]
LIST = HEADER + "1, Ann_A/0, Ann_A/1, 1\n1, Ann_A/0, Bo_B/1, 0\n3, Bo_B/0, Bo_B/1, 1\n3, Ann_A/1, Bo_B/0, 0\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "splits.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("prefix", ["", "frames/"])
@pytest.mark.parametrize("text", [LIST, LIST.removeprefix(HEADER)])
def test_pairs_people_folds_and_frames(tmp_path: Path, prefix: str, text: str) -> None:
    sets = read_video_sets(write(tmp_path, text), [prefix + name for name in NAMES], where="here", name="ytf")
    pairs = sets.pairs
    assert pairs.name == "ytf"
    assert pairs.pictures == ("Ann_A/0", "Ann_A/1", "Bo_B/1", "Bo_B/0")
    assert pairs.people == ("Ann_A", "Ann_A", "Bo_B", "Bo_B")
    assert pairs.genuine.tolist() == [True, False, True, False]
    assert pairs.fold.tolist() == [0, 0, 1, 1]
    # Frames in their order, not in that of the alphabet.
    assert sets.frames[2] == tuple(f"{prefix}Bo_B/1/frame.{k}.jpg" for k in (9, 10, 100))
    assert sets.count == 12


def test_pictures_at_the_top_belong_to_no_video() -> None:
    assert list_videos(["a.jpg", "p/v/2.jpg", "p/v/x.jpg", "p/v/1.jpg"]) == {
        "p/v": ("p/v/1.jpg", "p/v/2.jpg", "p/v/x.jpg")
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1, Ann_A/0, Ann_A/1", "expected 'split"),
        ("x, Ann_A/0, Ann_A/1, 1", "expected 'split"),
        ("1, Ann_A/0, Ann_A/1, yes", "expected 'split"),
        ("1, Ann_A, Ann_A/1, 1", "is not a video"),
        ("1, ../x, Ann_A/1, 1", "is not a video"),
        ("1, Ann_A/0/9, Ann_A/1, 1", "is not a video"),
        ("1, Ann_A/0, Ann_A/0, 1", "paired with itself"),
        ("1, Ann_A/0, Ann_A/1, 0", "contradict"),
        ("1, Ann_A/0, Bo_B/1, 1", "contradict"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_video_sets(write(tmp_path, LIST + line + "\n"), NAMES, where="here")
    assert "splits.txt, line 6" in str(caught.value)


def test_missing_videos_are_counted(tmp_path: Path) -> None:
    names = [name for name in NAMES if not name.startswith("Bo_B/0")]
    with pytest.raises(DataError, match=r"here: 1 of the 4 videos .* first Bo_B/0"):
        read_video_sets(write(tmp_path, LIST), names, where="here")
    with pytest.raises(DataError, match="4 of the 4 videos"):
        read_video_sets(write(tmp_path, LIST), [], where="here")


def test_empty_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pairs"):
        read_video_sets(write(tmp_path, HEADER), NAMES, where="here")
    with pytest.raises(DataError, match="empty"):
        read_video_sets(write(tmp_path, ""), NAMES, where="here")
    with pytest.raises(DataError, match="cannot be read"):
        read_video_sets(tmp_path / "no.txt", NAMES, where="here")
