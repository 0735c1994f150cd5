"""Threads, forks and killed processes: whoever was promised a face finds that face, and nobody waits for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from helpers.gallery_models import TinyGrids, faces
from whyface.errors import DataError, OutputError, WhyfaceError
from whyface.gallery.gallery import Gallery

MODEL = TinyGrids()
THREADS, EACH = 6, 12
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def script(text: str) -> list[str]:
    """A command that runs Python code beside the tests' helpers."""
    head = f"""
        import os, sys
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from helpers.gallery_models import TinyGrids, faces
        from whyface.gallery.gallery import Gallery
        MODEL = TinyGrids()
    """
    return [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(text)]


def filled(path: Path, count: int = 6) -> Gallery:
    gallery = Gallery.create(path, MODEL)
    gallery.add(MODEL.embed(faces(count)), [f"person {number}" for number in range(count)], "made up")
    return gallery


def test_threads_that_add_to_one_gallery(tmp_path: Path) -> None:
    """Every face that was acknowledged holds its own features, and is found under its own name."""
    batches = [faces(EACH, seed=number) for number in range(THREADS)]
    features = [MODEL.embed(batch) for batch in batches]
    start = threading.Barrier(THREADS)
    with Gallery.create(tmp_path / "g", MODEL) as gallery:

        def add(number: int) -> list[int]:
            start.wait()
            promised: list[int] = []
            for row in range(EACH):
                promised += gallery.add(features[number][row : row + 1], f"person {number} {row}", "s")
            return promised

        with ThreadPoolExecutor(THREADS) as pool:
            promised = list(pool.map(add, range(THREADS)))
    with Gallery.open(tmp_path / "g", MODEL) as gallery:
        assert len(gallery) == THREADS * EACH
        assert sorted(record for records in promised for record in records) == list(range(THREADS * EACH))
        assert gallery.check() == set()
        for number, records in enumerate(promised):
            for row, (best,) in enumerate(gallery.search(features[number], k=1)):
                assert (best.record, best.name) == (records[row], f"person {number} {row}")
                assert best.score == pytest.approx(1, abs=1e-4)


def test_threads_that_search_while_another_adds_and_removes(tmp_path: Path) -> None:
    wanted = MODEL.embed(faces(6))
    done = threading.Event()
    with filled(tmp_path / "g") as gallery:

        def search(number: int) -> int:
            rounds = 0
            while not done.is_set() or not rounds:
                ((best, *_),) = gallery.search(wanted[number : number + 1], k=3)
                assert (best.record, best.name) == (number, f"person {number}")
                rounds += 1
            return rounds

        with ThreadPoolExecutor(3) as pool:
            searches = [pool.submit(search, number) for number in range(3)]
            try:
                for number in range(20):
                    gallery.add(MODEL.embed(faces(3, seed=100 + number)), "new", "s")
                    gallery.remove(6 + 3 * number)
            finally:
                done.set()
            assert all(one.result() for one in searches)
        assert (len(gallery), gallery.check()) == (46, set())


def test_a_gallery_that_another_thread_opened_can_be_closed(tmp_path: Path) -> None:
    """The lock is the process's, not the thread's."""
    filled(tmp_path / "g").close()
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(Gallery.open, tmp_path / "g", MODEL, writable=True).result()
        opened.close()
        Gallery.open(tmp_path / "g", MODEL, writable=True).close()


@needs_fork
def test_a_fork_cannot_write_but_search(tmp_path: Path) -> None:
    """A child that did would number its faces as the parent numbers its own."""
    code = f"""
        gallery = Gallery.create({str(tmp_path / "g")!r}, MODEL)
        features = MODEL.embed(faces(4))
        gallery.add(features, ["ann", "bob", "cem", "dan"], "s")
        child = os.fork()
        if not child:
            for change in (lambda: gallery.add(features, "child", "s"), lambda: gallery.remove("ann")):
                try:
                    change()
                except Exception as error:
                    print(type(error).__name__, str(error).rpartition(": ")[2], flush=True)
            (best,) = gallery.search(features[2:3], k=1)[0]
            print(best.name, flush=True)
            gallery.refresh()
            print(len(gallery), flush=True)
            gallery.close()
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        try:
            Gallery.open({str(tmp_path / "g")!r}, MODEL, writable=True)
        except Exception as error:
            print(type(error).__name__, "another process is writing" in str(error))
        gallery.add(features[:1], "eva", "s")
        print(len(gallery), sorted(gallery.check()))
    """
    done = subprocess.run(script(code), capture_output=True, text=True, check=False)
    refused = "OutputError opened before a fork, so another process writes to it; open it here"
    expected = [refused, refused, "cem", "4", "OutputError True", "5 []"]
    assert done.stdout.splitlines() == expected, done.stderr
    assert done.returncode == 0


@needs_fork
@pytest.mark.parametrize("closes", [True, False])
def test_a_child_that_ends_leaves_the_lock_to_its_parent(tmp_path: Path, closes: bool) -> None:
    """However it ends: files that both have open share their locks."""
    with filled(tmp_path / "g") as gallery:
        child = os.fork()
        if not child:
            try:
                if closes:
                    gallery.close()
                del gallery
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(OutputError, match="another process is writing"):
            Gallery.open(tmp_path / "g", MODEL, writable=True)
        gallery.add(MODEL.embed(faces(1, seed=3)), "new", "s")
        assert (len(gallery), gallery.check()) == (7, set())


def killed_while_changing_names(path: Path) -> None:
    """Kill a writer when a part of its changes is in the table already, and the journal to undo them lies beside."""
    code = f"""
        gallery = Gallery.open({str(path)!r}, MODEL, writable=True)
        db = gallery.names_table.database._connection
        db.execute("PRAGMA cache_size = 5")
        db.execute("BEGIN IMMEDIATE")
        rows = [(number, "never promised" * 20, "s", "", "", None, 0, 0) for number in range(1000, 3000)]
        db.executemany("INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        print("changed", flush=True)
        sys.stdin.read()
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(script(code), text=True, **pipes) as child:  # type: ignore[call-overload]
        assert child.stdout.readline() == "changed\n"
        child.kill()
    assert (path / "names.sqlite-journal").stat().st_size > 0


def test_readers_survive_a_writer_that_is_killed(tmp_path: Path) -> None:
    """Connections that may not write cannot undo what it left; they failed for good from then on."""
    filled(tmp_path / "g").close()
    readers = [Gallery.open(tmp_path / "g", MODEL) for _ in range(3)]
    probe = MODEL.embed(faces(6)[4:5])
    for _ in range(2):
        killed_while_changing_names(tmp_path / "g")
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(lambda reader: reader.search(probe, k=1)[0][0].name, readers)) == ["person 4"] * 3
        for reader in readers:
            reader.refresh()
            assert (len(reader), reader.check()) == (6, set())
    with Gallery.open(tmp_path / "g", MODEL, writable=True) as writer:
        writer.add(probe, "new", "s")
    for reader in readers:
        reader.refresh()
        assert len(reader) == 7
        reader.close()


def test_a_reader_that_cannot_undo_says_so_and_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    filled(tmp_path / "g").close()
    probe = MODEL.embed(faces(1))
    with Gallery.open(tmp_path / "g", MODEL) as reader:
        killed_while_changing_names(tmp_path / "g")
        connect = sqlite3.connect
        with monkeypatch.context() as patch:
            patch.setattr(
                sqlite3, "connect", lambda where, **options: connect(where.replace("mode=rw", "mode=ro"), **options)
            )
            with pytest.raises(
                DataError, match="a writer was interrupted.*open the gallery once where it can be written"
            ):
                reader.search(probe)
        assert reader.search(probe, k=1)[0][0].name == "person 0"


def test_a_writer_that_holds_the_table_for_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyface.gallery.name_database._WAIT_S", 0)
    with filled(tmp_path / "g") as writer, Gallery.open(tmp_path / "g", MODEL) as reader:
        db = writer.names_table.database._connection
        assert db is not None
        db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DataError, match="another process has been writing for 0 s; try again"):
            reader.names()
        db.rollback()
        assert len(reader.names()) == 6


def test_what_killed_processes_left_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """A process may get the number that a killed one had; and a writer tidies up."""
    (tmp_path / f".g.{os.getpid()}").mkdir()
    with filled(tmp_path / "g") as gallery:
        assert len(gallery) == 6
    leftover = tmp_path / "g" / ".names.sqlite.1.whyface-tmp"
    leftover.touch()
    Gallery.open(tmp_path / "g").close()
    assert leftover.exists()
    Gallery.open(tmp_path / "g", writable=True).close()
    assert not leftover.exists()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="links are followed here")
def test_a_link_in_the_place_of_the_lock(tmp_path: Path) -> None:
    """The file that it points to stays as it was."""
    filled(tmp_path / "g").close()
    target = tmp_path / "precious.txt"
    target.write_text("precious")
    (tmp_path / "g" / "writer.lock").unlink()
    (tmp_path / "g" / "writer.lock").symlink_to(target)
    with pytest.raises(WhyfaceError, match="cannot be written to"):
        Gallery.open(tmp_path / "g", writable=True)
    assert target.read_text() == "precious"


def test_a_writer_killed_at_any_moment(tmp_path: Path) -> None:
    """A reader that was open all the time sees all that was acknowledged, under its name."""
    rng = np.random.default_rng(4)
    filled(tmp_path / "g").close()
    code = f"""
        gallery = Gallery.open({str(tmp_path / "g")!r}, MODEL, writable=True)
        while True:
            number = gallery.promised
            gallery.add(MODEL.embed(faces(1, seed=number)), f"number {{number}}", "s")
            print(number, flush=True)
    """
    acknowledged: list[int] = []
    with Gallery.open(tmp_path / "g", MODEL) as reader:
        for _ in range(3):
            with subprocess.Popen(script(code), stdout=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None
                acknowledged += [int(child.stdout.readline()) for _ in range(int(rng.integers(1, 12)))]
                os.kill(child.pid, signal.SIGKILL)
                acknowledged += [int(line) for line in child.stdout if line.endswith("\n")]
            reader.refresh()
            assert reader.check() == set()
            names = dict(reader.labels())
            assert all(names[number] == f"number {number}" for number in acknowledged)
            last = acknowledged[-1]
            ((best,),) = reader.search(MODEL.embed(faces(1, seed=last)), k=1)
            assert (best.record, best.name) == (last, f"number {last}")
