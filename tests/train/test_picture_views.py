"""Views of training pictures, and the maps that are kept of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from helpers.gallery_models import TinyGrids
from picture_views import PictureSet, cached_view, change_view, read_views
from whyface.errors import InputError
from whyface.faces.pictures import Closing, FolderPictures
from whyface.models.linear_head import LinearHead

NAMES = tuple(f"{number}.png" for number in range(40))


def face(seed: int) -> NDArray[np.uint8]:
    blocks = np.random.default_rng(seed).integers(40, 216, (14, 14, 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(8, axis=0).repeat(8, axis=1))


class Pictures(Closing):
    """Pictures drawn by their names, which counts how often one is read."""

    reads = 0

    def names(self) -> tuple[str, ...]:
        return NAMES

    def read(self, name: str) -> NDArray[np.uint8]:
        self.reads += 1
        return face(int(name.removesuffix(".png")))

    def read_bytes(self, name: str) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass


def test_views() -> None:
    picture = face(0)
    assert change_view(picture, "plain", name="a") is picture
    np.testing.assert_array_equal(change_view(picture, "mirror", name="a"), picture[:, ::-1])
    for kind in ("moved", "poor"):
        one, same = (change_view(picture, f"{kind}-1", name="a") for _ in range(2))
        np.testing.assert_array_equal(one, same)
        assert (one != change_view(picture, f"{kind}-2", name="a")).any()
        assert (one != change_view(picture, f"{kind}-1", name="b")).any()
    for view in ("mirrored", "poor", "poor-x", ""):
        with pytest.raises(InputError, match="a view is"):
            change_view(picture, view, name="a")


def test_maps_are_worked_out_once(tmp_path: Path) -> None:
    source, network = Pictures(), TinyGrids()
    seen: list[tuple[int, int]] = []

    def view(name: str) -> NDArray[np.floating[Any]]:
        return cached_view(
            tmp_path, "some", network, source, NAMES, name, progress=lambda done, total: seen.append((done, total))
        )

    first = view("mirror")
    assert source.reads == len(NAMES)
    assert seen == [(32, 40), (40, 40)]
    assert first.dtype == np.float16
    expected = network.grid(np.stack([face(number)[:, ::-1].transpose(2, 0, 1) for number in range(40)]))
    np.testing.assert_array_equal(first, expected.astype(np.float16))
    np.testing.assert_array_equal(view("mirror"), first)
    assert source.reads == len(NAMES)
    view("plain")
    assert source.reads == 2 * len(NAMES)
    # Another network's maps are other maps.
    other = TinyGrids(1)
    other.sha256 = "1" * 64
    cached_view(tmp_path, "some", other, source, NAMES, "plain")
    assert source.reads == 3 * len(NAMES)


def test_an_interrupted_run_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_view(tmp_path, "some", TinyGrids(), Pictures(), NAMES, "plain", progress=stop)
    source = Pictures()
    cached_view(tmp_path, "some", TinyGrids(), source, NAMES, "plain")
    assert source.reads == len(NAMES)


def test_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        cached_view(tmp_path, "some", TinyGrids(), Pictures(), (), "plain")
    cached_view(tmp_path, "some", TinyGrids(), Pictures(), NAMES, "plain")
    with pytest.raises(InputError, match="holds 40 pictures, not 3"):
        cached_view(tmp_path, "some", TinyGrids(), Pictures(), NAMES[:3], "plain")
    with pytest.raises(InputError, match="a view is"):
        cached_view(tmp_path, "other", TinyGrids(), Pictures(), NAMES, "blurred")


def test_sets_are_read_together_and_the_mirror_image_teaches_too(tmp_path: Path) -> None:
    sets = []
    for key, people in (("one", ("ann", "ben")), ("other", ("cat",))):
        for person in people:
            (tmp_path / key / person).mkdir(parents=True)
            for number in range(2):
                picture = face(sum(map(ord, f"{person}{number}")))
                Image.fromarray(picture).save(tmp_path / key / person / f"{number}.png")
        with FolderPictures(tmp_path / key) as source:
            names = source.names()
        sets.append(PictureSet(key, tmp_path / key, names, tuple(name.split("/")[0] for name in names)))
    network = TinyGrids()
    rng = np.random.default_rng(0)
    head = LinearHead(rng.normal(size=(5, 32, 7, 7)).astype(np.float32), rng.normal(size=5).astype(np.float32))
    maps, who = read_views(tmp_path / "maps", network, head, sets, clean=("plain", "moved-1"), degraded=("poor-1",))
    assert who.tolist() == ["ann", "ann", "ben", "ben", "cat", "cat"]
    assert maps.people.tolist() == [0, 0, 1, 1, 2, 2]
    assert (len(maps.clean), len(maps.degraded)) == (2, 1)
    with FolderPictures(tmp_path / "other") as source:
        picture = source.read(sets[1].names[1]).transpose(2, 0, 1)
    grids = network.grid(np.stack([picture, np.flip(picture, axis=2)]))
    np.testing.assert_array_equal(maps.clean[0][5], grids[0].astype(np.float16))
    expected = head(grids.astype(np.float16).astype(np.float32)).sum(axis=0)
    np.testing.assert_allclose(maps.targets[5], expected / np.linalg.norm(expected), rtol=1e-4)
