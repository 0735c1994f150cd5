from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.picture_files import flat
from whyface.data.insightface_bin import BinPictures, contradictions, join_people, read_bin
from whyface.errors import DataError, InputError
from whyface.faces.pictures import LARGEST_FILE, PictureSource


def jpeg(level: int, size: int = 112) -> bytes:
    return flat((level, 10, 20), "jpeg", size)


def write(path: Path, content: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def python_2(pictures: list[bytes], same: list[bool]) -> bytes:
    """Write what Python 2's cPickle writes for (list of str, list of bool)."""
    strings = b"".join(b"T" + len(p).to_bytes(4, "little") + p + b"q" + bytes([k + 2]) for k, p in enumerate(pictures))
    labels = b"".join(b"\x88" if s else b"\x89" for s in same)
    return b"\x80\x02]q\x01(" + strings + b"e]q\x00(" + labels + b"e\x86."


A, B, C, D = (jpeg(level) for level in (0, 60, 120, 180))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("labels", ["list", "array", "scalars"])
def test_pairs_people_and_pictures_of_every_protocol(tmp_path: Path, protocol: int, labels: str) -> None:
    same = [True, False, True, False]
    kinds: dict[str, Any] = {"list": same, "array": np.array(same), "scalars": list(np.array(same))}
    path = write(tmp_path / "tiny.bin", ([A, B, A, D, B, C, C, D], kinds[labels]), protocol)
    found = read_bin(path, folds=2)
    protocol_read = found.protocol
    assert protocol_read.name == "tiny"
    assert protocol_read.genuine.tolist() == same
    assert protocol_read.fold.tolist() == [0, 0, 1, 1]
    # A is picture 0 and 2, B 1 and 4, C 5 and 6, D 3 and 7: four pictures, of which A, B, C are one person.
    assert protocol_read.pictures == ("000000", "000001", "000003", "000005")
    assert protocol_read.people == ("000000", "000000", "000003", "000000")
    assert protocol_read.people_left.tolist() == ["000000"] * 4
    assert found.contradictions == 0
    assert isinstance(found.source, PictureSource)
    with found.source as source:
        assert len(source.names()) == 8
        assert source.read_bytes("000003") == D
        assert source.read("000000").shape == (112, 112, 3)
        with pytest.raises(DataError, match="holds no picture '8'"):
            source.read("8")
    with pytest.raises(DataError, match="holds no picture"):
        source.read_bytes("000000")


def test_a_python_2_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    path.write_bytes(python_2([A, B, C, D], [True, False]))
    found = read_bin(path, folds=1, name="old one")
    assert found.protocol.name == "old one"
    assert found.protocol.genuine.tolist() == [True, False]
    assert found.source.read_bytes("000003") == D


def test_pictures_stored_as_arrays_are_read(tmp_path: Path) -> None:
    stored = [np.frombuffer(data, np.uint8) for data in (A, B)]
    assert read_bin(write(tmp_path / "a.bin", (stored, [True])), folds=1).source.read_bytes("000001") == B


def test_wrong_labels_are_counted_not_hidden(tmp_path: Path) -> None:
    content = ([A, B, B, C, A, C], [True, True, False])
    found = read_bin(write(tmp_path / "noisy.bin", content), folds=1)
    assert found.contradictions == 1
    assert found.protocol.genuine.tolist() == [True, True, False]


def test_a_broken_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    found = read_bin(write(tmp_path / "b.bin", ([A, A[:100], jpeg(1, 64), b"no"], [True, False])), folds=1)
    with pytest.raises(DataError, match=r"b\.bin: picture 000001: damaged or cut off"):
        found.source.read("000001")
    with pytest.raises(DataError, match=r"picture 000002: 64 x 64 pixels"):
        found.source.read("000002")


BAD: dict[str, tuple[Any, str]] = {
    "no tuple": ([A, B], "list of pictures"),
    "three parts": (([A, B], [True], 1), r"pickle of \(pictures, same\)"),
    "a number": (7, r"pickle of \(pictures, same\)"),
    "lists swapped": (([True], [A, B]), "1 pictures do not fit 2 pairs"),
    "nothing": (([], []), "0 pictures do not fit 0 pairs"),
    "odd": (([A, B, C], [True]), "3 pictures do not fit 1 pairs"),
    "text for a picture": ((["a", "b"], [True]), "picture 000000 is not bytes"),
    "an empty picture": (([A, None], [True]), "picture 000001 is not bytes"),
    "labels of other kinds": (([A, B], [None]), "pair 0: its label is neither"),
    "labels of other values": (([A, B], [2]), "pair 0: its label is neither"),
    "array labels of other values": (([A, B], np.array([-1])), "pair 0: its label is neither"),
    "a large picture": (([A, b"x" * (LARGEST_FILE + 1)], [True]), "picture 000001: .* too large"),
    "a hostile picture": (([A, B], [type("X", (), {"__reduce__": lambda _: (os.system, ("true",))})()]), "refused"),
}


@pytest.mark.parametrize("what", BAD)
def test_other_content_is_refused(tmp_path: Path, what: str) -> None:
    content, message = BAD[what]
    with pytest.raises(DataError, match=message) as caught:
        read_bin(write(tmp_path / "bad.bin", content), folds=1)
    assert "\n" not in str(caught.value)
    assert "bad.bin" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_bin(tmp_path / "none.bin")
    with pytest.raises(DataError, match="cannot be read"):
        read_bin(tmp_path)
    (tmp_path / "empty.bin").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        read_bin(tmp_path / "empty.bin")
    path = write(tmp_path / "set.bin", ([A, B], [True]))
    with pytest.raises(DataError, match="more than the limit of 10 bytes"):
        read_bin(path, max_bytes=10)
    with pytest.raises(DataError, match="1 pairs are too few for 10 folds"):
        read_bin(path)
    with pytest.raises(InputError, match="folds"):
        read_bin(path, folds=0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([A, B, C, D]), st.sampled_from([A, B, C, D]), st.booleans()), min_size=1))
def test_what_is_written_comes_back(tmp_path: Path, pairs: list[tuple[bytes, bytes, bool]]) -> None:
    content = ([data for left, right, _ in pairs for data in (left, right)], [same for *_, same in pairs])
    found = read_bin(write(tmp_path / "round.bin", content), folds=1)
    names, read = found.protocol.pictures, found.source.read_bytes
    back = [
        (read(names[left]), read(names[right]), bool(same))
        for left, right, same in zip(found.protocol.left, found.protocol.right, found.protocol.genuine, strict=True)
    ]
    assert back == pairs


def test_joining_goes_through_others() -> None:
    people = join_people(6, [(4, 5), (1, 2), (2, 4)])
    assert people.tolist() == [0, 1, 1, 3, 1, 1]
    left, right = np.array([1, 0]), np.array([5, 3])
    assert contradictions(people, left, right, np.array([False, False])).tolist() == [0]
    assert contradictions(people, left, right, np.array([True, False])).tolist() == []


def test_pictures_are_named_in_order() -> None:
    assert BinPictures("x", (b"a", b"b")).names() == ("000000", "000001")
