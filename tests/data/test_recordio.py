from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.picture_files import flat
from helpers.record_writer import MAGIC, image, pack, write_records
from whyface.data.recordio import RecordFile, RecordPictures, open_records, read_header, read_index
from whyface.errors import DataError
from whyface.faces.pictures import PictureSource

PICTURES = [flat(level) for level in range(4)]
INSIGHTFACE = [
    image([5.0, 7.0], b""),
    image([3.0, 0.0], PICTURES[0]),
    image([3.0, 0.0], PICTURES[1]),
    image(10.0, PICTURES[2]),
    image(3.0, PICTURES[3]),
    image([1.0, 3.0], b""),
    image([3.0, 5.0], b""),
]


@pytest.mark.parametrize("index", [True, False])
def test_insightface_layout(tmp_path: Path, index: bool) -> None:
    path = tmp_path / "train.rec"
    write_records(path, INSIGHTFACE, index=index)
    found = open_records(path)
    with found.source as source:
        assert isinstance(source, PictureSource)
        assert found.names == ("00000001", "00000002", "00000003", "00000004")
        assert found.people == ("3", "10")
        assert found.labels.tolist() == [0, 0, 1, 0]
        assert source.read_bytes("00000003") == PICTURES[2]
        assert source.read("00000004")[0, 0].tolist() == [3, 0, 0]
        with pytest.raises(DataError, match="holds no picture '1'"):
            source.read("1")
    with pytest.raises(DataError, match="already closed"):
        source.read("00000001")


def test_a_plain_record_file_has_its_first_picture_in_record_0(tmp_path: Path) -> None:
    path = tmp_path / "plain.rec"
    write_records(path, [image(0, PICTURES[0]), image(1, PICTURES[1])])
    assert open_records(path).labels.tolist() == [0, 1]


def test_an_index_without_record_0_or_elsewhere_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    positions = write_records(path, INSIGHTFACE, index=False)
    other = tmp_path / "other.idx"
    other.write_text(f"9\t{positions[4]}\n7\t{positions[3]}\n")
    found = open_records(path, other)
    assert found.names == ("00000007", "00000009")
    assert found.people == ("3", "10")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from([MAGIC, b"abcd", b"x", b""]) | st.binary(), max_size=8).map(b"".join)))
def test_records_come_back_in_order_and_at_random(tmp_path: Path, records: list[bytes]) -> None:
    path = tmp_path / "round.rec"
    positions = write_records(path, [*records, b"last"])
    with RecordFile(path) as file:
        assert list(file.records()) == list(zip(positions, [*records, b"last"], strict=True))
        assert read_index(path.with_suffix(".idx")) == file.positions() == dict(enumerate(positions))
        for position, record in reversed(list(zip(positions, records, strict=False))):
            assert file.read_at(position, "x") == record


def test_a_picture_that_holds_the_magic_number_is_put_together(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    content = b"abcd" + MAGIC + MAGIC + b"tail!"
    write_records(path, [image(1, content)])
    assert path.read_bytes().count(MAGIC) == 3
    assert RecordPictures(path).read_bytes("00000000") == content


def test_a_header_that_holds_the_magic_number_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    write_records(path, [image(7, b"picture", key=0xCED7230A)])
    assert path.read_bytes().count(MAGIC) == 2
    assert open_records(path).people == ("7",)


@given(st.integers(0, 2**64 - 1), st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=9), st.binary())
def test_headers_come_back(key: int, labels: list[float], picture: bytes) -> None:
    data = image(labels, picture, key)
    header, start = read_header(data, "x")
    assert (header.flag, list(header.labels), header.id, header.id2) == (len(labels), labels, key, 0)
    assert data[start:] == picture


def broken(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "bad.rec"
    path.write_bytes(content)
    return path


PART = struct.Struct("<4sI")
BAD = {
    "wrong magic": (b"\0" * 16, "no record starts there"),
    "kind 5": (PART.pack(MAGIC, 5 << 29 | 4) + b"abcd", "no record starts there"),
    "half a header": (MAGIC + b"\1", "cut off"),
    "longer than the file": (PART.pack(MAGIC, 400) + b"abcd", "cut off"),
    "a length bomb": (PART.pack(MAGIC, 2**29 - 1) + b"abcd", "too many for a picture"),
    "starts in the middle": (PART.pack(MAGIC, 2 << 29 | 4) + b"abcd", "out of order"),
    "two starts": ((PART.pack(MAGIC, 1 << 29 | 4) + b"abcd") * 2, "out of order"),
    "no end": (PART.pack(MAGIC, 1 << 29 | 4) + b"abcd", "cut off"),
}


@pytest.mark.parametrize("what", BAD)
def test_damaged_records_are_named(tmp_path: Path, what: str) -> None:
    content, message = BAD[what]
    good = pack(image(1, b"good"))
    with RecordFile(broken(tmp_path, good + content)) as file:
        found = file.records()
        next(found)
        with pytest.raises(
            DataError, match=rf"bad\.rec: record 1 at byte [0-9]+ is damaged \({'.*'}{message}"
        ) as caught:
            next(found)
    assert "\n" not in str(caught.value)


def test_a_file_cut_off_anywhere_is_noticed(tmp_path: Path) -> None:
    content = pack(image(1, b"ab" + MAGIC)) + pack(image([1, 2], b"xy" + MAGIC + b"0123" + MAGIC))
    whole = len(pack(image(1, b"ab" + MAGIC)))
    for length in range(1, len(content)):
        with RecordFile(broken(tmp_path, content[:length])) as file:
            if length == whole:
                assert len(list(file.records())) == 1
            else:
                with pytest.raises(DataError, match="is damaged"):
                    list(file.records())


def test_an_index_that_points_elsewhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.rec"
    write_records(path, INSIGHTFACE)
    lines = path.with_suffix(".idx").read_text().splitlines()
    for wrong in ("2\t4", "2\t99999999"):
        path.with_suffix(".idx").write_text("\n".join([*lines[:2], wrong, *lines[3:]]))
        with pytest.raises(DataError, match="record 00000002 at byte"):
            open_records(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\t0\nx\t8\n", "line 2: expected a key and a byte position, got 'x"),
        ("0\t0\n1\n", "line 2"),
        ("0\t-4\n", "line 1"),
        ("0\t0\n\n0\t8\n", "line 3: the key 0 occurs twice"),
        ("0\t" + "9" * 40, "line 1"),
        ("", "empty"),
    ],
)
def test_wrong_indices_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.idx"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_index(path)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([image([5.0], b""), b"short"], "record 00000001: 5 bytes are too short for a header"),
        ([image([5.0], b""), struct.pack("<IfQQ", 10**9, 0, 0, 0)], "asks for 1000000000 labels"),
        ([image([5.0], b""), struct.pack("<IfQQ", 1, 0, 0, 0)], "asks for 1 labels that are not there"),
        ([image(1.5, b"")], "its label 1.5 is not a person's number"),
        ([image(-1, b"")], "its label -1.0 is no"),
        ([image(float("nan"), b"")], "its label nan is no"),
        ([image([float("inf")], b"")], "inf is not a number of pictures"),
        ([image([1.0], b"")], "says that there are no pictures"),
    ],
)
def test_wrong_headers_are_refused(tmp_path: Path, records: list[bytes], message: str) -> None:
    path = tmp_path / "x.rec"
    write_records(path, records)
    with pytest.raises(DataError, match=message):
        open_records(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.rec: cannot be opened"):
        open_records(tmp_path / "no.rec")
    with pytest.raises(DataError, match="empty"):
        open_records(broken(tmp_path, b""))
    write_records(tmp_path / "x.rec", INSIGHTFACE)
    with pytest.raises(DataError, match=r"no\.idx: cannot be read"):
        open_records(tmp_path / "x.rec", tmp_path / "no.idx")


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    write_records(tmp_path / "x.rec", [image(1, b"no picture")])
    with pytest.raises(DataError, match=r"x\.rec: record 00000000: not a picture that can be read"):
        open_records(tmp_path / "x.rec").source.read("00000000")
