"""Workers in other processes give the same results in the same order, and may be lost at any time."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.command_line import in_process
from helpers.doubler import Doubler, SignalMask
from whyface.albums.album import open_album
from whyface.batch.comparer import ComparerSettings
from whyface.batch.pair_source import open_pair_source
from whyface.batch.run import run_batch
from whyface.demo import demo_photo
from whyface.engines import AHEAD, Processes, here
from whyface.errors import DataError, InputError
from whyface.gallery.gallery import Gallery
from whyface.gallery.name_table import FILE_NAME as NAMES
from whyface.models.catalogue import FAST_MODEL


@pytest.fixture(scope="module")
def two() -> Processes:
    return Processes(2)


def numbered(items: list[Any]) -> Iterator[tuple[int, Any]]:
    return iter(enumerate(items))


def test_results_come_in_order_from_several_processes(two: Processes) -> None:
    found = list(two(Doubler, numbered(list(range(9)))))
    assert [(key, value) for key, (value, _) in found] == [(n, 2 * n) for n in range(9)]
    assert os.getpid() not in {process for _, (_, process) in found}
    assert [(key, value) for key, (value, _) in here(Doubler, numbered([3, 4]))] == [(0, 6), (1, 8)]
    assert list(two(Doubler, numbered([]))) == []


def test_little_work_is_taken_in_advance(two: Processes) -> None:
    taken: list[int] = []

    def work() -> Iterator[tuple[int, int]]:
        for number in range(100):
            taken.append(number)
            yield number, number

    results = two(Doubler, work())
    next(results)
    assert len(taken) == AHEAD * 2
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == AHEAD * 2


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="this system has no masks of signals")
def test_ctrl_c_never_reaches_a_worker_even_while_it_starts(two: Processes) -> None:
    ((_, blocked),) = two(SignalMask, numbered([None]))
    assert signal.SIGINT in blocked
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_what_a_worker_raises_is_raised_here(two: Processes) -> None:
    with pytest.raises(DataError, match="^bad: is no number$"):
        list(two(Doubler, numbered(["bad"])))
    with pytest.raises(ZeroDivisionError) as caught:
        list(two(Doubler, numbered(["bug"])))
    assert "in __call__" in caught.value.__notes__[0]


def test_a_worker_that_is_killed_ends_the_run_with_advice(two: Processes) -> None:
    done: list[int] = []
    with pytest.raises(DataError, match=r"ended unexpectedly \(status -9\).*run the same command again"):
        for key, _ in two(Doubler, numbered([1, 2, 3, "die", 4, 5])):
            done.append(key)
    assert done == [0, 1, 2]
    assert not any("ThreadPool" in one.name for one in threading.enumerate())
    assert not multiprocessing.active_children()


def test_there_is_at_least_one_worker() -> None:
    with pytest.raises(InputError, match="at least one worker, got 0"):
        Processes(0)


def pickled(make: Callable[[], Any], work: Iterator[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Do the work here, but hand over everything as to another process."""
    worker = pickle.loads(pickle.dumps(make))()
    for key, item in work:
        yield key, pickle.loads(pickle.dumps(worker(pickle.loads(pickle.dumps(item)))))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Photos of two people, one photo twice, one that is broken, and one that shows nobody."""
    folder = tmp_path / "photos"
    for person, name in (("ann", "obama-portrait"), ("ann", "obama-speech"), ("bob", "biden-portrait")):
        (folder / person).mkdir(parents=True, exist_ok=True)
        small = Image.open(demo_photo(f"{name}.jpg"))
        small.thumbnail((400, 400))
        small.save(folder / person / f"{name}.jpg")
    shutil.copy(folder / "ann" / "obama-speech.jpg", folder / "ann" / "again.jpg")
    (folder / "ann" / "broken.jpg").write_bytes(b"no photo")
    Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(folder / "bob" / "nobody.png")
    return folder


def files(folder: Path) -> dict[str, Any]:
    """Return all files, and of the database, whose bytes depend on when it was written, what it says of the faces."""
    found: dict[str, Any] = {}
    for path in folder.rglob("*"):
        if path.name == NAMES:
            with Gallery.open(path.parent) as gallery:
                found[NAMES] = [row._replace(added="") for _, row in sorted(gallery.rows(range(len(gallery))).items())]
        elif path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    return found


class Commands:
    """Commands in this process; the engine's processes are replaced by one that pickles everything."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._run = partial(in_process, monkeypatch, capsys)
        self.asked: list[int | None] = []
        monkeypatch.setattr("whyface.engines.Processes", self._engine)

    def _engine(self, workers: int | None) -> Any:
        self.asked.append(workers)
        return pickled

    def __call__(self, *arguments: str) -> str:
        done = self._run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(monkeypatch, capsys)


def test_enrolling_elsewhere_gives_the_same_gallery(run: Commands, photos: Path, tmp_path: Path) -> None:
    common = ("--model", FAST_MODEL, "--threads", "1")
    alone = run("gallery", "enroll", str(tmp_path / "alone"), str(photos), *common)
    many = run("gallery", "enroll", str(tmp_path / "many"), str(photos), *common, "--workers", "2")
    assert many == alone.replace("alone", "many")
    assert files(tmp_path / "many") == files(tmp_path / "alone")
    again = run("gallery", "enroll", str(tmp_path / "many"), str(photos), *common, "--workers", "2", "--json")
    assert '"added": 0' in again
    # A photo that was replaced is read as one that is likely to be there, and added all the same.
    shutil.copy(photos / "bob" / "biden-portrait.jpg", photos / "ann" / "again.jpg")
    assert '"added": 1' in run(
        "gallery", "enroll", str(tmp_path / "many"), str(photos), *common, "--workers", "2", "--json"
    )
    assert run.asked == [2, 2, 2]


def test_an_album_from_elsewhere_is_the_same(run: Commands, photos: Path, tmp_path: Path) -> None:
    common = ("--model", FAST_MODEL, "--threads", "1")
    for name, workers in (("alone", ()), ("many", ("--workers", "2"))):
        run("cluster", str(photos), "--out", str(tmp_path / name), *common, *workers)
    assert run.asked == [2]
    alone, many = files(tmp_path / "alone"), files(tmp_path / "many")
    assert {"album.json", "faces.csv", "index.html"} < many.keys()
    assert many == alone
    assert open_album(tmp_path / "many").failures.keys() == {"ann/broken.jpg", "bob/nobody.png"}


def test_a_batch_from_elsewhere_is_the_same(photos: Path, tmp_path: Path) -> None:
    settings = ComparerSettings(FAST_MODEL)
    source = open_pair_source(photos)
    for name, engine in (("alone", None), ("many", pickled)):
        run_batch(source, settings, tmp_path / f"{name}.csv", threads=1, chunk=5, engine=engine)
    assert (tmp_path / "many.csv").read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_an_address_is_for_ray_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    done = in_process(
        monkeypatch, capsys, "batch", str(photos), "--out", str(tmp_path / "r.csv"), "--address", "127.0.0.1:1"
    )
    assert done.returncode == 2
    assert "add --engine ray" in done.stderr


@pytest.mark.slow
def test_real_processes_write_the_same_gallery_and_album(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], photos: Path, tmp_path: Path
) -> None:
    run = partial(in_process, monkeypatch, capsys)
    common = ("--model", FAST_MODEL, "--threads", "1")
    for name, workers in (("alone", ()), ("many", ("--workers", "2"))):
        assert not run("gallery", "enroll", str(tmp_path / name), str(photos), *common, *workers).returncode
        assert not run("cluster", str(photos), "--out", str(tmp_path / f"a-{name}"), *common, *workers).returncode
    assert files(tmp_path / "many") == files(tmp_path / "alone")
    assert files(tmp_path / "a-many") == files(tmp_path / "a-alone")
