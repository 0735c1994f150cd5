"""A gallery's searches against the pair graph, and what it keeps, refuses and survives."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.gallery_models import TinyGrids, faces, shipped, tiny_xcos
from whyface.errors import DataError, InputError, ModelError, OutputError
from whyface.gallery.feature_file import HEADER
from whyface.gallery.gallery import Gallery, pixel_digest
from whyface.gallery.name_table import NameTable
from whyface.xcos.grid import AttentionKind


def filled(path: Path, count: int = 20, storage: Literal["int16", "float32"] = "int16") -> Gallery:
    gallery = Gallery.create(path, tiny_xcos(), storage=storage)
    gallery.add(gallery.features(faces(count)), [f"person {i // 2}" for i in range(count)], "made up")
    return gallery


@pytest.mark.parametrize("storage", ["int16", "float32"])
@pytest.mark.parametrize("kind", ["u", "p", "l"])
def test_scores_are_those_of_the_pair_graph(
    tmp_path: Path, storage: Literal["int16", "float32"], kind: AttentionKind
) -> None:
    model = tiny_xcos()
    with filled(tmp_path / "g", 600, storage) as gallery:
        probes = gallery.features(faces(3, seed=9))
        found = gallery.search(probes, k=600, attention=kind)
        everybody = gallery.features(faces(600))
        for row, candidates in enumerate(found):
            expected = model.compare_grids(np.repeat(probes[row : row + 1], 600, 0), everybody, kind)
            assert len(candidates) == 600
            for candidate in candidates:
                assert candidate.score == pytest.approx(expected.score[candidate.record], abs=1e-5)
            best = candidates[0]
            assert best.similarity is not None
            assert best.attention is not None
            np.testing.assert_allclose(best.similarity, expected.similarity[best.record], atol=3e-5)
            np.testing.assert_allclose(best.attention, expected.attention[best.record], atol=1e-5)
            assert (best.similarity.astype(float) * best.attention).sum() == pytest.approx(best.score, abs=1e-9)
            scores = [candidate.score for candidate in candidates]
            assert scores == sorted(scores, reverse=True)
            assert best.record == int(np.argmax(expected.score))


def test_a_face_finds_itself_with_score_one(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        ((best, *_),) = gallery.search(gallery.features(faces(20)[7:8]), k=3)
        assert (best.record, best.name, best.source) == (7, "person 3", "made up")
        assert best.score == pytest.approx(1, abs=1e-5)


def test_real_model(tmp_path: Path) -> None:
    model = shipped()
    with Gallery.create(tmp_path / "g", model) as gallery:
        batch = faces(6)
        grids = gallery.features(batch)
        gallery.add(grids, list("abcdef"), "noise")
        (found,) = gallery.search(grids[:1], k=6)
    expected = model.compare_grids(np.repeat(grids[:1], 6, 0), grids).score
    assert {c.record: pytest.approx(c.score, abs=1e-5) for c in found} == dict(enumerate(expected))


def test_one_per_person(tmp_path: Path) -> None:
    with filled(tmp_path / "g", 40) as gallery:
        probe = gallery.features(faces(1, seed=5))
        (everything,) = gallery.search(probe, k=40)
        (people,) = gallery.search(probe, k=5, one_per_person=True)
        best: dict[str, float] = {}
        for candidate in everything:
            best.setdefault(candidate.name, candidate.score)
        assert {c.name: pytest.approx(c.score, abs=1e-6) for c in people} == dict(list(best.items())[:5])
        assert len(gallery.search(probe, k=100, one_per_person=True)[0]) == 20


def test_progress_counts_pairs(tmp_path: Path) -> None:
    with filled(tmp_path / "g", 30) as gallery:
        steps: list[tuple[int, int]] = []
        gallery.search(gallery.features(faces(18, seed=1)), k=1, progress=lambda *step: steps.append(step))
        assert steps == [(16 * 30, 18 * 30), (18 * 30, 18 * 30)]
        gallery.check(lambda *step: steps.append(step))
        assert steps[-1] == (30, 30)


def test_embeddings(tmp_path: Path) -> None:
    model = TinyGrids()
    with Gallery.create(tmp_path / "g", model) as gallery:
        gallery.add(gallery.features(faces(30)), "x", "s")
        probe = gallery.features(faces(1, seed=3))
        (found,) = gallery.search(probe, k=30)
        expected = (model.embed(faces(30)) @ probe[0]).tolist()
        assert {c.record: pytest.approx(c.score, abs=1e-4) for c in found} == dict(enumerate(expected))
        assert found[0].similarity is None
        with pytest.raises(InputError, match="leave the attention out"):
            gallery.search(probe, attention="u")


def test_open_again_remove_and_add(tmp_path: Path) -> None:
    filled(tmp_path / "g").close()
    with Gallery.open(tmp_path / "g", tiny_xcos(), writable=True) as gallery:
        assert (len(gallery), gallery.names()["person 3"]) == (20, 2)
        assert [row.record for row in gallery.remove("person 3")] == [6, 7]
        gallery.remove(0)
        probe = gallery.features(faces(20)[7:8])
        assert 7 not in {c.record for c in gallery.search(probe, k=99)[0]}
        assert len(gallery) == len(gallery.search(probe, k=99)[0]) == 17
        assert list(gallery.add(probe, "back", "again")) == [20]
        assert gallery.search(probe)[0][0].name == "back"
        for who in ("person 3", 7, 999, "nobody"):
            with pytest.raises(InputError, match="nobody and no face"):
                gallery.remove(who)


def test_a_reader_sees_what_is_promised_and_refreshes(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as writer, Gallery.open(tmp_path / "g", tiny_xcos()) as reader:
        writer.add(writer.features(faces(2, seed=4)), ["new", "new"], "s")
        assert len(reader) == 20
        reader.refresh()
        assert len(reader) == 22
        with pytest.raises(OutputError, match="reading only"):
            reader.add(writer.features(faces(1)), "x", "s")


def test_names_are_counted_again_after_every_change(tmp_path: Path) -> None:
    """Whoever made it: this gallery, or another process."""
    with filled(tmp_path / "g", 4) as writer, Gallery.open(tmp_path / "g", tiny_xcos()) as reader:
        for gallery in (writer, reader):
            assert gallery.names() == gallery.names() == {"person 0": 2, "person 1": 2}
        writer.remove(0)
        assert writer.names() == reader.names() == {"person 0": 1, "person 1": 2}
        writer.add(writer.features(faces(1, seed=4)), "new", "s")
        assert writer.names() == {"new": 1, "person 0": 1, "person 1": 2}
        assert reader.names() == {"person 0": 1, "person 1": 2}
        reader.refresh()
        assert reader.names() == writer.names()


def test_two_writers(tmp_path: Path) -> None:
    with (
        filled(tmp_path / "g"),
        pytest.raises(OutputError, match="another process is writing to this gallery; wait"),
    ):
        Gallery.open(tmp_path / "g", tiny_xcos(), writable=True)
    Gallery.open(tmp_path / "g", tiny_xcos(), writable=True).close()


def test_another_model_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "g").close()
    with pytest.raises(ModelError, match=r"made with model 'tiny' .* features of different models do not compare"):
        Gallery.open(tmp_path / "g", tiny_xcos(seed=1))
    with pytest.raises(InputError, match="opened without it"):
        Gallery.open(tmp_path / "g").search(np.zeros((1, 32, 7, 7), np.float32))


def test_what_was_never_promised_is_not_there(tmp_path: Path) -> None:
    """A crash between the records and the names leaves records behind, which the next writer writes over."""
    with filled(tmp_path / "g") as gallery:
        size = gallery.file.path.stat().st_size
    with gallery.file.path.open("ab") as file:
        file.write(b"\1" * 7777)
    with Gallery.open(tmp_path / "g", tiny_xcos(), writable=True) as gallery:
        assert (len(gallery), gallery.check()) == (20, set())
        gallery.add(gallery.features(faces(1, seed=2)), "new", "s")
        assert gallery.check() == set()
        assert gallery.file.path.stat().st_size == size + gallery.layout.record.itemsize


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 5 * 4800 + 100))
def test_cut_anywhere_in_an_unfinished_append(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """Whatever a crash leaves of the records that were being written, the promised ones are all there."""
    path = tmp_path_factory.mktemp("cut") / "g"
    with filled(path, 4) as gallery:
        promised = gallery.file.path.stat().st_size
        records = gallery.file.records(4).copy()
    with gallery.file.path.open("ab") as file:
        file.write(records.tobytes()[:cut])
    with Gallery.open(path, tiny_xcos(), writable=True) as gallery:
        assert (len(gallery), gallery.check()) == (4, set())
        gallery.add(gallery.features(faces(1, seed=2)), "new", "s")
        assert (len(gallery), gallery.check()) == (5, set())
        assert gallery.file.path.stat().st_size == promised + gallery.layout.record.itemsize


def test_killed_while_adding(tmp_path: Path) -> None:
    """A process that is killed keeps every face that it had acknowledged on its standard output."""
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from helpers.gallery_models import tiny_xcos, faces
        from whyface.gallery.gallery import Gallery
        gallery = Gallery.create({str(tmp_path / "g")!r}, tiny_xcos())
        features = gallery.features(faces(3))
        while True:
            print(gallery.add(features, "x", "s").stop, flush=True)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(5)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += [int(line) for line in child.stdout if line.strip()]
    with Gallery.open(tmp_path / "g", tiny_xcos(), writable=True) as gallery:
        assert len(gallery) >= acknowledged[-1]
        assert len(gallery) % 3 == 0
        assert gallery.check() == set()
        assert gallery.search(gallery.features(faces(1)))[0][0].score == pytest.approx(1, abs=1e-5)


def interrupted(path: Path) -> Path:
    """A gallery as it is after a writer was killed in the middle of changing the table of names."""
    with filled(path, 4) as gallery:
        db = gallery.names_table.database._connection
        assert db is not None
        db.execute("PRAGMA cache_size = 5")
        db.execute("BEGIN")
        rows = [(number, "never promised" * 20, "s", "", "", None, 0, 0) for number in range(100, 2000)]
        db.executemany("INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        copy = path.with_name("interrupted")
        shutil.copytree(path, copy)
        db.rollback()
    assert (copy / "names.sqlite-journal").stat().st_size > 0
    return copy


def test_killed_while_writing_names(tmp_path: Path) -> None:
    """A reader is the first to open it."""
    with Gallery.open(interrupted(tmp_path / "g"), tiny_xcos()) as gallery:
        assert (len(gallery), gallery.names()) == (4, {"person 0": 2, "person 1": 2})
        assert gallery.check() == set()


def test_killed_and_then_on_a_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    path = interrupted(tmp_path / "g")
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda where, **options: connect(where.replace("mode=rw", "mode=ro"), **options)
    )
    with pytest.raises(DataError, match="a writer was interrupted.*open the gallery once where it can be written"):
        Gallery.open(path, tiny_xcos())


def test_a_damaged_record_is_named_and_the_rest_is_served(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        size = gallery.layout.record.itemsize
    with gallery.file.path.open("r+b") as file:
        file.seek(HEADER + 7 * size + 100)
        file.write(b"\xff\x7f" * 20)
    with Gallery.open(tmp_path / "g", tiny_xcos()) as gallery:
        probe = gallery.features(faces(20)[7:8])
        (found,) = gallery.search(probe, k=20)
        assert {c.record for c in found} == set(range(20)) - {7}
        assert gallery.damaged == {7}
    with Gallery.open(tmp_path / "g") as gallery:
        assert gallery.check() == {7}


@pytest.mark.parametrize("kind", ["u", "l"])
@pytest.mark.parametrize("byte", [0xFF, 0x7F, 0x00])
def test_any_bytes_in_a_record(tmp_path: Path, kind: AttentionKind, byte: int) -> None:
    """Scales that are no numbers, or infinite, neither stop a search nor win it."""
    with filled(tmp_path / "g") as gallery:
        size = gallery.layout.record.itemsize
    with gallery.file.path.open("r+b") as file:
        file.seek(HEADER + 7 * size)
        file.write(bytes([byte]) * size)
    with warnings.catch_warnings(), Gallery.open(tmp_path / "g", tiny_xcos()) as gallery:
        warnings.simplefilter("error")
        for found in gallery.search(gallery.features(faces(20)), k=20, attention=kind):
            assert {c.record for c in found} == set(range(20)) - {7}
        assert gallery.damaged == {7}


def test_records_missing_at_the_end(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        size = gallery.layout.record.itemsize
    os.truncate(gallery.file.path, HEADER + 18 * size + 11)
    with Gallery.open(tmp_path / "g", tiny_xcos(), writable=True) as gallery:
        assert (len(gallery), gallery.check()) == (18, {18, 19})
        assert len(gallery.search(gallery.features(faces(1)), k=99)[0]) == 18
        with pytest.raises(DataError, match="2 faces are missing at the end"):
            gallery.add(gallery.features(faces(1)), "x", "s")


@pytest.mark.parametrize("place", [0, 3, 10, 60])
def test_a_damaged_header(tmp_path: Path, place: int) -> None:
    with filled(tmp_path / "g") as gallery:
        path = gallery.file.path
    data = bytearray(path.read_bytes())
    data[place] ^= 0x41
    path.write_bytes(data)
    with pytest.raises(DataError, match="not a whyface gallery|header is damaged"):
        Gallery.open(tmp_path / "g", tiny_xcos())


def test_no_gallery(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no gallery here"):
        Gallery.open(tmp_path)
    with filled(tmp_path / "g"), pytest.raises(OutputError, match="already exists"):
        Gallery.create(tmp_path / "g", tiny_xcos())
    (tmp_path / "g" / "names.sqlite").unlink()
    with pytest.raises(DataError, match=r"names\.sqlite: cannot be opened"):
        Gallery.open(tmp_path / "g", tiny_xcos())


def test_a_gallery_appears_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OutputError("full")

    monkeypatch.setattr(NameTable, "create", full)
    with pytest.raises(OutputError, match="full"):
        Gallery.create(tmp_path / "g", tiny_xcos())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="cannot be made"):
        Gallery.create(tmp_path / "nowhere" / "g", tiny_xcos())


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import whyface.gallery.feature_file as module

    def full(file: object, data: bytes) -> None:
        file.write(data[:100])  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    with filled(tmp_path / "g") as gallery:
        with monkeypatch.context() as patch:
            patch.setattr(module, "_write_all", full)
            with pytest.raises(OutputError, match="No space left on device.*nothing was added"):
                gallery.add(gallery.features(faces(1)), "x", "s")
        assert (len(gallery), gallery.check()) == (20, set())
        gallery.add(gallery.features(faces(1, seed=4)), "x", "s")
        assert (len(gallery), gallery.check()) == (21, set())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_really_full_disk(tmp_path: Path) -> None:
    with filled(tmp_path / "g") as gallery:
        gallery.file.path = Path("/dev/full")
        with pytest.raises(OutputError, match="/dev/full: cannot be written"):
            gallery.file.append(0, gallery.records.copy())


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write to any folder")
def test_a_read_only_gallery(tmp_path: Path) -> None:
    filled(tmp_path / "g").close()
    for path in [*(tmp_path / "g").iterdir(), tmp_path / "g"]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        with Gallery.open(tmp_path / "g", tiny_xcos()) as gallery:
            assert len(gallery.search(gallery.features(faces(1)))[0]) == 5
        with pytest.raises(OutputError, match="cannot be written to"):
            Gallery.open(tmp_path / "g", tiny_xcos(), writable=True)
    finally:
        (tmp_path / "g").chmod(0o755)


def test_bad_calls(tmp_path: Path) -> None:
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        probe = gallery.features(faces(1))
        with pytest.raises(InputError, match="the gallery is empty"):
            gallery.search(probe)
        with pytest.raises(InputError, match="needs a name"):
            gallery.add(probe, " ", "s")
        with pytest.raises(InputError, match="1 faces need as many names"):
            gallery.add(probe, ["a", "b"], "s")
        with pytest.raises(InputError, match="not finite"):
            gallery.add(np.full_like(probe, np.nan), "a", "s")
        gallery.add(probe, "a", "s")
        with pytest.raises(InputError, match="k = 0"):
            gallery.search(probe, k=0)
        with pytest.raises(InputError, match=r"the gallery holds features \(32, 7, 7\)"):
            gallery.search(np.zeros((1, 32, 5, 5), np.float32))
    with pytest.raises(InputError, match="storage must be"):
        Gallery.create(tmp_path / "h", tiny_xcos(), storage="int4")  # type: ignore[arg-type]


def test_digest_is_of_the_pixels() -> None:
    face = faces(1)[0]
    assert pixel_digest(face) == pixel_digest(face.copy())
    other = face.copy()
    other[0, 0, 0] ^= 1
    assert pixel_digest(face) != pixel_digest(other)


def test_a_read_only_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every folder can be written to, so a read-only disk is played."""
    from filelock import FileLock

    filled(tmp_path / "g").close()

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with Gallery.open(tmp_path / "g", tiny_xcos()) as gallery:
        assert len(gallery.search(gallery.features(faces(1)))[0]) == 5
    with pytest.raises(OutputError, match="Read-only file system.*can still be searched"):
        Gallery.open(tmp_path / "g", tiny_xcos(), writable=True)


def test_one_name_however_its_accents_are_written(tmp_path: Path) -> None:
    composed, apart = "Jos\u00e9", "Jose\u0301"
    with Gallery.create(tmp_path / "g", tiny_xcos()) as gallery:
        gallery.add(gallery.features(faces(2)), [composed, apart], ["1", "2"])
        assert gallery.names() == {composed: 2}
        assert len(gallery.remove(apart)) == 2
        with pytest.raises(InputError, match="info --people"):
            gallery.remove(apart)
