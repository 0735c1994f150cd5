from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whyface.data.pair_lists import read_lfw_pairs, read_pair_list
from whyface.data.protocols import PairProtocol, build_protocol
from whyface.errors import DataError, InputError

LFW = "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t3\nCy\t4\t10\nAnn\t2\tCy\t4\n"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_lfw_by_hand(tmp_path: Path) -> None:
    protocol = read_lfw_pairs(write(tmp_path / "pairs.txt", LFW))
    assert protocol.name == "pairs"
    assert protocol.pictures == (
        "lfw/Ann/Ann_0001.jpg",
        "lfw/Ann/Ann_0002.jpg",
        "lfw/Bob/Bob_0003.jpg",
        "lfw/Cy/Cy_0004.jpg",
        "lfw/Cy/Cy_0010.jpg",
    )
    assert protocol.people == ("Ann", "Ann", "Bob", "Cy", "Cy")
    assert protocol.left.tolist() == [0, 0, 3, 1]
    assert protocol.right.tolist() == [1, 2, 4, 3]
    assert protocol.genuine.tolist() == [True, False, True, False]
    assert protocol.fold.tolist() == [0, 0, 1, 1]
    assert protocol.people_left.tolist() == ["Ann", "Ann", "Cy", "Ann"]
    assert protocol.people_right.tolist() == ["Ann", "Bob", "Cy", "Cy"]


def test_lfw_view_one_header_and_windows_line_ends(tmp_path: Path) -> None:
    text = "\ufeff1\r\nAnn\t1\t2\r\nAnn\t1\tBob\t3\r\n\r\n"
    protocol = read_lfw_pairs(write(tmp_path / "dev.txt", text), folder="", name="dev-train")
    assert protocol.name == "dev-train"
    assert protocol.pictures[0] == "Ann/Ann_0001.jpg"
    assert protocol.fold.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (b"\xff\xfe\x00", "not UTF-8"),
        ("folds 10\n", "line 1: expected a header"),
        ("1 2 3\n", "line 1: expected a header"),
        ("0 300\n", "line 1: 0 folds of 300 pairs are impossible"),
        ("10 99999999999\n", "are impossible"),
        ("2\t1\nAnn\t1\t2\n", "promises 4 pairs, but 1 lines follow"),
        (LFW + "Ann 1 2\n", "promises 4 pairs, but 5 lines follow"),
        ("1\nAnn\t1\tBob\t3\nAnn\t1\t2\n", "line 2: expected a genuine pair"),
        ("1\nAnn\t1\t2\n\nAnn\t1\t2\n", "line 4: expected an impostor pair"),
        ("1\nAnn\t1\tx\nAnn\t1\tBob\t3\n", "line 2: 'x' is not a picture number"),
        ("1\nAnn\t0\t1\nAnn\t1\tBob\t3\n", "line 2: '0' is not a picture number"),
        ("1\nAnn\t1\t1\nAnn\t1\tBob\t3\n", "line 2: a genuine pair of one picture"),
        ("1\nAnn\t1\t2\nAnn\t1\tAnn\t3\n", "line 3: an impostor pair of one person, Ann"),
        ("1\n../Ann\t1\t2\nAnn\t1\tBob\t3\n", "line 2: '../Ann' is not a person's name"),
    ],
)
def test_malformed_lfw_files(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_lfw_pairs(write(tmp_path / "pairs.txt", text))
    assert "pairs.txt" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.txt: cannot be read"):
        read_lfw_pairs(tmp_path / "pairs.txt")


def test_pair_list_with_people_from_folders(tmp_path: Path) -> None:
    text = "# comment\nann/1.jpg ann/2.jpg 1\nann/1.jpg bob/1.jpg 0\nbob/1.jpg bob/2.jpg 1\nbob/2.jpg ann/2.jpg -1\n"
    protocol = read_pair_list(write(tmp_path / "list.txt", text), folds=2)
    assert protocol.people == ("ann", "ann", "bob", "bob")
    assert protocol.genuine.tolist() == [True, False, True, False]
    assert protocol.fold.tolist() == [0, 0, 1, 1]


def test_pair_list_with_people_from_genuine_pairs(tmp_path: Path) -> None:
    protocol = read_pair_list(write(tmp_path / "list.txt", "a 1.jpg\tb\t1\nb\tc\t1\nc\td\t0\n"), folds=1)
    who = dict(zip(protocol.pictures, protocol.people, strict=True))
    assert who["a 1.jpg"] == who["b"] == who["c"] != who["d"]


def test_every_fold_gets_its_share_of_both_kinds(tmp_path: Path) -> None:
    lines = [f"i{n} j{n} 0" for n in range(20)] + [f"g{n} h{n} 1" for n in range(10)]
    protocol = read_pair_list(write(tmp_path / "list.txt", "\n".join(lines)), folds=5)
    for fold in range(5):
        chosen = protocol.genuine[protocol.fold == fold]
        assert (chosen.sum(), (~chosen).sum()) == (2, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b 1\nc d\n", "line 2: expected 'pathA pathB label'"),
        ("a b c d\n", "line 1: expected"),
        ("a b 1\nc d 2\n", "line 2: the label must be 1"),
        ("a a 1\n", "line 1: a is paired with itself"),
        ("a b 1\nb c 1\na c 0\n", "line 3: genuine pairs make a and c one person"),
        ("# only a comment\n", "holds no pairs"),
    ],
)
def test_malformed_pair_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_pair_list(write(tmp_path / "list.txt", text), folds=1)
    assert "list.txt" in str(caught.value)


@pytest.mark.parametrize(("label", "missing"), [("1", "impostor"), ("0", "genuine")])
def test_only_folds_need_pairs_of_both_kinds(tmp_path: Path, label: str, missing: str) -> None:
    path = write(tmp_path / "list.txt", f"a b {label}\nc d {label}\n")
    assert len(read_pair_list(path, folds=1).genuine) == 2
    with pytest.raises(DataError, match=f"0 {missing} pairs are too few for 2 folds"):
        read_pair_list(path, folds=2)


def test_pair_list_needs_a_fold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folds"):
        read_pair_list(write(tmp_path / "list.txt", "a b 1\n"), folds=0)


def test_protocol_checks_itself() -> None:
    good = build_protocol("p", [("a", "b", True, 0), ("a", "c", False, 0)], {"a": "x", "b": "x", "c": "y"})
    with pytest.raises(InputError, match="same|shape"):
        PairProtocol("p", good.pictures, good.left[:1], good.right, good.genuine, good.fold, good.people)
    with pytest.raises(InputError, match="unique"):
        PairProtocol("p", ("a", "a", "c"), good.left, good.right, good.genuine, good.fold, good.people)
    with pytest.raises(InputError, match="not listed"):
        PairProtocol("p", good.pictures, good.left, good.right + 5, good.genuine, good.fold, good.people)
    with pytest.raises(InputError, match="N > 0"):
        build_protocol("p", [], {})
    assert good.left.dtype == np.intp
