from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.picture_files import encoded, write_tar, write_tree
from whyface.errors import DataError
from whyface.faces.photo import read_photo
from whyface.faces.pictures import (
    LARGEST_FILE,
    FolderPictures,
    PictureSource,
    TarPictures,
    decode_aligned,
    open_pictures,
)


def face(level: int) -> NDArray[np.uint8]:
    pixels = np.full((112, 112, 3), level, np.uint8)
    pixels[:, :56, 0] = 255
    return pixels


FILES = {
    "set/Ann/Ann_0001.png": encoded(face(10)),
    "set/Ann/Ann_0002.PNG": encoded(face(20)),
    "set/broken.jpg": b"no picture",
    "set/large.png": encoded(np.zeros((250, 250, 3), np.uint8)),
    "set/list.txt": b"some text\n",
}


@pytest.fixture(params=["folder", "tar"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PictureSource]:
    path = write_tar(tmp_path / "set.tar", FILES) if request.param == "tar" else write_tree(tmp_path, FILES)
    with open_pictures(path) as opened:
        yield opened


def test_names_are_the_pictures_sorted(source: PictureSource) -> None:
    assert source.names() == tuple(sorted(set(FILES) - {"set/list.txt"}))
    assert source.names() == source.names()
    assert isinstance(source, PictureSource)


def test_read_in_any_order(source: PictureSource) -> None:
    second = source.read("set/Ann/Ann_0002.PNG")
    first = source.read("set/Ann/Ann_0001.png")
    np.testing.assert_array_equal(first, face(10))
    np.testing.assert_array_equal(second, face(20))
    assert first.dtype == np.uint8
    assert first.flags.c_contiguous


def test_text_beside_the_pictures(source: PictureSource) -> None:
    assert source.read_bytes("./set/list.txt") == b"some text\n"


def test_bad_pictures_are_named(source: PictureSource) -> None:
    with pytest.raises(DataError, match=r"set/broken\.jpg: not a picture that can be read"):
        source.read("set/broken.jpg")
    with pytest.raises(DataError, match=r"set/large\.png: 250 x 250 pixels.*112 x 112"):
        source.read("set/large.png")
    with pytest.raises(DataError, match=r"no readable file set/Bob\.png"):
        source.read("set/Bob.png")
    with pytest.raises(DataError, match="no readable file set"):
        source.read_bytes("set")


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "set/../../secret", "", "set\\x", "C:/x", "a\0b"])
def test_names_that_lead_out_are_refused(source: PictureSource, name: str) -> None:
    with pytest.raises(DataError, match="unsafe name"):
        source.read_bytes(name)


def test_messages_are_one_line(source: PictureSource) -> None:
    for name in ("set/broken.jpg", "set/large.png", "nothing", "../x"):
        with pytest.raises(DataError) as caught:
            source.read(name)
        assert "\n" not in str(caught.value)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(b"secret")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DataError, match="leads out"):
        FolderPictures(root).read_bytes("link.txt")


def test_tar_with_unsafe_names_is_refused(tmp_path: Path) -> None:
    for name in ("../evil.png", "/abs.png"):
        with pytest.raises(DataError, match="unsafe name"):
            TarPictures(write_tar(tmp_path / "evil.tar", {name: b""}))


def test_links_in_a_tar_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w:") as archive:
        member = tarfile.TarInfo("link.png")
        member.type = tarfile.SYMTYPE
        member.linkname = "/etc/passwd"
        archive.addfile(member)
    with TarPictures(path) as pictures:
        assert pictures.names() == ()


def test_later_entries_replace_earlier_ones(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "twice.tar", {"a.png": encoded(face(1)), "./a.png": encoded(face(2))})
    with TarPictures(path) as pictures:
        assert pictures.names() == ("a.png",)
        np.testing.assert_array_equal(pictures.read("a.png"), face(2))


def test_bad_tar_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.tar: cannot be opened"):
        open_pictures(tmp_path / "missing.tar")
    (tmp_path / "text.tar").write_bytes(b"hello " * 500)
    with pytest.raises(DataError, match="not an uncompressed tar file"):
        TarPictures(tmp_path / "text.tar")
    with pytest.raises(DataError, match="not an uncompressed tar file"):
        TarPictures(write_tar(tmp_path / "packed.tar.gz", FILES, "w:gz"))
    whole = write_tar(tmp_path / "whole.tar", {"a.png": bytes(5000)}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:3000])
    with pytest.raises(DataError, match=r"cut\.tar"):
        TarPictures(tmp_path / "cut.tar")


def tar_header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Make a header with any size, a negative one as well, and the right checksum."""
    member = tarfile.TarInfo(name)
    member.type = kind
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" + (size % (1 << 88)).to_bytes(11, "big") if size < 0 else b"%011o\0" % size
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:512]))
    return bytes(block)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [-512, -1024])
def test_a_tar_whose_sizes_lead_back(tmp_path: Path, kind: bytes, size: int) -> None:
    """The standard library reads the same header again and again."""
    path = tmp_path / "back.tar"
    path.write_bytes(tar_header("a.png", 512) + bytes(512) + tar_header("b.png", size, kind) + bytes(1024))
    with pytest.raises(DataError, match=r"back\.tar"):
        TarPictures(path)


def test_a_tar_with_numbers_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a.png")
        member.pax_headers = {"GNU.sparse.map": "a,b", "GNU.sparse.size": "x"}
        archive.addfile(member)
    with pytest.raises(DataError, match="not an uncompressed tar file"):
        TarPictures(path)


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    """Its bytes in the archive are not those of the file."""
    path = tmp_path / "sparse.tar"
    path.write_bytes(tar_header("a.png", 512, tarfile.GNUTYPE_SPARSE) + bytes(512) + bytes(1024))
    with pytest.raises(DataError, match="stored sparse"):
        TarPictures(path)


def test_a_closed_tar_says_so(tmp_path: Path) -> None:
    pictures = TarPictures(write_tar(tmp_path / "a.tar", FILES))
    pictures.close()
    with pytest.raises(DataError, match="already closed"):
        pictures.read("set/Ann/Ann_0001.png")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder"):
        FolderPictures(tmp_path / "missing")


def test_oversized_files_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(DataError, match="too large"):
        FolderPictures(tmp_path).read("huge.jpg")


def test_whole_photographs_may_be_larger_than_crops(tmp_path: Path) -> None:
    """What is aligned on the way is read as it is, by every reader of folders and archives."""
    data = encoded(face(1))
    files = {"a/1.png": data + bytes(LARGEST_FILE)}
    for path in (write_tree(tmp_path / "tree", files), write_tar(tmp_path / "set.tar", files)):
        with open_pictures(path) as pictures:
            assert len(pictures.read_bytes("a/1.png")) == len(data) + LARGEST_FILE
            with pytest.raises(DataError, match="too large"):
                pictures.read("a/1.png")


def test_other_modes_become_rgb() -> None:
    grey = encoded(np.full((112, 112), 7, np.uint8))
    np.testing.assert_array_equal(decode_aligned(grey, "grey"), np.full((112, 112, 3), 7))


@pytest.mark.parametrize("kind", ["transparent", "palette", "deep", "turned"])
def test_a_crop_is_the_same_face_however_it_is_read(tmp_path: Path, kind: str) -> None:
    """Enrolled from a folder and looked for as a file: transparency, 16 bits and orientation count alike."""
    rng = np.random.default_rng(0)
    colours = Image.fromarray(rng.integers(0, 256, (112, 112, 3), np.uint8))
    path, exif = tmp_path / "crop.png", Image.Exif()
    if kind == "deep":
        picture = Image.fromarray(rng.integers(0, 65_536, (112, 112)).astype(np.uint16))
    elif kind == "turned":
        picture = colours
        exif[0x0112] = 6
    else:
        picture = colours.copy()
        picture.putalpha(Image.fromarray(rng.integers(0, 256, (112, 112), np.uint8)))
        picture = picture.quantize(16) if kind == "palette" else picture
    picture.save(path, exif=exif)
    with open_pictures(tmp_path) as pictures:
        np.testing.assert_array_equal(pictures.read("crop.png"), read_photo(path))


def test_a_truncated_picture_is_refused() -> None:
    with pytest.raises(DataError, match="cut: damaged or cut off"):
        decode_aligned(encoded(face(3), "jpeg")[:400], "cut")


def test_threads_may_share_a_tar(tmp_path: Path) -> None:
    files = {f"{level}.png": encoded(face(level)) for level in range(40)}
    wrong: list[int] = []
    with TarPictures(write_tar(tmp_path / "many.tar", files)) as pictures:

        def read_all() -> None:
            wrong.extend(n for n in range(40) if pictures.read(f"{n}.png")[0, 111, 0] != n)

        threads = [Thread(target=read_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
