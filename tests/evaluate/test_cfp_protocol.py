from __future__ import annotations

from pathlib import Path

import pytest

from whyface.data.pair_lists import read_cfp_pairs
from whyface.errors import DataError, InputError
from whyface.faces.pictures import FolderPictures

PEOPLE = 500


def write_protocol(root: Path) -> Path:
    """Write CFP's layout: picture lists, and splits in which pair k of each file takes person k."""
    folder = root / "Protocol"
    folder.mkdir(parents=True)
    for kind, view, count in (("F", "frontal", 10), ("P", "profile", 4)):
        names = [f"{p + 1:03d}/{view}/{n + 1:02d}.jpg" for p in range(PEOPLE) for n in range(count)]
        lines = [f"{row} ../Data/Images/{name}" for row, name in enumerate(names, 1)]
        (folder / f"Pair_list_{kind}.txt").write_text("\n".join(lines) + "\n")
    for split, per_person in (("FF", 10), ("FP", 4)):
        for fold in range(1, 11):
            place = folder / "Split" / split / f"{fold:02d}"
            place.mkdir(parents=True)
            same = [f"{10 * p + 1},{per_person * p + 2}" for p in range(350)]
            different = [f"{10 * p + 1},{per_person * (p + 1) + 2}" for p in range(350)]
            (place / "same.txt").write_text("\n".join(same) + "\n")
            (place / "diff.txt").write_text("\n".join(different) + "\n")
    return root


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_protocol(tmp_path_factory.mktemp("whole") / "cfp")


def test_both_splits(shared: Path) -> None:
    with FolderPictures(shared.parent) as source:
        frontal = read_cfp_pairs(source, "FF")
        profile = read_cfp_pairs(source, "FP")
    for protocol, name in ((frontal, "cfp-ff"), (profile, "cfp-fp")):
        assert protocol.name == name
        assert len(protocol.genuine) == 7000
        assert protocol.genuine.sum() == 3500
        assert sorted(set(protocol.fold.tolist())) == list(range(10))
        same = protocol.people_left == protocol.people_right
        assert (same == protocol.genuine).all()
    assert frontal.pictures[:2] == ("cfp/Images/001/frontal/01.jpg", "cfp/Images/001/frontal/02.jpg")
    assert profile.pictures[:2] == ("cfp/Images/001/frontal/01.jpg", "cfp/Images/001/profile/02.jpg")


def test_the_folder_may_be_the_top(shared: Path) -> None:
    with FolderPictures(shared) as source:
        assert read_cfp_pairs(source, "FF").pictures[0] == "Images/001/frontal/01.jpg"
        assert read_cfp_pairs(source, "FF", folder="").pictures[0] == "Images/001/frontal/01.jpg"


def test_unknown_split(shared: Path) -> None:
    with FolderPictures(shared) as source, pytest.raises(InputError, match="not 'PP'"):
        read_cfp_pairs(source, "PP")  # type: ignore[arg-type]


def test_no_protocol(tmp_path: Path) -> None:
    with FolderPictures(tmp_path) as source, pytest.raises(DataError, match="no CFP protocol found"):
        read_cfp_pairs(source, "FF")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("Pair_list_F.txt", "2 ../Data", "3 ../Data", "line 2: expected '2 ../Data"),
        ("Pair_list_F.txt", "1 ../Data/Images/001", "1 ../../etc/001", "line 1: expected"),
        ("Pair_list_F.txt", "5000 ../Data/Images/500/frontal/10.jpg\n", "", "expected 5000 pictures, got 4999"),
        ("Split/FF/03/same.txt", "1,2\n", "", "expected 350 pairs, got 349"),
        ("Split/FF/03/same.txt", "1,2\n", "1;2\n", "03/same.txt, line 1: expected two numbers"),
        ("Split/FF/03/same.txt", "1,2\n", "1,5001\n", "line 1: picture number 5001 is not between 1 and 5000"),
        ("Split/FF/03/same.txt", "1,2\n", "0,2\n", "line 1: picture number 0"),
        ("Split/FF/03/same.txt", "1,2\n", "1,11\n", "line 1: .* are not a same pair"),
        ("Split/FF/03/same.txt", "1,2\n", "1,1\n", "line 1: .* are not a same pair"),
        ("Split/FF/10/diff.txt", "1,12\n", "1,2\n", "10/diff.txt, line 1: .* are not a diff pair"),
    ],
)
def test_malformed_files(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    path = write_protocol(tmp_path) / "Protocol" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with FolderPictures(tmp_path) as source, pytest.raises(DataError, match=message):
        read_cfp_pairs(source, "FF")


def test_missing_split_file(tmp_path: Path) -> None:
    (write_protocol(tmp_path) / "Protocol/Split/FF/07/diff.txt").unlink()
    with FolderPictures(tmp_path) as source, pytest.raises(DataError, match=r"07/diff\.txt"):
        read_cfp_pairs(source, "FF")
