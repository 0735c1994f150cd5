"""Names of protocols, and what is checked before any work."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from helpers.picture_files import flat, write_tree
from whyface.data.open_protocol import ProtocolName, open_protocol, parse_protocol
from whyface.errors import DataError, InputError


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder in LFW's form: five people with two pictures each."""
    names = [f"{person}/{person}_{number:04d}.jpg" for person in "abcde" for number in (1, 2)]
    return write_tree(tmp_path / "set", dict.fromkeys(names, flat(0, "jpeg")))


LFW = "2\t1\na\t1\t2\na\t1\tb\t1\nb\t1\t2\nb\t1\tc\t2\n"


def test_names() -> None:
    assert parse_protocol("lfw") == ProtocolName("lfw")
    assert parse_protocol("cfp-fp") == ProtocolName("cfp-fp")
    # A colon may also belong to the file.
    assert parse_protocol("pairs:a:b.txt") == ProtocolName("pairs", Path("a:b.txt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lfv", "did you mean 'lfw'"),
        ("LFW", "did you mean 'lfw'"),
        ("", "known: lfw, cfp-ff, cfp-fp, pairs:FILE, names:FILE, bin:FILE, bcolz:FILE, ytf:FILE"),
        ("pairs", "pairs:FILE"),
        ("pairs:", "pairs:FILE"),
        ("lfw:pairs.txt", "unknown protocol"),
    ],
)
def test_unknown_names(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_protocol(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["inside", "beside", "given"])
@pytest.mark.parametrize("folder", ["", "lfw", "lfw-deepfunneled"])
def test_lfw_finds_its_pairs_and_its_folder(faces: Path, tmp_path: Path, where: str, folder: str) -> None:
    data = faces
    if folder:
        data = tmp_path / "outer" / "data"
        data.mkdir(parents=True)
        faces.rename(data / folder)
    given = tmp_path / "my-pairs.txt"
    path = {"inside": data / "pairs.txt", "beside": data.parent / "lfw-pairs.txt", "given": given}[where]
    path.write_text(LFW)
    source, protocol = open_protocol(ProtocolName("lfw"), data, pairs=given if where == "given" else None)
    with source:
        assert protocol.name == "lfw"
        assert protocol.genuine.tolist() == [True, False, True, False]
        assert protocol.fold.tolist() == [0, 0, 1, 1]
        assert source.read(protocol.pictures[0]).shape == (112, 112, 3)


def test_pairs_from_a_tar_file(faces: Path, tmp_path: Path) -> None:
    archive = tmp_path / "set.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(faces, "set")
    pairs = tmp_path / "list.txt"
    pairs.write_text("".join(f"set/{p}/{p}_0001.jpg set/{p}/{p}_0002.jpg 1\n" for p in "ab"))
    pairs.write_text(pairs.read_text() + "set/a/a_0001.jpg set/b/b_0001.jpg 0\nset/a/a_0002.jpg set/b/b_0001.jpg 0\n")
    source, protocol = open_protocol(ProtocolName("pairs", pairs), archive, folds=2)
    with source:
        assert protocol.name == "list"
        assert set(protocol.people) == {"set/a", "set/b"}


def test_missing_data(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder or tar file"):
        open_protocol(ProtocolName("lfw"), tmp_path / "nothing")


def test_missing_pairs(faces: Path) -> None:
    with pytest.raises(DataError, match="--pairs"):
        open_protocol(ProtocolName("lfw"), faces)


def test_pairs_of_the_wrong_form(faces: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text("a_1.jpg,a_2.jpg,1\n")
    with pytest.raises(DataError, match="expected 'pathA pathB label'"):
        open_protocol(ProtocolName("pairs", path), faces)
    with pytest.raises(DataError, match="expected a header"):
        open_protocol(ProtocolName("lfw"), faces, pairs=path)


def test_missing_pictures_are_counted(faces: Path, tmp_path: Path) -> None:
    (faces / "b" / "b_0001.jpg").unlink()
    (faces / "c" / "c_0002.jpg").unlink()
    (tmp_path / "pairs.txt").write_text(LFW)
    with pytest.raises(DataError, match=r"2 of the 5 pictures .* first b/b_0001\.jpg"):
        open_protocol(ProtocolName("lfw"), faces)


def test_a_single_fold_is_refused(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text("1\na\t1\t2\na\t1\tb\t1\n")
    with pytest.raises(InputError, match="single fold"):
        open_protocol(ProtocolName("lfw"), faces)


def test_a_pair_file_for_another_protocol(faces: Path) -> None:
    with pytest.raises(InputError, match="leave out --pairs"):
        open_protocol(ProtocolName("cfp-ff"), faces, pairs=faces / "pairs.txt")


def test_protocols_with_a_format_of_their_own_are_opened_elsewhere(faces: Path) -> None:
    with pytest.raises(InputError, match="bin cannot be used here"):
        open_protocol(ProtocolName("bin", Path("lfw.bin")), faces)


def test_no_cfp_in_the_data(faces: Path) -> None:
    with pytest.raises(DataError, match="no CFP protocol found"):
        open_protocol(ProtocolName("cfp-ff"), faces)
