"""Encrypted galleries: as others with their key, closed without it, and nothing that was changed opens."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from helpers.gallery_models import TinyGrids, faces, tiny_xcos
from helpers.old_galleries import change
from whyface.errors import DataError, InputError, WhyfaceError
from whyface.gallery.copying import copy_gallery
from whyface.gallery.encryption import KEY_VARIABLE, Cipher, read_key
from whyface.gallery.feature_file import HEADER, FeatureFile
from whyface.gallery.gallery import Gallery, pixel_digest
from whyface.gallery.name_rebuild import repair_gallery
from whyface.gallery.opening import gallery_key
from whyface.gallery.shortlist import require_plain

pytest.importorskip("cryptography", reason="needs the extra 'encrypt'")

MODEL = TinyGrids()
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
COUNT = 12


def filled(path: Path, key: bytes | None = KEY, count: int = COUNT) -> Gallery:
    gallery = Gallery.create(path, MODEL, key=key)
    for start in range(0, count, 5):
        people = faces(count)[start : start + 5]
        gallery.add(
            MODEL.embed(people),
            [f"Somebody Number{start + number:03d}" for number in range(len(people))],
            [f"Album{start + number:03d}/photo.jpg" for number in range(len(people))],
            digests=[pixel_digest(face) for face in people],
        )
    return gallery


@pytest.fixture
def path(tmp_path: Path) -> Path:
    filled(tmp_path / "g").close()
    return tmp_path / "g"


def flip(file: Path, offset: int, bit: int = 0) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 1 << bit
    file.write_bytes(data)


def test_the_cipher_opens_what_it_sealed_and_nothing_else() -> None:
    cipher, other = Cipher(KEY, b"a" * 16), Cipher(KEY, b"b" * 16)
    sealed = cipher.lock(b"text", b"face 1")
    assert cipher.unlock(sealed, b"face 1") == b"text"
    assert cipher.unlock(sealed, b"face 2") is None
    assert other.unlock(sealed, b"face 1") is None
    assert Cipher(OTHER, b"a" * 16).unlock(sealed, b"face 1") is None
    assert cipher.unlock(b"", b"face 1") is None
    assert cipher.lock(b"text", b"face 1") != sealed
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        assert cipher.unlock(bytes(changed), b"face 1") is None


def test_it_finds_what_a_plain_gallery_finds(tmp_path: Path) -> None:
    model = tiny_xcos()
    people = model.embedder.grid(faces(40))
    names = [f"person {number // 2}" for number in range(40)]
    answers = []
    for key in (None, KEY):
        where = tmp_path / str(key is None)
        with Gallery.create(where, model, key=key) as gallery:
            gallery.add(people, names, "s")
            gallery.remove("person 3")
        with Gallery.open(where, model, key=key) as gallery:
            assert gallery.check() == set()
            answers.append([[c.to_dict() for c in found] for found in gallery.search(people, k=4)])
    assert answers[0] == answers[1]


def test_neither_names_nor_features_are_on_disk(path: Path) -> None:
    with Gallery.open(path, key=KEY) as gallery:
        rows = gallery.rows(range(COUNT))
        numbers = gallery.records["unit"].copy()
    everything = b"".join(file.read_bytes() for file in path.iterdir())
    for number, row in rows.items():
        for text in (row.name, row.source, row.digest):
            assert text.encode() not in everything
        assert not any(numbers[number][start : start + 4].tobytes() in everything for start in range(0, 100, 4))
    assert b"Somebody" not in everything
    assert b"Album" not in everything


def test_equal_names_look_different_and_lengths_alike(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", MODEL, key=KEY) as gallery:
        gallery.add(MODEL.embed(faces(3)), ["Ann", "Ann", "Somebody with a longer name"], "s")
        stored = [row.name for row in gallery.names_table._stored(range(3)).values()]
        assert len(set(stored)) == 3
        assert len({len(text) for text in stored}) == 1
        assert gallery.names() == {"Ann": 2, "Somebody with a longer name": 1}


def test_it_is_looked_up_by_name_and_by_digest(path: Path) -> None:
    with Gallery.open(path, MODEL, writable=True, key=KEY) as gallery:
        table = gallery.names_table
        (row,) = table.of_person("Somebody Number007")
        assert [one.record for one in table.of_digest(row.digest)] == [7]
        gallery.add(MODEL.embed(faces(1, seed=9)), "Somebody Number007", "new")
        assert [one.record for one in table.of_person("Somebody Number007")] == [7, COUNT]
        gallery.remove(7)
        assert [one.record for one in table.of_person("Somebody Number007")] == [COUNT]
        assert gallery.check() == set()


def test_a_reader_sees_what_is_added_and_removed(path: Path) -> None:
    with Gallery.open(path, MODEL, key=KEY) as reader, Gallery.open(path, MODEL, writable=True, key=KEY) as writer:
        writer.add(MODEL.embed(faces(30, seed=3)), [f"new {number}" for number in range(30)], "s")
        writer.remove(2)
        reader.refresh()
        assert (len(reader), reader.check()) == (COUNT + 29, set())
        (best,) = reader.search(MODEL.embed(faces(30, seed=3)[29:]), k=1)[0]
        assert best.name == "new 29"


def test_keys_that_do_not_fit(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encrypted; give its key"):
        Gallery.open(path)
    with pytest.raises(InputError, match="not the key"):
        Gallery.open(path, key=OTHER)
    with pytest.raises(InputError, match="32 bytes"):
        Gallery.open(path, key=b"short")
    with pytest.raises(InputError, match="encrypted; give its key"):
        repair_gallery(path)
    filled(tmp_path / "plain", None).close()
    with pytest.raises(InputError, match="not encrypted"):
        Gallery.open(tmp_path / "plain", key=KEY)
    # The lock of a writer that was refused is free again.
    Gallery.open(path, writable=True, key=KEY).close()


def test_without_the_library(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"pip install 'whyface\[encrypt\]'"):
        Gallery.open(path, key=KEY)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"zz" * 32, b"00" * 31, b"00" * 33, b"0 " * 32, b"0" * 5000])
def test_files_that_are_no_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InputError, match="key") as caught:
        read_key(tmp_path / "key")
    assert "\n" not in str(caught.value)
    # A key never stands in a message.
    assert (
        content.decode("latin-1")[:20].strip() not in str(caught.value).replace(str(tmp_path), "") or len(content) < 3
    )


def test_where_a_key_comes_from(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match="cannot be read"):
            read_key(wrong)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(InputError, match="pipe"):
            read_key(tmp_path / "pipe")
    (tmp_path / "key").write_text(f"{KEY.hex()}\n")
    assert read_key(tmp_path / "key") == KEY
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert read_key() is None
    monkeypatch.setenv(KEY_VARIABLE, OTHER.hex())
    assert read_key() == OTHER
    assert read_key(tmp_path / "key") == KEY
    filled(tmp_path / "plain", None).close()
    # In the environment, it does not disturb galleries that need none.
    assert gallery_key(tmp_path / "plain", None) is None
    assert gallery_key(tmp_path / "new", None) == gallery_key(path, None) == OTHER
    monkeypatch.setenv(KEY_VARIABLE, "no key")
    with pytest.raises(InputError, match=KEY_VARIABLE):
        gallery_key(path, None)


def test_a_changed_record_is_damaged_and_the_rest_served(path: Path) -> None:
    stride = FeatureFile(path / "features.bin", KEY).layout.stride
    flip(path / "features.bin", HEADER + 3 * stride + stride // 2)
    with Gallery.open(path, MODEL, key=KEY) as gallery:
        assert gallery.check() == {3}
        for number, (best,) in enumerate(gallery.search(MODEL.embed(faces(COUNT)), k=1)):
            assert (best.record == number) == (number != 3)
    assert [row.record for row in repair_gallery(path, key=KEY)] == [3]
    with Gallery.open(path, MODEL, key=KEY) as gallery:
        assert (gallery.check(), len(gallery)) == (set(), COUNT - 1)


@pytest.mark.parametrize("what", ["features", "names"])
def test_what_is_put_in_the_place_of_another_does_not_open(path: Path, what: str) -> None:
    """Checksums can be written by anybody; here they are."""
    if what == "features":
        stride = FeatureFile(path / "features.bin", KEY).layout.stride
        data = bytearray((path / "features.bin").read_bytes())
        a, b = (slice(HEADER + number * stride, HEADER + (number + 1) * stride) for number in (1, 2))
        data[a], data[b] = data[b], data[a]
        (path / "features.bin").write_bytes(data)
    else:
        with Gallery.open(path, key=KEY) as gallery:
            first, second = gallery.names_table._stored([1, 2]).values()
        for row, other in ((first, second), (second, first)):
            changed = row._replace(name=other.name)
            change(
                path,
                f"UPDATE faces SET name = '{other.name}', checksum = {changed.checksum()} WHERE record = {row.record}",
            )
    with Gallery.open(path, MODEL, key=KEY) as gallery:
        assert gallery.check() == {1, 2}
        assert {number for number, _ in gallery.labels()} == set(range(COUNT)) - {1, 2}


def test_a_changed_header_is_noticed(path: Path) -> None:
    """The checksum is right, but the mark was made for another header."""
    file = path / "features.bin"
    layout = FeatureFile(file, KEY).layout
    body = file.read_bytes()[HEADER:]
    file.write_bytes(replace(layout, model="another").header() + body)
    with pytest.raises(InputError, match="header was changed"):
        Gallery.open(path, key=KEY)
    for seal in ("zz", "00", layout.seal[:-2]):
        file.write_bytes(replace(layout, seal=seal).header() + body)
        with pytest.raises((InputError, DataError)):
            Gallery.open(path, key=KEY)


def test_any_flipped_bit_is_noticed_or_does_no_harm(tmp_path: Path) -> None:
    """A search returns the right face or leaves it out; a file that cannot be opened says so in one line."""
    path = tmp_path / "g"
    filled(path, count=4).close()
    probes, random = MODEL.embed(faces(4)), np.random.default_rng(0)
    whole = {name: (path / name).read_bytes() for name in ("features.bin", "names.sqlite")}
    served = refused = 0
    for name, count in (("features.bin", 60), ("names.sqlite", 120)):
        for _ in range(count):
            offset = int(random.integers(len(whole[name])))
            flip(path / name, offset, int(random.integers(8)))
            try:
                with Gallery.open(path, MODEL, key=KEY) as gallery:
                    gallery.check()
                    for number, found in enumerate(gallery.search(probes, k=1)):
                        served += len(found)
                        for best in found:
                            assert best.name == f"Somebody Number{best.record:03d}"
                            assert best.record == number or number in gallery.damaged
            except WhyfaceError as error:
                assert "\n" not in str(error)
                refused += 1
            (path / name).write_bytes(whole[name])
    assert served > 400
    assert refused > 5


def test_a_file_that_was_cut_off(path: Path) -> None:
    file = path / "features.bin"
    os.truncate(file, file.stat().st_size - 10)
    with Gallery.open(path, MODEL, key=KEY) as gallery:
        assert gallery.check() == {COUNT - 1}


def test_copies_are_encrypted_decrypted_and_get_other_keys(path: Path, tmp_path: Path) -> None:
    keys = {"same": KEY, "plain": None, "other": OTHER}
    with Gallery.open(path, MODEL, key=KEY) as gallery:
        rows = list(gallery.rows(range(COUNT)).values())
        for name, key in keys.items():
            assert copy_gallery(gallery, tmp_path / name, key=key) == COUNT
    for name, key in keys.items():
        with Gallery.open(tmp_path / name, MODEL, key=key) as copied:
            assert copied.check() == set()
            texts = [(row.name, row.source, row.digest, row.added) for row in copied.rows(range(COUNT)).values()]
            assert texts == [(row.name, row.source, row.digest, row.added) for row in rows]
            assert isinstance(copied.records, np.memmap) == (key is None)


def test_what_would_lie_beside_it_unencrypted_is_refused(path: Path) -> None:
    with Gallery.open(path, key=KEY) as gallery, pytest.raises(InputError, match="encrypted"):
        require_plain(gallery)
