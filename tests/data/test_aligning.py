"""Photographs as aligned pictures: what is cached, what is shared, what fails and why."""

from __future__ import annotations

import io
import multiprocessing
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.picture_files import encoded, flat, shared_data, write_tree
from whyface.data import aligning
from whyface.data.aligning import AligningPictures
from whyface.demo import demo_photo
from whyface.errors import DataError, OutputError
from whyface.faces.align import template
from whyface.faces.detection import Detection
from whyface.faces.load import load_face
from whyface.faces.photo import decode_photo, read_photo
from whyface.faces.pictures import FolderPictures, PictureSource, TarPictures


class Counting:
    """Finds a face of 112 x 112 pixels in the corner, but none in dark photographs."""

    calls = 0

    def detect(self, photo: NDArray[np.uint8]) -> list[Detection]:
        self.calls += 1
        if photo.mean() < 10:
            return []
        return [Detection((0.0, 0.0, 112.0, 112.0), template().astype(np.float32), 0.9)]


def photo(seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (150, 200, 3)).astype(np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    files = {
        "a/one.png": encoded(photo(1)),
        "a/two.png": encoded(photo(2)),
        "b/dark.png": flat(0, size=130),
        "b/broken.jpg": b"no picture",
        "list.txt": b"some text\n",
    }
    return write_tree(tmp_path / "photos", files)


def opened(photos: Path, cache: Path | None, finder: Counting | None = None) -> AligningPictures:
    return AligningPictures(FolderPictures(photos), cache=cache, detector="counting", finder=finder or Counting())


def test_faces_are_cut_out_by_name(photos: Path) -> None:
    with opened(photos, None) as source:
        assert isinstance(source, PictureSource)
        assert source.names() == ("a/one.png", "a/two.png", "b/broken.jpg", "b/dark.png")
        np.testing.assert_array_equal(source.read("a/one.png"), photo(1)[:112, :112])
        assert source.read_bytes("list.txt") == b"some text\n"
        folder = Path(source._temporary.name) if source._temporary else photos
        assert list(folder.rglob("*.png"))
    assert not folder.exists()


def test_nothing_is_kept_where_every_photo_is_read_once(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was written")

    monkeypatch.setattr(aligning, "write_atomic", refuse)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with AligningPictures(FolderPictures(photos), finder=Counting(), keep=False) as source:
        np.testing.assert_array_equal(source.read("a/one.png"), photo(1)[:112, :112])
        for name, reason in (("b/dark.png", "no face found"), ("b/broken.jpg", "not a picture")):
            with pytest.raises(DataError, match=f"{name}: cannot be aligned: {reason}"):
                source.read(name)
        assert set(source.failures) == {"b/dark.png", "b/broken.jpg"}


def test_the_cache_spares_the_detector(photos: Path, tmp_path: Path) -> None:
    finder = Counting()
    with opened(photos, tmp_path / "cache", finder) as source:
        first = source.read("a/one.png")
        np.testing.assert_array_equal(source.read("a/one.png"), first)
        assert finder.calls == 1
    (photos / "a" / "one.png").rename(photos / "a" / "renamed.png")
    with opened(photos, tmp_path / "cache", finder) as again:
        # The content counts, not the name.
        np.testing.assert_array_equal(again.read("a/renamed.png"), first)
        assert finder.calls == 1
        (photos / "a" / "renamed.png").write_bytes(encoded(photo(3)))
        np.testing.assert_array_equal(again.read("a/renamed.png"), photo(3)[:112, :112])
        assert finder.calls == 2
    other = AligningPictures(FolderPictures(photos), cache=tmp_path / "cache", detector="another", finder=finder)
    with other:
        other.read("a/renamed.png")
    assert finder.calls == 3


def test_failures_are_counted_named_and_remembered(photos: Path, tmp_path: Path) -> None:
    for run in range(2):
        finder = Counting()
        seen: list[tuple[int, int]] = []
        with opened(photos, tmp_path / "cache", finder) as source:
            failed = source.prepare(source.names(), lambda done, total, seen=seen: seen.append((done, total)))  # type: ignore[misc]
            assert list(failed) == ["b/broken.jpg", "b/dark.png"]
            assert failed["b/dark.png"] == "no face found"
            assert failed["b/broken.jpg"].startswith("not a picture that can be read")
            assert source.failures == failed
            assert seen[-1] == (4, 4)
            with pytest.raises(DataError, match=r"b/dark\.png: cannot be aligned: no face found"):
                source.read("b/dark.png")
        assert finder.calls == (3 if run == 0 else 0)


def test_a_missing_photograph_is_no_failure_to_align(photos: Path) -> None:
    with opened(photos, None) as source, pytest.raises(DataError, match="no readable file"):
        source.prepare(["a/one.png", "nothing.png"])


def test_a_damaged_cache_is_made_again(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with opened(photos, cache) as source:
        face = source.read("a/one.png")
        (kept,) = cache.rglob("*.png")
        kept.write_bytes(kept.read_bytes()[:100])
        np.testing.assert_array_equal(source.read("a/one.png"), face)
        assert Image.open(kept).size == (112, 112)


def test_bad_cache_folders(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="create it first"):
        opened(photos, tmp_path / "no" / "cache")
    with pytest.raises(OutputError, match="is a file"):
        opened(photos, tmp_path / "file")


def _read_all(photos: Path, cache: Path, results: multiprocessing.Queue[float]) -> None:
    with opened(photos, cache) as source:
        results.put(float(sum(source.read(name).astype(np.float64).sum() for name in source.names())))


def test_two_processes_may_share_a_cache(tmp_path: Path) -> None:
    photos = write_tree(tmp_path / "photos", {f"{k}.png": encoded(photo(k)) for k in range(20)})
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_read_all, args=(photos, tmp_path / "cache", results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    sums = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    expected = sum(photo(k)[:112, :112].astype(np.float64).sum() for k in range(20))
    assert sums == [expected, expected]
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(files) == 20
    assert all(path.suffix == ".png" for path in files)


def test_the_same_face_as_from_a_file(tmp_path: Path) -> None:
    path = demo_photo("obama-portrait.jpg")
    write_tree(tmp_path / "p", {"a.jpg": path.read_bytes()})
    with AligningPictures(FolderPictures(tmp_path / "p")) as source:
        np.testing.assert_array_equal(source.read("a.jpg"), load_face(path).image)


def test_bytes_decode_as_the_file_does(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(4)).save(buffer, "jpeg", exif=exif)
    (tmp_path / "turned.jpg").write_bytes(buffer.getvalue())
    decoded = decode_photo(buffer.getvalue(), "turned")
    assert decoded.shape == (200, 150, 3)
    np.testing.assert_array_equal(decoded, read_photo(tmp_path / "turned.jpg"))


@pytest.fixture
def lfw_photos() -> Iterator[TarPictures]:
    with TarPictures(shared_data("lfw-deepfunneled-folds-1-2.tar")) as source:
        yield source


def test_real_photographs_are_aligned_close_to_the_published_crops(lfw_photos: TarPictures) -> None:
    """Another detector aligned the published crops: the faces must match in place, not in every pixel."""
    with AligningPictures(lfw_photos) as source, TarPictures(shared_data("lfw-aligned-112.tar")) as published:
        names = [name for name in source.names() if name.endswith("_0001.jpg")][:6]
        assert source.prepare(names) == {}
        by_file = {name.rpartition("/")[2]: name for name in published.names()}
        for name in names:
            ours = source.read(name).astype(np.float64)[28:84, 28:84].ravel()
            theirs = published.read(by_file[name.rpartition("/")[2]]).astype(np.float64)[28:84, 28:84].ravel()
            assert np.corrcoef(ours, theirs)[0, 1] > 0.8
