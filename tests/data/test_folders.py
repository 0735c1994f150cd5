from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.picture_files import flat, write_tar, write_tree
from whyface.data.folders import LabelledPictures, label_by_folder, label_pictures, open_labelled
from whyface.errors import DataError, InputError
from whyface.faces.pictures import FolderPictures, open_pictures


def files(names: list[str]) -> dict[str, bytes]:
    return {name: flat(level) for level, name in enumerate(names)}


def tree(root: Path, names: list[str]) -> Path:
    return write_tree(root, files(names))


def tar(path: Path, names: list[str]) -> Path:
    return write_tar(path, files(names))


NAMES = ["bo/2.png", "ann/b.png", "ann/a.png", "ann/readme.txt"]


def test_a_folder_is_labelled_by_person(tmp_path: Path) -> None:
    found = open_labelled(tree(tmp_path, NAMES))
    assert found.names == ("ann/a.png", "ann/b.png", "bo/2.png")
    assert found.people == ("ann", "bo")
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [0, 0, 1]
    assert found.counts.tolist() == [2, 1]
    assert found.source.read("ann/b.png")[0, 0].tolist() == [1, 0, 0]


def test_a_person_with_one_picture_is_counted(tmp_path: Path) -> None:
    found = open_labelled(tree(tmp_path, NAMES))
    assert found.singles == 1
    assert found.summary() == "3 pictures of 2 people, 1 of them with one picture only"
    assert found.without(["bo/2.png"]).summary() == "2 pictures of 1 person"


def test_a_tar_of_a_folder_gives_the_same_with_its_top_folder(tmp_path: Path) -> None:
    found = open_labelled(tar(tmp_path / "set.tar", [f"set/{name}" for name in NAMES]))
    with found.source:
        assert found.people == ("ann", "bo")
        assert found.names[0] == "set/ann/a.png"
        assert found.source.read("set/bo/2.png").shape == (112, 112, 3)


def test_a_folder_inside_can_be_named(tmp_path: Path) -> None:
    root = tree(tmp_path, ["train/ann/1.png", "test/bo/1.png", "test/cy/1.png"])
    assert open_labelled(root, folder="/test/").people == ("bo", "cy")
    with pytest.raises(DataError, match=r"holds no pictures in dev; check the name"):
        open_labelled(root, folder="dev")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "holds no pictures"),
        (["notes.txt"], "holds no pictures"),
        (["ann/1.png", "2.png"], r"2\.png is not in a person's folder; expected PERSON/PICTURE"),
        (["a/1.png", "b/x/2.png"], r"b/x/2\.png is too deep"),
        (["set/one/ann/1.png"], "is too deep"),
        (["one/ann/1.png", "two/bo/1.png"], "is too deep"),
    ],
)
def test_wrong_trees_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    (tmp_path / "empty_person").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        open_labelled(tree(tmp_path, names))
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_tar_without_pictures_is_refused_and_closed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        open_labelled(tar(tmp_path / "set.tar", []))


def test_a_missing_path_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        open_labelled(tmp_path / "nothing")


def test_a_broken_picture_is_no_matter_until_it_is_read(tmp_path: Path) -> None:
    (tree(tmp_path, NAMES) / "ann/a.png").write_bytes(b"no picture")
    found = open_labelled(tmp_path)
    with pytest.raises(DataError, match=r"ann/a\.png: not a picture that can be read"):
        found.source.read("ann/a.png")
    rest = found.without({"ann/a.png"})
    assert rest.names == ("ann/b.png", "bo/2.png")
    with pytest.raises(DataError, match="none of the 3 pictures is left"):
        found.without(found.names)


def test_labels_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source = FolderPictures(tmp_path)
    with pytest.raises(InputError, match="0..people-1"):
        LabelledPictures(source, ("a", "b"), ("x", "y"), np.array([0, 0]))
    with pytest.raises(InputError, match="int64"):
        LabelledPictures(source, ("a",), ("x",), np.array([0], np.int32))
    with pytest.raises(InputError, match="unique"):
        LabelledPictures(source, ("a", "a"), ("x",), np.array([0, 0]))


def test_an_open_source_can_be_labelled(tmp_path: Path) -> None:
    with open_pictures(tree(tmp_path, NAMES)) as source:
        assert label_by_folder(source, "here").people == ("ann", "bo")


@given(
    st.dictionaries(st.text("abc/", min_size=1, max_size=6), st.sampled_from("XYZ"), min_size=1),
    st.sets(st.text("abc/", min_size=1, max_size=6)),
)
def test_people_survive_labelling_and_leaving_out(person_of: dict[str, str], gone: set[str]) -> None:
    found = label_pictures(FolderPictures("."), person_of)
    assert {n: found.people[i] for n, i in zip(found.names, found.labels.tolist(), strict=True)} == person_of
    if set(person_of) - gone:
        rest = found.without(gone)
        left = {n: rest.people[i] for n, i in zip(rest.names, rest.labels.tolist(), strict=True)}
        assert left == {name: person for name, person in person_of.items() if name not in gone}
