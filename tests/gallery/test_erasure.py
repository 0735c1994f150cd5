"""What is removed from a gallery is not in its folder any more: every byte of every file is searched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers.gallery_models import TinyGrids, faces
from helpers.old_galleries import change, make_old
from whyface.errors import OutputError
from whyface.gallery import name_rebuild
from whyface.gallery.copying import copy_gallery
from whyface.gallery.feature_file import HEADER, Storage
from whyface.gallery.gallery import Gallery, pixel_digest
from whyface.gallery.name_rebuild import DERIVED, repair_gallery

MODEL = TinyGrids()
COUNT = 400
"""Enough names for several pages of the table."""
GONE = 321


def name_of(number: int) -> str:
    return f"Somebody Number{number:05d}"


def filled(path: Path, count: int = COUNT, storage: Storage = "int16") -> Gallery:
    gallery = Gallery.create(path, MODEL, storage=storage)
    # Some builds of SQLite overwrite what is deleted by themselves, others do not.
    connection = gallery.names_table.database._connection
    assert connection is not None
    connection.execute("PRAGMA secure_delete = OFF")
    people = faces(count)
    sources = [f"Album{number:05d}/photo{number:05d}.jpg" for number in range(count)]
    digests = [pixel_digest(face) for face in people]
    gallery.add(MODEL.embed(people), [name_of(number) for number in range(count)], sources, digests=digests)
    return gallery


def traces(gallery: Gallery, number: int) -> list[bytes]:
    """What must not be found afterwards: name, source, digest, and any eight numbers of the features."""
    row = gallery.names_table.faces([number])[number]
    unit = gallery.records[number]["unit"]
    pieces = [unit[start : start + 8].tobytes() for start in range(0, len(unit) - 8, 8)]
    return [row.name.encode(), row.source.encode(), row.digest.encode(), *pieces]


def found(folder: Path, wanted: list[bytes]) -> list[tuple[str, bytes]]:
    everything = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return [(name, trace) for name, data in everything.items() for trace in wanted if trace in data]


@pytest.mark.parametrize("storage", ["int8", "int16", "float32"])
def test_nothing_of_a_removed_person_is_in_the_folder(tmp_path: Path, storage: Storage) -> None:
    path = tmp_path / "g"
    with filled(path, storage=storage) as gallery:
        wanted = traces(gallery, GONE)
        assert len({trace for _, trace in found(path, wanted)}) == len(set(wanted))
        (row,) = gallery.remove(name_of(GONE))
        assert row.name == name_of(GONE)
        assert found(path, wanted) == []
        assert gallery.check() == set()
    with Gallery.open(path, MODEL) as gallery:
        assert (len(gallery), gallery.removed) == (COUNT - 1, frozenset({GONE}))
        assert gallery.check() == set()
        for number, (best,) in enumerate(gallery.search(MODEL.embed(faces(COUNT)), k=1)):
            assert (best.name == name_of(number)) == (number != GONE)


def test_many_faces_at_once_and_again(tmp_path: Path) -> None:
    """Rows move between pages of the table when others go; no copy of one stays behind."""
    path = tmp_path / "g"
    with filled(path) as gallery:
        for gone in (range(0, COUNT, 3), range(1, COUNT, 3)):
            wanted = [trace for number in gone for trace in traces(gallery, number)[:4]]
            assert {row.record for row in gallery.remove(list(gone))} == set(gone)
            assert found(path, wanted) == []
        assert gallery.check() == set()
        assert [number for number, _ in gallery.labels()] == list(range(2, COUNT, 3))


def test_what_was_computed_from_all_faces_goes_too(tmp_path: Path) -> None:
    path = tmp_path / "g"
    with filled(path, 4) as gallery:
        for name in DERIVED:
            (path / name).write_bytes(b"of all faces")
        (path / "notes.txt").write_text("mine")
        gallery.remove(0)
    left = {one.name for one in path.iterdir()} - {"features.bin", "names.sqlite", "writer.lock"}
    assert left == {"notes.txt"}


def test_a_reader_that_had_it_open(tmp_path: Path) -> None:
    path = tmp_path / "g"
    filled(path, 6).close()
    with Gallery.open(path, MODEL) as reader, Gallery.open(path, writable=True) as writer:
        writer.remove(2)
        (best,) = reader.search(MODEL.embed(faces(6)[2:3]), k=1)[0]
        assert best.record != 2
        assert not reader.damaged
        reader.refresh()
        assert reader.check() == set()


@pytest.mark.parametrize("step", ["before the features", "before the names"])
def test_the_next_writer_finishes_what_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "g"

    def killed(*_: object) -> None:
        raise OutputError("killed")

    with filled(path, 50) as gallery:
        wanted = traces(gallery, 7)
        with monkeypatch.context() as context:
            if step == "before the features":
                context.setattr(name_rebuild, "erase_removed", killed)
            else:
                context.setattr(gallery.names_table.database, "compact", killed)
            with pytest.raises(OutputError, match="killed"):
                gallery.remove(7)
        assert 7 not in {number for number, _ in gallery.labels()}
    Gallery.open(path, writable=True).close()
    assert found(path, wanted) == []
    with Gallery.open(path, MODEL) as gallery:
        assert (gallery.removed, gallery.check(), len(gallery)) == (frozenset({7}), set(), 49)


@pytest.mark.parametrize("checksums", [True, False])
def test_a_gallery_of_a_former_release_is_cleaned_by_its_next_writer(tmp_path: Path, checksums: bool) -> None:
    """Former releases only marked the rows."""
    path = tmp_path / "g"
    with filled(path, 50) as gallery:
        wanted = traces(gallery, 9)
        (row,) = gallery.rows([9]).values()
        before = gallery.names_table._totals()
        assert before is not None
    marked = row._replace(removed="2024-01-01T00:00:00+00:00")
    totals = before.plus([row], sign=-1).plus([marked])
    change(
        path,
        f"UPDATE faces SET removed = '{marked.removed}', checksum = {marked.checksum()} WHERE record = 9",
        f"UPDATE totals SET checksums = {totals.checksums}, removed = {totals.removed}, "
        f"removed_marks = {totals.removed_marks}, checksum = {totals.checksum()}",
    )
    if not checksums:
        make_old(path)
    with Gallery.open(path, MODEL) as gallery:
        assert gallery.removed == {9}
    assert found(path, wanted)
    Gallery.open(path, writable=True).close()
    assert found(path, wanted) == []
    with Gallery.open(path, MODEL) as gallery:
        assert (gallery.removed, gallery.check(), len(gallery)) == (frozenset({9}), set(), 49)


def test_repair_erases_what_it_drops(tmp_path: Path) -> None:
    path = tmp_path / "g"
    with filled(path, 50) as gallery:
        wanted = traces(gallery, 9)
        offset = HEADER + 9 * gallery.layout.stride + 40
    change(path, "UPDATE faces SET name = 'Other' WHERE record = 9")
    with (path / "features.bin").open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))
    assert [row.record for row in repair_gallery(path)] == [9]
    assert found(path, [*wanted, b"Other"]) == []


def test_a_copy_has_no_gaps(tmp_path: Path) -> None:
    with filled(tmp_path / "g", 20) as gallery:
        gallery.remove([0, 5])
        assert copy_gallery(gallery, tmp_path / "copy") == 18
        dates = [row.added for row in gallery.rows(range(1, 5)).values()]
        with pytest.raises(OutputError, match="already exists"):
            copy_gallery(gallery, tmp_path / "copy")
    with Gallery.open(tmp_path / "copy", MODEL) as copied:
        assert (len(copied), copied.removed, copied.check()) == (18, frozenset(), set())
        assert [name for _, name in copied.labels()] == [name_of(n) for n in range(20) if n not in {0, 5}]
        assert [row.added for row in copied.rows(range(4)).values()] == dates
        (best,) = copied.search(MODEL.embed(faces(20)[19:]), k=1)[0]
        assert (best.name, best.record, round(best.score, 4)) == (name_of(19), 17, 1)
    assert (tmp_path / "copy" / "features.bin").stat().st_size == HEADER + 18 * copied.layout.stride


def test_a_blank_record_is_like_nobody(tmp_path: Path) -> None:
    """Its score is a number: it must not disturb the order of the others, nor print a warning."""
    with filled(tmp_path / "g", 5) as gallery:
        gallery.remove(3)
        record = gallery.records[3]
        assert not np.any(record["unit"])
        assert int(record["number"]) == 3
